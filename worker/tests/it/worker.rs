//! Workers under test: in this process, or as the real program.

use crate::master::{Master, TOKEN};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tidemill_service::Lifecycle;
use tidemill_worker::{Settings, WorkerError};

/// A worker in this process, with a base directory of its own.
pub struct Worker {
    pub life: Lifecycle,
    pub base: tempfile::TempDir,
    task: tokio::task::JoinHandle<Result<(), WorkerError>>,
}

pub fn settings(master: &Master, base: &Path, slots: u32) -> Settings {
    Settings {
        master: master.url.clone(),
        token: TOKEN.into(),
        name: "w".into(),
        base: base.to_owned(),
        slots,
        labels: Default::default(),
        spool_max: 1 << 30,
        secrets_dir: None,
        tree: None,
    }
}

impl Worker {
    pub fn start(master: &Master, slots: u32) -> Worker {
        Self::start_with(master, |s| s.slots = slots)
    }

    pub fn start_with(master: &Master, change: impl FnOnce(&mut Settings)) -> Worker {
        let base = tempfile::tempdir().unwrap();
        let mut settings = settings(master, base.path(), 1);
        change(&mut settings);
        let life = Lifecycle::new();
        let task = tokio::spawn(tidemill_worker::run(settings, life.clone()));
        Worker { life, base, task }
    }

    /// Drains and waits for the end, which must be without an error; checks that
    /// the master saw nothing against the protocol.
    pub async fn end(mut self, master: &Master) {
        self.life.drain();
        self.outcome().await.unwrap();
        assert_eq!(master.lock().violations, Vec::<String>::new());
        assert_eq!(left(&self.base.path().join("spool")), Vec::<String>::new(), "nothing is left in the spool");
    }

    pub async fn outcome(&mut self) -> Result<(), WorkerError> {
        tokio::time::timeout(Duration::from_secs(300), &mut self.task).await.expect("the worker ends").unwrap()
    }
}

/// Folders of builds in a spool.
pub fn left(spool: &Path) -> Vec<String> {
    let names = std::fs::read_dir(spool).into_iter().flatten().flatten();
    names.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|n| n != "journal").collect()
}

/// The real program.
pub struct Program {
    child: Child,
}

impl Program {
    pub fn start(master: &Master, base: &Path) -> Program {
        Self::start_with(master, base, |_| ())
    }

    pub fn start_with(master: &Master, base: &Path, change: impl FnOnce(&mut Command)) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill-worker"));
        command
            .args(["--master", &master.url, "--name", "w", "--base"])
            .arg(base)
            .env("TIDEMILL_WORKER_TOKEN", TOKEN)
            .env("TIDEMILL_LOG", "warn")
            .stdin(Stdio::null());
        change(&mut command);
        Program { child: command.spawn().unwrap() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn exit_code(&mut self) -> i32 {
        for _ in 0..30_000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the worker does not end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process of that number is alive; zombies are not.
pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|s| !s.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
}

/// Waits until something on this machine is so.
pub async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..30_000 {
        if look() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 300 s");
}

/// The number in a file that a build's process writes.
pub async fn pid_in(file: &Path) -> i32 {
    until("a process writes its number", || {
        std::fs::read_to_string(file).is_ok_and(|t| t.ends_with('\n') && t.trim().parse::<i32>().is_ok())
    })
    .await;
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}
