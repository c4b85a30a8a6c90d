//! `/workers`: who builds, and who is away.

use super::page::{Page, html};
use super::show::{self, Badge, build_path};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use tidemill_schema::read::Query;
use tidemill_schema::read::workers::{self, Worker};

const ROWS: i64 = 1000;

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    page: Page,
    rows: Vec<Row>,
}

struct Row {
    worker: Worker,
    badge: Badge,
    building: Vec<(String, String)>,
    host: String,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let mut found = workers::list(&mut c, &[], &Query { limit: ROWS, ..Query::default() }).await?;
    drop(c);
    found.sort_by_key(|w| (!w.connected, w.name.clone()));
    html(&Workers {
        page: Page::new(&app, &who, "Workers", "workers").live("kind=workers,builds.new,builds.finished"),
        rows: found.into_iter().map(row).collect(),
    })
}

fn row(worker: Worker) -> Row {
    let badge = match (worker.paused, worker.connected) {
        (true, _) => Badge::PAUSED,
        (_, true) => Badge::CONNECTED,
        _ => Badge::AWAY,
    };
    let building = worker
        .building
        .iter()
        .map(|b| (format!("{} #{}", b.buildername, b.number), build_path(&b.buildername, b.number)))
        .collect();
    // What a worker says of its machine: two words that most have.
    let says = |name: &str| worker.workerinfo.get(name).and_then(|v| v.as_str()).unwrap_or_default();
    let host = [says("host"), says("system")].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(", ");
    Row { badge, building, host, worker }
}
