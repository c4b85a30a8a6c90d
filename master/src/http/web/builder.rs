//! `/builders/{name}`: its builds, what waits for it, and the form that asks
//! for a build now.

use super::force::Shown;
use super::home::BuildRow;
use super::page::{Page, html};
use super::show::{self, builder_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use crate::http::rest::forced;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tidemill_schema::policy_failures::{PolicyFailure, policy_failures_of_builder};
use tidemill_schema::read::builders::{self, Builder};
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::control;
use tidemill_schema::read::query::Direction;
use tidemill_schema::read::requests::{self, Request};
use tidemill_schema::read::{self, Scope};

const ROWS: i64 = 40;
const WAITING: i64 = 30;

#[derive(Template)]
#[template(path = "builder.html")]
struct BuilderPage {
    page: Page,
    builder: Builder,
    path: String,
    waiting: Vec<Request>,
    builds: Vec<BuildRow>,
    /// Number to go on below.
    older: Option<i64>,
    first_page: bool,
    /// Functions of the project that failed for it.
    failures: Vec<PolicyFailure>,
    /// What a forced build takes where nothing is said.
    branch: String,
    /// The forms of its ForceSchedulers, which stand in the place of the plain one.
    forms: Vec<Shown>,
}

#[derive(Deserialize)]
pub struct Asked {
    before: Option<i64>,
}

pub async fn page(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    asked: Query<Asked>,
) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let id = builders::by_name(&mut c, &name).await?.ok_or_else(|| unknown(&name))?;
    let builder = builders::one(&mut c, &[builders::by_id(id)]).await?.ok_or_else(|| unknown(&name))?;
    let waiting = requests::waiting(&mut c, id, WAITING).await?;
    let mut failures = policy_failures_of_builder(&mut c, &builder.name).await?;
    if !who.may_control {
        // A traceback quotes the project file, which may hold what is not for everybody.
        failures.iter_mut().for_each(|f| f.error.truncate(f.error.find('\n').unwrap_or(f.error.len())));
    }
    let mut scope: Vec<Scope> = vec![builds::of_builder(id)];
    scope.extend(asked.before.map(builds::before_number));
    let number = BUILDS.field("number").expect("builds have a number");
    let query = read::Query { order: vec![(number, Direction::Down)], limit: ROWS + 1, ..read::Query::default() };
    let mut found = builds::list(&mut c, &scope, &query).await?;
    let stamps = control::latest_stamps(&mut c, id).await?;
    let forms = match who.may_control {
        true => forced::forms(&mut c, Some(&builder.name)).await?,
        false => Vec::new(),
    };
    drop(c);
    let more = found.len() as i64 > ROWS;
    found.truncate(ROWS as usize);
    html(&BuilderPage {
        page: Page::new(&app, &who, builder.name.clone(), "builders").live(format!("builderid={id}")),
        path: builder_path(&builder.name),
        forms: forms.iter().map(|f| Shown::of_builder(f, &builder.name)).collect(),
        builder,
        waiting,
        failures,
        older: found.last().filter(|_| more).map(|b| b.number),
        builds: found.into_iter().map(BuildRow::of).collect(),
        first_page: asked.before.is_none(),
        branch: stamps.first().and_then(|s| s.branch.clone()).unwrap_or_default(),
    })
}

pub fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no builder `{}`", name.chars().take(200).collect::<String>()))
}
