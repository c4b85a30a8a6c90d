//! Programs of version control, as pollers run them: an argument vector without
//! a shell, bounded in time and in what they say, a process group of their own
//! that ends when the poll is given up. Of the master's environment they see
//! nothing of Tidemill's own (database address, tokens, secrets).

use super::PollError;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Most bytes read of what a program says, unless it is told otherwise.
pub const OUTPUT_MAX: u64 = 64 << 20;
/// Of its complaints.
const STDERR_MAX: u64 = 1 << 20;
/// Of those, what people get to see.
const SHOWN_MAX: usize = 500;
/// Variables that would turn a program to another repository than its own.
const MISLEADING: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "HG",
    "HGPLAIN",
];

/// One run of a program.
pub struct Program {
    program: &'static str,
    /// For messages: what it is asked for.
    what: &'static str,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    bound: u64,
    within: Duration,
}

impl Program {
    pub fn new(program: &'static str, what: &'static str) -> Program {
        let within = Duration::from_secs(120);
        Program { program, what, args: vec![], env: vec![], input: vec![], bound: OUTPUT_MAX, within }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Program {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Program {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Program {
        self.input = input.into();
        self
    }

    pub fn within(mut self, within: Duration) -> Program {
        self.within = within;
        self
    }

    #[cfg(test)]
    fn bound(mut self, bound: u64) -> Program {
        self.bound = bound;
        self
    }

    /// What it said, with replacement characters for what is not UTF-8.
    ///
    /// # Errors
    /// Also if it ended with another status than 0.
    pub async fn run(self) -> Result<String, PollError> {
        let named = || format!("{} {}", self.program, self.what);
        let failed = |error: std::io::Error| PollError::Start { program: self.program, error };
        let mut command = tokio::process::Command::new(self.program);
        for (name, _) in std::env::vars_os() {
            let own = name.to_str().is_none_or(|n| {
                n.starts_with("TIDEMILL_") || n.starts_with("PG") || n == "DATABASE_URL" || MISLEADING.contains(&n)
            });
            if own {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(&self.args)
            .env("LC_ALL", "C.UTF-8")
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let group = Group::new(child.id());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // If it ended early, its status says why.
                let _ = stdin.write_all(&self.input).await;
            }
        };
        let end = async {
            let status = child.wait().await;
            // What it left behind would hold its pipes open.
            group.kill();
            status
        };
        let all = async { tokio::join!(feed, read(stdout, self.bound, &group), read(stderr, STDERR_MAX, &group), end) };
        let Ok(((), said, words, status)) = tokio::time::timeout(self.within, all).await else {
            return Err(PollError::TimedOut(named(), self.within.as_secs()));
        };
        let status = status.map_err(failed)?;
        let Some(said) = said else { return Err(PollError::TooMuch(named(), self.bound)) };
        if !status.success() {
            let words = words.unwrap_or_default();
            let stderr = String::from_utf8_lossy(&words).trim().chars().take(SHOWN_MAX).collect();
            return Err(PollError::Failed { command: named(), status, stderr });
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
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
pub(super) struct Group(Option<u32>);

impl Group {
    pub fn new(leader: Option<u32>) -> Group {
        Group(leader)
    }

    pub fn kill(&self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_says_is_read_up_to_a_bound_and_for_a_time() {
        let version = || Program::new("git", "--version").arg("--version");
        let said = version().run().await.unwrap();
        assert!(said.starts_with("git version"), "{said}");
        let error = version().bound(4).run().await.unwrap_err();
        assert!(matches!(error, PollError::TooMuch(_, 4)), "{error}");
        let slow = Program::new("sleep", "1000").arg("1000").within(Duration::from_millis(50));
        assert!(matches!(slow.run().await, Err(PollError::TimedOut(..))));
        let error = Program::new("no-such-program", "x").run().await.unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }

    #[tokio::test]
    async fn a_program_sees_nothing_of_tidemills_own_environment() {
        // Cargo's tests have one of these, from the workspace's .env or the harness.
        let said = Program::new("env", "").run().await.unwrap();
        assert!(!said.lines().any(|l| l.starts_with("TIDEMILL_") || l.starts_with("DATABASE_URL=")), "{said}");
        assert!(said.lines().any(|l| l.starts_with("PATH=")), "{said}");
    }
}
