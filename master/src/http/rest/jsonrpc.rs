//! Control as Buildbot's clients ask for it: a POST of a JSON-RPC 2.0 call to
//! the resource itself. It does what the paths of our own do, and answers in
//! Buildbot's shape; a form with wrong fields gets `{field: what is wrong}`.

use super::ask::{At, Body, connection};
use super::control::{self, Cancelled};
use super::{describe, forced};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_schema::requests::Submitted;
use utoipa_axum::router::OpenApiRouter;

const CALL: &[(&str, &str)] = &[
    ("jsonrpc", "`2.0`."),
    ("method", "Such as `stop`, `rebuild`, `cancel`, `set_priority`, `force`."),
    ("params", "An object of arguments."),
    ("id", "Comes back with the answer."),
];

pub fn router() -> OpenApiRouter<App> {
    let call = |path, summary, handler| describe::control(path, "200", summary, CALL, handler);
    OpenApiRouter::default()
        .routes(call("/builds/{buildid}", "JSON-RPC: stop, rebuild", post(build)))
        .routes(call("/buildrequests/{buildrequestid}", "JSON-RPC: cancel, set_priority", post(request)))
        .routes(call("/forceschedulers/{name}", "JSON-RPC: force", post(force)))
}

const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    jsonrpc: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    params: Map<String, Value>,
}

enum Failed {
    Method,
    Api(ApiError),
}

impl<E: Into<ApiError>> From<E> for Failed {
    fn from(e: E) -> Failed {
        Failed::Api(e.into())
    }
}

impl Call {
    async fn answer(self, work: impl AsyncFnOnce(&str, Map<String, Value>) -> Result<Value, Failed>) -> Response {
        let Call { jsonrpc, method, id, params } = self;
        if jsonrpc != "2.0" {
            return refused(StatusCode::BAD_REQUEST, id, INVALID_REQUEST, "write \"jsonrpc\": \"2.0\"".into());
        }
        match work(&method, params).await {
            Ok(result) => Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response(),
            Err(Failed::Method) => {
                let shown: String = method.chars().take(100).collect();
                let message = format!("there is no method `{shown}` here");
                refused(StatusCode::BAD_REQUEST, id, METHOD_NOT_FOUND, message.into())
            }
            Err(Failed::Api(error)) => {
                let problem = error.problem();
                let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let fields: Map<String, Value> =
                    problem.errors.iter().map(|e| (e.field.clone(), e.detail.clone().into())).collect();
                let (code, message) = match (fields.is_empty(), status.is_server_error()) {
                    (false, _) => (INVALID_PARAMS, fields.into()),
                    (true, true) => (INTERNAL, problem.to_string().into()),
                    (true, false) => (INVALID_REQUEST, problem.detail.clone().into()),
                };
                refused(status, id, code, message)
            }
        }
    }
}

fn refused(status: StatusCode, id: Value, code: i64, message: Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    (status, Json(body)).into_response()
}

fn reason(params: &Map<String, Value>, who: &Who) -> String {
    match params.get("reason").and_then(Value::as_str).map(str::trim) {
        None | Some("") => format!("asked by {}", who.name),
        Some(said) => said.to_owned(),
    }
}

/// `[buildset, {builder: request}]`
async fn made(app: &App, made: &Submitted) -> Result<Value, Failed> {
    let mut c = connection(app).await?;
    let by_builder = tidemill_schema::read::buildsets::requests(&mut c, made.buildset.0).await?;
    let by_builder: Map<String, Value> = by_builder.into_iter().map(|(b, r)| (b.to_string(), r.into())).collect();
    Ok(json!([made.buildset.0, by_builder]))
}

async fn build(State(app): State<App>, who: Who, At(build): At<i64>, Body(call): Body<Call>) -> Response {
    call.answer(async |method, params| match method {
        "stop" => {
            control::stop(&app, build, &reason(&params, &who)).await?;
            Ok(Value::Null)
        }
        "rebuild" => made(&app, &control::rebuild(&app, build, control::Rebuild::Same).await?).await,
        _ => Err(Failed::Method),
    })
    .await
}

async fn request(State(app): State<App>, who: Who, At(request): At<i64>, Body(call): Body<Call>) -> Response {
    call.answer(async |method, params| match method {
        "cancel" => Ok(match control::cancel(&app, request, &reason(&params, &who)).await? {
            Cancelled::Now => Value::Null,
            Cancelled::Stopping(build) => json!({ "stopping": build }),
        }),
        "set_priority" => {
            let priority = params.get("priority").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
            let priority = priority.ok_or_else(|| ApiError::field("priority", "give a whole number"))?;
            control::prioritize(&app, request, priority).await?;
            Ok(Value::Null)
        }
        _ => Err(Failed::Method),
    })
    .await
}

async fn force(State(app): State<App>, who: Who, At(name): At<String>, Body(call): Body<Call>) -> Response {
    call.answer(async |method, params| match method {
        "force" => {
            let form = forced::form(&mut *connection(&app).await?, &name).await?;
            made(&app, &forced::force(&app, &form, forced::values(params), &who, None).await?).await
        }
        _ => Err(Failed::Method),
    })
    .await
}
