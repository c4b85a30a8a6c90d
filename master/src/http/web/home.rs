//! `/`: what runs, what waits, what came of the last builds.

use super::page::{Page, html};
use super::show::{self, Badge, build_path, builder_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use tidemill_schema::read::Query;
use tidemill_schema::read::builds::{self, BUILDS, Build};
use tidemill_schema::read::overview::{self, Now, PENDING_MAX};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Page,
    now: Now,
    running: Vec<BuildRow>,
    recent: Vec<BuildRow>,
}

/// A build as one row of a table.
pub struct BuildRow {
    pub build: Build,
    pub path: String,
    pub builder_path: String,
    pub badge: Badge,
}

impl BuildRow {
    pub fn of(build: Build) -> BuildRow {
        BuildRow {
            path: build_path(&build.buildername, build.number),
            builder_path: builder_path(&build.buildername),
            badge: Badge::of(build.results),
            build,
        }
    }
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let now = overview::now(&mut c).await?;
    let running = builds::running(&mut c, &[], 50).await?;
    let query = Query { limit: 30, ..Query::newest(&BUILDS) };
    let recent = builds::list(&mut c, &[], &query).await?.into_iter().filter(|b| b.complete);
    drop(c);
    html(&Home {
        page: Page::new(&app, &who, "Builds", "home").live("kind=builds,buildrequests,workers,config"),
        now,
        running: running.into_iter().map(BuildRow::of).collect(),
        recent: recent.map(BuildRow::of).collect(),
    })
}
