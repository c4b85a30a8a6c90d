//! A log being written: raw output in, chunks into the spool.
//!
//! Bytes of one channel stay in their order. Between channels, a line that is
//! not yet whole waits a moment ([`PARTIAL`]), so that stdout and stderr are cut
//! at newlines where that is possible. Waiting bytes become a chunk when there
//! are 64 KiB of them or when the oldest is as old as a live reader should wait.
//! Memory is bounded whatever comes: no line is ever collected (F29).

use crate::mask::{Masker, Patterns};
use crate::spool::Spool;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_model::wire::{Event, LogKind};
use tokio::time::Instant;

/// How long half a line waits for its end.
const PARTIAL: Duration = Duration::from_millis(200);

/// A line longer than this does not wait.
const PARTIAL_MAX: usize = 32 << 10;

/// How long output of a young log waits for more; old logs are watched less often.
const CUT_YOUNG: Duration = Duration::from_millis(250);
const CUT_OLD: Duration = Duration::from_secs(1);
const YOUNG: Duration = Duration::from_secs(60);

/// Most bytes kept for the tail of a log, whatever was configured.
pub(crate) const TAIL_MAX: u64 = 64 << 20;

pub(crate) struct StepLog {
    spool: Arc<Spool>,
    id: u32,
    writer: ChunkWriter,
    partial: [Partial; 2],
    waiting_since: Option<Instant>,
    opened: Instant,
    limit: Option<Limit>,
    mid_line: bool,
    patterns: Arc<Patterns>,
    /// None while there is nothing to mask.
    maskers: Option<Box<[Masker; 2]>>,
}

#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    since: Option<Instant>,
}

impl StepLog {
    /// Opens log `id` of step `step`; `slug` is that of no other log of the step.
    pub fn open(spool: Arc<Spool>, id: u32, step: u32, name: &str, slug: String, kind: LogKind) -> StepLog {
        spool.event(Event::LogOpened { log: id, step, slug, name: name.to_owned(), kind });
        StepLog {
            spool,
            id,
            writer: ChunkWriter::new(),
            partial: Default::default(),
            waiting_since: None,
            opened: Instant::now(),
            limit: None,
            mid_line: false,
            patterns: Arc::default(),
            maskers: None,
        }
    }

    /// Keeps only so many bytes of output at the head and at the tail.
    pub fn limit(&mut self, head: u64, tail: u64) {
        self.limit = Some(Limit::new(head, tail.min(TAIL_MAX)));
    }

    /// From now on masks these values.
    pub fn mask(&mut self, patterns: Arc<Patterns>) {
        if Arc::ptr_eq(&self.patterns, &patterns) || self.patterns == patterns {
            return;
        }
        match &mut self.maskers {
            // What they hold may be the beginning of a value whose end comes.
            Some(maskers) => maskers.iter_mut().for_each(|m| m.change(patterns.clone())),
            None => {
                let masker = || Masker::new(patterns.clone());
                self.maskers = (!patterns.is_empty()).then(|| Box::new([masker(), masker()]));
            }
        }
        self.patterns = patterns;
    }

    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Output of a command.
    pub fn write(&mut self, channel: Channel, bytes: &[u8]) {
        let Some(maskers) = &mut self.maskers else { return self.take(channel, bytes) };
        let mut masked = Vec::with_capacity(bytes.len());
        maskers[usize::from(channel == Channel::Stderr)].feed(bytes, &mut masked);
        self.take(channel, &masked);
    }

    fn take(&mut self, channel: Channel, bytes: &[u8]) {
        let side = usize::from(channel == Channel::Stderr);
        let rest = match memchr::memrchr(b'\n', bytes) {
            Some(at) => {
                self.flush_partial(side, channel);
                self.put(channel, &bytes[..=at]);
                &bytes[at + 1..]
            }
            None => bytes,
        };
        if rest.is_empty() {
            return;
        }
        if self.partial[side].bytes.len() + rest.len() > PARTIAL_MAX {
            self.flush_partial(side, channel);
            self.put(channel, rest);
            return;
        }
        let partial = &mut self.partial[side];
        partial.bytes.extend_from_slice(rest);
        partial.since.get_or_insert_with(Instant::now);
    }

    /// Words of the worker itself, on a line of their own; no limit cuts them.
    pub fn header(&mut self, text: &str) {
        self.flush_partials();
        if self.mid_line {
            self.append(Channel::Header, b"\n");
        }
        if self.patterns.is_empty() {
            self.append(Channel::Header, text.as_bytes());
        } else {
            let text = self.patterns.text(text);
            self.append(Channel::Header, text.as_bytes());
        }
    }

    /// What looked like the beginning of a value and was none.
    fn end_maskers(&mut self) {
        let Some(maskers) = &mut self.maskers else { return };
        let mut rests = [vec![], vec![]];
        for (masker, rest) in maskers.iter_mut().zip(&mut rests) {
            masker.finish(rest);
        }
        for (channel, rest) in [Channel::Stdout, Channel::Stderr].into_iter().zip(&rests) {
            self.take(channel, rest);
        }
    }

    /// After the last output: what was kept of the tail comes in.
    pub fn end_output(&mut self) {
        self.end_maskers();
        self.flush_partials();
        let Some(limit) = self.limit.take() else { return };
        if limit.left_out > 0 {
            let (spool, id) = (&self.spool, self.id);
            self.writer.gap(limit.left_out, |chunk| spool.chunk(id, chunk));
        }
        for (channel, bytes) in limit.tail {
            self.append(channel, &bytes);
        }
    }

    /// When [`StepLog::tick`] has something to do, if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let cut = self.waiting_since.map(|t| t + self.patience());
        let partial = self.partial.iter().filter_map(|p| p.since).min().map(|t| t + PARTIAL);
        [cut, partial].into_iter().flatten().min()
    }

    pub fn tick(&mut self, now: Instant) {
        for (side, channel) in [(0, Channel::Stdout), (1, Channel::Stderr)] {
            if self.partial[side].since.is_some_and(|t| t + PARTIAL <= now) {
                self.flush_partial(side, channel);
            }
        }
        if self.waiting_since.is_some_and(|t| t + self.patience() <= now) {
            self.cut();
        }
    }

    /// Shows all there is, before a time in which nobody calls [`StepLog::tick`].
    pub fn show(&mut self) {
        self.flush_partials();
        self.cut();
    }

    /// Closes the log.
    pub fn finish(mut self) {
        self.close();
    }

    /// The same, for a log that others still know of; nothing may be written afterwards.
    pub fn close(&mut self) {
        self.end_output();
        self.cut();
        self.spool.event(Event::LogFinished { log: self.id, sum: self.writer.sum() });
    }

    fn patience(&self) -> Duration {
        if self.opened.elapsed() < YOUNG { CUT_YOUNG } else { CUT_OLD }
    }

    fn flush_partials(&mut self) {
        self.flush_partial(0, Channel::Stdout);
        self.flush_partial(1, Channel::Stderr);
    }

    fn flush_partial(&mut self, side: usize, channel: Channel) {
        if self.partial[side].since.take().is_some() {
            let mut bytes = std::mem::take(&mut self.partial[side].bytes);
            self.put(channel, &bytes);
            bytes.clear();
            self.partial[side].bytes = bytes;
        }
    }

    fn put(&mut self, channel: Channel, bytes: &[u8]) {
        match &mut self.limit {
            None => self.append(channel, bytes),
            Some(limit) => {
                let head = limit.take(channel, bytes);
                self.append(channel, &bytes[..head]);
            }
        }
    }

    fn append(&mut self, channel: Channel, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.mid_line = *last != b'\n';
        let (spool, id) = (&self.spool, self.id);
        let mut was_cut = self.writer.pending() == 0;
        self.writer.write(channel, bytes, |chunk| {
            was_cut = true;
            spool.chunk(id, chunk);
        });
        if was_cut {
            self.waiting_since = (self.writer.pending() > 0).then(Instant::now);
        }
    }

    fn cut(&mut self) {
        if let Some(chunk) = self.writer.cut() {
            self.spool.chunk(self.id, chunk);
        }
        self.waiting_since = None;
    }
}

/// Lower-case ASCII for addresses.
pub(crate) fn slug(name: &str) -> String {
    let mut slug: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .take(50)
        .collect();
    slug.make_ascii_lowercase();
    slug
}

/// Head and tail of output that is too long.
struct Limit {
    head_left: u64,
    tail: VecDeque<(Channel, BytesMut)>,
    tail_len: u64,
    tail_max: u64,
    left_out: u64,
}

/// Pieces of the tail, so that one that is dropped frees its memory.
const PIECE: usize = 64 << 10;

impl Limit {
    fn new(head: u64, tail_max: u64) -> Self {
        Limit { head_left: head, tail: VecDeque::new(), tail_len: 0, tail_max, left_out: 0 }
    }

    /// Says how many of the bytes belong to the head, and keeps or drops the others.
    fn take(&mut self, channel: Channel, bytes: &[u8]) -> usize {
        let head = self.head_left.min(bytes.len() as u64) as usize;
        self.head_left -= head as u64;
        let rest = &bytes[head..];
        let skip = (rest.len() as u64).saturating_sub(self.tail_max) as usize;
        if skip > 0 {
            self.left_out += self.tail_len + skip as u64;
            self.tail.clear();
            self.tail_len = 0;
        }
        let rest = &rest[skip..];
        if rest.is_empty() {
            return head;
        }
        match self.tail.back_mut() {
            Some((last, piece)) if *last == channel && piece.len() < PIECE => piece.extend_from_slice(rest),
            _ => self.tail.push_back((channel, rest.into())),
        }
        self.tail_len += rest.len() as u64;
        while self.tail_len > self.tail_max {
            let excess = self.tail_len - self.tail_max;
            let Some((_, piece)) = self.tail.front_mut() else { break };
            let drop = excess.min(piece.len() as u64);
            piece.advance(drop as usize);
            self.tail_len -= drop;
            self.left_out += drop;
            if piece.is_empty() {
                self.tail.pop_front();
            }
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Budget;
    use bytes::BytesMut;
    use tidemill_model::log::{LogSum, Run, decode};
    use tidemill_model::wire::{BatchHead, Frame, decode_batch, encode_head};

    fn log() -> (tempfile::TempDir, Arc<Spool>, StepLog) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(dir.path().join("1"), Arc::new(Budget::new(u64::MAX))));
        let log = StepLog::open(spool.clone(), 1, 1, "stdio", "stdio".into(), LogKind::Stdio);
        (dir, spool, log)
    }

    async fn runs(spool: &Spool) -> (Vec<Run>, LogSum) {
        let (mut runs, mut sum, mut counted) = (Vec::new(), None, LogSum::default());
        while let Some(batch) = spool.take().await {
            let mut body = BytesMut::new();
            let head = BatchHead { session: 1, build: 1, token: "t".into(), batch: batch.number, sent_at_us: 0 };
            encode_head(&mut body, &head);
            body.extend_from_slice(&batch.frames);
            for frame in decode_batch(body.freeze()).unwrap().1 {
                match frame {
                    Frame::Log { chunk, .. } => {
                        counted.add(&chunk);
                        runs.extend(decode(&chunk.data).unwrap());
                    }
                    Frame::Event(Event::LogFinished { sum: s, .. }) => sum = Some(s),
                    Frame::Event(_) => {}
                }
            }
            spool.acknowledged(&batch);
        }
        assert_eq!(sum, Some(counted));
        (runs, counted)
    }

    fn texts(runs: &[Run]) -> Vec<String> {
        runs.iter().map(|r| format!("{}{}", r.channel.letter(), String::from_utf8_lossy(&r.bytes))).collect()
    }

    #[tokio::test]
    async fn channels_change_at_newlines_where_the_rest_of_a_line_comes_soon() {
        let (_dir, spool, mut log) = log();
        log.write(Channel::Stdout, b"one\ntw");
        log.write(Channel::Stderr, b"oops\n");
        log.write(Channel::Stdout, b"o\nthree");
        log.header("end\n");
        log.finish();
        assert_eq!(texts(&runs(&spool).await.0), ["oone\n", "eoops\n", "otwo\nthree", "h\nend\n"]);
    }

    #[tokio::test]
    async fn half_a_line_is_shown_when_its_end_does_not_come() {
        let (_dir, spool, mut log) = log();
        log.write(Channel::Stdout, b"Password: ");
        let later = Instant::now() + Duration::from_secs(1);
        assert!(log.deadline().unwrap() <= later);
        log.tick(later);
        log.tick(Instant::now() + Duration::from_secs(2));
        assert!(log.deadline().is_none(), "all is in the spool");
        log.write(Channel::Stderr, b"no\n");
        log.finish();
        assert_eq!(texts(&runs(&spool).await.0), ["oPassword: ", "eno\n"]);
    }

    #[tokio::test]
    async fn a_limit_keeps_head_and_tail_and_counts_what_is_between() {
        let (_dir, spool, mut log) = log();
        log.limit(10, 10);
        log.header("$ cmd\n");
        for i in 0..1000 {
            log.write(if i % 2 == 0 { Channel::Stdout } else { Channel::Stderr }, format!("line {i:03}\n").as_bytes());
        }
        log.end_output();
        log.header("program finished with exit code 0\n");
        log.finish();
        let (runs, sum) = runs(&spool).await;
        assert_eq!(runs[3].gap(), Some(9000 - 20));
        let texts = texts(&runs);
        assert_eq!(texts[..3], ["h$ cmd\n", "oline 000\n", "el"]);
        assert_eq!(texts[4..6], ["o\n", "eline 999\n"]);
        assert_eq!(sum.bytes, 6 + 9000 + 34);
    }

    #[tokio::test]
    async fn a_tail_that_is_shorter_than_one_read_is_still_the_tail() {
        let (_dir, spool, mut log) = log();
        log.limit(0, 4);
        log.write(Channel::Stdout, b"abc\n");
        log.write(Channel::Stdout, &[b'x'; 40_000]);
        log.write(Channel::Stdout, b"tail\n");
        log.finish();
        let (runs, sum) = runs(&spool).await;
        assert_eq!((runs[0].gap(), runs[1].bytes.as_slice()), (Some(40_005), b"ail\n".as_slice()));
        assert_eq!(sum.bytes, 40_009);
    }

    #[tokio::test]
    async fn a_value_is_masked_where_another_one_becomes_known_in_its_middle() {
        let (_dir, spool, mut log) = log();
        let patterns =
            |all: &[(&str, &str)]| Arc::new(Patterns::new(all.iter().map(|(n, v)| (n.to_string(), v.to_string()))));
        log.mask(patterns(&[("pw", "hunter2")]));
        log.write(Channel::Stdout, b"hunt");
        log.mask(patterns(&[("pw", "hunter2"), ("other", "x")]));
        log.write(Channel::Stdout, b"er2\n");
        log.finish();
        assert_eq!(texts(&runs(&spool).await.0), ["o<secret pw>\n"]);
    }
}
