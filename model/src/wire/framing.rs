//! Batches: the framing of what happens in a build, and the bounds of one.

use super::{BatchHead, Event, TEST_PART_MAX, TEST_PARTS_MAX};
use crate::log::Chunk;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// One frame of a batch after its head.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Event(Event),
    Log { log: u32, chunk: Chunk },
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
    use crate::Results;
    use crate::log::{Channel, ChunkWriter};
    use crate::wire::{LogKind, TestOutcome, TestResult};

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
