//! Mail against real programs: Python's parser of mail, aiosmtpd and OpenSMTPD as
//! relays, and a relay of ours that breaks off wherever it is told to.

mod broken;
mod composed;
mod ldap;
mod opensmtpd;
mod relays;
mod tls;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_notifiers::mail::{Letter, RelaySettings, compose::ATTACHMENTS_MAX};
use tidemill_notifiers::{Body, Message};

/// A letter whose parts a test changes.
pub fn letter<'a>(message: &'a Message, headers: &'a BTreeMap<String, String>) -> Letter<'a> {
    Letter {
        message,
        default_subject: "a build ended",
        from: "Tidemill <ci@example.org>",
        to: "Ann <ann@example.org>",
        message_id: "<delivery.1@example.org>",
        thread: None,
        date: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        list_id: None,
        builder: None,
        results: None,
        headers,
        attachments: &[],
        attachments_max: ATTACHMENTS_MAX,
        unsubscribe: None,
    }
}

pub fn plain(subject: &str, text: &str) -> Message {
    Message { subject: Some(subject.into()), body: Body::Plain(text.into()), ..Message::default() }
}

/// A mail to this address, from `ci@example.org`.
pub fn mail(to: &str) -> lettre::Message {
    mail_from("ci@example.org", to)
}

pub fn mail_from(from: &str, to: &str) -> lettre::Message {
    let (message, headers) = (plain("s", "t"), BTreeMap::new());
    let letter = Letter { from, to, date: SystemTime::now(), ..letter(&message, &headers) };
    tidemill_notifiers::mail::compose(&letter).unwrap()
}

pub fn settings(port: u16) -> RelaySettings {
    RelaySettings::new("127.0.0.1", port)
}

/// What Python makes of a mail.
pub fn parsed(mail: &[u8]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/parse.py");
    let mut python = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    python.stdin.take().unwrap().write_all(mail).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(mail));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The system's Python, for which Debian packages modules.
fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// Says loudly that a test could not run; what a passing test prints is not shown.
pub fn skipped(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED, NOT TESTED: {why}\n").as_bytes());
}

/// aiosmtpd, keeping what it gets.
pub struct Sink {
    process: Child,
    pub port: u16,
    pub folder: tempfile::TempDir,
}

impl Sink {
    /// None, said loudly, where aiosmtpd is not installed.
    pub fn start() -> Option<Sink> {
        Sink::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Option<Sink> {
        let there = Command::new(python()).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|s| s.success()) {
            skipped("aiosmtpd is not installed (apt-get install python3-aiosmtpd)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/sink.py");
        let mut process = Command::new(python())
            .arg(script)
            .arg(folder.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the sink says its port");
        Some(Sink { process, port, folder })
    }

    /// What came so far: the envelope, and the mail's file.
    pub fn mails(&self) -> Vec<(Value, PathBuf)> {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "json"));
        found.sort();
        found
            .into_iter()
            .map(|p| (serde_json::from_slice(&std::fs::read(&p).unwrap()).unwrap(), p.with_extension("eml")))
            .collect()
    }

    /// Waits until so many came.
    pub async fn wait_for(&self, count: usize) -> Vec<(Value, PathBuf)> {
        let started = Instant::now();
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{} of {count} mails came", mails.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
