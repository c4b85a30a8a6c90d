//! One delivery: is it still due, what does it say, and how does it go out.

use super::dispatch::Transports;
use super::{Health, became, forge, http, irc, mail};
use crate::app::App;
use crate::outcome::Outcome;
use crate::plan::Supersedes;
use crate::render;
use tidemill_lang::definition::ReporterKind;
use tidemill_schema::notices::send::{Became, Delivery, overtaken};
use tidemill_schema::{Error, Result};

pub(super) async fn deliver(app: &App, transports: &Transports, delivery: &Delivery) -> (Became, Health) {
    match try_deliver(app, transports, delivery).await {
        Ok(found) => found,
        // The database: our matter, nobody else's.
        Err(e) if e.is_unavailable() || e.is_cancelled() || e.is_serialization() => {
            let why = format!("could not be read: {e}");
            (Became::Again { why, after: app.settings.again }, Health::Unknown)
        }
        Err(e @ Error::NotFound(_)) => (Became::Parked { why: e.to_string() }, Health::Unknown),
        Err(e) => (Became::Parked { why: format!("could not be read: {e}") }, Health::Unknown),
    }
}

async fn try_deliver(app: &App, transports: &Transports, delivery: &Delivery) -> Result<(Became, Health)> {
    if delivery.expired {
        let why = "older than the reporter's maxAge before it could be sent".into();
        return Ok((Became::Expired { why }, Health::Unknown));
    }
    let project = app.projects.of(&app.db, delivery.revision).await?;
    let Some(reporter) = project.definition().reporters.iter().find(|r| r.name == delivery.reporter) else {
        let why = format!("revision {} has no reporter {:?}", delivery.revision, delivery.reporter);
        return Ok((Became::Parked { why }, Health::Unknown));
    };
    let supersedes = crate::plan::supersedes(&reporter.kind, delivery.told.moment);
    if supersedes != Supersedes::No
        && overtaken(&mut *app.db.pool().acquire().await?, delivery, supersedes == Supersedes::Order).await?
    {
        return Ok((
            Became::Superseded { why: "a later status of the same commit waits or was sent".into() },
            Health::Unknown,
        ));
    }
    let source = render::Source { reporter: reporter.clone(), project };
    let outcome = match &source.reporter.kind {
        ReporterKind::Mail(settings) => mail::send(app, transports, &source, settings, delivery).await,
        ReporterKind::Http(settings) => http::push(app, transports, &source, settings, delivery).await,
        ReporterKind::Webhook(settings) => http::webhook(app, transports, &source, settings, delivery).await,
        ReporterKind::Zulip(settings) => http::zulip(app, transports, &source, settings, delivery).await,
        ReporterKind::Irc(settings) => irc::send(app, &source, settings, delivery).await,
        _ => forge::send(app, transports, &source, delivery).await,
    };
    Ok(match outcome {
        // Whether a network can be reached says who holds it.
        Ok(Outcome::Down { why }) if matches!(source.reporter.kind, ReporterKind::Irc(_)) => {
            (Became::Down { why }, Health::Unknown)
        }
        Ok(outcome) => became(outcome, delivery.attempts, app.settings.again),
        Err(render::RenderError::Schema(e)) => return Err(e),
        Err(render::RenderError::Broken(why)) => (Became::Parked { why }, Health::Unknown),
    })
}
