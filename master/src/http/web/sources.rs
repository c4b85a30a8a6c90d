//! `/changesources`: who looks for changes, how that goes, and a button to look now.

use super::page::{Page, html};
use super::show::{self, Badge};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use crate::http::rest::control;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use tidemill_schema::read::changes::{self, ChangeSource};

const ROWS: i64 = 1000;

#[derive(Template)]
#[template(path = "sources.html")]
struct Sources {
    page: Page,
    rows: Vec<Row>,
    /// There are more than are shown.
    more: bool,
}

struct Row {
    source: ChangeSource,
    badge: Option<Badge>,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let mut found = changes::sources(&mut c, ROWS + 1).await?;
    drop(c);
    let more = found.len() as i64 > ROWS;
    found.truncate(ROWS as usize);
    html(&Sources {
        page: Page::new(&app, &who, "Change sources", "changes").live("kind=changes"),
        rows: found.into_iter().map(row).collect(),
        more,
    })
}

fn row(source: ChangeSource) -> Row {
    Row { badge: badge(&source), source }
}

/// How its polls go. One that polls well may have something to say too, and so may one that nobody polls.
pub(super) fn badge(source: &ChangeSource) -> Option<Badge> {
    match (source.errors > 0, source.polling, source.good_at) {
        (true, ..) => Some(Badge::FAILING),
        (_, true, _) => Some(Badge::POLLING),
        (_, _, Some(_)) => Some(Badge::GOOD),
        _ => None,
    }
}

pub async fn poll(State(app): State<App>, At(id): At<i64>) -> Result<Response, ApiError> {
    control::poll(&app, &id.to_string()).await?;
    Ok(Redirect::to("/changesources").into_response())
}
