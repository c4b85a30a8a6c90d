//! A delivery as a line in a channel or to a nick, over the connection that this
//! process holds. Many that are due in one place are two lines: the oldest, and
//! what else there was.

use crate::app::App;
use crate::irc::definition;
use crate::irc::digest::{Also, What, digest};
use crate::irc::events::{BuildFacts, Style, WorkerFacts, WorkerTurn, lasted, told, worker_told};
use crate::outcome::Outcome;
use crate::render::context::{self, Site, results, text};
use crate::render::{self, RenderError, Source};
use serde_json::Value;
use std::time::Duration;
use tidemill_lang::definition::{IrcDef, Wants};
use tidemill_model::Results;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::send::{Delivery, Told, deliveries_fold, deliveries_folded};
use tidemill_schema::run_tx;

/// So many due in one place at once are a storm.
const STORM: i64 = 5;
/// Most notices of one line.
const FOLD_MAX: i64 = 1000;

pub(super) async fn send(
    app: &App,
    source: &Source,
    settings: &IrcDef,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let reporter = &source.reporter.name;
    let Some(client) = app.networks.client(reporter) else {
        return Ok(Outcome::Down { why: format!("this notifier does not hold the connection of {reporter} any more") });
    };
    run_tx!(app.db, "notices.fold", |c| deliveries_fold(c, delivery, &app.holder, STORM - 1, FOLD_MAX).await)?;
    let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
    let others = deliveries_folded(&mut c, delivery.id).await?;
    let site = render::site(&source.project, &app.settings.public_url);
    let document = context::document(&mut c, &site, &delivery.told, &Wants::default()).await?;
    drop(c);
    let style = definition::style(settings);
    let mut lines = vec![line(&delivery.told, &document, &site, style)];
    if !others.is_empty() {
        let also: Vec<Also> = others.iter().map(|(_, told)| also(told)).collect();
        lines.push(digest(&also, &format!("{}/", site.url)));
    }
    Ok(client.deliver(&delivery.address, lines, definition::voice(settings, &delivery.address)).await)
}

/// One notice in a line.
fn line(notice: &Told, document: &Value, site: &Site, style: Style) -> String {
    match notice.moment {
        Moment::Worker => {
            let seen = document.pointer("/worker/last_connection").and_then(Value::as_i64);
            let ago =
                seen.map(|s| Duration::from_secs((notice.at.unix_timestamp() - s).try_into().unwrap_or_default()));
            let facts = WorkerFacts {
                worker: text(document, "/worker/name"),
                turn: WorkerTurn::named(&notice.mode).unwrap_or(WorkerTurn::Missing),
                last_seen: ago.map(|ago| format!("{} before", lasted(ago))),
            };
            worker_told(&facts, style)
        }
        Moment::Test => {
            let why = text(document, "/why");
            format!("this only tries whether notices arrive, {} | {}/", crate::line::one_line(&why, 200), site.url)
        }
        _ => told(&facts(notice.moment, document), style),
    }
}

fn facts(moment: Moment, document: &Value) -> BuildFacts {
    let ended = moment != Moment::Start;
    let build = &document["build"];
    let some = |value: String| Some(value).filter(|v| !v.is_empty());
    // Of several codebases the one that a change came to is not known: the first.
    let stamp = document.pointer("/buildset/sourcestamps/0").unwrap_or(&Value::Null);
    let authors = document["blamelist"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let duration = build["duration"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
    BuildFacts {
        builder: text(document, "/buildername"),
        number: build["number"].as_i64().unwrap_or_default(),
        results: results(&document["results"]).filter(|_| ended),
        previous: results(&document["previous_results"]),
        state: text(build, "/state_string"),
        reason: text(document, "/reason"),
        branch: some(text(stamp, "/branch")),
        revision: some(text(stamp, "/revision")),
        duration: duration.filter(|_| ended),
        url: some(text(build, "/url")),
        blame: authors.map(str::to_owned).collect(),
    }
}

/// A notice of which only is said that it was: by what its plan knew.
fn also(told: &Told) -> Also {
    let what = match told.moment {
        Moment::Start => What::Started,
        Moment::Worker => What::Worker(WorkerTurn::named(&told.mode).unwrap_or(WorkerTurn::Missing)),
        _ => What::Ended(result(&told.mode)),
    };
    Also { what, about: text(&told.facts, "/about") }
}

fn result(mode: &str) -> Results {
    Results::ALL.into_iter().find(|r| crate::plan::base(*r) == mode).unwrap_or(Results::Exception)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::OffsetDateTime;

    const STYLE: Style = Style { colours: false, blame: true, revisions: false };

    fn notice(moment: Moment, mode: &str) -> Told {
        Told {
            at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000),
            generator: 0,
            moment,
            mode: mode.into(),
            builder: None,
            build: None,
            buildset: None,
            request: None,
            worker: None,
            facts: json!({"why": "notify", "about": "linux #12"}),
        }
    }

    #[test]
    fn a_notice_is_one_line_of_what_rows_say() {
        let document = json!({
            "buildername": "linux", "results": 2, "previous_results": 0, "reason": "forced by ada",
            "blamelist": ["Eve <eve@example.org>\r\nQUIT"],
            "buildset": {"sourcestamps": [{"branch": "main", "revision": "0123456789abcdef"}]},
            "build": {"number": 12, "state_string": "failed test", "duration": 65.2, "url": "http://ci/b/12"},
        });
        let site = Site { url: "http://ci".into(), ..Site::default() };
        let said = |moment, mode, document| line(&notice(moment, mode), document, &site, STYLE);
        assert_eq!(
            said(Moment::End, "failing", &document),
            "build #12 of linux: failure (was success) | failed test | main@0123456789ab | 1 min 5 s | \
             changes by Eve <eve@example.org> QUIT | http://ci/b/12"
        );
        assert_eq!(
            said(Moment::Start, "started", &document),
            "build #12 of linux started | main@0123456789ab | forced by ada | http://ci/b/12"
        );
        let worker = json!({"worker": {"name": "w1", "last_connection": 400}});
        assert_eq!(said(Moment::Worker, "missing", &worker), "worker w1 is missing, last heard 10 min before");
        assert_eq!(said(Moment::Worker, "connected", &worker), "worker w1 is here");
        assert!(said(Moment::Test, "test", &json!({"why": "asked\r\nQUIT"})).contains("asked QUIT | http://ci/"));
    }

    #[test]
    fn what_goes_with_another_is_known_by_its_plan() {
        assert_eq!(
            also(&notice(Moment::End, "failing")),
            Also { what: What::Ended(Results::Failure), about: "linux #12".into() }
        );
        assert_eq!(also(&notice(Moment::Start, "started")).what, What::Started);
        assert_eq!(also(&notice(Moment::Worker, "missing")).what, What::Worker(WorkerTurn::Missing));
    }
}
