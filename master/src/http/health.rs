//! `/livez`: the process answers. `/readyz`: it can do its work; degraded says
//! what is wrong and by whose fault, but still answers 200 while work is done.

use super::ApiError;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Health {
    /// `ok`, `degraded` or `failing`.
    status: &'static str,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

pub async fn livez() -> &'static str {
    "ok"
}

pub async fn readyz(State(app): State<App>) -> Result<Response, ApiError> {
    let mut checks = Vec::new();
    let schema = tidemill_schema::migrate::check(&app.people).await;
    let writes = tidemill_schema::health::writable(&app.people).await;
    checks.push(check("schema", schema.as_ref().err()));
    checks.push(check("writes", writes.as_ref().err()));
    let failing = schema.is_err() || writes.is_err();
    let mut degraded = false;
    if !failing {
        let listening = app.wakes.healthy();
        checks.push(Check {
            name: "listen",
            ok: listening,
            detail: if listening {
                String::new()
            } else {
                "no notification came back yet; work is found by polling".into()
            },
        });
        let horizon = tidemill_schema::health::horizon(&app.people).await?;
        let held = horizon.age_seconds > 60.0;
        checks.push(Check {
            name: "horizon",
            ok: !held,
            detail: if held {
                format!("scheduling and events wait {:.0} s for {}", horizon.age_seconds, horizon.holder)
            } else {
                String::new()
            },
        });
        degraded = !listening || held;
    }
    let status = if failing {
        "failing"
    } else if degraded {
        "degraded"
    } else {
        "ok"
    };
    let code = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok((code, Json(Health { status, checks })).into_response())
}

fn check(name: &'static str, error: Option<&tidemill_schema::Error>) -> Check {
    Check { name, ok: error.is_none(), detail: error.map(|e| e.to_string()).unwrap_or_default() }
}
