//! Reports against the truth: a generated history, the facts that the real code
//! makes of it, and each report compared with what Rust computes of the same history.
//!
//! `TIDEMILL_TEST_FULL=1` takes a million builds of a thousand builders.

mod documents;
mod plans;
mod worlds;

use std::time::{Duration, Instant};
use tidemill_schema::Db;
use tidemill_schema::facts::facts_backfill;
use tidemill_schema::read::report::{Bounds, Cell};
use tidemill_schema::testing::history::vacuum;
use tidemill_sql::report::{Report, Table, Values, built_in, run};
use tidemill_tests::history::expected::{Asked, REPORTS, Row, Value, compare};
use tidemill_tests::history::{DAY, HOUR, SECOND, Shape, Truth, load};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp() * SECOND
}

fn full() -> bool {
    std::env::var_os("TIDEMILL_TEST_FULL").is_some()
}

/// A database with history and its facts, and the truth of it. All tests here look
/// at the same one, and change nothing.
struct History {
    url: String,
    truth: Truth,
}

impl History {
    async fn get() -> &'static History {
        static HISTORY: OnceCell<History> = OnceCell::const_new();
        HISTORY.get_or_init(History::make).await
    }

    async fn make() -> History {
        let t = tidemill_sql::testing::db().await;
        let shape = if full() { Shape::year(1_000_000, 1_000, now()) } else { Shape::small(now()) };
        let started = Instant::now();
        let loaded = load(&t.db, shape).await.expect("loaded");
        eprintln!("{} builds, {} rows after {:.1?}", loaded.truth.builds.len(), loaded.rows, started.elapsed());
        vacuum(&mut t.db.pool().acquire().await.expect("a connection")).await.expect("vacuumed");
        let stored = facts_backfill(&t.db, 0).await.expect("facts");
        assert_eq!(stored as usize, loaded.truth.builds.len(), "each build has its fact");
        vacuum(&mut t.db.pool().acquire().await.expect("a connection")).await.expect("vacuumed");
        eprintln!("facts of all after {:.1?}", started.elapsed());
        // Each test has a runtime of its own, which a pool does not leave.
        t.db.pool().close().await;
        History { url: t.url.clone(), truth: loaded.truth }
    }

    async fn db(&self) -> Db {
        Db::connect(&self.url, 4).await.expect("the history's database accepts connections")
    }
}

#[tokio::test]
async fn each_report_says_what_is_true() {
    let history = History::get().await;
    let (db, truth) = (history.db().await, &history.truth);
    let mut wrong = Vec::new();
    for report in built_in() {
        let (_, expected) = REPORTS.iter().find(|(name, _)| *name == report.name).unwrap_or_else(|| {
            panic!("nothing is computed for the report {}: add it to history::expected", report.name)
        });
        let mut said_something = false;
        for (what, asked) in asked(truth, report) {
            let rows = expected(truth, &asked);
            said_something |= !rows.is_empty();
            let table = ask(&db, report, &asked).await;
            let columns: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
            if let Err(difference) = compare(&columns, &rows_of(&table), &rows) {
                wrong.push(format!("{}, {what}: {difference}", report.name));
            }
        }
        if !said_something {
            wrong.push(format!("{}: the history has nothing for it", report.name));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What each report is asked.
fn asked(t: &Truth, report: &Report) -> Vec<(&'static str, Asked)> {
    let takes = |name: &str| report.head.parameters.iter().any(|p| p.name == name);
    let end = t.shape.end;
    let month = || Asked::of(end - 28 * DAY, end, now());
    // Not at the beginning of an hour, and over before the end.
    let odd = || Asked::of(end - 100 * DAY + 5 * HOUR / 2, end - 30 * DAY + 7 * HOUR / 3, now());
    let busiest = Some(t.world.builders[0].name.clone());
    let project = Some(t.world.projects[1].name.clone());
    let mut all = vec![("28 days", month()), ("all of it", Asked::of(t.shape.start(), end, now()))];
    if takes("until") {
        all.push(("a part", odd()));
    }
    if takes("builder") {
        all.push(("a builder", Asked { builder: busiest, ..odd() }));
    }
    if takes("project") {
        all.push(("a project", Asked { project, ..month() }));
    }
    if takes("branch") {
        all.push(("a branch", Asked { branch: Some("main".into()), ..month() }));
    }
    if takes("worker") {
        all.push(("a worker", Asked { worker: Some(t.world.workers[0].name.clone()), ..odd() }));
    }
    if takes("every") {
        all.push(("days", Asked { every: "day", ..month() }));
        all.push(("months", Asked { every: "month", ..odd() }));
    }
    if takes("by") {
        all.push(("by worker", Asked { by: "worker", ..odd() }));
        all.push(("by builder", Asked { by: "builder", ..month() }));
    }
    if takes("statistic") {
        all.push(("sizes", Asked { statistic: "size", ..month() }));
    }
    if takes("limit") {
        all.push(("five rows", Asked { limit: 5, ..month() }));
    }
    all
}

fn values(report: &Report, asked: &Asked) -> Values {
    let given = asked.given(|name| report.head.parameters.iter().any(|p| p.name == name));
    let given = given.iter().map(|(name, value)| (*name, value.as_str()));
    Values::read(&report.head.parameters, given, OffsetDateTime::now_utc()).expect("good values")
}

async fn ask(db: &Db, report: &Report, asked: &Asked) -> Table {
    let values = values(report, asked);
    let bounds = Bounds { rows: 1_000_000, time: Duration::from_secs(120) };
    run(db, report, &values, bounds).await.unwrap_or_else(|e| panic!("{}: {e}", report.name))
}

fn rows_of(table: &Table) -> Vec<Row> {
    let value = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Bool(b) => Value::Text(b.to_string()),
        Cell::Int(n) => Value::Number(*n as f64),
        Cell::Float(f) => Value::Number(*f),
        Cell::Text(text) => Value::Text(text.clone()),
        Cell::Time(at) => Value::Time((at.unix_timestamp_nanos() / 1000) as i64),
    };
    table.rows.iter().map(|row| row.iter().map(value).collect()).collect()
}

#[tokio::test]
async fn the_history_is_one_that_a_tidemill_could_have_left() {
    let db = History::get().await.db().await;
    tidemill_tests::invariants::check(&db).await;
    for (what, query) in IMPOSSIBLE {
        let n: i64 = sqlx::query_scalar(*query).fetch_one(db.pool()).await.expect(what);
        assert_eq!(n, 0, "{what}");
    }
}

/// What no Tidemill leaves behind.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "a worker with more builds than slots",
        "select count(*) from (select worker_id, sum(more) over (partition by worker_id order by at, more) as n
                                 from (select worker_id, started_at as at, 1 as more from builds
                                        union all select worker_id, complete_at, -1 from builds) e) e
           join (select worker_id, max(slots) as slots from worker_sessions group by 1) s using (worker_id) where e.n > s.slots",
    ),
    (
        "a build outside of its session",
        "select count(*) from builds b join worker_sessions s on s.id = b.session_id
          where s.worker_id <> b.worker_id or b.started_at < s.opened_at or b.complete_at > s.seen_at",
    ),
    (
        "numbers that do not rise with ids",
        "select count(*) from (select id, lag(id) over (partition by builder_id order by number) as before from builds) b where before > id",
    ),
    (
        "a step outside of its build or before the one before it",
        "select count(*) from (select s.*, lag(s.complete_at) over (partition by build_id order by number) as before from steps s) s
           join builds b on b.id = s.build_id
          where s.started_at < b.started_at or s.complete_at > b.complete_at or s.started_at < s.before",
    ),
    (
        "a request that ended before its last build, or with another result",
        "select count(*) from build_requests r join lateral (select * from builds b where b.request_id = r.id order by id desc limit 1) b on true
          where r.complete_at < b.complete_at or (b.results <> 5 and b.results <> r.results)",
    ),
    (
        "a build on a worker that its builder does not name",
        "select count(*) from builds b join workers w on w.id = b.worker_id
          where not exists (select from builder_workers x where x.builder_id = b.builder_id and x.worker_name = w.name)",
    ),
    (
        "a success that is missing or of another line",
        "select count(*) from builds b join build_requests r on r.id = b.request_id
          where b.results = 0 and not exists (select from build_successes s where s.build_id = b.id and s.number = b.number
                    and s.builder_id = b.builder_id and s.line = buildset_line(r.buildset_id))",
    ),
    ("a time in the future", "select count(*) from builds where complete_at > tidemill_now()"),
];
