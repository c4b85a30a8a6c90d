//! The cluster: opened (made, started or adopted) and stopped.

use super::pidfile::{self, State};
use super::{Binaries, DATABASE, Error, Identity, USER, init, socket};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server that is up but not ready: recovery after a crash
/// replays the log since the last checkpoint.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Backends of a killed postmaster need a moment to notice.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_secs(15);
const LOG_MAX: u64 = 16 * 1024 * 1024;
const LOOK: Duration = Duration::from_millis(20);

/// Where and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The cluster's folder; made if missing. `data` lies below it.
    pub dir: PathBuf,
    /// Bin folder of the server programs; found if not given.
    pub bin: Option<PathBuf>,
    /// More server settings (`-c name=value`), over ours. Used at a start, not
    /// when a running server is adopted.
    pub settings: Vec<(String, String)>,
}

impl Options {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Options { dir: dir.into(), ..Options::default() }
    }

    /// Adds a server setting.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Settings for tests and benchmarks of code: nothing is synced to disk,
    /// so a crash of the machine loses the cluster (a kill of the server does not).
    pub fn throw_away(self) -> Self {
        self.set("fsync", "off").set("synchronous_commit", "off").set("full_page_writes", "off")
    }

    fn durable(&self) -> bool {
        !self.settings.iter().any(|(name, value)| name == "fsync" && value == "off")
    }
}

/// A running private cluster. Dropping it leaves the server running, for the
/// next `open` to adopt; [`Cluster::stop`] ends it.
#[derive(Debug)]
pub struct Cluster {
    pub(super) dir: PathBuf,
    pub(super) data: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) binaries: Binaries,
    pub(super) identity: Identity,
    pid: i32,
    /// The server, if this object started it: to be reaped.
    child: Option<Child>,
}

impl Cluster {
    /// Makes the cluster if there is none, starts it if it is down, adopts it
    /// if it runs; returns when it accepts connections and has our database.
    pub fn open(options: &Options) -> Result<Cluster, Error> {
        let dir = prepare(&options.dir)?;
        let _lock = lock(&dir)?;
        super::upgrade::finish_interrupted(&dir)?;
        let data = dir.join("data");
        let binaries = Binaries::choose(options.bin.as_deref())?;
        let identity = Identity::choose(&dir, &binaries.dir)?;
        if !data.join("PG_VERSION").exists() {
            identity.own(&dir)?;
            let new = dir.join("data.new");
            remove(&new)?;
            init::initdb(&binaries, &identity, &new, options.durable(), true)?;
            std::fs::rename(&new, &data).map_err(Error::io("rename", &new))?;
        }
        let running = pidfile::state(&data);
        if !matches!(running, State::Ready(_)) {
            check_release(&data, &binaries)?;
        }
        let socket = socket::folder(&dir, &identity)?;
        let mut cluster = Cluster::offline(dir, data, socket, binaries, identity);
        cluster.start(options)?;
        cluster.ensure_database();
        Ok(cluster)
    }

    /// A cluster that is yet to be started by hand.
    pub(super) fn offline(
        dir: PathBuf,
        data: PathBuf,
        socket: PathBuf,
        binaries: Binaries,
        identity: Identity,
    ) -> Cluster {
        Cluster { dir, data, socket, binaries, identity, pid: 0, child: None }
    }

    /// For clients: `postgres://tidemill@localhost/tidemill?host=<socket folder>`.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The same for another database of the cluster.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost/{}?host={}", escape(database), escape(&self.socket.display().to_string()))
    }

    /// Process id of the postmaster.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket
    }

    /// What the server says.
    pub fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether `open` found it running.
    pub fn adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Whether the postmaster is alive now.
    pub fn alive(&mut self) -> bool {
        match &mut self.child {
            // An ending process has no command line any more but is still there.
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => pidfile::is_postmaster(self.pid, &self.data),
        }
    }

    /// Fast stop: sessions are ended, open transactions rolled back, and all
    /// is written.
    pub fn stop(mut self) -> Result<(), Error> {
        self.signal(Signal::SIGINT);
        let begun = Instant::now();
        while self.alive() {
            if begun.elapsed() > STOP_WITHIN {
                return Err(Error::Stop { pid: self.pid, seconds: STOP_WITHIN.as_secs(), log: self.log() });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Kills the postmaster without a chance to write, as a crash would. For tests.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        while self.alive() {
            std::thread::sleep(LOOK);
        }
    }

    fn signal(&self, signal: Signal) {
        // Not to a stranger that got the number after our server ended.
        if pidfile::is_postmaster(self.pid, &self.data) {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Brings the server up, whatever state it is in. Called under the lock.
    pub(super) fn start(&mut self, options: &Options) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            match pidfile::state(&self.data) {
                State::Ready(pid) => {
                    self.pid = pid;
                    // Who started it may have had another runtime folder.
                    if let Some(socket) = pidfile::socket_dir(&self.data) {
                        self.socket = socket;
                    }
                    break;
                }
                // Started by somebody who was killed meanwhile, or ending.
                State::Busy(_) => {
                    if begun.elapsed() > READY_WITHIN {
                        return Err(self.slow(0));
                    }
                    std::thread::sleep(LOOK);
                }
                State::Down { recycled } => {
                    if recycled {
                        pidfile::disown(&self.data).map_err(Error::io("correct the pid file in", &self.data))?;
                        let _ = std::fs::remove_file(format!("{}.lock", socket::file(&self.socket).display()));
                    }
                    let from = self.rotate_log();
                    match self.spawn(options, from) {
                        Ok(()) => break,
                        Err(Error::Start { tail, .. })
                            if tail.contains("shared memory block") && begun.elapsed() < ORPHANS_GONE_WITHIN =>
                        {
                            std::thread::sleep(LOOK * 10);
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
        }
        Ok(())
    }

    fn spawn(&mut self, options: &Options, log_from: u64) -> Result<(), Error> {
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        let errors = log.try_clone().map_err(Error::io("open", &path))?;
        let mut command = self.identity.command(&self.binaries.program("postgres"));
        command.current_dir(&self.dir).arg("-D").arg(&self.data).arg("-k").arg(&self.socket);
        let port = socket::PORT.to_string();
        let ours = [
            ("listen_addresses", ""),
            ("port", port.as_str()),
            ("unix_socket_permissions", "0700"),
            ("max_connections", "100"),
            ("shared_buffers", "128MB"),
            ("max_wal_size", "1GB"),
            ("log_checkpoints", "off"),
            ("log_line_prefix", "%m [%p] "),
        ];
        for (name, value) in ours {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        for (name, value) in &options.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // Its own group: Ctrl-C on the terminal is for us, and the database ends last.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let mut child = command.spawn().map_err(Error::io("run", self.binaries.program("postgres")))?;
        let begun = Instant::now();
        loop {
            if let State::Ready(pid) = pidfile::state(&self.data) {
                self.pid = pid;
                self.child = Some(child);
                return Ok(());
            }
            if let Ok(Some(_)) = child.try_wait() {
                return Err(Error::Start { tail: self.log_tail(log_from), log: path });
            }
            if begun.elapsed() > READY_WITHIN {
                let slow = self.slow(log_from);
                // Recovery goes on: the next try finds it busy and waits again.
                return Err(slow);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn slow(&self, log_from: u64) -> Error {
        Error::Slow { seconds: READY_WITHIN.as_secs(), log: self.log(), tail: self.log_tail(log_from) }
    }

    /// Somebody may have dropped our database; make it again if the client
    /// program is there. Where it is not, the connection says what is missing.
    fn ensure_database(&self) {
        if !self.binaries.has("psql") {
            return;
        }
        let ask = format!("select 1 from pg_database where datname = '{DATABASE}'");
        if let Ok(answer) = self.psql("postgres", &ask)
            && answer.trim().is_empty()
        {
            let _ = self.psql("postgres", &format!("create database {DATABASE}"));
        }
    }

    /// One statement through psql; its rows without decoration.
    pub(super) fn psql(&self, database: &str, statement: &str) -> Result<String, Error> {
        let program = self.binaries.program("psql");
        let output = self
            .client(&program)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement])
            .output()
            .map_err(Error::io("run", &program))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Error::Program { program, detail: String::from_utf8_lossy(&output.stderr).trim().to_owned() }),
        }
    }

    /// A client program, told where the server is.
    pub(super) fn client(&self, program: &Path) -> std::process::Command {
        let mut command = self.identity.command(program);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.arg("-h").arg(&self.socket).arg("-p").arg(socket::PORT.to_string()).args(["-U", USER]);
        command
    }

    /// Keeps the server's log bounded over restarts; returns where new lines begin.
    fn rotate_log(&self) -> u64 {
        let path = self.log();
        let length = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        if length > LOG_MAX && std::fs::rename(&path, self.dir.join("postgres.log.1")).is_ok() {
            return 0;
        }
        length
    }

    fn log_tail(&self, from: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.log())
            && file.seek(SeekFrom::Start(from)).is_ok()
        {
            let _ = file.take(256 * 1024).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
    }
}

/// Makes the cluster's folder and returns its absolute path.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, Error> {
    if !dir.exists() {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(Error::io("protect", dir))?;
    }
    dir.canonicalize().map_err(Error::io("open", dir))
}

/// Held while a cluster is made, started or upgraded.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, Error> {
    let path = dir.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| Error::io("lock", &path)(e.into()))
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The release that made a data folder.
pub(super) fn release_of(data: &Path) -> Result<u32, Error> {
    let path = data.join("PG_VERSION");
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    text.trim().parse().map_err(|_| Error::Damaged { path, detail: format!("it says {:?}", text.trim()) })
}

fn check_release(data: &Path, binaries: &Binaries) -> Result<(), Error> {
    let release = release_of(data)?;
    let (path, bin) = (data.to_owned(), binaries.dir.clone());
    match release.cmp(&binaries.major) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Error::Newer { path, data: release, binaries: binaries.major, bin }),
        std::cmp::Ordering::Less => Err(Error::Older {
            path,
            data: release,
            binaries: binaries.major,
            bin,
            remedy: super::upgrade::remedy(release, binaries.major),
        }),
    }
}

/// Percent-encodes what a URL's query cannot carry.
fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_odd_letters_survives_the_url() {
        assert_eq!(escape("/a b/ü?&#"), "/a%20b/%C3%BC%3F%26%23");
    }
}
