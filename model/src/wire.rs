//! Worker protocol v1: the messages, and the framing of batches.
//!
//! docs/protocol.md says how a good worker behaves. In short: `hello` opens a
//! session; `poll` waits for work and carries the heartbeat of running builds;
//! what happens in a build goes up in numbered batches; `lease-lost` is the
//! only answer that makes a worker give up a build.
//!
//! Rules of evolution: unknown fields are ignored by both sides, new fields
//! have defaults, enums are externally tagged and a reader refuses a tag that
//! it does not know (so a new tag needs a new protocol version). Durations
//! and times are integers of microseconds; floats are the numbers that steps
//! count, and no others.

use crate::log::{Chunk, LogSum};
use crate::{LockAccess, NewChange, Properties, Results, SourceStamp};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

mod test_results;
mod trigger;

pub use test_results::{
    TEST_MESSAGE_MAX, TEST_NAME_MAX, TEST_PART_MAX, TEST_PARTS_MAX, TEST_RESULTS_MAX, TestOutcome, TestResult,
};
pub use trigger::{
    Fired, TRIGGER_DEPTH_MAX, TRIGGER_TARGETS_MAX, TriggerCall, TriggerReply, TriggerState, TriggerTarget,
    TriggerWatch, TriggeredBuild, TriggeredRequest, TriggeredSet,
};

/// The protocol version of this release, and the oldest that it still speaks.
pub const PROTOCOL: u32 = 1;
pub const PROTOCOL_MIN: u32 = 1;

/// The newest level of the step vocabulary that this release evaluates. A
/// revision records the level it needs; older workers are not offered it.
pub const VOCABULARY: u32 = 3;

/// `POST /worker/v1/hello`, with the worker's token as bearer. Begins a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub protocol_min: u32,
    pub protocol_max: u32,
    /// The worker's name; must be the one that the token belongs to.
    pub name: String,
    /// A random id kept in the worker's base directory. The same instance may
    /// say hello again at any time (it restarted); another one is refused
    /// while this one is alive.
    pub instance: String,
    /// Release of the worker program.
    pub release: String,
    pub vocabulary: u32,
    /// How many builds it runs at once.
    pub slots: u32,
    /// Host facts for people: `host`, `system`, `arch`.
    #[serde(default)]
    pub info: BTreeMap<String, String>,
    /// What builders may require of it, as its own settings say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: crate::requires::Labels,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloReply {
    pub protocol: u32,
    pub session: i64,
    /// Name of the replica that answered, for logs.
    pub master: String,
    /// Term of a lease. A worker polls at least every third of it while it holds builds.
    pub lease_us: u64,
}

/// `POST /worker/v1/goodbye`, the last words of a process that ends in order.
/// Closes the session; what the worker still holds keeps its leases. Answered
/// with an empty object, also if the session is already gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goodbye {
    pub session: i64,
}

/// `POST /worker/v1/poll`. Sent again with the same number until it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Poll {
    pub session: i64,
    /// Rises by one with each answered poll.
    pub poll: u64,
    /// How many more builds it can start now.
    pub free: u32,
    /// The highest build id that any answer of this session delivered; 0 at first.
    pub newest: i64,
    /// Builds that it runs or has yet to finish delivering.
    #[serde(default)]
    pub held: Vec<Held>,
    /// How long the master may wait before it answers with nothing.
    pub wait_us: u64,
}

/// A build in a worker's hands, with the lease's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub build: i64,
    pub token: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PollReply {
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Held builds whose lease is gone: kill and forget.
    #[serde(default)]
    pub lost: Vec<i64>,
    /// Held builds that somebody wants stopped.
    #[serde(default)]
    pub stop: Vec<Stop>,
    /// Finish what runs, take nothing new, and end.
    #[serde(default)]
    pub drain: bool,
}

/// A build handed to a worker. The worker fetches the revision (once for each
/// hash) and evaluates the builder's factory itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    pub build: i64,
    /// Proof of the lease: goes with everything that is written for this build.
    pub token: String,
    /// 1 for the request's first build.
    pub attempt: u32,
    pub builder: String,
    pub builder_id: i64,
    /// The build's number within its builder.
    pub number: i64,
    pub request: i64,
    /// Hash of the config revision, see `GET /worker/v1/revisions/{hash}`.
    pub revision: String,
    pub properties: Properties,
    pub sourcestamps: Vec<SourceStamp>,
    pub reason: String,
    /// The changes that led to it, oldest first; of very many the newest (`CLAIM_CHANGES_MAX`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<NewChange>,
    /// Whether its steps may use secrets: not those of what an outsider announced (A14).
    #[serde(default = "yes")]
    pub trusted: bool,
    /// Address of the build's page.
    #[serde(default)]
    pub url: String,
}

/// `POST /worker/v1/patch`: the body of a patch that a source stamp of a held
/// build names, as bytes. Under the lease's token: `lease-lost` without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PatchRequest {
    pub build: i64,
    pub token: String,
    /// [`crate::Patch::id`].
    pub patch: i64,
}

/// `POST /worker/v1/secret`: the value of a secret that a step of a held build
/// needs. Under the lease's token: `lease-lost` without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretRequest {
    pub build: i64,
    pub token: String,
    pub name: String,
}

/// Never logged, so it shows nothing.
#[derive(Serialize, Deserialize)]
pub struct SecretReply {
    pub value: String,
}

fn yes() -> bool {
    true
}

/// Most changes in a claim.
pub const CLAIM_CHANGES_MAX: i64 = 200;

/// A wish to stop a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub build: i64,
    pub reason: String,
    /// The result that the build is to end with; most often cancelled (D-13).
    pub results: Results,
}

/// First frame of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchHead {
    pub session: i64,
    pub build: i64,
    pub token: String,
    /// 1, 2, 3 … within this build.
    pub batch: u64,
    /// The worker's clock at sending, microseconds since 1970. Times inside the
    /// batch are on the same clock, so the master turns them into database
    /// time by the difference, whatever the worker's clock says (F18).
    pub sent_at_us: i64,
}

/// Something that happened in a build, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The worker took the build up.
    BuildStarted {
        at_us: i64,
    },
    StepStarted {
        /// 1, 2, 3 … in the order of starting.
        step: u32,
        name: String,
        at_us: i64,
    },
    StepFinished {
        step: u32,
        results: Results,
        /// One line for people, such as `'make test' (failure)`.
        summary: String,
        #[serde(default)]
        hidden: bool,
        /// It asked for locks (or gave up asking) and waited so long; they are given back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock_wait_us: Option<u64>,
        at_us: i64,
    },
    /// Live text of a running step, or of the build where `step` is none.
    Summary {
        step: Option<u32>,
        text: String,
    },
    StepUrl {
        step: u32,
        name: String,
        url: String,
    },
    /// Numbers that a step counted, by name. One that comes again replaces the former.
    StepStatistics {
        step: u32,
        values: BTreeMap<String, f64>,
    },
    /// How far a running step has come, by metric: growing numbers. A hint, sent at most once a second.
    StepProgress {
        step: u32,
        values: BTreeMap<String, f64>,
    },
    /// Results of tests, a part of a set of the step. Masters keep a set as a whole, when they have its last part.
    TestResults {
        step: u32,
        /// What the step calls them.
        set: String,
        /// 1, 2, 3 … within the set.
        part: u32,
        /// No part comes after it; it may be empty.
        #[serde(default)]
        last: bool,
        results: Vec<TestResult>,
        at_us: i64,
    },
    PropertySet {
        name: String,
        value: Value,
        source: String,
    },
    LogOpened {
        /// 1, 2, 3 … within the build.
        log: u32,
        step: u32,
        name: String,
        slug: String,
        kind: LogKind,
    },
    LogFinished {
        log: u32,
        sum: LogSum,
    },
    /// The last event of a build.
    BuildFinished {
        results: Results,
        summary: String,
        at_us: i64,
    },
}

/// How a log is to be read; the letters are Buildbot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogKind {
    /// stdout, stderr and header of a command.
    #[serde(rename = "s")]
    Stdio,
    #[serde(rename = "t")]
    Text,
    #[serde(rename = "h")]
    Html,
}

impl LogKind {
    pub fn letter(self) -> &'static str {
        match self {
            LogKind::Stdio => "s",
            LogKind::Text => "t",
            LogKind::Html => "h",
        }
    }
}

/// One frame of a batch after its head.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Event(Event),
    Log { log: u32, chunk: Chunk },
}

/// Answer to `POST /worker/v1/batches`: given only after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// Everything up to this batch is stored.
    pub acked: u64,
    #[serde(default)]
    pub stop: Option<Stop>,
    #[serde(default)]
    pub drain: bool,
}

/// `POST /worker/v1/locks`: a step asks for its locks, all or none, before it
/// runs. Sent again, with the same content, until they are granted; it keeps its
/// place in the line meanwhile. They are given back with `StepFinished`, the
/// build's end, or the lease's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocksAsk {
    pub build: i64,
    pub token: String,
    pub step: u32,
    pub locks: Vec<LockAccess>,
    /// How long the master may wait before it answers that they are not to be had yet.
    pub wait_us: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocksReply {
    pub granted: bool,
    /// For people: what it waits for, such as «lock db held by build b/#7»; or, granted, what is
    /// to be known of it.
    #[serde(default)]
    pub says: String,
}

/// Most locks of a step.
pub const LOCKS_MAX: usize = 100;

/// `GET /worker/v1/revisions/{hash}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionReply {
    pub hash: String,
    pub files: crate::revision::Files,
}

/// Content type of a batch body.
pub const BATCH_CONTENT_TYPE: &str = "application/vnd.tidemill.batch";

/// Most bytes of a batch body that a master accepts.
pub const BATCH_MAX: usize = 8 << 20;

/// Most frames of a batch, and most steps and logs of a build: no worker fills the tables alone.
pub const FRAMES_MAX: usize = 100_000;
pub const STEPS_MAX: u32 = 10_000;
pub const LOGS_MAX: u32 = 10_000;

/// Most content bytes of a log: a pebibyte, far from the ends of what counts it.
const LOG_MAX: u64 = 1 << 50;

const HEAD: u8 = b'H';
const EVENT: u8 = b'E';
const LOG: u8 = b'L';

#[derive(Serialize, Deserialize)]
struct LogHead {
    log: u32,
    first_byte: u64,
    bytes: u32,
    first_line: u64,
    lines: u32,
}

/// Writes the head frame, which stands first.
pub fn encode_head(out: &mut BytesMut, head: &BatchHead) {
    put_frame(out, HEAD, &json(head));
}

/// Writes one more frame: `kind: u8, length: u32 LE, payload`. The payload of an
/// event is its JSON; that of a log chunk is `length: u32 LE, JSON` and then the
/// compressed runs.
pub fn encode_frame(out: &mut BytesMut, frame: &Frame) {
    match frame {
        Frame::Event(event) => put_frame(out, EVENT, &json(event)),
        Frame::Log { log, chunk } => {
            let head = json(&LogHead {
                log: *log,
                first_byte: chunk.first_byte,
                bytes: chunk.bytes,
                first_line: chunk.first_line,
                lines: chunk.lines,
            });
            out.put_u8(LOG);
            out.put_u32_le((4 + head.len() + chunk.data.len()) as u32);
            out.put_u32_le(head.len() as u32);
            out.put_slice(&head);
            out.put_slice(&chunk.data);
        }
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("protocol messages have string keys only")
}

fn put_frame(out: &mut BytesMut, kind: u8, payload: &[u8]) {
    out.put_u8(kind);
    out.put_u32_le(payload.len() as u32);
    out.put_slice(payload);
}

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("the batch breaks off at byte {0}")]
    Truncated(usize),
    #[error("unknown frame kind {kind} at byte {at}")]
    Kind { kind: u8, at: usize },
    #[error("frame at byte {at}: {error}")]
    Json { at: usize, error: serde_json::Error },
    #[error("the first frame must be the head, and the only one")]
    Head,
    #[error("chunk at byte {at} claims {bytes} content bytes and {lines} lines, which no chunk holds")]
    ChunkSize { at: usize, bytes: u32, lines: u32 },
    #[error("a batch may have at most {FRAMES_MAX} frames")]
    Frames,
    #[error("frame at byte {at}: a build may have at most {most} {what}")]
    TooMany { at: usize, what: &'static str, most: u32 },
    #[error("frame at byte {at} comes after the end of its build")]
    AfterEnd { at: usize },
    #[error(
        "chunk at byte {at} claims to begin at byte {first_byte} and line {first_line} of its log, where none begins"
    )]
    ChunkPlace { at: usize, first_byte: u64, first_line: u64 },
}

/// Reads a batch. Chunk data stays a slice of `body`; nothing is unpacked.
pub fn decode_batch(body: Bytes) -> Result<(BatchHead, Vec<Frame>), BatchError> {
    let mut head = None;
    let mut frames = Vec::new();
    let mut ended = false;
    let mut at = 0;
    while at < body.len() {
        let kind = body[at];
        let len = read_u32(&body, at + 1)?;
        let start = at + 5;
        let end = start.checked_add(len).filter(|e| *e <= body.len()).ok_or(BatchError::Truncated(at))?;
        match (kind, &head) {
            (HEAD, None) => head = Some(from_json(&body[start..end], at)?),
            (HEAD, Some(_)) | (_, None) => return Err(BatchError::Head),
            _ if ended => return Err(BatchError::AfterEnd { at }),
            _ if frames.len() == FRAMES_MAX => return Err(BatchError::Frames),
            (EVENT, _) => {
                let event = from_json(&body[start..end], at)?;
                bounded(&event, at)?;
                ended = matches!(event, Event::BuildFinished { .. });
                frames.push(Frame::Event(event));
            }
            (LOG, _) => frames.push(decode_log(&body, start, end)?),
            _ => return Err(BatchError::Kind { kind, at }),
        }
        at = end;
    }
    Ok((head.ok_or(BatchError::Head)?, frames))
}

/// Steps and logs are numbered from 1, so the bound of a number is that of their count.
fn bounded(event: &Event, at: usize) -> Result<(), BatchError> {
    match event {
        Event::StepStarted { step, .. } if *step > STEPS_MAX => {
            Err(BatchError::TooMany { at, what: "steps", most: STEPS_MAX })
        }
        Event::LogOpened { log, .. } if *log > LOGS_MAX => {
            Err(BatchError::TooMany { at, what: "logs", most: LOGS_MAX })
        }
        Event::TestResults { results, .. } if results.len() > TEST_PART_MAX => {
            Err(BatchError::TooMany { at, what: "results of tests in one event", most: TEST_PART_MAX as u32 })
        }
        Event::TestResults { part, .. } if !(1..=TEST_PARTS_MAX).contains(part) => {
            Err(BatchError::TooMany { at, what: "parts of a set of test results", most: TEST_PARTS_MAX })
        }
        _ => Ok(()),
    }
}

fn decode_log(body: &Bytes, start: usize, end: usize) -> Result<Frame, BatchError> {
    let data =
        start.checked_add(4 + read_u32(body, start)?).filter(|d| *d <= end).ok_or(BatchError::Truncated(start))?;
    let head: LogHead = from_json(&body[start + 4..data], start)?;
    // A gap's chunk claims the bytes it stands for; any other holds its bytes.
    let LogHead { log, first_byte, bytes, first_line, lines } = head;
    if bytes == 0 || bytes > 1 << 30 || lines > bytes.min(crate::log::CHUNK_MAX as u32) {
        return Err(BatchError::ChunkSize { at: start, bytes, lines });
    }
    // Whatever is computed with it later must not leave its range.
    if first_byte > LOG_MAX || first_line > first_byte {
        return Err(BatchError::ChunkPlace { at: start, first_byte, first_line });
    }
    Ok(Frame::Log { log, chunk: Chunk { first_byte, bytes, first_line, lines, data: body.slice(data..end) } })
}

fn read_u32(body: &[u8], at: usize) -> Result<usize, BatchError> {
    let bytes = body.get(at..at + 4).ok_or(BatchError::Truncated(at))?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize)
}

fn from_json<T: for<'a> Deserialize<'a>>(bytes: &[u8], at: usize) -> Result<T, BatchError> {
    serde_json::from_slice(bytes).map_err(|error| BatchError::Json { at, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Channel, ChunkWriter};

    fn head() -> BatchHead {
        BatchHead { session: 1, build: 2, token: "t".into(), batch: 3, sent_at_us: 4 }
    }

    #[test]
    fn a_batch_comes_out_as_it_went_in() {
        let mut writer = ChunkWriter::new();
        writer.write(Channel::Stdout, b"hello\n\xff", |_| ());
        let frames = vec![
            Frame::Event(Event::StepStarted { step: 1, name: "make".into(), at_us: 7 }),
            Frame::Log { log: 1, chunk: writer.cut().unwrap() },
            Frame::Event(Event::LogFinished { log: 1, sum: writer.sum() }),
            Frame::Event(Event::BuildFinished { results: Results::Success, summary: "ok".into(), at_us: 9 }),
        ];
        let mut body = BytesMut::new();
        encode_head(&mut body, &head());
        frames.iter().for_each(|f| encode_frame(&mut body, f));
        assert_eq!(decode_batch(body.freeze()).unwrap(), (head(), frames));
    }

    #[test]
    fn a_batch_cut_at_any_byte_is_an_error_and_never_a_panic() {
        let mut body = BytesMut::new();
        encode_head(&mut body, &head());
        let whole = body.len();
        encode_frame(&mut body, &Frame::Event(Event::BuildStarted { at_us: 1 }));
        let body = body.freeze();
        for cut in (0..body.len()).filter(|c| *c != whole) {
            assert!(decode_batch(body.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_chunk_that_no_log_can_hold_is_refused() {
        let good = Chunk { first_byte: 10, bytes: 4, first_line: 10, lines: 4, data: Bytes::from_static(b"x") };
        let decoded = |chunk: Chunk| {
            let mut body = BytesMut::new();
            encode_head(&mut body, &head());
            encode_frame(&mut body, &Frame::Log { log: 1, chunk });
            decode_batch(body.freeze())
        };
        assert!(decoded(good.clone()).is_ok());
        for bad in [
            Chunk { bytes: 0, lines: 0, ..good.clone() },
            Chunk { bytes: (1 << 30) + 1, ..good.clone() },
            Chunk { lines: 5, ..good.clone() },
            Chunk { bytes: 1 << 30, lines: 1 << 20, ..good.clone() },
        ] {
            assert!(matches!(decoded(bad.clone()), Err(BatchError::ChunkSize { .. })), "{bad:?}");
        }
        for bad in [
            Chunk { first_byte: i64::MAX as u64 - 1, ..good.clone() },
            Chunk { first_byte: u64::MAX, ..good.clone() },
            Chunk { first_line: 11, ..good },
        ] {
            assert!(matches!(decoded(bad.clone()), Err(BatchError::ChunkPlace { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_batch_of_too_many_steps_logs_or_frames_or_of_two_ends_is_refused() {
        let decoded = |events: Vec<Event>| {
            let mut body = BytesMut::new();
            encode_head(&mut body, &head());
            events.into_iter().for_each(|e| encode_frame(&mut body, &Frame::Event(e)));
            decode_batch(body.freeze())
        };
        let step = |step| Event::StepStarted { step, name: "s".into(), at_us: 1 };
        let log = |log| Event::LogOpened { log, step: 1, name: "l".into(), slug: "l".into(), kind: LogKind::Text };
        let end = || Event::BuildFinished { results: Results::Success, summary: String::new(), at_us: 1 };
        assert!(decoded(vec![step(STEPS_MAX), log(LOGS_MAX), end()]).is_ok());
        assert!(matches!(decoded(vec![step(STEPS_MAX + 1)]), Err(BatchError::TooMany { what: "steps", .. })));
        assert!(matches!(decoded(vec![log(u32::MAX)]), Err(BatchError::TooMany { what: "logs", .. })));
        assert!(matches!(decoded(vec![end(), end()]), Err(BatchError::AfterEnd { .. })));
        let result = TestResult {
            name: "t".into(),
            path: String::new(),
            result: TestOutcome::Passed,
            duration_us: None,
            message: None,
        };
        let tests = |part, n| {
            let (set, results) = ("unit".into(), vec![result.clone(); n]);
            Event::TestResults { step: 1, set, part, last: false, results, at_us: 1 }
        };
        assert!(decoded(vec![tests(1, 0), tests(TEST_PARTS_MAX, TEST_PART_MAX)]).is_ok());
        for bad in [tests(0, 1), tests(TEST_PARTS_MAX + 1, 1), tests(1, TEST_PART_MAX + 1)] {
            assert!(matches!(decoded(vec![bad]), Err(BatchError::TooMany { .. })));
        }
        let many = vec![Event::BuildStarted { at_us: 1 }; FRAMES_MAX + 1];
        assert!(matches!(decoded(many), Err(BatchError::Frames)));
    }
}
