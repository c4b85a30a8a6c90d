//! One run of a program to its end: fed, read up to a bound, a process group of
//! its own that ends with the program, with its time, or when nobody waits for
//! it any more.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How much a run may say and take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub stdout: u64,
    pub stderr: u64,
    pub within: Duration,
}

/// What became of a run.
#[derive(Debug)]
pub enum End {
    /// It took longer than it may.
    TimedOut,
    /// What it said; none of what was too much, for which it was ended.
    Ended { status: ExitStatus, stdout: Option<Vec<u8>>, stderr: Option<Vec<u8>> },
}

/// # Errors
/// If it cannot be started.
pub async fn run(mut command: Command, input: &[u8], bounds: Bounds) -> std::io::Result<End> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group(child.id());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that reads nothing has ended, and its status says how.
            let _ = stdin.write_all(input).await;
        }
    };
    let end = async {
        let status = child.wait().await;
        // What it left behind would hold its pipes open.
        group.kill();
        status
    };
    let all =
        async { tokio::join!(feed, read(stdout, bounds.stdout, &group), read(stderr, bounds.stderr, &group), end) };
    match tokio::time::timeout(bounds.within, all).await {
        Err(_) => Ok(End::TimedOut),
        Ok(((), stdout, stderr, status)) => Ok(End::Ended { status: status?, stdout, stderr }),
    }
}

/// All that comes; none, and the program is ended, if it is too much.
async fn read(from: Option<impl AsyncRead + Unpin>, bound: u64, group: &Group) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let _ = from?.take(bound + 1).read_to_end(&mut all).await;
    if all.len() as u64 > bound {
        group.kill();
        return None;
    }
    Some(all)
}

/// The processes of a program; ended when it is dropped.
struct Group(Option<u32>);

impl Group {
    fn kill(&self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
