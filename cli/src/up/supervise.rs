//! Child processes that are started again when they die.
//!
//! A child is in a process group of its own, so that Ctrl-C reaches `up` first
//! and the end has an order. Should `up` be killed, the kernel sends the child
//! SIGTERM: it drains instead of living on without anybody to start it again.

use super::state;
use super::stop::Stop;
use crate::output::{Output, Style, duration};
use crate::sanitize;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidemill_service::Backoff;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What to start, and how often.
#[derive(Clone)]
pub struct Plan {
    /// For people: `master`, `worker local`.
    pub name: String,
    pub arguments: Vec<String>,
    /// Settings and paths; secrets only as names of files, or for the database's URL.
    pub environment: Vec<(String, String)>,
    /// Variables of ours that are not for this child.
    pub without: Vec<String>,
    pub log: PathBuf,
    /// A file that the child holds locked while it lives. One of an earlier
    /// `up` that was killed may still finish its work: it is waited for.
    pub lock: Option<PathBuf>,
}

/// A supervised child.
pub struct Supervised {
    pub plan: Plan,
    ends: Arc<AtomicU32>,
    stop: Stop,
    task: JoinHandle<()>,
}

/// Between SIGTERM for the second time and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// After so long a life an end counts as the first.
const STABLE: Duration = Duration::from_secs(60);
const LOG_MAX: u64 = 16 * 1024 * 1024;

impl Supervised {
    pub fn start(plan: Plan, out: Output) -> Supervised {
        let (ends, stop) = (Arc::new(AtomicU32::new(0)), Stop::default());
        let task = tokio::spawn(supervise(plan.clone(), out, ends.clone(), stop.clone()));
        Supervised { plan, ends, stop, task }
    }

    /// How often it ended by itself.
    pub fn ends(&self) -> u32 {
        self.ends.load(Ordering::Relaxed)
    }

    /// Asks it to drain, and to stop once `now` is told; returns when it is gone.
    pub async fn end(mut self, now: &tokio_util::sync::CancellationToken) {
        self.stop.drain.cancel();
        tokio::select! {
            _ = &mut self.task => return,
            _ = now.cancelled() => self.stop.now.cancel(),
        }
        let _ = (&mut self.task).await;
    }
}

async fn supervise(plan: Plan, out: Output, ends: Arc<AtomicU32>, stop: Stop) {
    let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(20));
    loop {
        if let Some(lock) = &plan.lock
            && !earlier_ended(&plan.name, lock, out, &stop).await
        {
            return;
        }
        let begun = Instant::now();
        let (how, said) = match spawn(&plan) {
            Ok(mut child) => tokio::select! {
                status = child.wait() => match status {
                    // Killed by somebody: its last words have nothing to do with it.
                    Ok(status) if status.code().is_none() => (status.to_string(), String::new()),
                    Ok(status) => (status.to_string(), state::tail(&plan.log, 3)),
                    Err(e) => (e.to_string(), String::new()),
                },
                _ = stop.drain.cancelled() => return end(child, &stop).await,
            },
            Err(e) => (format!("it could not be started: {e}"), String::new()),
        };
        if begun.elapsed() > STABLE {
            backoff.reset();
        }
        ends.fetch_add(1, Ordering::Relaxed);
        let wait = backoff.wait();
        let head = format!("{} ended ({how}); starting it again in {}", plan.name, duration(wait.as_secs() as i64 + 1));
        eprintln!("{}", out.err().paint(Style::Yellow, &head));
        for line in sanitize::text(&said).lines() {
            eprintln!("  {line}");
        }
        tokio::select! {
            _ = tokio::time::sleep(wait) => {}
            _ = stop.drain.cancelled() => return,
        }
    }
}

/// Waits until nobody holds the lock. False if we are to end meanwhile: then
/// the one who holds it has ended, or was told to stop.
async fn earlier_ended(name: &str, lock: &Path, out: Output, stop: &Stop) -> bool {
    let mut told = false;
    while let Some(pid) = holder(lock) {
        if !std::mem::replace(&mut told, true) {
            let text =
                format!("{name} of an earlier `up` (process {pid}) still finishes its work; a new one follows it");
            eprintln!("{}", out.err().paint(Style::Dim, &text));
        }
        if stop.now.is_cancelled() {
            // It is draining since its parent died; this is the second word.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            return false;
        }
        tokio::select! {
            _ = stop.now.cancelled() => {}
            _ = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
    !stop.drain.is_cancelled()
}

/// Who holds a lock: the process that wrote its number into the file.
fn holder(lock: &Path) -> Option<i32> {
    let file = std::fs::File::open(lock).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            text.trim().parse().ok().filter(|pid| *pid > 1)
        }
        Err(_) => None,
    }
}

async fn end(mut child: Child, stop: &Stop) {
    let signal = |child: &Child, signal| {
        if let Some(pid) = child.id() {
            let _ = kill(Pid::from_raw(pid as i32), signal);
        }
    };
    signal(&child, Signal::SIGTERM);
    tokio::select! {
        _ = child.wait() => return,
        _ = stop.now.cancelled() => {}
    }
    signal(&child, Signal::SIGTERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        signal(&child, Signal::SIGKILL);
        let _ = child.wait().await;
    }
}

fn spawn(plan: &Plan) -> std::io::Result<Child> {
    if std::fs::metadata(&plan.log).is_ok_and(|m| m.len() > LOG_MAX) {
        let _ = std::fs::rename(&plan.log, plan.log.with_extension("log.1"));
    }
    let log = std::fs::File::options().create(true).append(true).open(&plan.log)?;
    // The running program, also when its file was replaced by a new build meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tidemill").args(&plan.arguments);
    for name in &plan.without {
        command.env_remove(name);
    }
    command.envs(plan.environment.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only prctl and getppid run, both async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            // The parent may have died before the line above.
            if nix::unistd::getppid() != parent {
                return Err(std::io::Error::other("the parent is gone"));
            }
            Ok(())
        });
    }
    // Called on the main thread of a single-threaded runtime: the signal above
    // follows the death of the spawning thread, which must be the process's last.
    command.spawn()
}
