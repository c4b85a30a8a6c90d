//! A build's frames on disk: segment files and the record of batches.
//!
//! Segments hold frames one after the other. Before a range of them is sent as
//! batch N for the first time, `batches` records N and the range: so a new life
//! of the worker sends the same bytes under the same number. Only one batch is
//! on its way at a time, so a record of N + 1 means that N was acknowledged.
//! Segments that were acknowledged whole are deleted.
//!
//! Nothing is synced: what a killed process wrote is in the kernel's cache. A
//! machine that crashed may leave a broken tail, which is cut off at the last
//! whole frame.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment that would grow over this gets a successor.
const SEGMENT_MAX: u64 = 32 << 20;

/// A segment sent to its end is deleted if it is at least so long, else written on.
const SEGMENT_DROP: u64 = 1 << 20;

/// Bytes before a frame's payload: kind and length, see `wire::encode_frame`.
const FRAME_HEAD: usize = 5;

const RECORD: usize = 32;

#[derive(Debug)]
struct Segment {
    index: u64,
    file: Arc<File>,
    len: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    segments: VecDeque<Segment>,
    /// Bytes of the front segment that were acknowledged.
    read: u64,
    next_index: u64,
    batches: File,
}

/// Where a batch begins, and how many bytes lie there now.
pub(super) struct Ahead {
    file: Arc<File>,
    start: u64,
    available: u64,
}

impl Ahead {
    /// Reads whole frames of together at most `limit` bytes, but at least one.
    pub fn read(&self, limit: u64) -> io::Result<Bytes> {
        let mut want = self.available.min(limit) as usize;
        loop {
            let mut data = vec![0; want];
            self.file.read_exact_at(&mut data, self.start)?;
            match whole_frames(&data) {
                (0, next) => want = next,
                (n, _) => {
                    data.truncate(n);
                    return Ok(data.into());
                }
            }
            if want as u64 > self.available {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame in the spool breaks off"));
            }
        }
    }
}

/// What [`Store::open`] found besides the segments.
#[derive(Debug)]
pub(super) struct Found {
    /// Number of the next new batch.
    pub next: u64,
    /// A batch that may have been sent already, with its bytes.
    pub in_flight: Option<(u64, Bytes)>,
    /// Payload of the very last frame.
    pub last_frame: Option<Vec<u8>>,
    /// Bytes not known to be acknowledged.
    pub bytes: u64,
}

impl Store {
    pub fn create(dir: &Path) -> io::Result<Store> {
        // What lies here is of a build that is over: ids are not used twice.
        if let Err(e) = std::fs::remove_dir_all(dir)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        std::fs::create_dir(dir)?;
        let batches = open_batches(dir)?;
        Ok(Store { dir: dir.to_owned(), segments: VecDeque::new(), read: 0, next_index: 1, batches })
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.segments.back().is_none_or(|s| s.len > 0 && s.len + bytes.len() as u64 > SEGMENT_MAX) {
            let index = self.next_index;
            let file = open_segment(&self.dir, index, true)?;
            self.segments.push_back(Segment { index, file: Arc::new(file), len: 0 });
            self.next_index += 1;
        }
        let segment = self.segments.back_mut().expect("one was just made");
        // At a position of our own, so that what a failed write left is written over.
        segment.file.write_all_at(bytes, segment.len)?;
        segment.len += bytes.len() as u64;
        Ok(())
    }

    /// What is to be sent next, if anything is there.
    pub fn ahead(&mut self) -> Option<Ahead> {
        self.drop_acknowledged(false);
        let front = self.segments.front()?;
        let available = front.len - self.read;
        (available > 0).then(|| Ahead { file: front.file.clone(), start: self.read, available })
    }

    /// To be called before `len` bytes from the front are sent as this batch.
    pub fn record(&mut self, number: u64, len: u64) -> io::Result<()> {
        let front = self.segments.front().ok_or(io::ErrorKind::NotFound)?;
        let mut record = [0; RECORD];
        for (at, value) in [number, front.index, self.read, self.read + len].into_iter().enumerate() {
            record[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        self.batches.write_all(&record)
    }

    /// The next `len` bytes are stored by a master.
    pub fn acknowledged(&mut self, len: u64) {
        self.read += len;
        self.drop_acknowledged(true);
    }

    fn drop_acknowledged(&mut self, also_last: bool) {
        while let Some(front) = self.segments.front() {
            let last = self.segments.len() == 1;
            if self.read < front.len || (last && !(also_last && front.len >= SEGMENT_DROP)) {
                return;
            }
            let path = segment_path(&self.dir, front.index);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, "cannot delete {}", path.display());
            }
            self.segments.pop_front();
            self.read = 0;
        }
    }

    /// Reads what an earlier life left.
    pub fn open(dir: &Path) -> io::Result<(Store, Found)> {
        let mut indexes: Vec<u64> = std::fs::read_dir(dir)?
            .filter_map(|e| e.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok())
            .collect();
        indexes.sort_unstable();
        let mut segments = VecDeque::new();
        let mut last_frame = None;
        for index in &indexes {
            let file = open_segment(dir, *index, false)?;
            let (len, last) = scan(&file)?;
            last_frame = last.or(last_frame);
            segments.push_back(Segment { index: *index, file: Arc::new(file), len });
        }
        let next_index = indexes.last().map_or(1, |i| i + 1);
        let mut store = Store { dir: dir.to_owned(), segments, read: 0, next_index, batches: open_batches(dir)? };
        let (next, in_flight) = store.resume()?;
        let bytes = store.segments.iter().map(|s| s.len).sum::<u64>() - store.read;
        Ok((store, Found { next, in_flight, last_frame, bytes }))
    }

    /// Sets the read position by the last record of a batch.
    fn resume(&mut self) -> io::Result<(u64, Option<(u64, Bytes)>)> {
        let text = std::fs::read(self.dir.join("batches"))?;
        let Some(record) = text.as_chunks::<RECORD>().0.last() else {
            return Ok((1, None));
        };
        let value =
            |at: usize| u64::from_le_bytes(record[at * 8..at * 8 + 8].try_into().expect("eight bytes of a record"));
        let (number, index, start, end) = (value(0), value(1), value(2), value(3));
        self.segments.retain(|s| s.index >= index);
        let Some(front) = self.segments.front().filter(|s| s.index == index) else {
            // The segment was acknowledged and deleted.
            return Ok((number + 1, None));
        };
        if end > front.len || start >= end {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the batch last sent is not whole on disk"));
        }
        let mut data = vec![0; (end - start) as usize];
        front.file.read_exact_at(&mut data, start)?;
        self.read = start;
        Ok((number + 1, Some((number, data.into()))))
    }
}

fn segment_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:08}.seg"))
}

fn open_segment(dir: &Path, index: u64, new: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(new).open(segment_path(dir, index))
}

fn open_batches(dir: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(dir.join("batches"))
}

/// Length of the whole frames in a segment, and the payload of the last one.
fn scan(file: &File) -> io::Result<(u64, Option<Vec<u8>>)> {
    let total = file.metadata()?.len();
    let (mut at, mut last) = (0, None);
    let mut head = [0; FRAME_HEAD];
    while at + FRAME_HEAD as u64 <= total {
        file.read_exact_at(&mut head, at)?;
        let end = at + frame_len(&head) as u64;
        if !matches!(head[0], b'E' | b'L') || end > total {
            break;
        }
        last = Some((at + FRAME_HEAD as u64, end, head[0]));
        at = end;
    }
    let last = match last {
        Some((start, end, b'E')) => {
            let mut payload = vec![0; (end - start) as usize];
            file.read_exact_at(&mut payload, start)?;
            Some(payload)
        }
        // Log bytes are of no interest, but they are the last frame all the same.
        Some(_) => Some(Vec::new()),
        None => None,
    };
    Ok((at, last))
}

fn frame_len(head: &[u8]) -> usize {
    FRAME_HEAD + u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize
}

/// Length of the whole frames, and of the bytes up to the end of the next one.
fn whole_frames(data: &[u8]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let rest = &data[at..];
        if rest.len() < FRAME_HEAD {
            return (at, at + FRAME_HEAD);
        }
        let len = frame_len(rest);
        if len > rest.len() {
            return (at, at + len);
        }
        at += len;
    }
}
