//! `reports`: questions of history, run on a pool of their own, which only reads.

use super::ask::{At, Operators};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::sync::Arc;
use tidemill_model::problem::{FieldError, kinds};
use tidemill_sql::format::{Format, report_json};
use tidemill_sql::report::{Bounds, Error, Report, Reports, Table, Values, Wrong, built_in, run};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;

/// Most rows of an answer.
const ROWS: usize = 10_000;
/// A picture of its own brings its style, and nothing else.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

const PARAMETERS: &[(&str, &str)] = &[
    ("format", "json (if not given), csv, md, svg, table, or sql: the query with these values."),
    (
        "since",
        "Most reports: how far back, as in 28d or 2 weeks, or a day or moment (2026-01-31, 2026-01-31T12:00:00Z). \
         Each report's own parameters are in the list of reports.",
    ),
    ("until", "Most reports: until when, in the same words."),
    ("builder", "Most reports: only this builder."),
    ("project", "Most reports: only builders of this project."),
    ("limit", "Many reports: most rows."),
];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::other(
            "/reports",
            "Questions of history: what each takes and gives",
            "application/json",
            &[],
            get(all),
        ))
        .routes(describe::other(
            "/reports/{report}",
            "The answer to one: columns, and an object a row",
            "application/json",
            PARAMETERS,
            get(one),
        ))
}

async fn all(State(app): State<App>, who: Who, ops: Operators) -> Result<Response, ApiError> {
    ops.only(&[])?;
    let reports = load(&app).await?;
    let listed: Vec<_> = reports.reports.iter().map(|r| report_json(r)).collect();
    let mut meta = json!({ "total": listed.len() });
    if who.has_token {
        // With names of files of this machine.
        meta["broken"] = reports.broken.iter().map(ToString::to_string).collect();
    }
    Ok(Json(json!({ "reports": listed, "meta": meta })).into_response())
}

async fn one(State(app): State<App>, At(name): At<String>, ops: Operators) -> Result<Response, ApiError> {
    let report = find(&app, &name).await?;
    let format = match ops.get("format").filter(|f| !f.is_empty()) {
        None => Format::Json,
        Some(name) => Format::of(name).ok_or_else(|| {
            let known = Format::ALL.map(|(name, _)| name).join(", ");
            ApiError::field("format", format!("there are {known}"))
        })?,
    };
    let values = values(&report, &ops, OffsetDateTime::now_utc()).map_err(|wrong| {
        ApiError::fields(wrong.into_iter().map(|w| FieldError { field: w.name, detail: w.detail }).collect())
    })?;
    let table = match format {
        Format::Sql => Table { columns: Vec::new(), rows: Vec::new(), more: false },
        _ => answer(&app, &report, &values, ROWS).await.map_err(|e| failed(&report, e))?,
    };
    let mut response = format.write(&report, &values, &table, None).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if format == Format::Svg {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PICTURE_POLICY));
    }
    if format == Format::Csv
        && let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{}.csv\"", report.name))
    {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Those that come with Tidemill, and those of the folder as they are now.
pub async fn load(app: &App) -> Result<Reports, ApiError> {
    let Some(folder) = app.settings.reports.folder.clone() else { return Ok(Reports::load(None)) };
    tokio::task::spawn_blocking(move || Reports::load(Some(&folder))).await.map_err(ApiError::internal)
}

/// One by its name.
pub async fn find(app: &App, name: &str) -> Result<Arc<Report>, ApiError> {
    if let Some(report) = built_in().iter().find(|r| r.name == name) {
        return Ok(report.clone());
    }
    load(app).await?.find(name).cloned().ok_or_else(|| {
        let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        ApiError::not_found(format!("there is no report `{name}`: `/api/v2/reports` lists them"))
    })
}

/// What the query part says, but for the format.
pub fn values(report: &Report, ops: &Operators, now: OffsetDateTime) -> Result<Values, Vec<Wrong>> {
    let given = ops.pairs.iter().filter(|(name, _)| name != "format").map(|(n, v)| (n.as_str(), v.as_str()));
    Values::read(&report.head.parameters, given, now)
}

/// Runs it on the pool of reports.
pub async fn answer(app: &App, report: &Report, values: &Values, rows: usize) -> Result<Table, Error> {
    let bounds = Bounds { rows, time: app.settings.reports.time };
    run(&app.reports, report, values, bounds).await
}

/// What a report that did not answer means to who asked.
pub fn failed(report: &Report, error: Error) -> ApiError {
    let unprocessable =
        |kind: &str, title: &str, error: &Error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, error);
    match error {
        Error::Database(e) => e.into(),
        Error::Data(detail) => ApiError::bad_request(detail),
        Error::TooSlow(_) => unprocessable("report-too-slow", "The report took too long", &error),
        Error::NoViews => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, kinds::UNAVAILABLE, "Not available now", &error)
        }
        Error::Sql { .. } if report.built_in => ApiError::internal(&error),
        Error::Sql { .. } | Error::Refused(_) => unprocessable("report-failed", "The report cannot be run", &error),
    }
}
