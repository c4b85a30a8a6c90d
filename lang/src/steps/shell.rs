//! `steps.ShellCommand`, and the options of commands that other steps take.

use super::Rendered;
use crate::host::diagnostics::EvalError;
use crate::plan::{Command, Shell};
use crate::values::convert::{
    boolean, command, count, decode_rc, env, folder, logfiles, optional_text, reports, seconds, text,
};

/// Arguments that are read here.
const OPTIONS: [&str; 19] = [
    "command",
    "workdir",
    "env",
    "timeout",
    "maxTime",
    "max_lines",
    "sigtermTime",
    "interruptSignal",
    "initialStdin",
    "want_stdout",
    "want_stderr",
    "usePTY",
    "logEnviron",
    "logfiles",
    "lazylogfiles",
    "decodeRC",
    "logMaxSize",
    "logMaxTailSize",
    "test_reports",
];

pub(super) fn is_option(name: &str) -> bool {
    OPTIONS.contains(&name)
}

pub(crate) fn render(args: &Rendered<'_>) -> Result<Shell, EvalError> {
    overlay(Shell { command: ready_command(args.spec.name), ..Shell::default() }, args)
}

/// Options over those of `base`.
pub(crate) fn overlay(base: Shell, args: &Rendered<'_>) -> Result<Shell, EvalError> {
    let flag = |name: &str, default: bool| Ok::<_, EvalError>(args.get(name, boolean)?.unwrap_or(default));
    let signal = args.get("interruptSignal", text)?.unwrap_or(base.interrupt_signal);
    Ok(Shell {
        command: args.get("command", command)?.unwrap_or(base.command),
        workdir: args.get("workdir", folder)?.unwrap_or(base.workdir),
        env: args.get("env", env)?.unwrap_or(base.env),
        timeout_us: args.get("timeout", seconds)?.unwrap_or(base.timeout_us),
        max_time_us: args.get("maxTime", seconds)?.unwrap_or(base.max_time_us),
        max_lines: args.get("max_lines", count)?.unwrap_or(base.max_lines),
        sigterm_us: args.get("sigtermTime", seconds)?.unwrap_or(base.sigterm_us),
        initial_stdin: args.get("initialStdin", optional_text)?.unwrap_or(base.initial_stdin),
        want_stdout: flag("want_stdout", base.want_stdout)?,
        want_stderr: flag("want_stderr", base.want_stderr)?,
        log_environ: flag("logEnviron", base.log_environ)?,
        decode_rc: args.get("decodeRC", decode_rc)?.unwrap_or(base.decode_rc),
        log_max_size: args.get("logMaxSize", count)?.unwrap_or(base.log_max_size),
        log_max_tail_size: args.get("logMaxTailSize", count)?.unwrap_or(base.log_max_tail_size),
        logfiles: args.get("logfiles", logfiles)?.unwrap_or(base.logfiles),
        lazy_logfiles: flag("lazylogfiles", base.lazy_logfiles)?,
        use_pty: flag("usePTY", base.use_pty)?,
        test_reports: args.get("test_reports", reports)?.unwrap_or(base.test_reports),
        interrupt_signal: signal.strip_prefix("SIG").unwrap_or(&signal).to_owned(),
    })
}

fn ready_command(spec: &str) -> Command {
    let words: &[&str] = match spec {
        "steps.Compile" => &["make", "all"],
        "steps.Test" => &["make", "test"],
        "steps.Configure" => &["./configure"],
        "steps.PyFlakes" => &["make", "pyflakes"],
        "steps.PerlModuleTest" => &["prove", "--lib", "lib", "-r", "t"],
        "steps.HLint" => &["hlint", "."],
        "steps.TreeSize" => &["du", "-s", "-k", "."],
        _ => &[],
    };
    Command::Argv(words.iter().map(|w| (*w).to_owned()).collect())
}
