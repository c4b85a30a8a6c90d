//! What every page has: its frame.

use super::assets;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use askama::Template;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The frame of a page.
pub struct Page {
    pub title: String,
    /// Which entry of the navigation is this one.
    pub nav: &'static str,
    /// Query of the event stream that says that this page is out of date;
    /// empty for a page that does not change.
    pub events: String,
    /// Whether to offer what changes something, and the token that proves the form.
    pub may_control: bool,
    pub token: String,
    /// Path of the assets, with the hash of all of them.
    pub assets: &'static str,
    pub release: &'static str,
}

impl Page {
    pub fn new(app: &App, who: &Who, title: impl Into<String>, nav: &'static str) -> Page {
        Page {
            title: title.into(),
            nav,
            events: String::new(),
            may_control: who.may_control,
            token: if who.may_control { app.form_token() } else { String::new() },
            assets: assets::base(),
            release: env!("CARGO_PKG_VERSION"),
        }
    }

    /// For errors, where nobody is known.
    pub fn anonymous(title: &str) -> Page {
        Page {
            title: title.into(),
            nav: "",
            events: String::new(),
            may_control: false,
            token: String::new(),
            assets: assets::base(),
            release: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Brought up to date when such an event comes.
    pub fn live(mut self, events: impl Into<String>) -> Page {
        self.events = events.into();
        self
    }
}

pub fn html(template: &impl Template) -> Result<Response, ApiError> {
    let body = template.render().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], body).into_response())
}
