//! `/locks`: who holds what, and who stands in line for it.

use super::page::{Page, html};
use super::show::{self, build_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use tidemill_schema::read::Query;
use tidemill_schema::read::locks::{self, Holder, Lock, Waiter};

const ROWS: i64 = 1000;
/// Holders and waiters shown of each lock.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "locks.html")]
struct Locks {
    page: Page,
    rows: Vec<Row>,
}

struct Row {
    lock: Lock,
    /// Such as «2 of 3», «exclusively».
    taken: String,
    holders: Vec<Line>,
    waiters: Vec<Line>,
    more: usize,
}

/// One who holds or waits.
struct Line {
    text: String,
    path: Option<String>,
    about: String,
    since: i64,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let mut found = locks::list(&mut c, &Query { limit: ROWS, ..Query::default() }).await?;
    drop(c);
    // One that no revision names any more is shown while somebody has to do with it.
    found.retain(|l| l.active || !l.holders.is_empty() || !l.waiters.is_empty());
    found.sort_by(|a, b| a.name.cmp(&b.name));
    html(&Locks {
        page: Page::new(&app, &who, "Locks", "locks")
            .live("builds.new,builds.finished,builds.updated,buildrequests.new"),
        rows: found.into_iter().map(row).collect(),
    })
}

fn row(lock: Lock) -> Row {
    let units: i64 = lock.holders.iter().map(|h| h.units).sum();
    let taken = match (lock.holders.is_empty(), lock.kind.as_str()) {
        (true, _) => "free".to_owned(),
        (_, "worker") => format!("held {} times", lock.holders.len()),
        _ if lock.holders.iter().any(|h| h.mode == "exclusive") => "held exclusively".to_owned(),
        _ => format!("{units} of {} held", lock.capacity),
    };
    let most = lock.holders.len().max(lock.waiters.len());
    Row {
        taken,
        holders: lock.holders.iter().take(SHOWN).map(holder).collect(),
        waiters: lock.waiters.iter().take(SHOWN).map(waiter).collect(),
        more: most.saturating_sub(SHOWN),
        lock,
    }
}

fn holder(h: &Holder) -> Line {
    let mut about = vec![match h.mode.as_str() {
        "exclusive" => "exclusive".to_owned(),
        _ => format!("counting {}", h.units),
    }];
    about.extend(h.workername.as_ref().map(|w| format!("on {w}")));
    Line {
        text: build(&h.buildername, h.number, h.step),
        path: Some(build_path(&h.buildername, h.number)),
        about: about.join(", "),
        since: h.since,
    }
}

fn waiter(w: &Waiter) -> Line {
    let builder = w.buildername.clone().unwrap_or_default();
    let (text, path) = match (w.number, w.buildrequestid) {
        (Some(number), _) => (build(&builder, number, w.step), Some(build_path(&builder, number))),
        (_, Some(request)) => (format!("{builder}, request {request}"), Some(format!("/buildrequests/{request}"))),
        _ => (format!("{builder}, its next build"), Some(show::builder_path(&builder))),
    };
    Line { text, path, about: String::new(), since: w.since }
}

fn build(builder: &str, number: i64, step: Option<i64>) -> String {
    match step {
        None => format!("{builder} #{number}"),
        Some(step) => format!("{builder} #{number}, step {step}"),
    }
}
