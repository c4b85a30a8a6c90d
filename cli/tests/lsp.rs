//! `tidemill lsp`, spoken to as an editor does.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Editor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
    /// Diagnostics that came while an answer was waited for.
    told: Vec<Value>,
}

impl Editor {
    fn start(dir: &Path) -> Editor {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .arg("lsp")
            .env("HOME", dir)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut editor = Editor { child, input, output, next: 0, told: vec![] };
        let answer = editor.ask("initialize", json!({ "capabilities": {} }));
        assert_eq!(answer["result"]["capabilities"]["hoverProvider"], true);
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: Value) {
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.input.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server ended");
            match line.trim_end().strip_prefix("Content-Length: ") {
                Some(text) => length = text.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.receive();
            if message["id"] == id {
                return message;
            }
            self.told.push(message["params"].clone());
        }
    }

    /// The next diagnostics of a file.
    fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        loop {
            if let Some(at) = self.told.iter().position(|t| t["uri"] == uri) {
                return self.told.remove(at)["diagnostics"].as_array().unwrap().clone();
            }
            let message = self.receive();
            assert_eq!(message["method"], "textDocument/publishDiagnostics", "{message}");
            self.told.push(message["params"].clone());
        }
    }

    fn open(&mut self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "languageId": "starlark", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    fn change(&mut self, uri: &str, text: &str) {
        let document = json!({ "uri": uri, "version": 2 });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [{ "text": text }] }));
    }

    fn at(&mut self, method: &str, uri: &str, line: u32, character: u32) -> Value {
        let position = json!({ "line": line, "character": character });
        self.ask(method, json!({ "textDocument": { "uri": uri }, "position": position }))["result"].take()
    }

    fn labels(&mut self, uri: &str, line: u32, character: u32) -> Vec<String> {
        let found = self.at("textDocument/completion", uri, line, character);
        found.as_array().unwrap().iter().map(|i| i["label"].as_str().unwrap().to_owned()).collect()
    }

    fn end(mut self) -> Option<i32> {
        assert_eq!(self.ask("shutdown", Value::Null)["result"], Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const GOOD: &str = "load(\"lib.star\", \"make\")\nc = {}\nf = util.BuildFactory([make])\n\
    c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\n";

fn folder() -> (tempfile::TempDir, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    std::fs::write(path.join("master.star"), GOOD).unwrap();
    std::fs::write(path.join("lib.star"), "make = steps.Compile(command = [\"make\"])\n").unwrap();
    let uri = |name: &str| format!("file://{}", path.join(name).display());
    let (master, lib) = (uri("master.star"), uri("lib.star"));
    (dir, master, lib)
}

#[test]
fn errors_come_and_go_while_one_types_also_those_of_other_files() {
    let (dir, master, lib) = folder();
    let mut editor = Editor::start(dir.path());
    editor.open(&master, GOOD);
    assert_eq!(editor.diagnostics(&master), Vec::<Value>::new());
    editor.open(&lib, "make = steps.Compile(comand = [\"make\"])\n");
    let found = editor.diagnostics(&lib);
    assert_eq!((&found[0]["severity"], &found[0]["range"]["start"]["line"]), (&1.into(), &0.into()), "{found:?}");
    assert!(found[0]["message"].as_str().unwrap().contains("did you mean `command`"), "{found:?}");
    editor.change(&lib, "make = steps.Compile(command = [\"make\"])\n");
    assert_eq!(editor.diagnostics(&lib), Vec::<Value>::new());
    editor.told.clear();
    // A file that would break a parser does not break the server.
    editor.change(&lib, &format!("make = {}\n", "(".repeat(200_000)));
    assert!(!editor.diagnostics(&lib).is_empty());
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn words_arguments_keys_and_files_are_completed() {
    let (dir, master, _) = folder();
    let mut editor = Editor::start(dir.path());
    editor.open(&master, "😀 = 1; steps.She\nf = steps.ShellCommand(command = \"x\", \nc[\"bu\nload(\"\nxyz = \n");
    let words = editor.labels(&master, 0, 17);
    assert!(words.contains(&"ShellCommand".to_owned()), "{words:?}");
    let arguments = editor.labels(&master, 1, 40);
    assert!(arguments.contains(&"haltOnFailure".to_owned()) && !arguments.contains(&"command".to_owned()));
    assert!(arguments.contains(&"util".to_owned()), "names stand there too");
    let keys = editor.labels(&master, 2, 5);
    assert!(keys.contains(&"builders".to_owned()), "{keys:?}");
    assert_eq!(editor.labels(&master, 3, 6), ["lib.star"]);
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn hover_explains_and_a_definition_is_found_across_files() {
    let (dir, master, lib) = folder();
    let mut editor = Editor::start(dir.path());
    editor.open(&master, GOOD);
    let hover = editor.at("textDocument/hover", &master, 2, 12);
    assert!(hover["contents"]["value"].as_str().unwrap().contains("## util.BuildFactory"), "{hover}");
    let argument = editor.at("textDocument/hover", &master, 3, 52);
    assert!(argument["contents"]["value"].as_str().unwrap().contains("workernames"), "{argument}");
    let file = editor.at("textDocument/definition", &master, 0, 9);
    assert_eq!(file["uri"], lib.as_str());
    let name = editor.at("textDocument/definition", &master, 2, 25);
    assert_eq!((&name["uri"], &name["range"]["start"]["line"]), (&lib.as_str().into(), &0.into()));
    assert_eq!(editor.at("textDocument/hover", &master, 99, 99), Value::Null);
    let unknown = editor.ask("textDocument/rename", json!({}));
    assert_eq!(unknown["error"]["code"], -32601);
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn an_editor_that_goes_away_or_talks_nonsense_ends_the_server() {
    let (dir, ..) = folder();
    let mut editor = Editor::start(dir.path());
    editor.input.write_all(b"nonsense\r\n\r\n").unwrap();
    assert_eq!(editor.child.wait().unwrap().code(), Some(2));
}

#[test]
fn an_input_that_ends_at_once_is_told_what_the_command_is_for_and_is_no_failure() {
    let run = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run("");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("is for editors") && told.contains("checkconfig"), "{told}");
    let (code, told) = run("hello\n\n");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("Language Server Protocol") && told.contains("is for editors"), "{told}");
}
