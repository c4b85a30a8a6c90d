//! `steps.ShellCommand`.

use super::command::{self, Ground, Prepared};
use super::step::{Done, StepError, StepRun};
use crate::exec::outlet::{Outlet, Routed, SharedLog, locked};
use crate::exec::run::{How, LaunchError};
use crate::exec::tail::Tail;
use std::sync::{Arc, Mutex};
use tidemill_lang::plan::Shell;
use tidemill_model::Results;
use tidemill_model::wire::LogKind;

pub(super) async fn run(step: &mut StepRun<'_>, shell: Shell) -> Result<Done, StepError> {
    let ground = Ground {
        own_env: &step.shared.own_env,
        folder: step.site.folder,
        builder_env: step.builder_env,
        secrets: step.secrets,
    };
    let Prepared { launch, header } = command::prepare(&ground, &shell)?;
    step.tests.want(&shell.workdir, &shell.test_reports);
    let patterns = step.secrets.patterns();
    let log: SharedLog = Arc::new(Mutex::new(step.open_log("stdio", LogKind::Stdio)));
    command::set_up(&log, &shell, patterns.clone());
    let mut outlet = Routed::new(step.site.spool.clone(), Some(log.clone()), 0, vec![], |_, _, _: &[u8]| true);
    let lazy = shell.lazy_logfiles;
    for (name, file) in &shell.logfiles {
        let (maker, name, shell, patterns) = (step.log_maker(), name.clone(), shell.clone(), patterns.clone());
        let opener = Box::new(move || {
            let (id, log) = maker.open(&name, LogKind::Text);
            let log = Arc::new(Mutex::new(log));
            command::set_up(&log, &shell, patterns.clone());
            (id, log)
        });
        let (root, path) = (step.site.folder.to_owned(), launch.dir.join(&file.path));
        outlet.watch(Tail::new(root, path, file.follow, lazy, opener));
    }
    outlet.header(&header);
    let ended = step.exec(launch, &mut outlet).await;
    if !matches!(&ended, Ok(ended) if ended.how == How::Over) {
        outlet.end(step.orders).await;
    }
    let done = match &ended {
        Ok(ended) => {
            outlet.footer(&command::footer(ended));
            let done = judge(&ended.how, &shell);
            let failed = matches!(&done, Done::Results { results: Results::Failure, .. });
            if failed && step.disk_is_full() {
                outlet.header("the worker's disk is full\n");
                Ok(Done::Results { results: Results::Exception, note: "the worker's disk is full".into() })
            } else {
                Ok(done)
            }
        }
        // What a shell would say with exit code 127: the build's own mistake.
        Err(error @ LaunchError::NotFound { .. }) => {
            outlet.header(&format!("{error}\n"));
            Ok(Done::Results { results: Results::Failure, note: "command not found".into() })
        }
        Err(_) => Ok(Done::with(Results::Exception)),
    };
    for tail in outlet.into_tails() {
        if let Some(log) = tail.log() {
            locked(log).close();
        }
    }
    locked(&log).close();
    match ended {
        Err(error) if !matches!(error, LaunchError::NotFound { .. }) => Err(error.into()),
        _ => done,
    }
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
}
