//! `/builders/{name}/builds/{number}`: one build, with the end of the log that
//! matters open: of the step that runs, or of those that failed.

use super::ansi::{Anchors, Renderer};
use super::page::{Page, html};
use super::show::{self, Badge, build_path, builder_path, first_line, link, short};
use super::triggered::{ChildRow, TriggeredBy, children};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::At;
use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use sqlx::PgConnection;
use tidemill_model::{LogId, Property};
use tidemill_schema::read::builds::{self, Build};
use tidemill_schema::read::buildsets::{self, Stamp};
use tidemill_schema::read::changes::{self, Change};
use tidemill_schema::read::logs::{self, Log};
use tidemill_schema::read::steps::{self, Step};
use tidemill_schema::read::tests::{self, Broken, TestSet};
use tidemill_schema::read::text::{Bounds, Start, size, window};
use tidemill_schema::read::{Query, builders};

/// Lines of an open log, and how many logs are open at once.
const LINES: i64 = 40;
const OPEN_MAX: usize = 4;
const CHANGES: i64 = 100;
const STEPS: i64 = 1000;
/// Broken tests of a set that are shown.
const BROKEN: i64 = 50;
/// Open requests that it triggered whose events the page hears: they stand in an address.
const CHILDREN_HEARD: usize = 100;

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    page: Page,
    build: Build,
    badge: Badge,
    builder_path: String,
    stamps: Vec<StampRow>,
    /// Some source names its codebase.
    codebases: bool,
    changes: Vec<ChangeRow>,
    properties: Vec<(String, Property)>,
    steps: Vec<StepRow>,
    triggered_by: Option<TriggeredBy>,
    children: Vec<ChildRow>,
    hidden: usize,
    older: Option<i64>,
}

struct StampRow {
    stamp: Stamp,
    link: Option<String>,
    patch_size: String,
}

struct ChangeRow {
    change: Change,
    title: String,
    revision: String,
    link: Option<String>,
}

struct StepRow {
    step: Step,
    badge: Badge,
    open: bool,
    /// It runs and says how far it has come.
    progresses: bool,
    logs: Vec<LogRow>,
    links: Vec<(String, Option<String>)>,
    tests: Vec<SetRow>,
}

/// Results of tests, and those that are broken.
struct SetRow {
    set: TestSet,
    /// The set is not the only one of the step.
    named: bool,
    broken: Vec<TestRow>,
    /// Broken ones that are not shown.
    more: i64,
}

struct TestRow {
    test: Broken,
    /// The first line of what it said, and whether there is more.
    says: String,
    more: bool,
    /// `since #12`, or that it began here.
    since: Option<String>,
}

struct LogRow {
    log: Log,
    size: String,
    /// Its end, if it is open.
    tail: Option<Tail>,
}

struct Tail {
    rows: String,
    /// Lines before those shown.
    before: i64,
    next: i64,
}

/// The permanent address of a build is by builder and number.
pub async fn by_id(State(app): State<App>, At(id): At<i64>) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let build = builds::one(&mut c, &[builds::by_id(id)], &Query::default())
        .await?
        .ok_or_else(|| ApiError::not_found(format!("there is no build {id}")))?;
    Ok(Redirect::to(&build_path(&build.buildername, build.number)).into_response())
}

pub async fn page(
    State(app): State<App>,
    who: Who,
    At((name, number)): At<(String, i64)>,
) -> Result<Response, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let missing = || ApiError::not_found(format!("there is no build {number} of `{name}`"));
    let builder = builders::by_name(&mut c, &name).await?.ok_or_else(|| super::builder::unknown(&name))?;
    let scope = [builds::of_builder(builder), builds::numbered(number)];
    let query = Query::default().with_properties();
    let build = builds::one(&mut c, &scope, &query).await?.ok_or_else(missing)?;
    let stamps = buildsets::stamps(&mut c, build.buildsetid).await?;
    let limit = |limit| Query { limit, ..Query::default() };
    let changes = changes::list(&mut c, &[changes::of_build(build.buildid)], &limit(CHANGES)).await?;
    let all_steps = steps::list(&mut c, &[steps::of_build(build.buildid)], &limit(STEPS)).await?;
    let all_logs = logs::list(&mut c, &[logs::of_build(build.buildid)], &limit(STEPS)).await?;
    let triggered_by = TriggeredBy::of(&mut c, build.buildsetid).await?;
    let children = children(&mut c, build.buildid).await?;
    let hidden = all_steps.iter().filter(|s| s.hidden).count();
    let steps = step_rows(&mut c, &build, all_steps, all_logs).await?;
    drop(c);
    let page = Page::new(&app, &who, format!("{} #{}", build.buildername, build.number), "builders");
    html(&BuildPage {
        page: match events(&build, &children) {
            Some(events) => page.live(events),
            None => page,
        },
        badge: Badge::of(build.results),
        builder_path: builder_path(&build.buildername),
        codebases: stamps.iter().any(|s| !s.codebase.is_empty()),
        stamps: stamps
            .into_iter()
            .map(|stamp| StampRow {
                link: link(&stamp.repository).map(str::to_owned),
                patch_size: size(stamp.patch.as_ref().map_or(0, |p| p.size)),
                stamp,
            })
            .collect(),
        changes: changes.into_iter().map(change_row).collect(),
        properties: build.properties.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        steps,
        triggered_by,
        children,
        hidden,
        older: (build.number > 1).then_some(build.number - 1),
        build,
    })
}

/// What concerns the page: the build until it is over, and what it triggered until that is.
fn events(build: &Build, children: &[ChildRow]) -> Option<String> {
    let open = children.iter().filter(|row| !row.child.complete);
    let requests: Vec<String> = open.take(CHILDREN_HEARD).map(|row| row.child.requestid.to_string()).collect();
    match (build.complete, requests.is_empty()) {
        (true, true) => None,
        (_, true) => Some(format!("buildid={}", build.buildid)),
        (_, false) => Some(format!("buildid={}&buildrequestid={}", build.buildid, requests.join(","))),
    }
}

fn change_row(change: Change) -> ChangeRow {
    ChangeRow {
        title: first_line(&change.comments),
        revision: change.revision.as_deref().map(short).unwrap_or_default(),
        link: change.revlink.as_deref().and_then(link).map(str::to_owned),
        change,
    }
}

async fn step_rows(
    c: &mut PgConnection,
    build: &Build,
    steps: Vec<Step>,
    mut logs: Vec<Log>,
) -> Result<Vec<StepRow>, ApiError> {
    let mut rows = Vec::new();
    let mut open_left = OPEN_MAX;
    let mut tests = set_rows(c, build).await?;
    for step in steps.into_iter().filter(|s| !s.hidden) {
        let matters = match step.results {
            None => !build.complete,
            Some(r) => !r.is_good() && r != tidemill_model::Results::Skipped,
        };
        let of_step: Vec<Log> = logs.extract_if(.., |l| l.step == step.number).collect();
        let mut log_rows = Vec::new();
        for log in of_step {
            let open = matters && open_left > 0 && log.kind != "h";
            let tail = if open { Some(tail(c, &log).await?) } else { None };
            open_left -= usize::from(open);
            log_rows.push(LogRow { size: size(log.num_bytes.max(0) as u64), log, tail });
        }
        rows.push(StepRow {
            badge: Badge::of(step.results),
            open: matters,
            progresses: step.results.is_none() && !build.complete && !step.progress.is_empty(),
            links: step.urls.iter().map(|u| (u.name.clone(), link(&u.url).map(str::to_owned))).collect(),
            logs: log_rows,
            tests: tests.extract_if(.., |row| row.set.step == step.number).collect(),
            step,
        });
    }
    Ok(rows)
}

/// Results of tests of all steps.
async fn set_rows(c: &mut PgConnection, build: &Build) -> Result<Vec<SetRow>, ApiError> {
    let sets = tests::sets_of(c, build.buildid).await?;
    let bad: Vec<i64> = sets.iter().filter(|s| s.failed + s.errors > 0).map(|s| s.id).collect();
    let mut broken = if bad.is_empty() { vec![] } else { tests::broken_of(c, &bad, BROKEN).await? };
    let steps: Vec<i64> = sets.iter().map(|s| s.step).collect();
    let rows = sets.into_iter().map(|set| {
        let shown: Vec<TestRow> =
            broken.extract_if(.., |b| b.set == set.id).map(|test| test_row(test, build.number)).collect();
        SetRow {
            named: steps.iter().filter(|s| **s == set.step).count() > 1,
            more: i64::from(set.failed + set.errors) - shown.len() as i64,
            broken: shown,
            set,
        }
    });
    Ok(rows.collect())
}

fn test_row(test: Broken, number: i64) -> TestRow {
    let message = test.message.as_deref().unwrap_or_default().trim();
    TestRow {
        says: first_line(message),
        more: message.lines().nth(1).is_some(),
        since: match test.since {
            Some(since) if since == number => Some("began here".into()),
            Some(since) if since < number => Some(format!("since #{since}")),
            _ => None,
        },
        test,
    }
}

async fn tail(c: &mut PgConnection, log: &Log) -> Result<Tail, ApiError> {
    let bounds = Bounds { lines: LINES + 1, line_bytes: 2000, read_bytes: 1 << 20 };
    let window = window(c, LogId(log.logid), Start::Tail(LINES), bounds).await?;
    let mut renderer = Renderer::new(Anchors::Log(log.logid));
    let mut rows = String::new();
    for line in &window.lines {
        renderer.line(line, &mut rows);
    }
    let before = window.lines.first().map_or(0, |l| l.number);
    Ok(Tail { rows, before, next: window.next_byte })
}
