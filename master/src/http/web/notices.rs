//! `/notices`: who was told what, what waits and what was given up.

use super::page::{Page, html};
use super::show;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use crate::http::rest::deliveries::retried;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use tidemill_schema::notices::people::{self, DELIVERIES, DeliveryRow, DestinationRow};
use tidemill_schema::read::Query;

const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "notices.html")]
struct Notices {
    page: Page,
    destinations: Vec<DestinationRow>,
    rows: Vec<Row>,
}

struct Row {
    delivery: DeliveryRow,
    /// The result class that its state is shown in.
    class: &'static str,
    again: bool,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let destinations = people::destinations(&mut c, &Query { limit: ROWS, ..Query::default() }).await?;
    let rows = people::deliveries(&mut c, &Query { limit: ROWS, ..Query::newest(&DELIVERIES) }).await?;
    drop(c);
    html(&Notices {
        page: Page::new(&app, &who, "Notices", "notices").live("builds.new,builds.finished,notices.test"),
        destinations,
        rows: rows.into_iter().map(row).collect(),
    })
}

/// The button of a notice that was given up.
pub async fn retry(State(app): State<App>, At(id): At<i64>) -> Result<Response, ApiError> {
    retried(&app, Some(&[id])).await?;
    Ok(Redirect::to("/notices").into_response())
}

fn row(delivery: DeliveryRow) -> Row {
    let class = match delivery.state.as_str() {
        "sent" | "folded" => "success",
        "parked" => "failure",
        "expired" => "warnings",
        "superseded" => "skipped",
        _ => "waiting",
    };
    Row { class, again: matches!(delivery.state.as_str(), "parked" | "expired"), delivery }
}
