//! `changes` and `changesources`.

use super::answer::{self, Answer};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use axum::extract::State;
use axum::routing::get;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::changes::{self, CHANGE_SOURCES, CHANGES};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/changes", &CHANGES, "All changes", get(all)))
        .routes(describe::one("/changes/{changeid}", &CHANGES, "One change", get(by_id)))
        .routes(describe::list("/changes/{changeid}/builds", &BUILDS, "The builds that it led to", get(builds_of)))
        .routes(describe::list("/changesources", &CHANGE_SOURCES, "Pollers", get(sources)))
        .routes(describe::one("/changesources/{changesourceid}", &CHANGE_SOURCES, "One poller", get(source)))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &CHANGES, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &CHANGES, changes::by_id(id), &ops, "change").await
}

async fn builds_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&CHANGES, changes::by_id(id), "change"), &BUILDS, &[builds::of_change(id)], &ops).await
}

async fn sources(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &CHANGE_SOURCES, &ops).await
}

async fn source(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &CHANGE_SOURCES, changes::source_by_id(id), &ops, "change source").await
}
