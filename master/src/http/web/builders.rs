//! `/builders`: all of them at a glance.

use super::page::{Page, html};
use super::show::{Badge, build_path, builder_path, segment};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tidemill_schema::read::overview::{self, BuilderRow, PENDING_MAX, Which};

const ROWS: i64 = 200;

#[derive(Template)]
#[template(path = "builders.html")]
struct Builders {
    page: Page,
    rows: Vec<Row>,
    tags: Vec<Tag>,
    asked: Asked,
    /// Query of the next page.
    next: Option<String>,
}

struct Row {
    builder: BuilderRow,
    path: String,
    last: Option<Badge>,
    strip: Vec<Cell>,
}

/// One of the last builds.
struct Cell {
    path: String,
    number: i64,
    badge: Badge,
    text: String,
}

struct Tag {
    name: String,
    query: String,
    chosen: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    tag: Option<String>,
    q: Option<String>,
    /// Also those that are no longer defined.
    old: Option<String>,
    after: Option<String>,
}

impl Asked {
    fn filled(text: &Option<String>) -> Option<String> {
        text.clone().filter(|t| !t.is_empty())
    }

    /// The same question from another place on.
    fn query(&self, tag: Option<&str>, after: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("tag", tag), ("q", self.q.as_deref()), ("old", self.old.as_deref()), ("after", after)] {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                query.append_pair(name, value);
            }
        }
        format!("?{}", query.finish())
    }

    fn q_text(&self) -> &str {
        self.q.as_deref().unwrap_or_default()
    }
}

pub async fn page(State(app): State<App>, who: Who, asked: Query<Asked>) -> Result<Response, ApiError> {
    let asked = asked.0;
    let which = Which {
        tag: Asked::filled(&asked.tag),
        name: Asked::filled(&asked.q),
        retired: asked.old.is_some(),
        after: Asked::filled(&asked.after),
        limit: ROWS + 1,
    };
    let mut c = app.people.pool().acquire().await?;
    let mut found = overview::builders(&mut c, &which).await?;
    let tags = overview::tags(&mut c).await?;
    drop(c);
    let more = found.len() as i64 > ROWS;
    found.truncate(ROWS as usize);
    let next = found.last().filter(|_| more).map(|last| asked.query(asked.tag.as_deref(), Some(&last.name)));
    let tags = tags
        .into_iter()
        .map(|name| {
            let chosen = asked.tag.as_ref() == Some(&name);
            Tag { query: asked.query(Some(&name).filter(|_| !chosen).map(String::as_str), None), name, chosen }
        })
        .collect();
    html(&Builders {
        page: Page::new(&app, &who, "Builders", "builders").live("kind=builds,buildrequests,config"),
        rows: found.into_iter().map(row).collect(),
        tags,
        asked,
        next,
    })
}

fn row(builder: BuilderRow) -> Row {
    let strip: Vec<Cell> = builder
        .recent
        .iter()
        .map(|b| Cell {
            path: build_path(&builder.name, b.number),
            number: b.number,
            badge: Badge::of(b.results),
            text: b.state_string.clone(),
        })
        .collect();
    Row {
        path: builder_path(&builder.name),
        last: builder.recent.iter().find(|b| b.results.is_some()).map(|b| Badge::of(b.results)),
        strip,
        builder,
    }
}

/// An id that a live update finds again.
fn row_id(name: &str) -> String {
    format!("builder-{}", segment(name))
}
