//! `/about`: which release this is, and the replicas.

use super::page::{Page, html};
use super::show::{self, Badge};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use tidemill_schema::read::masters::{self, Master};

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    page: Page,
    name: String,
    masters: Vec<(Badge, Master)>,
}

pub async fn page(State(app): State<App>, who: Who) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let found = masters::newest(&mut c, 20).await?;
    drop(c);
    let badge = |m: &Master| if m.active { Badge::CONNECTED } else { Badge::AWAY };
    html(&About {
        page: Page::new(&app, &who, "About", "about"),
        name: app.settings.name.clone(),
        masters: found.into_iter().map(|m| (badge(&m), m)).collect(),
    })
}
