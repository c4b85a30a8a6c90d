//! From a rendered command to one that can be started, and the words about it in
//! its log (SH-14).

use super::step::StepError;
use crate::exec::env::{self, Environment, Layer, is_secret};
use crate::exec::outlet::{SharedLog, locked};
use crate::exec::run::{Ended, How, Launch, Limits};
use crate::exec::workdir;
use crate::mask::Patterns;
use crate::secrets::Secrets;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::plan::{Command, Shell};

/// Where it is to run.
pub(super) struct Ground<'a> {
    pub own_env: &'a Environment,
    pub folder: &'a Path,
    pub builder_env: &'a Layer,
    pub secrets: &'a Secrets,
}

pub(super) struct Prepared {
    pub launch: Launch,
    pub header: String,
}

/// Secrets are in the launch and only there.
pub(super) fn prepare(ground: &Ground<'_>, shell: &Shell) -> Result<Prepared, StepError> {
    let argv = match &shell.command {
        Command::Argv(argv) => argv.clone(),
        Command::Line(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
    };
    let interrupt = signal(&shell.interrupt_signal)?;
    let marked = env::layered(ground.own_env, &[ground.builder_env, &shell.env])?;
    let dir = workdir::make(ground.folder, &shell.workdir)?;
    let value = |text: &str| ground.secrets.resolve(text).map_err(StepError::from);
    let words: Vec<String> = argv.iter().map(|a| value(a)).collect::<Result<_, _>>()?;
    if words.iter().any(|a| a.contains('\0')) {
        return Err(StepError::Other("the command holds a NUL byte, which no program can be given".into()));
    }
    let mut env = Environment::new();
    for (name, text) in &marked {
        let resolved = match text.to_str().filter(|t| ground.secrets.has_marks(t)) {
            Some(text) => value(text)?.into(),
            None => text.clone(),
        };
        env.insert(name.clone(), resolved);
    }
    let us = |us: Option<u64>| us.map(Duration::from_micros);
    let launch = Launch {
        argv: words.iter().map(OsString::from).collect(),
        dir,
        env,
        stdin: shell.initial_stdin.as_deref().map(value).transpose()?,
        limits: Limits {
            timeout: us(shell.timeout_us),
            max_time: us(shell.max_time_us),
            max_lines: shell.max_lines,
            sigterm: us(shell.sigterm_us),
            interrupt,
        },
        want: (shell.want_stdout, shell.want_stderr),
        capture: 0,
        pty: shell.use_pty,
    };
    let shown: Vec<String> = argv.iter().map(|a| ground.secrets.shown(a)).collect();
    let line = match &shell.command {
        Command::Argv(_) => shown.join(" "),
        Command::Line(line) => ground.secrets.shown(line),
    };
    let mut header = header(&line, &shown, &launch);
    if shell.log_environ {
        header.push_str(" environment:\n");
        header.push_str(&listing(&marked, |text| ground.secrets.shown(text)));
    }
    Ok(Prepared { launch, header })
}

/// Empty leaves the choice to the worker.
fn signal(name: &str) -> Result<Option<Signal>, StepError> {
    if name.is_empty() {
        return Ok(None);
    }
    let full = format!("SIG{}", name.trim_start_matches("SIG"));
    let found = Signal::from_str(&full);
    found.map(Some).map_err(|_| StepError::Other(format!("{name:?} is no signal; write such as TERM, INT or KILL")))
}

/// What a log has to do for this command.
pub(super) fn set_up(log: &SharedLog, shell: &Shell, patterns: Arc<Patterns>) {
    let mut log = locked(log);
    log.mask(patterns);
    if let Some(head) = shell.log_max_size {
        log.limit(head, shell.log_max_tail_size.unwrap_or(0));
    }
}

fn header(line: &str, argv: &[String], launch: &Launch) -> String {
    let mut text = format!("{line}\n in dir {}", launch.dir.display());
    let limit = |name: &str, value: Option<Duration>| value.map(|v| format!("{name} {} s", v.as_secs_f64()));
    let limits: Vec<String> = [limit("timeout", launch.limits.timeout), limit("maxTime", launch.limits.max_time)]
        .into_iter()
        .flatten()
        .collect();
    if !limits.is_empty() {
        text.push_str(&format!(" ({})", limits.join(", ")));
    }
    text.push_str(&format!("\n argv: {argv:?}\n"));
    text
}

fn listing(env: &Environment, shown: impl Fn(&str) -> String) -> String {
    let line = |(name, value): (&OsString, &OsString)| {
        let name_text = name.to_string_lossy();
        if is_secret(name) {
            format!("  {name_text}=<not shown>\n")
        } else {
            format!("  {name_text}={}\n", shown(&value.to_string_lossy()).replace('\n', "\n    "))
        }
    };
    env.iter().map(line).collect()
}

/// The end of a log with output: exit code and time.
pub(super) fn footer(ended: &Ended) -> String {
    let code = match &ended.how {
        How::Exit(code) => *code,
        _ => -1,
    };
    let mut text = format!("program finished with exit code {code}\n");
    match &ended.how {
        How::Signal(signal) => text.push_str(&format!("ended by signal {signal}\n")),
        How::Limit(limit) => text.push_str(&format!("the command {limit}\n")),
        How::Exit(_) | How::Stopped | How::Over => {}
    }
    text.push_str(&format!("elapsedTime={:.6}\n", ended.elapsed.as_secs_f64()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_listed() {
        let env = Environment::from([("API_TOKEN".into(), "hunter2".into()), ("PATH".into(), "/bin".into())]);
        assert_eq!(listing(&env, str::to_owned), "  API_TOKEN=<not shown>\n  PATH=/bin\n");
    }

    #[test]
    fn a_signal_is_named_with_or_without_its_prefix() {
        assert_eq!(signal("").unwrap(), None);
        assert_eq!(signal("INT").unwrap(), Some(Signal::SIGINT));
        assert_eq!(signal("SIGTERM").unwrap(), Some(Signal::SIGTERM));
        assert!(signal("NONE").is_err());
    }
}
