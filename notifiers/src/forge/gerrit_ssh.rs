//! Gerrit by ssh (RP-10): `gerrit review`, through the machine's ssh program,
//! with an argument vector and without a shell. ssh hands Gerrit one line, which
//! Gerrit takes apart as a shell would; each word of it is quoted.

use super::gerrit::{MESSAGE_MAX, TAG, labels, notify};
use super::{Facts, paragraphs};
use crate::Outcome;
use crate::line::one_line;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Of what ssh and Gerrit say.
const SAID_MAX: u64 = 16 << 10;

pub struct GerritSsh {
    pub server: String,
    pub port: u16,
    pub username: String,
    pub identity_file: Option<PathBuf>,
    /// Further options of ssh, such as `UserKnownHostsFile=…`; of the operator, never of a project.
    pub options: Vec<String>,
    pub within: Duration,
}

impl GerritSsh {
    /// Sends a review.
    pub async fn send(&self, facts: &Facts<'_>) -> Outcome {
        let arguments = match command(facts).and_then(|c| self.arguments(&c)) {
            Ok(arguments) => arguments,
            Err(why) => return Outcome::Refused { why: one_line(&why, 400) },
        };
        self.run(&arguments).await
    }

    /// What ssh is called with.
    ///
    /// # Errors
    /// If server, user or file could be read as something else.
    pub fn arguments(&self, command: &str) -> Result<Vec<OsString>, String> {
        let plain = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@' | '+');
            !text.is_empty() && !text.starts_with('-') && text.len() < 256 && text.chars().all(fits)
        };
        if !plain(&self.server) || self.server.contains('@') {
            return Err(format!("`{}` is no name of a Gerrit server", one_line(&self.server, 60)));
        }
        if !plain(&self.username) {
            return Err(format!("`{}` is no user of Gerrit", one_line(&self.username, 60)));
        }
        let mut arguments: Vec<OsString> =
            ["-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ClearAllForwardings=yes"]
                .map(OsString::from)
                .into();
        for option in &self.options {
            arguments.extend(["-o".into(), option.into()]);
        }
        if let Some(file) = &self.identity_file {
            arguments.extend(["-o".into(), "IdentitiesOnly=yes".into(), "-i".into(), file.into()]);
        }
        arguments.extend(["-p".into(), self.port.to_string().into()]);
        arguments.extend(["-l".into(), OsString::from(&self.username)]);
        arguments.extend(["--".into(), OsString::from(&self.server), command.into()]);
        Ok(arguments)
    }

    async fn run(&self, arguments: &[OsString]) -> Outcome {
        let named = format!("ssh {}@{}:{}", self.username, self.server, self.port);
        let mut command = tokio::process::Command::new("ssh");
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("TIDEMILL_") || name_text.starts_with("PG") || name_text == "DATABASE_URL" {
                command.env_remove(&name);
            }
        }
        let child = command
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SSH_ASKPASS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(e) => {
                let remedy = "install OpenSSH's client on the notifier's machine";
                return Outcome::Down { why: format!("{named}: ssh cannot be started: {e}; {remedy}") };
            }
        };
        let _group = Group(child.id());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let ended = async { tokio::join!(read(out), read(err), child.wait()) };
        let Ok((out, err, status)) = tokio::time::timeout(self.within, ended).await else {
            return Outcome::Again { why: format!("{named}: no end within {} s", self.within.as_secs()), after: None };
        };
        let said = one_line(&format!("{} {}", String::from_utf8_lossy(&err), String::from_utf8_lossy(&out)), 300);
        let why = format!("{named}: {said}");
        match status.map(|s| s.code()) {
            Ok(Some(0)) => Outcome::Sent { answer: if said.is_empty() { "gerrit review".into() } else { said } },
            // ssh's own failures: no connection, key or host key.
            Ok(Some(255)) => Outcome::Down { why },
            Ok(Some(code)) => Outcome::Refused { why: format!("{why} (status {code})") },
            Ok(None) | Err(_) => Outcome::Again { why: format!("{why} (ssh was ended)"), after: None },
        }
    }
}

/// The command line for Gerrit.
///
/// # Errors
/// If the facts name no patch set.
pub fn command(facts: &Facts<'_>) -> Result<String, String> {
    let mut words = vec!["gerrit".to_owned(), "review".to_owned()];
    // A hash may be that of several projects.
    if let Some(project) = facts.details.project.filter(|p| !p.is_empty()) {
        words.push(format!("--project={}", one_line(project, 255)));
    }
    let message = paragraphs(facts.text, MESSAGE_MAX);
    if !message.trim().is_empty() {
        words.push(format!("--message={message}"));
    }
    words.push(format!("--tag={TAG}"));
    if let Some(who) = notify(facts)? {
        words.push(format!("--notify={who}"));
    }
    for (name, vote) in labels(facts)? {
        words.push(format!("--label={name}={vote:+}"));
    }
    words.push(patch_set(facts)?);
    Ok(words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" "))
}

/// `COMMIT`, or `CHANGE,PATCHSET` where the revision is the number of one.
fn patch_set(facts: &Facts<'_>) -> Result<String, String> {
    let digits = |t: &str| !t.is_empty() && t.len() < 12 && t.bytes().all(|b| b.is_ascii_digit());
    match facts.change {
        Some(change) if digits(change) && digits(facts.revision) => Ok(format!("{change},{}", facts.revision)),
        _ => super::commit(facts).map(str::to_owned),
    }
}

/// One word for a shell, and for Gerrit, which reads quotes alike.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ',' | '/' | ':' | '=' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut from) = from else { return vec![] };
    let mut said = Vec::new();
    _ = (&mut from).take(SAID_MAX).read_to_end(&mut said).await;
    // The rest is drained, so that it does not stand still for it.
    _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    said
}

/// The processes of ssh, such as those of a proxy command; ended with it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
