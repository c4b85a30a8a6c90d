//! `steps` by their own id.

use super::answer::{self, Answer};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use axum::extract::State;
use axum::routing::get;
use tidemill_schema::read::logs::{self, LOGS};
use tidemill_schema::read::steps::{self, STEPS};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::one("/steps/{stepid}", &STEPS, "One step", get(by_id)))
        .routes(describe::list("/steps/{stepid}/logs", &LOGS, "Its logs", get(logs_of)))
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &STEPS, steps::by_id(id), &ops, "step").await
}

async fn logs_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&STEPS, steps::by_id(id), "step"), &LOGS, &[logs::of_step(id)], &ops).await
}
