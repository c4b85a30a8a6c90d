//! `/buildrequests/{id}`: a request that waits, and why; one that was taken up
//! leads to its build.

use super::home::BuildRow;
use super::page::{Page, html};
use super::show::{self, Badge, build_path, builder_path};
use super::triggered::TriggeredBy;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use tidemill_schema::read::Query;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::requests::{self, Request};
use tidemill_schema::read::waiting::{Waiting, waiting};

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    page: Page,
    request: Request,
    badge: Badge,
    builder_path: String,
    triggered_by: Option<TriggeredBy>,
    /// Why it waits.
    waiting: Vec<Waiting>,
    /// Attempts so far, newest first.
    builds: Vec<BuildRow>,
}

pub async fn page(State(app): State<App>, who: Who, At(id): At<i64>) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let missing = || ApiError::not_found(format!("there is no build request {id}"));
    let request = requests::one(&mut c, &[requests::by_id(id)]).await?.ok_or_else(missing)?;
    let attempts = builds::list(&mut c, &[builds::of_request(id)], &Query::newest(&BUILDS)).await?;
    let triggered_by = TriggeredBy::of(&mut c, request.buildsetid).await?;
    let waiting = match request.complete {
        true => Vec::new(),
        false => waiting(&mut c, id).await?.unwrap_or_default(),
    };
    drop(c);
    if let [only] = attempts.as_slice()
        && (request.complete || request.claimed)
    {
        return Ok(Redirect::to(&build_path(&only.buildername, only.number)).into_response());
    }
    let badge = match (request.complete, request.claimed) {
        (true, _) => Badge::of(request.results),
        (_, true) => Badge::of(None),
        _ => Badge::WAITING,
    };
    let page = Page::new(&app, &who, format!("Request {id}"), "builders");
    html(&RequestPage {
        page: if request.complete { page } else { page.live(format!("builderid={}", request.builderid)) },
        builder_path: builder_path(&request.buildername),
        badge,
        triggered_by,
        waiting,
        builds: attempts.into_iter().map(BuildRow::of).collect(),
        request,
    })
}
