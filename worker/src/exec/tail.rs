//! A file that is followed into a log while a command runs (SH-10).
//!
//! What was there before the command began is old and is left alone until the
//! file changes; then the whole of it is read, or with `follow` only what is
//! new. A file that became shorter or another one is read from its beginning;
//! of the one that it replaced the rest is read before.

use super::outlet::{SharedLog, locked};
use crate::tree;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_model::log::Channel;
use tokio::time::Instant;

/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How much is read at once.
const READ: usize = 256 << 10;

/// Opens the log of a file that came late: its number and the log.
pub(crate) type Opener = Box<dyn FnMut() -> (u32, SharedLog) + Send>;

pub(crate) struct Tail {
    path: PathBuf,
    /// Everything below this folder is fine.
    root: PathBuf,
    log: Option<(u32, SharedLog)>,
    opener: Opener,
    /// What was there before the command, until it changes.
    before: Option<Identity>,
    /// The one that is read. As long as it is open no other file has its number.
    file: Option<File>,
    offset: u64,
    next: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mtime: (i64, i64),
}

impl Identity {
    fn of(meta: &Metadata) -> Identity {
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Identity { device: meta.dev(), inode: meta.ino(), size: meta.size(), mtime }
    }

    fn is_same_file(&self, other: &Identity) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Tail {
    /// Before the command begins. `lazy` opens the log when the file is there.
    pub fn new(root: PathBuf, path: PathBuf, follow: bool, lazy: bool, mut opener: Opener) -> Tail {
        let log = if lazy { None } else { Some(opener()) };
        let mut tail =
            Tail { path, root, log, opener, before: None, file: None, offset: 0, next: Instant::now() + LOOK };
        if let Some((file, now)) = tail.open() {
            tail.before = Some(now);
            (tail.file, tail.offset) = (Some(file), if follow { now.size } else { 0 });
        }
        tail
    }

    pub fn log(&self) -> Option<&SharedLog> {
        self.log.as_ref().map(|(_, log)| log)
    }

    /// How many bytes there are to read now.
    pub fn left(&self) -> u64 {
        let at_path = self.open();
        let open = self.file.as_ref().and_then(|file| Some(Identity::of(&file.metadata().ok()?)));
        let unread = |open: Identity| if open.size < self.offset { open.size } else { open.size - self.offset };
        let of_open = open.filter(|now| self.before != Some(*now)).map_or(0, unread);
        let another = at_path.filter(|(_, now)| !open.is_some_and(|open| open.is_same_file(now)));
        of_open + another.map_or(0, |(_, now)| now.size)
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    pub fn looked(&mut self, now: Instant) {
        self.next = now + LOOK;
    }

    /// The next bytes, which are in the log already; none if there are none now.
    pub fn read(&mut self) -> Option<(u32, Vec<u8>)> {
        let bytes = match self.piece() {
            Some(bytes) => bytes,
            None => {
                self.go_over()?;
                self.piece()?
            }
        };
        if self.log.is_none() {
            self.log = Some((self.opener)());
        }
        let (id, log) = self.log.as_ref().expect("it was opened above");
        locked(log).write(Channel::Stdout, &bytes);
        Some((*id, bytes))
    }

    /// More of the open file.
    fn piece(&mut self) -> Option<Vec<u8>> {
        let file = self.file.as_mut()?;
        let now = Identity::of(&file.metadata().ok()?);
        if self.before == Some(now) {
            return None;
        }
        self.before = None;
        if now.size < self.offset {
            self.offset = 0;
        }
        let wanted = (now.size - self.offset).min(READ as u64);
        let mut bytes = vec![];
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        file.take(wanted).read_to_end(&mut bytes).ok()?;
        self.offset += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Turns to the file that is at the path now, if it is another one.
    fn go_over(&mut self) -> Option<()> {
        let (file, now) = self.open()?;
        let open = self.file.as_ref().and_then(|file| Some(Identity::of(&file.metadata().ok()?)));
        if open.is_some_and(|open| open.is_same_file(&now)) {
            return None;
        }
        (self.before, self.file, self.offset) = (None, Some(file), 0);
        Some(())
    }

    /// A plain file inside; others are as good as missing.
    fn open(&self) -> Option<(File, Identity)> {
        let file = plain(&self.path).ok()?;
        if !tree::is_inside(&self.root, &self.path.canonicalize().ok()?) {
            return None;
        }
        let now = Identity::of(&file.metadata().ok()?);
        Some((file, now))
    }
}

/// Opens a plain file for reading. What is none, such as a pipe that nobody
/// writes to, is refused and never waited for.
pub(crate) fn plain(path: &Path) -> io::Result<File> {
    // Opened only if it looks plain: opening a device may do something.
    let looks_plain = |meta: Metadata| meta.is_file().then_some(()).ok_or_else(|| io::Error::other("is no plain file"));
    looks_plain(std::fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    looks_plain(file.metadata()?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Budget, Spool};
    use crate::steplog::StepLog;
    use std::os::unix::fs::symlink;
    use std::sync::{Arc, Mutex};
    use tidemill_model::wire::LogKind;

    fn tail(dir: &Path, follow: bool) -> Tail {
        let spool = Arc::new(Spool::new(dir.join("spool"), Arc::new(Budget::new(u64::MAX))));
        let opener = Box::new(move || {
            let log = StepLog::open(spool.clone(), 1, 1, "f", "f".into(), LogKind::Text);
            (1, Arc::new(Mutex::new(log)))
        });
        Tail::new(dir.to_owned(), dir.join("f"), follow, true, opener)
    }

    /// All that is there now, and whether as much was foretold.
    fn all(tail: &mut Tail) -> String {
        let left = tail.left();
        let mut text = vec![];
        while let Some((_, bytes)) = tail.read() {
            text.extend(bytes);
        }
        assert_eq!((left, tail.left()), (text.len() as u64, 0));
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_or_shortened_loses_nothing_of_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("f");
        let mut tail = tail(&root, false);
        std::fs::write(&file, "a long first line\n").unwrap();
        assert_eq!(all(&mut tail), "a long first line\n");
        // Replaced: the rest of the old one comes first.
        let mut old = OpenOptions::new().append(true).open(&file).unwrap();
        std::fs::write(root.join("new"), "new\n").unwrap();
        std::fs::rename(root.join("new"), &file).unwrap();
        io::Write::write_all(&mut old, b"its end\n").unwrap();
        assert_eq!(all(&mut tail), "its end\nnew\n");
        // Shortened.
        std::fs::write(&file, "x\n").unwrap();
        assert_eq!(all(&mut tail), "x\n");
        // Removed while somebody writes to it.
        let mut old = OpenOptions::new().append(true).open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        io::Write::write_all(&mut old, b"last\n").unwrap();
        assert_eq!(all(&mut tail), "last\n");
    }

    #[tokio::test]
    async fn an_old_file_that_is_followed_and_replaced_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("f");
        std::fs::write(&file, "old\n").unwrap();
        let mut tail = tail(&root, true);
        assert_eq!(all(&mut tail), "");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "entirely new\n").unwrap();
        assert_eq!(all(&mut tail), "entirely new\n");
    }

    #[tokio::test]
    async fn what_is_no_plain_file_inside_is_as_good_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut tail = tail(&root, false);
        nix::unistd::mkfifo(&root.join("f"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(all(&mut tail), "");
        std::fs::remove_file(root.join("f")).unwrap();
        symlink("/etc/passwd", root.join("f")).unwrap();
        assert_eq!(all(&mut tail), "");
    }
}
