//! A delivery as JSON over HTTP: HttpStatusPush, signed webhooks, Zulip.

use super::dispatch::{Transports, basic, secret};
use super::written::{Written, headers, lacking, nothing, unsaid, written};
use crate::app::App;
use crate::http::webhook::Secret;
use crate::http::{Client, HttpPush, Request, Webhook, Zulip, zulip};
use crate::message::Body;
use crate::outcome::Outcome;
use crate::render::context::{results, text};
use crate::render::{RenderError, Source};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tidemill_lang::definition::{HttpAccess, HttpDef, Renderable, SecretText, Wants, WebhookDef, ZulipDef};
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::send::{Delivery, Told};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The body is what the formatter made, or else the build, as Buildbot sends it.
pub(super) async fn push(
    app: &App,
    transports: &Transports,
    source: &Source,
    settings: &HttpDef,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let Some(written) = written(app, source, &delivery.told, &Wants::default()).await? else { return Ok(unsaid()) };
    let body = given(&written).unwrap_or_else(|| plain_document(&written.document));
    let to = target(app, transports, source, &settings.url, &settings.access, &settings.headers, &written.document);
    match to.await? {
        Ok((client, to)) => Ok(HttpPush { client, to }.send(&delivery.message_id, &body).await),
        Err(why) => Ok(lacking(why)),
    }
}

/// The kind of the event, its time, and what the formatter made, or else what happened.
pub(super) async fn webhook(
    app: &App,
    transports: &Transports,
    source: &Source,
    settings: &WebhookDef,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let told = &delivery.told;
    let Some(written) = written(app, source, told, &Wants::default()).await? else { return Ok(unsaid()) };
    let data = given(&written).unwrap_or_else(|| data(&written.document));
    let body = json!({
        "type": kind(told),
        "timestamp": told.at.format(&Rfc3339).unwrap_or_default(),
        "data": data,
    });
    let mut secrets = vec![];
    for text in &settings.secrets {
        match secret(app, text).await.and_then(|value| Secret::parse(&value)) {
            Ok(secret) => secrets.push(secret),
            Err(why) => return Ok(lacking(why)),
        }
    }
    let to = target(app, transports, source, &settings.url, &settings.access, &settings.headers, &written.document);
    match to.await? {
        Ok((client, to)) => {
            Ok(Webhook { client, to, secrets }.send(&delivery.message_id, OffsetDateTime::now_utc(), &body).await)
        }
        Err(why) => Ok(lacking(why)),
    }
}

/// Zulip's integration for Buildbot makes its own words of a build.
pub(super) async fn zulip(
    app: &App,
    transports: &Transports,
    source: &Source,
    settings: &ZulipDef,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let Some(written) = written(app, source, &delivery.told, &Wants::default()).await? else { return Ok(unsaid()) };
    let document = &written.document;
    let told = match told_to_zulip(document, &delivery.told) {
        Some(told) => told,
        None => return Ok(nothing("Zulip is told of builds")),
    };
    let (client, token) = match (transports.client(app, &settings.verify, None), secret(app, &settings.token).await) {
        (Ok(client), Ok(token)) => (client, token),
        (Err(why), _) | (_, Err(why)) => return Ok(lacking(why)),
    };
    let zulip = Zulip { client, endpoint: settings.endpoint.clone(), token, stream: settings.stream.clone() };
    let event = zulip::Event {
        build: told.build,
        builder: &told.builder,
        url: &told.url,
        project: &told.project,
        at: told.at,
        results: told.results,
    };
    Ok(zulip.send(&event).await)
}

struct ToldToZulip {
    build: i64,
    builder: String,
    url: String,
    project: String,
    at: i64,
    results: Option<tidemill_model::Results>,
}

fn told_to_zulip(document: &Value, told: &Told) -> Option<ToldToZulip> {
    let now = told.at.unix_timestamp();
    if told.moment == Moment::Test {
        return Some(ToldToZulip {
            build: 0,
            builder: "a test".into(),
            url: text(document, "/buildbot_url"),
            project: "a test".into(),
            at: now,
            results: Some(tidemill_model::Results::Success),
        });
    }
    let build = Some(&document["build"]).filter(|b| b.is_object() && document["is_buildset"] != true)?;
    let results = results(&build["results"]);
    let project = Some(text(document, "/projects")).filter(|p| !p.is_empty());
    Some(ToldToZulip {
        build: build["buildid"].as_i64().unwrap_or_default(),
        builder: text(document, "/buildername"),
        url: text(document, "/build_url"),
        project: project.unwrap_or_else(|| text(build, "/builder/project")),
        at: build[if results.is_some() { "complete_at" } else { "started_at" }].as_i64().unwrap_or(now),
        results,
    })
}

/// What the formatter made, as JSON.
fn given(written: &Written) -> Option<Value> {
    written.body.as_ref().map(|body| match body {
        Body::Json(value) => value.clone(),
        Body::Plain(text) => json!(text),
        Body::Html { html, .. } => json!(html),
    })
}

/// The build as Buildbot sends it, or what the notice is about instead.
fn plain_document(document: &Value) -> Value {
    let set = document["is_buildset"] == true;
    let about = if set { ["buildset"].as_slice() } else { ["build", "request", "worker"].as_slice() };
    let found = about.iter().map(|name| &document[*name]).find(|value| value.is_object());
    found.unwrap_or(document).clone()
}

/// What happened, under the names that formatters know.
fn data(document: &Value) -> Value {
    let set = document["is_buildset"] == true;
    let names: &[&str] = match () {
        () if set => &["mode", "status_detected", "results", "buildset"],
        () if document["moment"] == "test" => &["why"],
        () => &["mode", "status_detected", "results", "previous_results", "build_url", "build", "request", "worker"],
    };
    let there = names.iter().filter_map(|name| Some(((*name).to_owned(), document.get(*name)?.clone())));
    Value::Object(there.collect::<Map<String, Value>>())
}

/// As a receiver tells them apart.
fn kind(told: &Told) -> &'static str {
    match told.moment {
        Moment::Start => "build.started",
        Moment::End => "build.finished",
        // Each of its builds may be told by itself.
        Moment::Buildset if told.build.is_some() => "build.finished",
        Moment::Buildset => "buildset.finished",
        Moment::Request if told.mode == "cancelled" => "request.cancelled",
        Moment::Request => "request.created",
        Moment::Worker => "worker.missing",
        Moment::Test => "test",
    }
}

/// Client and request, but for the body. The inner error is for people to mend.
async fn target(
    app: &App,
    transports: &Transports,
    source: &Source,
    url: &SecretText,
    access: &HttpAccess,
    written: &BTreeMap<String, Renderable>,
    document: &Value,
) -> Result<Result<(Client, Request), String>, RenderError> {
    let (headers, hidden) = match headers(app, source, document, written).await? {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let shown = match url {
        SecretText::Text(_) => None,
        SecretText::Secret { name } => Some(format!("the address of the secret {name}")),
    };
    let made = async {
        let client = transports.client(app, &access.verify, access.cert.as_ref())?;
        let (url, auth) = (secret(app, url).await?, basic(app, access.auth.as_ref()).await?);
        Ok((client, Request { url: url.trim().to_owned(), shown, auth, headers, hidden, body: vec![] }))
    };
    Ok(made.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_what_the_notice_is_about() {
        let build = json!({"moment": "end", "mode": "failing", "results": 2, "is_buildset": false,
                           "buildset": {"bsid": 1}, "build": {"number": 3}, "result_names": ["success"]});
        assert_eq!(plain_document(&build), json!({"number": 3}));
        assert_eq!(data(&build), json!({"mode": "failing", "results": 2, "build": {"number": 3}}));
        let set = json!({"is_buildset": true, "mode": "failing", "build": {"number": 3},
                         "buildset": {"bsid": 1, "builds": [{"number": 3}]}});
        assert_eq!(plain_document(&set), set["buildset"]);
        assert_eq!(data(&set), json!({"mode": "failing", "buildset": set["buildset"]}));
        let worker = json!({"mode": "missing", "worker": {"name": "w"}});
        assert_eq!(plain_document(&worker), json!({"name": "w"}));
        let test = json!({"moment": "test", "mode": "test", "why": "asked for by ann"});
        assert_eq!((plain_document(&test), data(&test)), (test.clone(), json!({"why": "asked for by ann"})));
    }
}
