//! `steps.ShellCommand`, and `Compile` and `Test` with their ready commands.

use super::Rendered;
use crate::host::diagnostics::EvalError;
use crate::plan::{Command, Shell};
use crate::values::convert::{boolean, command, count, decode_rc, env, folder, optional_text, seconds};

pub(super) fn render(args: &Rendered<'_>) -> Result<Shell, EvalError> {
    let default = Shell::default();
    let flag = |name: &str, default: bool| Ok::<_, EvalError>(args.get(name, boolean)?.unwrap_or(default));
    Ok(Shell {
        command: args.get("command", command)?.unwrap_or_else(|| ready_command(args.spec.name)),
        workdir: args.get("workdir", folder)?.unwrap_or(default.workdir),
        env: args.get("env", env)?.unwrap_or_default(),
        timeout_us: args.get("timeout", seconds)?.unwrap_or(default.timeout_us),
        max_time_us: args.get("maxTime", seconds)?.flatten(),
        max_lines: args.get("max_lines", count)?.flatten(),
        sigterm_us: args.get("sigtermTime", seconds)?.flatten(),
        initial_stdin: args.get("initialStdin", optional_text)?.flatten(),
        want_stdout: flag("want_stdout", true)?,
        want_stderr: flag("want_stderr", true)?,
        log_environ: flag("logEnviron", true)?,
        decode_rc: args.get("decodeRC", decode_rc)?.unwrap_or(default.decode_rc),
        log_max_size: args.get("logMaxSize", count)?.flatten(),
        log_max_tail_size: args.get("logMaxTailSize", count)?.flatten(),
    })
}

fn ready_command(spec: &str) -> Command {
    let target = if spec == "steps.Test" { "test" } else { "all" };
    Command::Argv(vec!["make".into(), target.into()])
}
