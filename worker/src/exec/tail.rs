//! A file that is followed into a log while a command runs (SH-10).
//!
//! What was there before the command began is old and is left alone until the
//! file changes; then the whole of it is read, or with `follow` only what is
//! new. A file that became shorter or another one is read from its beginning.

use super::outlet::{SharedLog, locked};
use crate::tree;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
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
    before: Option<Identity>,
    file: Option<(u64, File)>,
    offset: u64,
    next: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: u64,
    mtime: (i64, i64),
}

impl Tail {
    /// Before the command begins. `lazy` opens the log when the file is there.
    pub fn new(root: PathBuf, path: PathBuf, follow: bool, lazy: bool, mut opener: Opener) -> Tail {
        let log = if lazy { None } else { Some(opener()) };
        let mut tail =
            Tail { path, root, log, opener, before: None, file: None, offset: 0, next: Instant::now() + LOOK };
        tail.before = tail.identity();
        if let Some(before) = tail.before.filter(|_| follow) {
            tail.offset = before.size;
        }
        tail
    }

    pub fn log(&self) -> Option<&SharedLog> {
        self.log.as_ref().map(|(_, log)| log)
    }

    /// Size of the file now; nothing where it is old.
    pub fn size(&self) -> u64 {
        self.identity().filter(|now| self.before != Some(*now)).map_or(0, |now| now.size)
    }

    /// How much of the file was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    pub fn looked(&mut self, now: Instant) {
        self.next = now + LOOK;
    }

    /// The next bytes, which are in the log already; none if there are none now.
    pub fn read(&mut self) -> Option<(u32, Vec<u8>)> {
        let now = self.identity()?;
        if self.before == Some(now) {
            return None;
        }
        let known = self.file.as_ref().map(|(inode, _)| *inode).or(self.before.map(|b| b.inode));
        if known.is_some_and(|inode| inode != now.inode) || now.size < self.offset {
            (self.file, self.offset) = (None, 0);
        }
        self.before = None;
        if self.file.is_none() {
            self.file = Some((now.inode, File::open(&self.path).ok()?));
        }
        let (_, file) = self.file.as_mut().expect("it was opened above");
        let wanted = now.size.saturating_sub(self.offset).min(READ as u64);
        if self.log.is_none() {
            self.log = Some((self.opener)());
        }
        let mut bytes = vec![];
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        file.take(wanted).read_to_end(&mut bytes).ok()?;
        if bytes.is_empty() {
            return None;
        }
        self.offset += bytes.len() as u64;
        let (id, log) = self.log.as_ref().expect("it was opened above");
        locked(log).write(Channel::Stdout, &bytes);
        Some((*id, bytes))
    }

    /// Of a plain file inside; others are as good as missing.
    fn identity(&self) -> Option<Identity> {
        let meta = std::fs::metadata(&self.path).ok().filter(std::fs::Metadata::is_file)?;
        if !tree::is_inside(&self.root, &self.path.canonicalize().ok()?) {
            return None;
        }
        Some(Identity { inode: meta.ino(), size: meta.size(), mtime: (meta.mtime(), meta.mtime_nsec()) })
    }
}
