//! Programs that a poller's function runs on the master: an argument vector
//! without a shell, in an empty folder that is gone afterwards, with nothing of
//! the master's environment (database address, tokens) but the search path, in
//! the bounds of [`crate::pollers::bounded`].

use crate::pollers::bounded::{self, Bounds, End};
use std::time::Duration;
use tidemill_lang::policies::{PollCommand, PollCommandEnd};

/// Longest run of one program.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Longest output on each of stdout and stderr.
const OUTPUT_MAX: u64 = 1 << 20;

pub async fn run(command: &PollCommand, within: Duration) -> Result<PollCommandEnd, String> {
    let Some((program, arguments)) = command.argv.split_first() else { return Err("the command is empty".into()) };
    let failed = |e: std::io::Error| format!("cannot run `{program}`: {e}");
    let folder = tempfile::Builder::new().prefix("tidemill-poll-").tempdir().map_err(failed)?;
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let mut run = tokio::process::Command::new(program);
    run.args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("LC_ALL", "C.UTF-8");
    let bounds = Bounds { stdout: OUTPUT_MAX, stderr: OUTPUT_MAX, within };
    let (status, stdout, stderr) = match bounded::run(run, command.stdin.as_bytes(), bounds).await.map_err(failed)? {
        End::TimedOut => return Err(format!("`{program}` had not ended after {} s", within.as_secs_f64())),
        End::Ended { status, stdout, stderr } => (status, stdout, stderr),
    };
    let too_much = || format!("`{program}` wrote more than {} MiB", OUTPUT_MAX >> 20);
    let text = |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8_lossy(&b).into_owned()).ok_or_else(too_much);
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    use std::os::unix::process::ExitStatusExt;
    // As shells say it of one that a signal ended.
    let rc = status.code().or(status.signal().map(|s| 128 + s)).unwrap_or(-1);
    Ok(PollCommandEnd { rc, stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, within: Duration) -> Result<PollCommandEnd, String> {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        run(&PollCommand { argv, ..PollCommand::default() }, within).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_command_ends_with_its_time_and_takes_its_children_along() {
        let error = sh("sleep 1000", Duration::from_millis(100)).await.unwrap_err();
        assert!(error.contains("had not ended after 0.1 s"), "{error}");
        let held = tempfile::tempdir().unwrap();
        let file = held.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let pid = || std::fs::read_to_string(&file).ok().filter(|p| p.ends_with('\n'));
        let until = async |done: &dyn Fn() -> bool| {
            let look = async {
                while !done() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LONG, look).await.expect("it comes to that");
        };
        let begun = || pid().is_some();
        // Given up in the middle, as at the end of a master.
        tokio::select! {
            end = sh(&script, LONG) => panic!("it waits for its child: {end:?}"),
            () = until(&begun) => {}
        }
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid().unwrap().trim())).unwrap_or_default();
        // A zombie that its new parent has not collected yet has ended too.
        until(&|| stat().is_empty() || stat().contains(") Z ")).await;
    }

    #[tokio::test]
    async fn what_a_command_leaves_behind_does_not_hold_up_its_end() {
        let end = sh("sleep 1000 & echo done; exit 4", LONG).await.unwrap();
        assert_eq!((end.rc, end.stdout.as_str()), (4, "done\n"));
        assert_eq!(sh("kill -9 $$", LONG).await.unwrap().rc, 137);
    }

    #[tokio::test]
    async fn a_command_that_writes_too_much_is_ended_and_one_that_is_not_there_is_named() {
        let error = sh("yes", LONG).await.unwrap_err();
        assert!(error.contains("wrote more than 1 MiB"), "{error}");
        let argv = vec!["no-such-program".to_owned()];
        let error = run(&PollCommand { argv, ..PollCommand::default() }, LONG).await.unwrap_err();
        assert!(error.contains("cannot run `no-such-program`"), "{error}");
    }
}
