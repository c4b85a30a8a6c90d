//! `/logs/{id}`: a log of any size, by windows; and its lines as they come.

use super::ansi::{Anchors, Renderer};
use super::page::{Page, html};
use super::show::{build_path, builder_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::{At, Operators};
use crate::http::rest::stream::sse;
use crate::live::Grown;
use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::stream;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tidemill_model::LogId;
use tidemill_schema::read::Query;
use tidemill_schema::read::builds::{self, Build};
use tidemill_schema::read::logs::{self, Log};
use tidemill_schema::read::text::{Bounds, Lines, Start, log_end, size, window};

/// Lines of one window, and lines before the one that was asked for.
const LINES: i64 = 1000;
const BEFORE: i64 = 50;
/// Shown bytes of one line; bytes read for one window.
const LINE_BYTES: usize = 10_000;
const READ_BYTES: i64 = 8 << 20;
const PING: Duration = Duration::from_secs(15);
/// Nobody reads faster: between two pieces of a live log.
const PAUSE: Duration = Duration::from_millis(120);
/// A live log that runs ahead by more than this is joined again near its end.
const BEHIND_MAX: i64 = 4 << 20;
const REJOIN: i64 = 256 << 10;
/// Most lines of one piece; those before are left out.
const PIECE_LINES: usize = 2000;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    page: Page,
    log: Log,
    build: Build,
    build_path: String,
    builder_path: String,
    rows: String,
    size: String,
    /// Shown lines, from 1.
    first: i64,
    last: i64,
    total: i64,
    /// Line to ask for, from 1, for the window before and after.
    earlier: Option<i64>,
    later: Option<i64>,
    /// Byte at which the live tail goes on; none if the window is not at a growing end.
    live: Option<i64>,
}

pub async fn page(State(app): State<App>, who: Who, At(id): At<i64>, ops: Operators) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let missing = || ApiError::not_found(format!("there is no log {id}"));
    let log = logs::one(&mut c, &[logs::by_id(id)]).await?.ok_or_else(missing)?;
    let build = builds::one(&mut c, &[builds::by_id(log.buildid)], &Query::default()).await?.ok_or_else(missing)?;
    let start = match ops.get("line") {
        None | Some("" | "last") => Start::Tail(LINES),
        Some("first") => Start::Line(0),
        Some(_) => Start::Line((ops.number("line")?.unwrap_or(1) - 1 - BEFORE).max(0)),
    };
    let bounds = Bounds { lines: LINES + 1, line_bytes: LINE_BYTES, read_bytes: READ_BYTES };
    let window = window(&mut c, LogId(id), start, bounds).await?;
    drop(c);
    let mut renderer = Renderer::new(Anchors::Here);
    let mut rows = String::new();
    for line in &window.lines {
        renderer.line(line, &mut rows);
    }
    let first = window.lines.first().map_or(0, |l| l.number);
    let after = window.lines.last().map_or(0, |l| l.number + 1);
    html(&LogPage {
        page: Page::new(&app, &who, format!("{} of {} #{}", log.name, build.buildername, build.number), "builders"),
        build_path: build_path(&build.buildername, build.number),
        builder_path: builder_path(&build.buildername),
        size: size(window.total_bytes.max(0) as u64),
        first: first + 1,
        last: after,
        total: window.total_lines.max(after),
        // The line asked for stands below BEFORE others.
        earlier: (first > 0).then(|| (first - LINES + 1 + BEFORE).max(1)),
        later: (!window.at_end).then_some(after + 1 + BEFORE),
        live: (window.at_end && !log.complete).then_some(window.next_byte),
        rows,
        build,
        log,
    })
}

/// Rows as they come: `lines` events `{"next", "html", "partial", "skipped"}`,
/// then `end`. `next` is the byte at which the line without an end begins, and
/// the event's id: who comes back there gets that line whole.
pub async fn live(
    State(app): State<App>,
    At(id): At<i64>,
    ops: Operators,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    ops.only(&["offset", "anchors"])?;
    let mut c = app.people.pool().acquire().await?;
    logs::one(&mut c, &[logs::by_id(id)]).await?.ok_or_else(|| ApiError::not_found(format!("there is no log {id}")))?;
    drop(c);
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<i64>().ok());
    let from = match last {
        Some(at) if at >= 0 => at,
        _ => ops.number("offset")?.unwrap_or(0),
    };
    let anchors = if ops.get("anchors") == Some("log") { Anchors::Log(id) } else { Anchors::Here };
    let follow = Follow {
        tail: app.live.tail(LogId(id), from),
        lines: None,
        renderer: Renderer::new(anchors),
        ping: tokio::time::interval(PING),
        log: LogId(id),
        ended: false,
        jumped: false,
        _room: app.live.room().ok_or_else(ApiError::unavailable)?,
        app,
    };
    Ok(sse(stream::unfold(follow, |mut f| async move {
        let event = f.next().await?;
        Some((Ok::<_, Infallible>(event), f))
    })))
}

struct Follow {
    app: App,
    log: LogId,
    tail: crate::live::Tail,
    lines: Option<Lines>,
    renderer: Renderer,
    ping: tokio::time::Interval,
    ended: bool,
    jumped: bool,
    _room: tokio::sync::OwnedSemaphorePermit,
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        tokio::select! {
            _ = self.ping.tick() => Some(Event::default().comment("ping")),
            grown = self.tail.next() => match grown? {
                Ok(Some(grown)) => Some(self.rows(grown).await),
                Ok(None) => {
                    self.ended = true;
                    Some(Event::default().event("end").data("{}"))
                }
                Err(error) => {
                    tracing::debug!(%error, "live log cut");
                    None
                }
            },
        }
    }

    async fn rows(&mut self, grown: Grown) -> Event {
        let lines = self.lines.get_or_insert_with(|| {
            // After a jump the first line is the rest of one.
            let from = grown.first_line + i64::from(std::mem::take(&mut self.jumped));
            Lines::new(grown.first_byte, grown.first_line, from, LINE_BYTES)
        });
        for run in &grown.runs {
            lines.push(run);
        }
        let done: Vec<_> = lines.done.drain(..).collect();
        let skip = done.len().saturating_sub(PIECE_LINES);
        let mut html = String::new();
        for line in &done[skip..] {
            self.renderer.line(line, &mut html);
        }
        let mut partial = String::new();
        if let Some(line) = lines.partial() {
            self.renderer.line(line, &mut partial);
        }
        let next = lines.line_start().0;
        let skipped = skip > 0 || self.rejoin(grown.next).await;
        tokio::time::sleep(PAUSE).await;
        let data = json!({ "next": next, "html": html, "partial": partial, "skipped": skipped });
        Event::default().event("lines").id(next.to_string()).data(data.to_string())
    }

    /// Goes on near the end if the log ran far ahead. True if something was skipped.
    async fn rejoin(&mut self, at: i64) -> bool {
        let Ok(mut c) = self.app.people.pool().acquire().await else { return false };
        match log_end(&mut c, self.log).await {
            Ok((end, _)) if end - at > BEHIND_MAX => {
                self.tail.go_to(end - REJOIN);
                self.lines = None;
                self.jumped = true;
                true
            }
            _ => false,
        }
    }
}
