//! What is in a log: as lines in Buildbot's form, as bytes, and as it grows.

use super::answer::{self, Answer};
use super::ask::Operators;
use super::stream::sse;
use crate::app::App;
use crate::http::ApiError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde_json::json;
use sqlx::PgConnection;
use std::convert::Infallible;
use std::time::Duration;
use tidemill_model::LogId;
use tidemill_model::log::{Channel, Run};
use tidemill_schema::read::logs::Log;
use tidemill_schema::read::text::{Bounds, Start, gap_text, runs_from, window};

const LINES_DEFAULT: i64 = 1000;
const LINES_MAX: i64 = 100_000;
/// Longest line in an answer; and most bytes of a log read for one.
const LINE_BYTES: usize = 1 << 20;
const READ_BYTES: i64 = 16 << 20;
const PING: Duration = Duration::from_secs(15);

/// `{"logchunks": [{"logid", "firstline", "content"}]}`. Lines of a log with
/// channels begin with the letter of theirs, each ends with a newline. Fewer
/// lines than were asked for come where they are long: ask again from
/// `firstline` and as many on.
pub async fn contents(c: &mut PgConnection, log: &Log, ops: &Operators) -> Answer {
    ops.only(&["offset", "limit"])?;
    let offset = ops.number("offset")?.unwrap_or(0);
    let lines = ops.number("limit")?.unwrap_or(LINES_DEFAULT);
    if lines > LINES_MAX {
        return Err(ApiError::field("limit", format!("give at most {LINES_MAX}")));
    }
    let bounds = Bounds { lines, line_bytes: LINE_BYTES, read_bytes: READ_BYTES };
    let window = window(c, LogId(log.logid), Start::Line(offset), bounds).await?;
    let mut content = String::new();
    for line in window.lines.iter().filter(|l| l.number >= offset) {
        if log.kind == "s" {
            content.push(line.channel().letter());
        }
        content.push_str(&line.text());
        content.push('\n');
    }
    let chunks = match content.is_empty() {
        true => json!([]),
        false => json!([{ "logid": log.logid, "firstline": offset, "content": content }]),
    };
    Ok(answer::json(json!({ "logchunks": chunks, "meta": { "total": window.total_lines } }).to_string()))
}

/// The bytes of stdout and stderr in order, as the command wrote them, chunk by
/// chunk with constant memory. Where a limit left bytes out, a line says so.
pub fn raw(app: &App, log: &Log, ops: &Operators) -> Answer {
    ops.only(&["headers"])?;
    let headers = matches!(ops.get("headers"), Some("1" | "true" | "yes" | "on"));
    let (app, id) = (app.clone(), LogId(log.logid));
    // No connection is held while a slow client takes its time.
    let bytes = stream::try_unfold(0, move |at| {
        let app = app.clone();
        async move {
            let mut c = app.people.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
            let read = runs_from(&mut c, id, at).await?;
            drop(c);
            if read.runs.is_empty() && read.next == at {
                return Ok::<_, tidemill_schema::Error>(None);
            }
            Ok(Some((plain(&read.runs, headers), read.next)))
        }
    });
    let name: String =
        log.slug.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let disposition = format!("attachment; filename=\"build-{}-{}-{name}.txt\"", log.buildid, log.step);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

fn plain(runs: &[Run], headers: bool) -> Bytes {
    let mut out = Vec::with_capacity(runs.iter().map(|r| r.bytes.len()).sum());
    for run in runs {
        match run.channel {
            Channel::Stdout | Channel::Stderr => out.extend_from_slice(&run.bytes),
            Channel::Header if headers => out.extend_from_slice(&run.bytes),
            Channel::Header => {}
            Channel::Gap => out.extend_from_slice(format!("\n{}\n", gap_text(run.gap().unwrap_or(0))).as_bytes()),
        }
    }
    out.into()
}

/// `runs` events `{"next", "runs": [{"c", "b64"}]}` as the log grows, then `end`.
pub fn stream(app: &App, log: &Log, ops: &Operators, headers: &HeaderMap) -> Answer {
    ops.only(&["offset"])?;
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<i64>().ok());
    let from = match last {
        Some(at) if at >= 0 => at,
        _ => ops.number("offset")?.unwrap_or(0),
    };
    let room = app.live.room().ok_or_else(ApiError::unavailable)?;
    let tail = app.live.tail(LogId(log.logid), from);
    let ping = tokio::time::interval(PING);
    let events = stream::unfold(Some((tail, ping, room)), |state| async move {
        let (mut tail, mut ping, room) = state?;
        tokio::select! {
            _ = ping.tick() => Some((Ok::<_, Infallible>(Event::default().comment("ping")), Some((tail, ping, room)))),
            grown = tail.next() => match grown? {
                Ok(Some(grown)) => {
                    let runs: Vec<_> = grown.runs.iter().map(run).collect();
                    let data = json!({ "next": grown.next, "runs": runs }).to_string();
                    let event = Event::default().event("runs").id(grown.next.to_string()).data(data);
                    Some((Ok(event), Some((tail, ping, room))))
                }
                Ok(None) => Some((Ok(Event::default().event("end").data("{}")), None)),
                Err(error) => {
                    // The client comes back; until then nothing of its place is lost.
                    tracing::debug!(%error, "log stream cut");
                    None
                }
            },
        }
    });
    Ok(sse(events))
}

/// A gap is the text that stands for it, under its own letter.
fn run(run: &Run) -> serde_json::Value {
    match run.gap() {
        Some(n) => json!({ "c": "g", "bytes": n, "b64": STANDARD.encode(gap_text(n)) }),
        None => json!({ "c": run.channel.letter().to_string(), "b64": STANDARD.encode(&run.bytes) }),
    }
}
