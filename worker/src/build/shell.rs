//! `steps.ShellCommand`.

use super::step::{Done, StepError, StepRun, footer};
use crate::exec::env::{Environment, is_secret};
use crate::exec::run::{How, Launch, LaunchError, Limits};
use crate::steplog::StepLog;
use std::ffi::OsString;
use std::time::Duration;
use tidemill_lang::plan::{Command, Shell};
use tidemill_model::Results;
use tidemill_model::wire::LogKind;

pub(super) async fn run(step: &mut StepRun<'_>, shell: Shell) -> Result<Done, StepError> {
    let (argv, shown) = match &shell.command {
        Command::Argv(argv) => (argv.clone(), argv.join(" ")),
        Command::Line(line) => (vec!["/bin/sh".into(), "-c".into(), line.clone()], line.clone()),
    };
    if argv.iter().any(|a| a.contains('\0')) {
        return Err(StepError::Other("the command holds a NUL byte, which no program can be given".into()));
    }
    let dir = step.workdir(&shell.workdir)?;
    let env = step.environment(&shell.env)?;
    let us = |us: Option<u64>| us.map(Duration::from_micros);
    let launch = Launch {
        argv: argv.iter().map(OsString::from).collect(),
        dir,
        env,
        stdin: shell.initial_stdin.clone(),
        limits: Limits {
            timeout: us(shell.timeout_us),
            max_time: us(shell.max_time_us),
            max_lines: shell.max_lines,
            sigterm: us(shell.sigterm_us),
        },
        want: (shell.want_stdout, shell.want_stderr),
        capture: 0,
    };
    let mut log = step.open_log("stdio", LogKind::Stdio);
    if let Some(head) = shell.log_max_size {
        log.limit(head, shell.log_max_tail_size.unwrap_or(0));
    }
    header(&mut log, &shown, &launch, shell.log_environ);
    let ended = match step.exec(launch, &mut log).await {
        Ok(ended) => ended,
        // What a shell would say with exit code 127: the build's own mistake.
        Err(error @ LaunchError::NotFound { .. }) => {
            log.header(&format!("{error}\n"));
            log.finish();
            return Ok(Done::Results { results: Results::Failure, note: "command not found".into() });
        }
        Err(error) => {
            log.finish();
            return Err(error.into());
        }
    };
    footer(&mut log, &ended);
    let done = judge(&ended.how, &shell);
    let full = matches!(&done, Done::Results { results: Results::Failure, .. }) && step.disk_is_full();
    if full {
        log.header("the worker's disk is full\n");
    }
    log.finish();
    if full {
        return Ok(Done::Results { results: Results::Exception, note: "the worker's disk is full".into() });
    }
    Ok(done)
}

/// RF-08: the exit code decides, −1 stands for a signal.
fn judge(how: &How, shell: &Shell) -> Done {
    let decoded = |code: i32| {
        let default = if code == 0 { Results::Success } else { Results::Failure };
        shell.decode_rc.get(&code).copied().unwrap_or(default)
    };
    match how {
        How::Exit(code) => Done::with(decoded(*code)),
        How::Signal(signal) => Done::Results { results: decoded(-1), note: format!("signal {signal}") },
        How::Limit(text) => Done::Results { results: Results::Failure, note: text.clone() },
        How::Stopped => Done::Stopped,
        How::Over => Done::Over,
    }
}

/// SH-14: what is run, where, and with what.
fn header(log: &mut StepLog, shown: &str, launch: &Launch, log_environ: bool) {
    let mut text = format!("{shown}\n in dir {}", launch.dir.display());
    let limit = |name: &str, value: Option<Duration>| value.map(|v| format!("{name} {} s", v.as_secs_f64()));
    let limits: Vec<String> = [limit("timeout", launch.limits.timeout), limit("maxTime", launch.limits.max_time)]
        .into_iter()
        .flatten()
        .collect();
    if !limits.is_empty() {
        text.push_str(&format!(" ({})", limits.join(", ")));
    }
    text.push_str(&format!("\n argv: {:?}\n", launch.argv));
    if log_environ {
        text.push_str(" environment:\n");
        text.push_str(&listing(&launch.env));
    }
    log.header(&text);
}

fn listing(env: &Environment) -> String {
    let line = |(name, value): (&OsString, &OsString)| {
        let name_text = name.to_string_lossy();
        if is_secret(name) {
            format!("  {name_text}=<not shown>\n")
        } else {
            format!("  {name_text}={}\n", value.to_string_lossy().replace('\n', "\n    "))
        }
    };
    env.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_exit_code_decides_and_a_signal_is_minus_one() {
        let plain = Shell::default();
        assert_eq!(judge(&How::Exit(0), &plain), Done::with(Results::Success));
        assert_eq!(judge(&How::Exit(3), &plain), Done::with(Results::Failure));
        let decode_rc = BTreeMap::from([(2, Results::Warnings), (-1, Results::Retry)]);
        let shell = Shell { decode_rc, ..Default::default() };
        assert_eq!(judge(&How::Exit(0), &shell), Done::with(Results::Success));
        assert_eq!(judge(&How::Exit(2), &shell), Done::with(Results::Warnings));
        assert!(matches!(judge(&How::Signal(9), &shell), Done::Results { results: Results::Retry, .. }));
    }

    #[test]
    fn secrets_are_not_listed() {
        let env = Environment::from([("API_TOKEN".into(), "hunter2".into()), ("PATH".into(), "/bin".into())]);
        assert_eq!(listing(&env), "  API_TOKEN=<not shown>\n  PATH=/bin\n");
    }
}
