//! `locks`: who holds them and who waits.

use super::answer::{self, Answer};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use axum::extract::State;
use axum::routing::get;
use tidemill_schema::read::locks::{self, LOCKS};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/locks", &LOCKS, "All locks, with holders and waiters", get(all)))
        .routes(describe::one("/locks/{lock}", &LOCKS, "One lock, by id or name", get(by_id)))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &LOCKS, &ops).await
}

async fn by_id(State(app): State<App>, At(lock): At<String>, ops: Operators) -> Answer {
    ops.query(&LOCKS)?;
    let mut c = connection(&app).await?;
    let id = locks::resolve(&mut c, &lock).await?.ok_or_else(|| {
        ApiError::not_found(format!("there is no lock `{}`", lock.chars().take(200).collect::<String>()))
    })?;
    answer::row(&mut c, &LOCKS, &[locks::by_id(id)], &ops, "lock").await
}
