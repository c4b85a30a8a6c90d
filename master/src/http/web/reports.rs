//! `/reports`: questions of history, each with a form, a chart, a table, and its SQL.

use super::page::{Page, html};
use super::show::{build_path, builder_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::{At, Operators};
use crate::http::rest::reports::{answer, failed, find, load, values};
use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::fmt::{Display, Formatter};
use std::sync::Arc;
use tidemill_sql::format::svg;
use tidemill_sql::report::{Cell, Column, Parameter, ParameterKind, Report, Table, Values};
use time::OffsetDateTime;

/// Most rows on a page; the links give more.
const ROWS: usize = 1000;

#[derive(Template)]
#[template(path = "reports.html")]
struct List {
    page: Page,
    groups: Vec<(String, Vec<Arc<Report>>)>,
    /// Files of the folder that are no reports; for those who may do something about it.
    broken: Vec<String>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct One {
    page: Page,
    report: Arc<Report>,
    fields: Vec<Field>,
    /// Why there is no answer.
    problem: Option<String>,
    chart: Option<Drawn>,
    columns: Vec<Column>,
    rows: Vec<Vec<Shown>>,
    more: bool,
    sql: String,
    /// Names of formats and the addresses of the answer in them.
    links: Vec<(&'static str, String)>,
}

/// A parameter as a field of a form.
struct Field {
    parameter: Parameter,
    value: String,
    hint: String,
}

struct Shown {
    text: String,
    href: Option<String>,
    number: bool,
}

/// A picture of ours, which is markup already.
struct Drawn(String);

impl Display for Drawn {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl HtmlSafe for Drawn {}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let reports = load(&app).await?;
    let broken = if who.may_control { reports.broken.iter().map(ToString::to_string).collect() } else { Vec::new() };
    html(&List { page: Page::new(&app, &who, "Reports", "reports"), groups: reports.groups(), broken })
}

pub async fn one(State(app): State<App>, who: Who, At(name): At<String>, ops: Operators) -> Result<Response, ApiError> {
    let report = find(&app, &name).await?;
    let now = OffsetDateTime::now_utc();
    // What is wrong with what was asked is told above the form, which keeps it.
    let (values, refused) = match values(&report, &ops, now) {
        Ok(values) => (values, None),
        Err(wrong) => {
            let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            (Values::read(&report.head.parameters, [], now).map_err(|_| no_defaults())?, Some(said.join("; ")))
        }
    };
    let nothing = || Table { columns: Vec::new(), rows: Vec::new(), more: false };
    let (status, table, problem) = match refused {
        Some(said) => (StatusCode::BAD_REQUEST, nothing(), Some(said)),
        None => match answer(&app, &report, &values, ROWS).await {
            Ok(table) => (StatusCode::OK, table, None),
            Err(e) => {
                let e = failed(&report, e);
                let status = StatusCode::from_u16(e.problem().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, nothing(), Some(e.problem().detail.clone()))
            }
        },
    };
    let mut response = html(&One {
        page: Page::new(&app, &who, report.head.title.clone(), "reports"),
        fields: report.head.parameters.iter().enumerate().map(|(n, p)| field(p, n, &values, &ops)).collect(),
        problem,
        chart: svg::inline(&report, &table).map(Drawn),
        rows: table.rows.iter().map(|row| shown(&table, row)).collect(),
        more: table.more,
        sql: report.sql_to_copy(&values),
        links: links(&report, &ops),
        columns: table.columns,
        report,
    })?
    .into_response();
    *response.status_mut() = status;
    Ok(response)
}

fn no_defaults() -> ApiError {
    ApiError::internal("a report's defaults do not fit its parameters")
}

fn field(parameter: &Parameter, n: usize, values: &Values, ops: &Operators) -> Field {
    let given = ops.get(&parameter.name).map(|v| v.chars().take(200).collect::<String>());
    let hint = match (&parameter.default, parameter.kind) {
        (None, _) => "any".to_owned(),
        (Some(_), ParameterKind::Time) => values.text(n).unwrap_or_default(),
        (Some(default), _) => default.clone(),
    };
    let value = given.filter(|v| !v.is_empty()).or_else(|| parameter.default.clone()).unwrap_or_default();
    Field { parameter: parameter.clone(), value, hint }
}

/// The same question in other formats.
fn links(report: &Report, ops: &Operators) -> Vec<(&'static str, String)> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let pairs = ops.pairs.iter().filter(|(name, value)| name != "format" && !value.is_empty());
    for (name, value) in pairs {
        query.append_pair(name, value);
    }
    let query = query.finish();
    let path = |format: &str| {
        let separator = if query.is_empty() { "" } else { "&" };
        format!("/api/v2/reports/{}?{query}{separator}format={format}", report.name)
    };
    [("CSV", "csv"), ("JSON", "json"), ("Markdown", "md"), ("Picture", "svg")].map(|(l, f)| (l, path(f))).into()
}

/// A row with links to what it names.
fn shown(table: &Table, row: &[Cell]) -> Vec<Shown> {
    let builder = table.column("builder").and_then(|n| match &row[n] {
        Cell::Text(name) if !name.is_empty() => Some(name.as_str()),
        _ => None,
    });
    let href = |n: usize| match (table.columns[n].name.as_str(), &row[n], builder) {
        ("builder", _, Some(builder)) => Some(builder_path(builder)),
        ("build_id", Cell::Int(id), _) => Some(format!("/builds/{id}")),
        ("number" | "fixed_number" | "good_number", Cell::Int(number), Some(builder)) => {
            Some(build_path(builder, *number))
        }
        _ => None,
    };
    (0..row.len())
        .map(|n| Shown { text: table.shown(row, n), href: href(n), number: table.columns[n].is_number() })
        .collect()
}
