//! One command, from start to the last byte of its output.
//!
//! Everything happens in one task: both pipes, the exit, time limits, orders
//! and the log's own timers. While the spool has no room nothing is read, so the
//! command blocks on its pipe, and time limits stand still, as they do while
//! somebody looks at its output.
//!
//! The exit of the command ends the step. Processes that it left in the
//! background may live until the end of the build (a server for the next step),
//! but if they hold its output open they are ended after [`HELD_OPEN`].

use super::env::{Environment, MARKER};
use super::outlet::Outlet;
use super::pipe::{Pipe, receiver};
use super::process::{Processes, Started};
use super::pty;
use crate::order::Order;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::log::Channel;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long output may stay open after the command's exit.
const HELD_OPEN: Duration = Duration::from_secs(5);

/// How long a stopped build's step has between TERM and KILL.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

/// Longest time between TERM and KILL, whatever was configured.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// How often a tree that got TERM is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Program and arguments; at least the program.
    pub argv: Vec<OsString>,
    pub dir: PathBuf,
    pub env: Environment,
    pub stdin: Option<String>,
    pub limits: Limits,
    /// Log stdout, log stderr.
    pub want: (bool, bool),
    /// Keep so much of stdout for the caller.
    pub capture: usize,
    /// A terminal instead of pipes; its output is all stdout.
    pub pty: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub timeout: Option<Duration>,
    pub max_time: Option<Duration>,
    pub max_lines: Option<u64>,
    /// TERM first and KILL after this; none is KILL at once.
    pub sigterm: Option<Duration>,
    /// The first signal of a stop; none is TERM.
    pub interrupt: Option<Signal>,
}

/// Who runs it, and under which orders.
pub(crate) struct Context<'a> {
    pub processes: &'a Arc<Processes>,
    /// The marker's value, see [`Processes::mark`].
    pub mark: String,
    pub orders: &'a mut watch::Receiver<Order>,
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub how: How,
    pub elapsed: Duration,
    pub captured: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Exit(i32),
    Signal(i32),
    /// A limit was hit; the text says which.
    Limit(String),
    /// Ended by a stop order.
    Stopped,
    /// Killed because nothing of the build counts any more.
    Over,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the command is empty")]
    Empty,
    #[error("{program}: not found in PATH={path}")]
    NotFound { program: String, path: String },
    #[error("cannot start {program}: {error}")]
    Start { program: String, error: std::io::Error },
}

/// Runs the command; its output goes to `log`.
pub(crate) async fn run<O: Outlet>(context: Context<'_>, launch: Launch, log: &mut O) -> Result<Ended, LaunchError> {
    if context.orders.borrow().is_over() {
        return Ok(Ended { how: How::Over, elapsed: Duration::ZERO, captured: Vec::new() });
    }
    let (mut started, terminal) = start(&context, &launch)?;
    let (stdout, stderr) = match terminal {
        Some(terminal) => (Some(terminal), None),
        None => (
            started.child.stdout.take().and_then(|p| receiver(p.into_owned_fd())),
            started.child.stderr.take().and_then(|p| receiver(p.into_owned_fd())),
        ),
    };
    if let Some((mut pipe, text)) = started.child.stdin.take().zip(launch.stdin) {
        // Ends by itself: the pipe breaks when the last reader is gone.
        tokio::spawn(async move {
            let _ = pipe.write_all(text.as_bytes()).await;
        });
    }
    let now = Instant::now();
    let mut running = Running {
        processes: context.processes,
        mark: context.mark,
        started,
        limits: launch.limits,
        begun: now,
        idle_since: now,
        stalled: Duration::ZERO,
        lines: 0,
        exit: None,
        why: None,
        ending: None,
        close_by: None,
        refused: false,
    };
    let mut out = Pipe::new(stdout, Channel::Stdout, launch.want.0, launch.capture);
    let mut err = Pipe::new(stderr, Channel::Stderr, launch.want.1, 0);
    let spool = log.spool().clone();
    loop {
        if running.exit.is_some() && out.is_closed() && err.is_closed() && running.ending.is_none() {
            break;
        }
        let room = log.spool().has_room();
        let deadline = running.deadline(room).into_iter().flatten().chain(log.deadline()).min();
        let stall = Instant::now();
        tokio::select! {
            n = out.read(), if room && !out.is_closed() => running.output(&mut out, n, log, launch.limits.max_lines),
            n = err.read(), if room && !err.is_closed() => running.output(&mut err, n, log, launch.limits.max_lines),
            status = running.started.child.wait(), if running.exit.is_none() => running.exited(status, log),
            changed = context.orders.changed() => {
                let order = context.orders.borrow_and_update().clone();
                if changed.is_err() || order.is_over() {
                    running.kill_now().await;
                    return Ok(Ended { how: How::Over, elapsed: running.begun.elapsed(), captured: Vec::new() });
                }
                if let Order::Stop(stop) = order {
                    log.header(&format!("stopping the command: {}\n", stop.reason));
                    running.begin_stop();
                }
            }
            () = spool.room(), if !room => running.stood_still(stall.elapsed()),
            () = sleep_until(deadline) => {
                let begun = Instant::now();
                let found = log.tick(begun);
                let now = running.looked_on(begun);
                if found {
                    running.idle_since = now;
                }
                if running.due(now, room, log).await {
                    out.close();
                    err.close();
                }
            }
        }
        // After an order to stop the tree has the time that it was given.
        if log.is_refused() && !running.refused && running.ending.is_none() {
            running.refused = true;
            running.begin_end(How::Stopped, None, Signal::SIGKILL);
        }
        if let Some(ending) = running.ending.as_mut().filter(|e| !e.told) {
            ending.told = true;
            running.first_signal().await;
        }
    }
    Ok(Ended { how: running.how(), elapsed: running.begun.elapsed(), captured: out.captured })
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn start(context: &Context<'_>, launch: &Launch) -> Result<(Started, Option<Receiver>), LaunchError> {
    let (name, args) = launch.argv.split_first().ok_or(LaunchError::Empty)?;
    let program = find(name, launch)?;
    let failed = |error| LaunchError::Start { program: name.to_string_lossy().into_owned(), error };
    // With a path as program, and nothing to do between fork and exec, the
    // standard library uses posix_spawn, which does not copy page tables.
    let mut command = tokio::process::Command::new(program);
    command
        .arg0(name)
        .args(args)
        .current_dir(&launch.dir)
        .env_clear()
        .envs(&launch.env)
        .env("PWD", &launch.dir)
        .env(MARKER, &context.mark);
    let terminal = match launch.pty {
        true => {
            let terminal = pty::Terminal::open().map_err(failed)?;
            let side = || terminal.side().map_err(failed);
            command.stdin(side()?).stdout(side()?).stderr(side()?);
            Some(terminal.into_reader().map_err(failed)?)
        }
        false => {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
    };
    if launch.stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    // The command goes, and with it our hold on the terminal's other side.
    let started = context.processes.start(&mut command).map_err(failed)?;
    Ok((started, terminal))
}

/// The program's path, looked up as a shell would, in the PATH of the command.
fn find(name: &OsString, launch: &Launch) -> Result<PathBuf, LaunchError> {
    let path = Path::new(name);
    if name.is_empty() {
        return Err(LaunchError::Empty);
    }
    if path.components().count() > 1 || path.is_absolute() {
        return Ok(launch.dir.join(path));
    }
    let default = OsString::from("/usr/local/bin:/usr/bin:/bin");
    let dirs = launch.env.get(std::ffi::OsStr::new("PATH")).unwrap_or(&default);
    std::env::split_paths(dirs)
        .map(|dir| launch.dir.join(dir).join(path))
        .find(|file| file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
        .ok_or_else(|| LaunchError::NotFound {
            program: name.to_string_lossy().into_owned(),
            path: dirs.to_string_lossy().into_owned(),
        })
}

/// The tree is to end.
struct Ending {
    signal: Signal,
    kill_at: Instant,
    look_at: Instant,
    told: bool,
}

struct Running<'a> {
    processes: &'a Arc<Processes>,
    mark: String,
    started: Started,
    limits: Limits,
    begun: Instant,
    idle_since: Instant,
    /// Time that the spool's bound took.
    stalled: Duration,
    lines: u64,
    exit: Option<ExitStatus>,
    why: Option<How>,
    ending: Option<Ending>,
    /// When to stop waiting for the pipes to close.
    close_by: Option<Instant>,
    /// The outlet wants no more.
    refused: bool,
}

impl Running<'_> {
    fn how(&self) -> How {
        if let Some(why) = &self.why {
            return why.clone();
        }
        match self.exit {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => How::Exit(code),
                (None, signal) => How::Signal(signal.unwrap_or(0)),
            },
            None => How::Signal(0),
        }
    }

    fn deadline(&self, room: bool) -> [Option<Instant>; 3] {
        let limit = self.limits_due().filter(|_| room && self.exit.is_none() && self.why.is_none());
        let ending = self.ending.as_ref().filter(|e| e.told).map(|e| e.look_at.min(e.kill_at));
        [limit.map(|(at, _)| at), ending, self.close_by.filter(|_| room)]
    }

    /// The limit that is hit first, and its words.
    fn limits_due(&self) -> Option<(Instant, String)> {
        // A time that is too large to add is no limit.
        let due =
            |from: Instant, limit: Option<Duration>| limit.and_then(|t| Some((from.checked_add(t)?, t.as_secs_f64())));
        let silence = due(self.idle_since, self.limits.timeout)
            .map(|(at, seconds)| (at, format!("timed out: {seconds} s without output")));
        let total = due(self.begun + self.stalled, self.limits.max_time)
            .map(|(at, seconds)| (at, format!("ran longer than {seconds} s")));
        silence.into_iter().chain(total).min_by_key(|(at, _)| *at)
    }

    fn output<R: AsyncRead + AsFd + Unpin>(
        &mut self,
        pipe: &mut Pipe<R>,
        n: usize,
        log: &mut impl Outlet,
        max_lines: Option<u64>,
    ) {
        let bytes = &pipe.buffer[..n];
        if n > 0 {
            let begun = Instant::now();
            if pipe.wanted {
                log.write(pipe.channel, bytes);
            }
            self.idle_since = self.looked_on(begun);
            if let Some(max) = max_lines.filter(|_| self.why.is_none()) {
                self.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
                if self.lines > max {
                    self.limit(format!("wrote more than {max} lines"), log);
                }
            }
        }
        pipe.took(n);
    }

    fn exited(&mut self, status: std::io::Result<ExitStatus>, log: &mut impl Outlet) {
        // Waiting fails only if somebody else reaped the process; its end is certain then.
        self.exit = Some(status.unwrap_or_else(|error| {
            log.header(&format!("the exit code was lost: {error}\n"));
            ExitStatus::from_raw(255 << 8)
        }));
        self.close_by = Some(Instant::now() + HELD_OPEN);
    }

    /// Somebody looked at output: nobody read meanwhile.
    fn looked_on(&mut self, begun: Instant) -> Instant {
        let now = Instant::now();
        self.stood_still(now - begun);
        now
    }

    fn stood_still(&mut self, span: Duration) {
        self.stalled += span;
        self.idle_since += span;
        if let Some(at) = &mut self.close_by {
            *at += span;
        }
    }

    fn limit(&mut self, text: String, log: &mut impl Outlet) {
        log.header(&format!("the command {text}; ending it and its children\n"));
        let polite = self.limits.interrupt.filter(|s| *s != Signal::SIGKILL);
        let grace = self.limits.sigterm.or(polite.map(|_| STOP_GRACE));
        self.begin_end(How::Limit(text), grace, polite.unwrap_or(Signal::SIGTERM));
    }

    fn begin_stop(&mut self) {
        match self.limits.interrupt {
            Some(Signal::SIGKILL) => self.begin_end(How::Stopped, None, Signal::SIGKILL),
            Some(signal) => self.begin_end(How::Stopped, Some(self.limits.sigterm.unwrap_or(STOP_GRACE)), signal),
            None => self.begin_end(How::Stopped, Some(STOP_GRACE), Signal::SIGTERM),
        }
    }

    /// Remembers why, if the command did not end by itself before.
    fn begin_end(&mut self, why: How, grace: Option<Duration>, signal: Signal) {
        if self.exit.is_none() {
            self.why = Some(why);
        }
        let now = Instant::now();
        let grace = grace.unwrap_or_default().min(GRACE_MAX);
        self.ending = Some(Ending { signal, kill_at: now + grace, look_at: now + LOOK, told: false });
    }

    async fn first_signal(&mut self) {
        let Some(ending) = &self.ending else { return };
        if ending.kill_at <= Instant::now() {
            return self.kill_now().await;
        }
        let signal = ending.signal;
        self.started.signal_group(signal);
        self.processes.signal(self.mark.clone(), signal).await;
    }

    /// KILL to everything of this step.
    async fn kill_now(&mut self) {
        self.started.signal_group(Signal::SIGKILL);
        self.processes.end(self.mark.clone()).await;
        self.ending = None;
        self.close_by = self.close_by.map(|at| at.min(Instant::now() + Duration::from_secs(1)));
    }

    /// A deadline passed. True if the pipes are to be closed whatever they hold.
    async fn due(&mut self, now: Instant, room: bool, log: &mut impl Outlet) -> bool {
        if let Some(ending) = &mut self.ending {
            if ending.kill_at <= now {
                self.kill_now().await;
            } else if ending.look_at <= now {
                ending.look_at = now + LOOK;
                if self.exit.is_some() && !self.processes.any(self.mark.clone()).await {
                    self.ending = None;
                }
            }
            return false;
        }
        if room && self.exit.is_none() && self.why.is_none() {
            if let Some((at, text)) = self.limits_due()
                && at <= now
            {
                self.limit(text, log);
            }
            return false;
        }
        if room && self.close_by.is_some_and(|at| at <= now) {
            if self.processes.any(self.mark.clone()).await {
                log.header("processes that the command left hold its output open; ending them\n");
                self.kill_now().await;
                self.close_by = Some(Instant::now() + Duration::from_secs(1));
                return false;
            }
            return true;
        }
        false
    }
}
