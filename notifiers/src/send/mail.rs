//! A delivery as a mail: to whom, in what words, with what beside it. Notices
//! that go together are one mail, a digest.

use super::dispatch::Transports;
use super::person::{self, Person};
use crate::app::App;
use crate::mail::attachments::Attachment;
use crate::mail::compose::{Letter, compose, message_id};
use crate::mail::excerpt::{Bounds, excerpt};
use crate::message::{Body, Message};
use crate::outcome::Outcome;
use crate::render::context::{self, Site, results, text};
use crate::render::words::{self, Excerpted};
use crate::render::{self, Made, RenderError, Source};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_lang::definition::{FormatterDef, LogsWanted, MailDef};
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_schema::notices::people::opted_out;
use tidemill_schema::notices::send::{Delivery, Told, deliveries_fold, deliveries_folded, deliveries_unfold};
use tidemill_schema::{Result, run_tx};

/// So many due to one address at once are a storm, and become one mail.
pub(super) const STORM: i64 = 10;
/// Most notices of one mail; in full, and by their subjects.
const FOLD_MAX: i64 = 1000;
const IN_FULL: usize = 5;
/// Of a subject in a digest.
const ABOUT_MAX: usize = 240;
/// Read of a failed step's log for its excerpt.
const EXCERPT_BYTES: i64 = 1 << 20;

/// What is in a mail of one notice.
pub(super) struct Written {
    message: Message,
    document: Value,
}

pub(super) async fn send(
    app: &App,
    transports: &Transports,
    source: &Source,
    settings: &MailDef,
    delivery: &Delivery,
) -> std::result::Result<Outcome, RenderError> {
    let found;
    let delivery = match person::of(app, settings, delivery).await? {
        Person::Known => delivery,
        Person::Found(address) => {
            found = Delivery { address, alone: false, ..delivery.clone() };
            &found
        }
        Person::Not(outcome) => return Ok(outcome),
    };
    let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
    let address = crate::people::plain(&delivery.address);
    if !opted_out(&mut c, &[address], &source.reporter.name).await?.is_empty() {
        return Ok(Outcome::Refused { why: "the address has opted out".into() });
    }
    let site = render::site(&source.project, &app.settings.public_url);
    // First this one's own words: where they cannot be made, or say nothing, nothing goes along.
    drop(c);
    let key = written_key(delivery);
    let own = transports.written.once(&key, || async {
        let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
        write(&mut c, source, settings, &site, &delivery.told, true).await
    });
    let own = own.await?;
    if own.is_some() && !delivery.alone {
        let storm = if source.reporter.digest_us.is_some() { 1 } else { STORM - 1 };
        run_tx!(app.db, "notices.fold", |c| deliveries_fold(c, delivery, &app.holder, storm, FOLD_MAX).await)?;
    }
    let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
    let folded = if delivery.alone { vec![] } else { deliveries_folded(&mut c, delivery.id).await? };
    let older = folded.partition_point(|(id, _)| *id < delivery.id);
    let (mut own, mut all, mut broken) = (own, vec![], vec![]);
    for (at, (id, told)) in folded.iter().enumerate() {
        if at == older {
            all.extend(own.take());
        }
        match write(&mut c, source, settings, &site, told, all.len() < IN_FULL).await {
            Ok(written) => all.extend(written.map(Arc::new)),
            Err(RenderError::Broken(why)) => broken.push((*id, why)),
            Err(e) => return Err(e),
        }
    }
    all.extend(own);
    if !broken.is_empty() {
        run_tx!(app.db, "notices.unfold", |c| deliveries_unfold(c, delivery.id, &broken).await)?;
    }
    let alone = all.len() == 1;
    let Some(first) = all.first() else {
        return Ok(Outcome::Sent { answer: "nothing: its formatter says that nothing is to be told".into() });
    };
    let attachments = match folded.is_empty() {
        true => attachments(&mut c, source, &delivery.told, &first.document).await?,
        false => vec![],
    };
    drop(c);
    let message = if alone { first.message.clone() } else { digest(&site, &all) };
    let unsubscribe = settings.unsubscribe.then(|| crate::links::unsubscribe(app, &site.url, delivery));
    let headers = headers(source, settings, &first.document).await?;
    let domain = settings.fromaddr.rsplit_once('@').map_or("tidemill.invalid", |(_, d)| d.trim_end_matches('>'));
    let builder = text(&first.document, "/buildername");
    let branches: Vec<String> = first.document["buildset"]["sourcestamps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| text(s, "/branch"))
        .collect();
    let thread = format!("{} {builder} {}", site.url, branches.join(" "));
    let list = format!("{}.{}", source.reporter.name, host(&site.url));
    let message_id = message_id("notice", &delivery.message_id, domain);
    let letter = Letter {
        default_subject: &words::subject(&first.document),
        message: &message,
        from: &settings.fromaddr,
        to: &delivery.address,
        message_id: &message_id,
        thread: (alone && !builder.is_empty()).then_some(thread.as_str()),
        date: delivery.told.at.into(),
        list_id: Some(&list),
        builder: Some(builder.as_str()).filter(|b| !b.is_empty()),
        results: results(&first.document["results"]),
        headers: &headers,
        attachments: &attachments,
        attachments_max: usize::try_from(settings.attachments_max).unwrap_or(usize::MAX),
        unsubscribe: unsubscribe.as_deref(),
    };
    let mail = match compose(&letter) {
        Ok(mail) => mail,
        Err(why) => return Ok(Outcome::Refused { why }),
    };
    match transports.relay(app, settings).await {
        Ok(relay) => Ok(relay.send(&mail).await),
        Err(why) => Ok(Outcome::Down { why }),
    }
}

/// What tells the words of a notice from others: all but to whom it goes.
fn written_key(delivery: &Delivery) -> String {
    let told = &delivery.told;
    let about = (told.build, told.buildset, told.request, told.worker, told.builder);
    let why = told.facts.get("why");
    let said = (told.at, told.generator, told.moment, &told.mode);
    format!("{} {:?} {said:?} {about:?} {why:?}", delivery.revision, delivery.reporter)
}

/// One notice in words; what its logs say only where it is to be read in full.
async fn write(
    c: &mut PgConnection,
    source: &Source,
    settings: &MailDef,
    site: &Site,
    told: &Told,
    full: bool,
) -> std::result::Result<Option<Written>, RenderError> {
    let formatter = render::formatter(&source.reporter, told).unwrap_or(&FormatterDef::Default);
    let document = context::document(c, site, told, &render::wants(formatter)).await?;
    let made = {
        let (told, document) = (told.clone(), document.clone());
        source.ask(move |s| render::made(&s.project, &s.reporter, &told, &document)).await?
    };
    let Made::Parts { subject, body, extra } = made else { return Ok(None) };
    let body = match body {
        Some(body) => body,
        None => {
            let excerpt = if full { first_error(c, settings, &document).await? } else { None };
            Body::Plain(words::body(&document, excerpt.as_ref()))
        }
    };
    let subject = subject.unwrap_or_else(|| words::subject(&document));
    Ok(Some(Written { message: Message { subject: Some(subject), body, extra }, document }))
}

/// What the log of the first failed step says around its first error.
async fn first_error(c: &mut PgConnection, settings: &MailDef, document: &Value) -> Result<Option<Excerpted>> {
    let failed = |s: &&Value| matches!(results(&s["results"]), Some(Results::Failure | Results::Exception));
    let steps = document["build"]["steps"].as_array();
    let Some(step) = steps.into_iter().flatten().find(failed).filter(|_| settings.excerpt_lines > 0) else {
        return Ok(None);
    };
    let logs: Vec<&Value> = step["logs"].as_array().into_iter().flatten().collect();
    let stdio = logs.iter().find(|l| l["name"] == "stdio").or(logs.first());
    let Some(log) = stdio.filter(|l| l["type"] != "h") else { return Ok(None) };
    let id = log["logid"].as_i64().unwrap_or_default();
    // What the worker wrote itself (the command, its environment) is no error of the command.
    let mut lines = context::tail(c, id, EXCERPT_BYTES).await?;
    lines.retain(|line| line.channel() != Channel::Header);
    let texts: Vec<String> = lines.iter().map(|line| line.text()).collect();
    let found = excerpt(&texts, Bounds::of_lines(settings.excerpt_lines as usize));
    let number = lines.get(found.first).map_or(0, |line| usize::try_from(line.number).unwrap_or_default());
    let (step, log) = (text(step, "/name"), text(log, "/name"));
    Ok(Some(Excerpted { step, log, first: number, lines: found.lines }))
}

/// Logs and the patch that the generator wants beside the text.
async fn attachments(c: &mut PgConnection, source: &Source, told: &Told, document: &Value) -> Result<Vec<Attachment>> {
    let mut all = vec![];
    let generator = usize::try_from(told.generator).ok().and_then(|g| source.reporter.generators.get(g));
    let Some(generator) = generator else { return Ok(all) };
    if generator.add_logs != LogsWanted::None
        && let Some(build) = told.build
    {
        for log in tidemill_schema::notices::content::logs(c, build).await? {
            // Without names, it is what went wrong that is looked for.
            let wanted = log.failed || generator.add_logs != LogsWanted::All;
            if wanted && generator.add_logs.takes(&log.step, &log.name) {
                let content = context::joined(&context::tail(c, log.id, EXCERPT_BYTES).await?);
                let mut attachment = Attachment::log(format!("{}.{}", log.step, log.name), content.into_bytes());
                attachment.whole = attachment.whole.max(u64::try_from(log.bytes).unwrap_or_default());
                all.push(attachment);
            }
        }
    }
    if generator.add_patch
        && let Some(patch) = document.pointer("/build/patch/patchid").and_then(Value::as_i64)
        && let Some(body) = tidemill_schema::notices::content::patch(c, patch).await?
    {
        all.push(Attachment::patch("source.patch", body));
    }
    Ok(all)
}

/// The project's own headers. Secrets belong in none: a mail is for everybody on its way.
async fn headers(
    source: &Source,
    settings: &MailDef,
    document: &Value,
) -> std::result::Result<BTreeMap<String, String>, RenderError> {
    if settings.extra_headers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let document = document.clone();
    let headers = source.ask(move |s| {
        let headers = s.project.policies().headers(&s.reporter.name, &document, "");
        headers.map_err(|e| RenderError::Broken(e.to_string()))
    });
    Ok(headers.await?.into_iter().collect())
}

/// Several notices as one: the first in full, of the others what they are about.
fn digest(site: &Site, all: &[Arc<Written>]) -> Message {
    let title = if site.title.is_empty() { "Tidemill" } else { &site.title };
    let subject = format!("[{title}] {} notices", all.len());
    let mut text = format!("{} notices, oldest first:\n\n", all.len());
    for message in all.iter().map(|written| &written.message) {
        text.push_str(&format!("  {}\n", about(message)));
    }
    for message in all.iter().take(IN_FULL).map(|written| &written.message) {
        let line = "-".repeat(72);
        text.push_str(&format!("\n{line}\n{}\n\n{}\n", about(message), message.body.plain()));
    }
    if all.len() > IN_FULL {
        text.push_str(&format!("\n… and {} more, which are on the pages: {}/\n", all.len() - IN_FULL, site.url));
    }
    Message { subject: Some(subject), body: Body::Plain(text), ..Message::default() }
}

/// One line of a digest.
fn about(message: &Message) -> String {
    crate::line::one_line(message.subject.as_deref().unwrap_or("(no subject)"), ABOUT_MAX)
}

fn host(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|u| u.host_str().map(str::to_owned)).unwrap_or("tidemill.invalid".into())
}
