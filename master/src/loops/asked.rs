//! What people on IRC asked a notifier for: force and stop, by the functions
//! that serve pages and REST.
//!
//! Any replica may do it, two at once too: a key makes a forced build once, and
//! of two answers the first stays.

use crate::app::App;
use crate::http::ApiError;
use crate::http::rest::control;
use axum::http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::notices::control::{Answer, Open, Wish, builds_running, control_end, controls_open};
use tidemill_schema::read::builders;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(5);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Control | Wake::All));
    let this = app.clone();
    reconcile::spawn(&app.life, "asked", PERIOD, wake, move || {
        let app = this.clone();
        async move {
            let open = controls_open(&mut *app.people.pool().acquire().await.map_err(Error::from)?).await?;
            for asked in &open {
                let answer = match carry_out(&app, asked).await {
                    Ok(answer) => answer,
                    // Not now, here: it stays open.
                    Err(e) if status(&e) >= StatusCode::INTERNAL_SERVER_ERROR => {
                        tracing::warn!(
                            asked = asked.id,
                            error = said(&e),
                            "what was asked for on IRC could not be done"
                        );
                        continue;
                    }
                    Err(e) => Answer::Refused(said(&e)),
                };
                tracing::info!(by = asked.by, builder = asked.builder, ?answer, "asked for on IRC");
                run_tx!(app.people, "control.end", |c| control_end(c, asked.id, &answer).await)?;
                app.wakes.send(Wake::Control);
            }
            Ok::<_, Error>(Next::Idle)
        }
    });
}

async fn carry_out(app: &App, asked: &Open) -> Result<Answer, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let id = builders::by_name(&mut c, &asked.builder).await?;
    let id = id.ok_or_else(|| ApiError::not_found(format!("there is no builder `{}`", asked.builder)))?;
    match &asked.wish {
        Wish::Force { branch, revision, codebase, project, properties, reason } => {
            drop(c);
            let force = control::Force {
                branch: branch.clone(),
                revision: revision.clone(),
                codebase: codebase.clone(),
                project: project.clone(),
                properties: properties.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect(),
                reason: reason.clone(),
                ..control::Force::default()
            };
            let key = format!("control request {}", asked.id);
            let made = control::force(app, id, &asked.builder, force, &asked.by, Some(key)).await?;
            Ok(Answer::Requests(made.requests.iter().map(|r| r.0).collect()))
        }
        Wish::Stop { reason } => {
            let running = builds_running(&mut c, id).await?;
            drop(c);
            let mut stopping = vec![];
            for (build, number) in running {
                match control::stop(app, build, &format!("{reason} (by {})", asked.by)).await {
                    Ok(()) => stopping.push(number),
                    // It has just ended.
                    Err(e) if status(&e) == StatusCode::CONFLICT => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(Answer::Stopping(stopping))
        }
    }
}

fn status(e: &ApiError) -> StatusCode {
    StatusCode::from_u16(e.problem().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An error in a sentence: all that is wrong.
fn said(e: &ApiError) -> String {
    let problem = e.problem();
    let mut parts: Vec<String> = vec![problem.detail.clone()];
    parts.extend(problem.errors.iter().map(|f| format!("{}: {}", f.field, f.detail)));
    parts.retain(|p| !p.is_empty());
    if parts.is_empty() { problem.title.clone() } else { parts.join("; ") }
}
