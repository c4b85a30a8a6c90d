//! `workers`, `masters`.

use super::answer::{self, Answer};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use axum::extract::State;
use axum::routing::get;
use sqlx::PgConnection;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::masters::{self, MASTERS};
use tidemill_schema::read::workers::{self, WORKERS};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/workers", &WORKERS, "All workers", get(all)))
        .routes(describe::one("/workers/{worker}", &WORKERS, "One worker, by id or name", get(by_id)))
        .routes(describe::list("/workers/{worker}/builds", &BUILDS, "Its builds", get(builds_of)))
        .routes(describe::list("/masters", &MASTERS, "All replicas, one for each start", get(masters_all)))
        .routes(describe::one("/masters/{masterid}", &MASTERS, "One replica", get(master)))
}

async fn found(c: &mut PgConnection, named: &str) -> Result<i64, ApiError> {
    workers::resolve(c, named).await?.ok_or_else(|| {
        ApiError::not_found(format!("there is no worker `{}`", named.chars().take(200).collect::<String>()))
    })
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &WORKERS, &ops).await
}

async fn by_id(State(app): State<App>, At(worker): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &worker).await?;
    answer::row(&mut c, &WORKERS, &[workers::by_id(id)], &ops, "worker").await
}

async fn builds_of(State(app): State<App>, At(worker): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &worker).await?;
    answer::rows(&mut c, &BUILDS, &[builds::of_worker(id)], &ops).await
}

async fn masters_all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &MASTERS, &ops).await
}

async fn master(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &MASTERS, masters::by_id(id), &ops, "master").await
}
