//! `/schedulers`: what decides what is built, what each waits for, and its
//! buttons.

use super::page::{Page, html};
use super::show::{self, Badge, builder_path, segment};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use crate::http::rest::{scheduler_control as control, schedulers::unknown};
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use tidemill_schema::read::Query;
use tidemill_schema::read::schedulers::{self, SchedulerRow};

const ROWS: i64 = 1000;
/// Builders that are named; of more, how many there are.
const BUILDERS: usize = 8;

#[derive(Template)]
#[template(path = "schedulers.html")]
struct Schedulers {
    page: Page,
    rows: Vec<Row>,
    /// There are more than are shown.
    more: bool,
}

struct Row {
    scheduler: SchedulerRow,
    badge: Badge,
    /// What its buttons post to.
    path: String,
    /// The page of its form, if it has one.
    form: Option<String>,
    builders: Vec<(String, String)>,
    more_builders: usize,
    runs: bool,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let mut found = schedulers::list(&mut c, &Query { limit: ROWS + 1, ..Query::default() }).await?;
    drop(c);
    let more = found.len() as i64 > ROWS;
    found.truncate(ROWS as usize);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    html(&Schedulers {
        page: Page::new(&app, &who, "Schedulers", "schedulers")
            .live("kind=schedulers,changes.new,buildsets.new,config"),
        rows: found.into_iter().map(row).collect(),
        more,
    })
}

fn row(scheduler: SchedulerRow) -> Row {
    let badge = match (scheduler.enabled, scheduler.failures) {
        (false, _) => Badge::DISABLED,
        (true, 0) => Badge::ENABLED,
        _ => Badge::FAILING,
    };
    let kinds = ["SingleBranchScheduler", "AnyBranchScheduler", "Periodic", "Nightly"];
    let name = segment(&scheduler.name);
    Row {
        badge,
        path: format!("/schedulers/{name}"),
        form: (scheduler.kind.as_deref() == Some("ForceScheduler")).then(|| format!("/forceschedulers/{name}")),
        builders: scheduler.builders.iter().take(BUILDERS).map(|b| (b.clone(), builder_path(b))).collect(),
        more_builders: scheduler.builders.len().saturating_sub(BUILDERS),
        runs: scheduler.kind.as_deref().is_some_and(|kind| kinds.contains(&kind)),
        scheduler,
    }
}

pub async fn enable(State(app): State<App>, who: Who, At(name): At<String>) -> Result<Response, ApiError> {
    let id = found(&app, &name).await?;
    control::enable(&app, id, true, &who.name).await?;
    Ok(back(id))
}

pub async fn disable(State(app): State<App>, who: Who, At(name): At<String>) -> Result<Response, ApiError> {
    let id = found(&app, &name).await?;
    control::enable(&app, id, false, &who.name).await?;
    Ok(back(id))
}

pub async fn run(State(app): State<App>, who: Who, At(name): At<String>) -> Result<Response, ApiError> {
    let id = found(&app, &name).await?;
    control::run(&app, id, &who.name).await?;
    Ok(back(id))
}

async fn found(app: &App, name: &str) -> Result<i64, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    schedulers::resolve(&mut c, name).await?.ok_or_else(|| unknown(name))
}

/// To the row of the page, so that loading it again repeats nothing.
fn back(id: i64) -> Response {
    Redirect::to(&format!("/schedulers#scheduler-{id}")).into_response()
}
