//! The conversation with the editor.

use super::diagnose::Told;
use super::documents::{Documents, path_of};
use super::{text, wire, words};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long nobody types before the project is evaluated.
const QUIET: Duration = Duration::from_millis(150);

/// Codes of the protocol.
const NOT_INITIALIZED: i64 = -32002;
const INVALID_REQUEST: i64 = -32600;
const UNKNOWN_METHOD: i64 = -32601;

/// What a person is told who is no editor.
const FOR: &str = "tidemill lsp is for editors: one starts it and speaks the Language Server Protocol with it; \
                   `tidemill lsp --help` shows how. To check a project by hand: `tidemill checkconfig`";

/// Serves until the editor says `exit` or closes the input.
pub fn serve() -> Result<Exit> {
    if std::io::stdin().is_terminal() {
        eprintln!("{FOR} (Ctrl-C ends this)");
    }
    let (tell, messages) = sync_channel(64);
    std::thread::spawn(move || {
        let mut input = BufReader::new(std::io::stdin());
        loop {
            let message = wire::read(&mut input);
            let over = !matches!(message, Ok(Some(_)));
            if tell.send(message).is_err() || over {
                return;
            }
        }
    });
    Server::new(std::io::stdout()).run(&messages)
}

struct Server<W> {
    out: W,
    documents: Documents,
    told: Told,
    /// Changed since the last look.
    changed: BTreeSet<PathBuf>,
    initialized: bool,
    shut_down: bool,
}

impl<W: Write> Server<W> {
    fn new(out: W) -> Self {
        Server {
            out,
            documents: Documents::default(),
            told: Told::default(),
            changed: BTreeSet::new(),
            initialized: false,
            shut_down: false,
        }
    }

    fn run(&mut self, messages: &Receiver<std::io::Result<Option<Value>>>) -> Result<Exit> {
        loop {
            let message = match self.changed.is_empty() {
                true => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => messages.recv_timeout(QUIET),
            };
            match message {
                Ok(Ok(Some(message))) => {
                    if self.take(&message)? {
                        break;
                    }
                }
                Ok(Ok(None)) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Err(error)) => {
                    let message = format!("what came in is not the Language Server Protocol: {error}");
                    return Err(Failure::usage(message).hint(FOR));
                }
                Err(RecvTimeoutError::Timeout) => self.look()?,
            }
        }
        if !self.initialized {
            eprintln!("{FOR}");
            return Ok(Exit::Success);
        }
        // The protocol: an end without a shutdown before is a failure.
        Ok(if self.shut_down { Exit::Success } else { Exit::Failure })
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        wire::write(&mut self.out, message).map_err(|e| Failure::usage(format!("the editor went away: {e}")))
    }

    /// True at the end.
    fn take(&mut self, message: &Value) -> Result<bool> {
        let method = message["method"].as_str().unwrap_or_default();
        let params = &message["params"];
        match message.get("id") {
            Some(id) if !method.is_empty() => {
                let reply = self.request(id, method, params);
                self.send(&reply)?;
            }
            // An answer to a request: this server makes none.
            Some(_) => {}
            None if method == "exit" => return Ok(true),
            None => self.notified(method, params),
        }
        Ok(false)
    }

    fn request(&mut self, id: &Value, method: &str, params: &Value) -> Value {
        if method == "initialize" {
            self.initialized = true;
            return wire::answer(id, capabilities());
        }
        if !self.initialized {
            return wire::error(id, NOT_INITIALIZED, "the first request is initialize");
        }
        if self.shut_down {
            return wire::error(id, INVALID_REQUEST, "the server was shut down");
        }
        match method {
            "shutdown" => {
                self.shut_down = true;
                wire::answer(id, Value::Null)
            }
            "textDocument/completion" => wire::answer(id, self.at(params, words::complete_all)),
            "textDocument/hover" => wire::answer(id, self.at(params, |_, _, text, offset| words::hover(text, offset))),
            "textDocument/definition" => wire::answer(id, self.at(params, words::definition)),
            _ => wire::error(id, UNKNOWN_METHOD, &format!("there is no {method}")),
        }
    }

    fn at(&self, params: &Value, answer: impl Fn(&Documents, &Path, &str, usize) -> Value) -> Value {
        let Some(path) = file(params) else { return Value::Null };
        let Some(source) = self.documents.text(&path) else { return Value::Null };
        answer(&self.documents, &path, &source, text::offset(&source, &params["position"]))
    }

    fn notified(&mut self, method: &str, params: &Value) {
        let Some(path) = file(params) else { return };
        match method {
            "textDocument/didOpen" => {
                let text = params["textDocument"]["text"].as_str().unwrap_or_default();
                self.documents.set(path.clone(), text.to_owned());
            }
            "textDocument/didChange" => {
                // Whole texts, as the capabilities say; the last one counts.
                let last = params["contentChanges"].as_array().and_then(|c| c.last());
                let Some(text) = last.and_then(|c| c["text"].as_str()) else { return };
                self.documents.set(path.clone(), text.to_owned());
            }
            "textDocument/didSave" => {}
            "textDocument/didClose" => self.documents.close(&path),
            _ => return,
        }
        self.changed.insert(path);
    }

    fn look(&mut self) -> Result<()> {
        let mut seen = BTreeSet::new();
        for path in std::mem::take(&mut self.changed) {
            // Several files of a project are one look.
            if self.documents.root(&path).is_some_and(|root| !seen.insert(root)) {
                continue;
            }
            for message in self.told.look(&self.documents, &path) {
                self.send(&message)?;
            }
        }
        Ok(())
    }
}

fn file(params: &Value) -> Option<PathBuf> {
    path_of(params["textDocument"]["uri"].as_str()?)
}

fn capabilities() -> Value {
    json!({
        "capabilities": {
            "textDocumentSync": { "openClose": true, "change": 1, "save": {} },
            "completionProvider": { "triggerCharacters": [".", "(", "\""] },
            "hoverProvider": true,
            "definitionProvider": true,
        },
        "serverInfo": { "name": "tidemill", "version": env!("CARGO_PKG_VERSION") },
    })
}
