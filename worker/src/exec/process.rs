//! The processes of builds: starting them, and ending all of them.
//!
//! A command is the leader of its own process group, so most of a tree ends by
//! one signal. What left the group (`setsid`) is found by the marker in its
//! environment, which children inherit. This process is a subreaper: an orphan
//! of a build becomes our child, so a glance at our children tells whether
//! anything is left (cheap enough for every build), and we reap it.
//!
//! Reaping takes the status of a process away from whoever waits for it, so only
//! processes that nobody else can wait for are reaped: never one started here,
//! and, where the process is not the worker's alone ([`own_process`]), only
//! members of process groups that were started here.

use super::env::MARKER;
use super::tree;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

static OWN_PROCESS: AtomicBool = AtomicBool::new(false);

/// Says that this process is nothing but a worker: every child that it did not
/// start itself comes from a build. Then also processes that threw away their
/// environment are ended after their build. To be called by `main`.
pub fn own_process() {
    OWN_PROCESS.store(true, Ordering::Relaxed);
}

/// How long KILL may take, for processes that hang in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How many process groups are remembered for reaping.
const GROUPS: usize = 1024;

pub(crate) struct Processes {
    instance: String,
    /// Held for reading while a process starts: between its start and its entry
    /// in `started` nobody may take it for a stranger.
    starting: RwLock<()>,
    started: Mutex<HashSet<i32>>,
    groups: Mutex<VecDeque<i32>>,
    builds: AtomicUsize,
    /// For `oom_score_adj` of commands: when memory runs out, a build is to die
    /// and not the worker (F27).
    oom_score: Option<String>,
}

impl Processes {
    pub fn new(instance: &str) -> Arc<Processes> {
        if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
            tracing::warn!(%error, "cannot adopt orphans; daemons that a build leaves are found by their environment only");
        }
        Arc::new(Processes {
            instance: instance.to_owned(),
            starting: RwLock::default(),
            started: Mutex::default(),
            groups: Mutex::default(),
            builds: AtomicUsize::new(0),
            oom_score: oom_score(),
        })
    }

    /// Value of the marker for the processes of a step.
    pub fn mark(&self, build: i64, step: u32) -> String {
        format!("{}:{build}:{step}", self.instance)
    }

    /// What every mark of a build begins with.
    pub fn build_mark(&self, build: i64) -> String {
        format!("{}:{build}:", self.instance)
    }

    /// Starts a command as the leader of a new process group.
    pub fn start(self: &Arc<Self>, command: &mut Command) -> io::Result<Started> {
        command.process_group(0);
        let _starting = self.starting.read().expect("no panic while starting a process");
        let child = command.spawn()?;
        let pid = child.id().expect("a process that was just started and not waited for") as i32;
        self.started.lock().expect("no panic while holding the set").insert(pid);
        if let Some(score) = &self.oom_score {
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        }
        let mut groups = self.groups.lock().expect("no panic while holding the list");
        groups.push_back(pid);
        if groups.len() > GROUPS {
            groups.pop_front();
        }
        Ok(Started { child, pid, processes: self.clone() })
    }

    /// A build begins; the guard says when its processes must be gone.
    pub fn build_begins(self: &Arc<Self>) -> BuildGuard {
        self.builds.fetch_add(1, Ordering::SeqCst);
        BuildGuard(self.clone())
    }

    /// Signals every process whose mark begins so; says how many there were.
    pub async fn signal(&self, mark: String, signal: Signal) -> usize {
        let sent = tokio::task::spawn_blocking(move || {
            let pids = tree::marked(MARKER, &mark);
            pids.iter().filter(|pid| kill(Pid::from_raw(**pid), signal).is_ok()).count()
        });
        sent.await.unwrap_or(0)
    }

    /// Whether any process has a mark that begins so.
    pub async fn any(&self, mark: String) -> bool {
        tokio::task::spawn_blocking(move || !tree::marked(MARKER, &mark).is_empty()).await.unwrap_or(false)
    }

    /// Kills until nothing so marked is left: between a look and a signal a
    /// process may have forked.
    pub async fn end(&self, mark: String) {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(2);
        while self.signal(mark.clone(), Signal::SIGKILL).await > 0 {
            if begun.elapsed() > KILL_PATIENCE {
                tracing::error!(mark, "processes of a build do not die; they may hang in the kernel");
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
            self.tidy(None);
        }
        self.tidy(None);
    }

    /// Ends every process that an earlier life of this worker left.
    pub async fn end_earlier_life(&self) {
        let mark = format!("{}:", self.instance);
        if self.any(mark.clone()).await {
            tracing::warn!("ending processes of builds that an earlier life of this worker left");
            self.end(mark).await;
        }
    }

    /// After a build's last step: ends what it left behind (F28).
    pub async fn end_of_build(&self, build: i64) {
        let mark = self.build_mark(build);
        let begun = Instant::now();
        // Its end is only the end when they are gone, and each may have left orphans.
        while self.tidy(Some(&mark)) && begun.elapsed() < KILL_PATIENCE {
            self.end(mark.clone()).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Looks at our children: reaps dead orphans, and says whether one alive is
    /// marked so. Orphans without that mark are killed when no other build is
    /// running that could own them.
    pub fn tidy(&self, mark: Option<&str>) -> bool {
        let alone = OWN_PROCESS.load(Ordering::Relaxed);
        let _nobody_starts = self.starting.write().expect("no panic while starting a process");
        let mut found = false;
        for pid in tree::children() {
            if self.started.lock().expect("no panic while holding the set").contains(&pid) {
                continue;
            }
            let Some(stat) = tree::stat(pid) else { continue };
            if stat.zombie {
                if alone || self.groups.lock().expect("no panic while holding the list").contains(&stat.group) {
                    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
                }
            } else if mark.is_some_and(|m| tree::is_marked(pid, MARKER, m)) {
                found = true;
            } else if alone && mark.is_some() && self.builds.load(Ordering::SeqCst) <= 1 {
                tracing::info!(pid, "ending a process that a build left without its mark");
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                found = true;
            }
        }
        found
    }
}

/// The worker's own score and some more.
fn oom_score() -> Option<String> {
    let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    Some((own + 300).min(1000).to_string())
}

/// A running command; when this is dropped it is no longer ours.
pub(crate) struct Started {
    pub child: Child,
    pid: i32,
    processes: Arc<Processes>,
}

impl Started {
    /// Signals the whole process group. Only to be used before the leader was
    /// waited for: until then its number cannot belong to anyone else.
    pub fn signal_group(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = killpg(Pid::from_raw(self.pid), signal);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Dropped in the middle, by a panic or at the end of the process: nothing may go on.
        self.signal_group(Signal::SIGKILL);
        self.processes.started.lock().expect("no panic while holding the set").remove(&self.pid);
    }
}

/// One running build.
pub(crate) struct BuildGuard(Arc<Processes>);

impl Drop for BuildGuard {
    fn drop(&mut self) {
        self.0.builds.fetch_sub(1, Ordering::SeqCst);
    }
}
