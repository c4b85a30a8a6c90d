//! `/unsubscribe`: the link in a mail that ends these mails. The link itself
//! proves who may follow it, so this route is open; it can only leave, and only
//! the post does: programs that look at links in mails change nothing.

use super::page::{Page, html};
use crate::app::App;
use crate::http::ApiError;
use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tidemill_schema::beats::link_key;
use tidemill_schema::notices::people::{optin, optout};
use tidemill_schema::run_tx;
use tidemill_service::links::proof;

#[derive(Clone, Debug, Deserialize)]
pub struct Link {
    address: String,
    reporter: String,
    proof: String,
    /// Come back instead.
    #[serde(default)]
    back: bool,
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct Unsubscribe {
    page: Page,
    link: Link,
    done: bool,
}

/// Asks whether it is meant.
pub async fn page(State(app): State<App>, Query(link): Query<Link>) -> Result<Response, ApiError> {
    check(&app, &link).await?;
    html(&Unsubscribe { page: Page::anonymous("Notices"), link, done: false })
}

/// Does it: from the page's form, or from a mail program's one click.
pub async fn post(State(app): State<App>, Query(link): Query<Link>) -> Result<Response, ApiError> {
    check(&app, &link).await?;
    run_tx!(app.people, "notices.optout", |c| async {
        if link.back {
            optin(c, &link.address, &link.reporter).await?;
        } else {
            optout(c, &link.address, &link.reporter).await?;
        }
        Ok::<_, tidemill_schema::Error>(())
    }
    .await)?;
    html(&Unsubscribe { page: Page::anonymous("Notices"), link, done: true })
}

async fn check(app: &App, link: &Link) -> Result<(), ApiError> {
    let key = link_key(&mut *app.people.pool().acquire().await?).await?;
    let good = proof(&key, &link.address, &link.reporter);
    if bool::from(good.as_bytes().ct_eq(link.proof.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::forbidden("this link is not one of ours, or was cut: copy the whole of it from the mail"))
}
