//! `/changes`: what came in.

use super::page::{Page, html};
use super::show::{self, first_line, link, short};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tidemill_schema::read;
use tidemill_schema::read::Scope;
use tidemill_schema::read::changes::{self, CHANGES, Change, ChangeSource};
use tidemill_schema::read::held::{self, HeldChange};

const ROWS: i64 = 50;

/// Sources that are shown; all of them have a page of their own.
const SOURCES: i64 = 100;

#[derive(Template)]
#[template(path = "changes.html")]
struct Changes {
    page: Page,
    rows: Vec<Row>,
    sources: Vec<ChangeSource>,
    held: Vec<Held>,
    older: Option<i64>,
    first_page: bool,
}

struct Row {
    change: Change,
    title: String,
    revision: String,
    link: Option<String>,
    files: String,
}

/// A change that waits for an approval.
struct Held {
    change: HeldChange,
    title: String,
    link: Option<String>,
}

#[derive(Deserialize)]
pub struct Asked {
    before: Option<i64>,
}

pub async fn page(State(app): State<App>, who: Who, asked: Query<Asked>) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let scope: Vec<Scope> = asked.before.map(changes::before).into_iter().collect();
    let query = read::Query { limit: ROWS + 1, ..read::Query::newest(&CHANGES) };
    let mut found = changes::list(&mut c, &scope, &query).await?;
    let sources = changes::sources(&mut c, SOURCES).await?;
    let held = held::waiting(&mut c, ROWS).await?;
    drop(c);
    let more = found.len() as i64 > ROWS;
    found.truncate(ROWS as usize);
    html(&Changes {
        page: Page::new(&app, &who, "Changes", "changes").live("kind=changes"),
        older: found.last().filter(|_| more).map(|h| h.changeid),
        rows: found.into_iter().map(row).collect(),
        sources,
        held: held.into_iter().map(waiting).collect(),
        first_page: asked.before.is_none(),
    })
}

fn waiting(change: HeldChange) -> Held {
    Held {
        title: change.comments.as_deref().map(first_line).unwrap_or_default(),
        link: change.revlink.as_deref().and_then(link).map(str::to_owned),
        change,
    }
}

fn row(change: Change) -> Row {
    let files = match change.files.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    };
    Row {
        title: first_line(&change.comments),
        revision: change.revision.as_deref().map(short).unwrap_or_default(),
        link: change.revlink.as_deref().and_then(link).map(str::to_owned),
        files,
        change,
    }
}
