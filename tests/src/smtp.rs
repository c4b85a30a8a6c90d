//! A relay of aiosmtpd that keeps what it gets, and Python's view of a mail.

use crate::wait::{holds, wait_until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Mails in the order in which they came; refuses some by the first word of an
/// address, see `smtp/sink.py`.
pub struct Sink {
    process: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

/// What came: to whom, and the mail's bytes.
#[derive(Debug)]
pub struct Kept {
    pub from: String,
    pub to: Vec<String>,
    /// Connections that the relay had had by then.
    pub connections: u64,
    pub mail: Vec<u8>,
}

impl Sink {
    /// None, said loudly, where aiosmtpd is not installed.
    pub fn start() -> Option<Sink> {
        Sink::with(&[])
    }

    /// With arguments of `smtp/sink.py`, such as for TLS.
    pub fn with(arguments: &[&str]) -> Option<Sink> {
        let there = Command::new(python()).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|s| s.success()) {
            let said = "SKIPPED, NOT TESTED: aiosmtpd is not installed (apt-get install python3-aiosmtpd)\n";
            let _ = std::io::stderr().write_all(said.as_bytes());
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut process = Command::new(python())
            .arg(script("sink.py"))
            .arg(folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output is a pipe");
        BufReader::new(out).read_line(&mut line).expect("the relay says its port");
        let port = line.trim().parse().expect("the relay says its port");
        Some(Sink { process, port, folder })
    }

    pub fn mails(&self) -> Vec<Kept> {
        let folder = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        let mut found: Vec<PathBuf> = folder.map(|e| e.expect("an entry can be read").path()).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "json"));
        found.sort();
        let kept = |path: &PathBuf| {
            let about: Value =
                serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("the relay writes JSON");
            let to =
                about["to"].as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect();
            let from = about["from"].as_str().unwrap_or_default().to_owned();
            let connections = about["connections"].as_u64().unwrap_or_default();
            Kept {
                from,
                to,
                connections,
                mail: std::fs::read(path.with_extension("eml")).expect("it was written before"),
            }
        };
        found.iter().map(kept).collect()
    }

    /// Waits until so many came.
    pub async fn wait_for(&self, count: usize) -> Vec<Kept> {
        wait_until(&format!("{count} mails"), || async {
            let mails = self.mails();
            holds(mails.len() >= count, format!("{} came", mails.len())).map(|()| mails)
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What Python makes of a mail: `headers`, `text`, `html`, `attachments` and more, see
/// `smtp/parse.py`.
pub fn parsed(mail: &[u8]) -> Value {
    let mut python = Command::new(python())
        .arg(script("parse.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    python.stdin.take().expect("its input is a pipe").write_all(mail).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(mail));
    serde_json::from_slice(&output.stdout).expect("it writes JSON")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/smtp").join(name)
}

/// The system's Python, for which Debian packages modules.
fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}
