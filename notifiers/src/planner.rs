//! From the event stream to deliveries. One process at a time plans; whoever
//! comes next goes on at the same place, which commits with what was planned.

use crate::app::App;
use crate::people::People;
use crate::plan::{self, Facts, Subject, Supersedes};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidemill_lang::Project;
use tidemill_lang::definition::ReporterDef;
use tidemill_schema::events::{Event, events_after, events_start, reader_advance, reader_forget, reader_take};
use tidemill_schema::notices::facts;
use tidemill_schema::notices::plan::{
    READER, active, deliveries_insert, deliveries_supersede, reporters as stored_reporters,
};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::pace::Pace;
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Events of one transaction.
const PAGE: i64 = 500;
/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(2);
/// Under load a page each so often, but for so many at once.
const PACE: (Duration, u32) = (Duration::from_millis(50), 16);

/// Makes sure that what happens from now on is planned: a place that is new begins at the end of the
/// stream, and that end is now, not when the first page is read.
pub async fn begin(app: &App) -> Result<()> {
    run_tx!(app.db, "notices.begin", |c| begin_at(c).await)
}

async fn begin_at(c: &mut PgConnection) -> Result<()> {
    let Some(revision) = active(c).await? else { return Ok(()) };
    let reporters = stored_reporters(c, revision).await?;
    if reporters.is_some_and(|r| r.as_array().is_some_and(|r| !r.is_empty())) {
        reader_take(c, READER).await?;
    }
    Ok(())
}

/// Starts it; `planned` is told after each page that made something to send.
pub fn start(app: &App, planned: Arc<Notify>) {
    let wake = Arc::new(Notify::new());
    app.wakes.forward(&app.life, wake.clone(), |w| matches!(w, Wake::Events | Wake::Config | Wake::All));
    let this = app.clone();
    // Milliseconds until the next look at events above the horizon: 2, 4 … 100.
    let behind = Arc::new(AtomicU64::new(0));
    let mut pace = Pace::new(PACE.0, PACE.1);
    reconcile::spawn(&app.life, "notices.plan", PERIOD, wake, move || {
        let (app, planned, behind, turn) = (this.clone(), planned.clone(), behind.clone(), pace.turn());
        async move {
            tokio::time::sleep_until(turn).await;
            let Some((revision, project)) = app.projects.active(&app.db).await? else { return Ok(Next::Idle) };
            if project.definition().reporters.is_empty() {
                run_tx!(app.db, "notices.forget", |c| reader_forget(c, READER).await)?;
                return Ok(Next::Idle);
            }
            let page = run_tx!(app.db, "notices.plan", |c| page(c, revision, &project).await)?;
            if page.planned > 0 {
                planned.notify_one();
                app.wakes.send(Wake::Notices);
            }
            let waited = behind.swap(0, Ordering::Relaxed);
            Ok::<_, Error>(match (page.full, page.behind) {
                (true, _) => Next::Again,
                (false, true) => {
                    let wait = (waited * 2).clamp(2, 100);
                    behind.store(wait, Ordering::Relaxed);
                    Next::After(Duration::from_millis(wait))
                }
                (false, false) => Next::Idle,
            })
        }
    });
}

#[derive(Default)]
struct Page {
    planned: u64,
    full: bool,
    /// Committed events wait above the horizon.
    behind: bool,
}

async fn page(c: &mut PgConnection, revision: i64, project: &Arc<Project>) -> Result<Page> {
    let Some(cursor) = reader_take(c, READER).await? else { return Ok(Page::default()) };
    let read = events_after(c, cursor, PAGE).await?;
    let Some(last) = read.events.last() else {
        return Ok(Page { behind: read.more_above_horizon, ..Page::default() });
    };
    // Events leave from the oldest on: where the last one that was read is gone, later ones may be.
    if cursor.id != 0 && events_start(c).await?.is_some_and(|start| start > cursor) {
        gap(&read.events[0]);
    }
    let reporters = &project.definition().reporters;
    let subjects = read.events.iter().filter_map(|e| Some((e, Subject::of(e)?)));
    let subjects: Vec<(&Event, Subject)> = subjects.filter(|(e, s)| plan::concerns(reporters, e, *s)).collect();
    let mut facts = gather(c, reporters, &subjects).await?;
    for (id, name) in &facts.workers {
        let worker = project.definition().workers.iter().find(|w| w.name == *name);
        facts.notify_on_missing.extend(worker.map(|w| (*id, w.notify_on_missing.clone())));
    }
    let networks = crate::networks::names(reporters);
    if !networks.is_empty() && !subjects.is_empty() {
        facts.places = crate::networks::places(c, &networks).await?;
    }
    let notices: Vec<(&Event, Vec<plan::Notice>)> =
        subjects.iter().map(|(event, subject)| (*event, plan::notices(reporters, &facts, *subject))).collect();
    let people = People::of(c, project, notices.iter().flat_map(|(_, n)| n)).await?;
    let mut rows = vec![];
    let mut statuses = vec![];
    for (event, notices) in &notices {
        for notice in notices {
            let reporter = &reporters[notice.reporter];
            let planned = plan::planned(event, reporter, notice, &people);
            if plan::supersedes(&reporter.kind, notice.moment) != Supersedes::No {
                statuses.extend(planned.iter().filter_map(|p| p.order_key.clone()));
            }
            rows.extend(planned);
        }
    }
    let tests = read.events.iter().filter(|e| e.kind == "notices.test");
    rows.extend(tests.filter_map(|event| plan::tested(event, reporters)));
    let planned = deliveries_insert(c, revision, &rows).await?;
    deliveries_supersede(c, &statuses).await?;
    let watched = plan::ended_watches(&facts, subjects.iter().map(|(_, s)| *s));
    if !watched.is_empty() {
        tidemill_schema::notices::networks::places_told(c, &networks, &watched).await?;
    }
    reader_advance(c, READER, last.at_cursor).await?;
    Ok(Page { planned, full: read.events.len() as i64 == PAGE, behind: read.more_above_horizon })
}

/// Events were removed before they were planned: nobody planned for longer than they are kept.
fn gap(first: &Event) {
    tracing::error!(
        from = %first.at,
        "events before this time may have been removed before anybody planned their notices: no notifier ran for longer than events are kept"
    );
}

/// What has to be known of these events: a query for each kind of thing.
async fn gather(c: &mut PgConnection, reporters: &[ReporterDef], subjects: &[(&Event, Subject)]) -> Result<Facts> {
    use tidemill_lang::definition::{GeneratorKind, ReporterKind};
    let any = |kinds: &[GeneratorKind]| {
        reporters.iter().any(|r| {
            matches!(r.kind, ReporterKind::Irc(_)) && kinds.contains(&GeneratorKind::Build)
                || r.generators.iter().any(|g| kinds.contains(&g.kind))
        })
    };
    let of = |pick: &dyn Fn(Subject) -> Option<i64>| -> Vec<i64> {
        subjects.iter().filter_map(|(_, s)| pick(*s)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let mut facts = Facts::default();
    let mut builds: BTreeSet<i64> = BTreeSet::new();
    if any(&[GeneratorKind::Build, GeneratorKind::BuildStartEnd]) {
        builds.extend(of(&|s| match s {
            Subject::BuildStarted(id) | Subject::BuildEnded(id) => Some(id),
            _ => None,
        }));
    }
    if any(&[GeneratorKind::Buildset, GeneratorKind::BuildsetCombined]) {
        let sets = of(&|s| match s {
            Subject::BuildsetEnded(id) => Some(id),
            _ => None,
        });
        for set in facts::buildsets(c, &sets).await? {
            builds.extend(&set.builds);
            facts.buildsets.insert(set.buildset, set);
        }
    }
    if any(&[GeneratorKind::Request]) {
        let requests = of(&|s| match s {
            Subject::RequestMade(id) | Subject::RequestEnded(id) => Some(id),
            _ => None,
        });
        facts.requests = facts::requests(c, &requests).await?.into_iter().map(|r| (r.request, r)).collect();
    }
    let workers = of(&|s| match s {
        Subject::WorkerMissing(id) | Subject::WorkerCame(id) | Subject::WorkerWent(id) => Some(id),
        _ => None,
    });
    facts.workers = facts::workers(c, &workers).await?.into_iter().collect();
    let builds: Vec<i64> = builds.into_iter().collect();
    facts.builds =
        facts::builds(c, &builds, plan::wanted(reporters)).await?.into_iter().map(|b| (b.build, b)).collect();
    Ok(facts)
}
