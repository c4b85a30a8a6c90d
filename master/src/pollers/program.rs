//! Programs of version control, as pollers run them: an argument vector without
//! a shell, in the bounds of [`super::bounded`]. Of the master's environment they
//! see nothing of Tidemill's own (database address, tokens, secrets).

use super::PollError;
use super::bounded::{self, Bounds, End};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

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
        command.args(&self.args).env("LC_ALL", "C.UTF-8").envs(self.env.iter().map(|(n, v)| (n, v)));
        let bounds = Bounds { stdout: self.bound, stderr: STDERR_MAX, within: self.within };
        let (status, said, words) = match bounded::run(command, &self.input, bounds).await.map_err(failed)? {
            End::TimedOut => return Err(PollError::TimedOut(named(), self.within.as_secs())),
            End::Ended { status, stdout, stderr } => (status, stdout, stderr),
        };
        let Some(said) = said else { return Err(PollError::TooMuch(named(), self.bound)) };
        if !status.success() {
            let words = words.unwrap_or_default();
            let stderr = String::from_utf8_lossy(&words).trim().chars().take(SHOWN_MAX).collect();
            return Err(PollError::Failed { command: named(), status, stderr });
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
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
