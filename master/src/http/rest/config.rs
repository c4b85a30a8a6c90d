//! `config`, and its revisions.

use super::answer::{self, Answer};
use super::ask::{At, Body, Operators};
use super::describe;
use crate::app::App;
use crate::http::access::Who;
use crate::http::{ApiError, config};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use tidemill_schema::read::revisions::{self, REVISIONS};
use utoipa_axum::router::OpenApiRouter;

const APPLY: &[(&str, &str)] = &[
    ("files", "An object: path and text of each file; `master.star` is the first to be evaluated."),
    ("activate", "False only checks and stores; default true."),
    ("comment", "Why, for the record."),
];
const ACTIVATE: &[(&str, &str)] = &[("comment", "Why, for the record.")];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::other(
            "/config",
            "The active configuration, and whether this replica has it ready; its files with a token only",
            "application/json",
            &[],
            get(config::active),
        ))
        .routes(describe::control(
            "/config",
            "200",
            "Apply a project's files as one revision",
            APPLY,
            post(config::apply),
        ))
        .routes(describe::list("/config/revisions", &REVISIONS, "All config revisions", get(all)))
        .routes(describe::one("/config/revisions/{revisionid}", &REVISIONS, "One config revision", get(by_id)))
        .routes(describe::private(
            "/config/revisions/{revisionid}/content",
            "Its files and what they define",
            get(config::content),
        ))
        .routes(describe::control(
            "/config/revisions/{revisionid}/activate",
            "200",
            "Make it the active one",
            ACTIVATE,
            post(activate),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &REVISIONS, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &REVISIONS, revisions::by_id(id), &ops, "config revision").await
}

async fn activate(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Body(said): Body<config::Activate>,
) -> Result<Json<config::Applied>, ApiError> {
    config::activate(&app, &who, id, said).await
}
