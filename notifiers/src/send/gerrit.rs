//! A delivery as a review on Gerrit, by ssh: what the project's functions vote, or its formatters say.

use super::commit::Commit;
use super::written::{nothing, unsaid, written};
use crate::app::App;
use crate::forge::{Details, Facts, GerritSsh};
use crate::http::reach;
use crate::outcome::Outcome;
use crate::render::{self, RenderError, Source, words};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_lang::definition::{FormatterDef, GerritDef, ReporterKind};
use tidemill_lang::policies::GerritCall;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::send::{Delivery, Told};

/// Whole time of one ssh.
const WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn send(
    app: &App,
    source: &Source,
    settings: &GerritDef,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let told = &delivery.told;
    let kind = &source.reporter.kind;
    let (commit, (text, labels)) = if told.moment == Moment::Test {
        let text = format!("This only tries whether {} arrives; it was {}.", source.reporter.name, why(told));
        match Commit::tested(kind, &delivery.address) {
            Ok(commit) => (commit, (text, BTreeMap::new())),
            Err(why) => return Ok(Outcome::Refused { why }),
        }
    } else {
        match review(app, source, settings, told, kind).await? {
            Ok(found) => found,
            Err(outcome) => return Ok(outcome),
        }
    };
    if let Some(refused) = reach::refused(&settings.server, app.settings.local_addresses).await {
        return Ok(Outcome::Refused { why: refused });
    }
    let ssh = GerritSsh {
        server: settings.server.clone(),
        port: settings.port,
        username: settings.username.clone(),
        identity_file: settings.identity_file.as_ref().map(Into::into),
        options: vec![],
        within: WITHIN,
    };
    let details =
        Details { project: commit.project.as_deref(), notify: settings.notify.as_deref(), ..Details::default() };
    let facts = Facts { revision: &commit.revision, text: &text, labels, details, ..Facts::default() };
    Ok(ssh.send(&facts).await)
}

type Review = (Commit, (String, BTreeMap<String, i8>));

/// Message and votes. The inner error is an end without any.
async fn review(
    app: &App,
    source: &Source,
    settings: &GerritDef,
    told: &Told,
    kind: &ReporterKind,
) -> Result<Result<Review, Outcome>, RenderError> {
    let Some(written) = written(app, source, told, &settings.wants).await? else { return Ok(Err(unsaid())) };
    let commit = Commit::of(kind, told, &written.document);
    if commit.change.is_none() {
        return Ok(Err(nothing("the build is not of a change of Gerrit")));
    }
    let functions = settings.start || settings.review || settings.summary;
    let own = matches!(render::formatter(&source.reporter, told), None | Some(FormatterDef::Default));
    if own && (functions || told.build.is_none()) {
        let call = match told.moment {
            Moment::Start if settings.start => GerritCall::Start,
            Moment::End | Moment::Buildset if settings.review && told.build.is_some() => GerritCall::Review,
            Moment::Buildset if told.build.is_none() => GerritCall::Summary,
            _ => return Ok(Err(nothing("the reporter has no function for this"))),
        };
        let document = written.document;
        let asked = source.ask(move |s| {
            s.project
                .policies()
                .gerrit(&s.reporter.name, call, &document)
                .map_err(|e| RenderError::Broken(e.to_string()))
        });
        let Some(vote) = asked.await? else { return Ok(Err(nothing("the reporter's function says so"))) };
        let labels = vote.labels.into_iter().map(|(name, value)| (name, small(value))).collect();
        return Ok(Ok((commit, (vote.message, labels))));
    }
    let text = written.body.map_or_else(
        || format!("{}\n{}", words::subject(&written.document), render::context::text(&written.document, "/build_url")),
        |body| body.plain(),
    );
    let labels = written.extra.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(name, vote)| Some((name.clone(), small(vote.as_i64()?)))).collect();
    Ok(Ok((commit, (text, labels))))
}

/// A vote is a small number.
fn small(vote: i64) -> i8 {
    i8::try_from(vote.clamp(-9, 9)).unwrap_or_default()
}

/// Who asked for a test.
pub(super) fn why(told: &Told) -> String {
    told.facts["why"].as_str().unwrap_or("asked for").to_owned()
}
