//! [report-default, report-year, report-claims] Reports over a year of invented
//! builds, and what they do to claims.
//!
//! The history is written in months: raw rows, their facts by the code of masters,
//! and then the raw rows go, as retention would have it, but for the last
//! two months. Its size is what was asked for (`TIDEMILL_BENCH_BUILDS`), or ten million,
//! or what fits on the disk; it is printed. What is more than a million is that million
//! several times, each with builders, projects and workers of its own. Where
//! `TIDEMILL_BENCH_KEEP` names a folder (with a short path), its database stays there, and is
//! what the next run looks at.

use crate::claim::{Lows, Setup, cycles_timed, setup_in};
use crate::meter::percentile;
use crate::{Line, Size};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidemill_schema::Db;
use tidemill_schema::facts::facts_backfill;
use tidemill_schema::read::report::Bounds;
use tidemill_schema::testing::history::{forget_builds, vacuum};
use tidemill_sql::report::{Report, Values, built_in, run};
use tidemill_tests::Cluster;
use tidemill_tests::history::{DAY, Loader, SECOND, Shape, beside};
use time::OffsetDateTime;
use tokio::sync::Mutex;

/// Of the disk, in all, a build of a year: facts of all, raw rows of two months, WAL.
const BYTES: u64 = 2_500;
/// Builds of one world.
const WORLD: usize = 1_000_000;
/// What is left free.
const SPARE: u64 = 12 << 30;
/// As the master's own bound.
const TIMEOUT: Duration = Duration::from_secs(10);

struct History {
    t: Cluster,
    builds: u64,
}

/// Made by the first bench that asks, as it takes long; no other is running meanwhile.
static HISTORY: Mutex<Option<History>> = Mutex::const_new(None);

/// Ends what the benches here have made.
pub async fn forget() {
    HISTORY.lock().await.take();
}

/// How many builds there is room for.
fn size(size: Size) -> usize {
    if let Some(n) = std::env::var("TIDEMILL_BENCH_BUILDS").ok().and_then(|n| n.parse().ok()) {
        return n;
    }
    let disk = nix::sys::statvfs::statvfs(&std::env::temp_dir()).expect("the temporary folder has a disk");
    let free = disk.blocks_available() as u64 * disk.fragment_size() as u64;
    let fits = free.saturating_sub(SPARE) / BYTES;
    (size.pick(30_000, 10_000_000) as u64).min(fits).max(20_000) as usize
}

async fn make(of: Size) -> History {
    let t = match std::env::var_os("TIDEMILL_BENCH_KEEP") {
        Some(dir) => {
            std::fs::create_dir_all(&dir).expect("the folder can be made");
            Cluster::in_folder(dir.as_ref(), true, 60).await
        }
        None => Cluster::with(true, 60).await,
    };
    tidemill_sql::migrate(&t.db).await.expect("the views are made");
    let kept: i64 = sqlx::query_scalar("select coalesce(sum(builds), 0)::bigint from build_months")
        .fetch_one(t.db.pool())
        .await
        .expect("a count");
    if kept > 0 {
        eprintln!("  {kept} builds are there");
        return History { t, builds: kept as u64 };
    }
    // What a server of this size has; all that is measured runs under the same.
    let now = OffsetDateTime::now_utc().unix_timestamp() * SECOND;
    let wanted = size(of);
    let worlds = wanted.div_ceil(WORLD);
    let builders = (wanted / worlds / 1_000).max(60);
    let shape = Shape { thin: true, end: now, ..Shape::year(wanted / worlds, builders, now) };
    eprintln!("  {wanted} builds of {} builders", builders * worlds);
    let started = Instant::now();
    let mut loader = Loader::begin(&t.db, shape, false).await.expect("the ground is laid");
    let (mut facts, mut folding, mut at) = (0, Duration::ZERO, shape.start());
    loop {
        at += 28 * DAY;
        let more = loader.advance(&t.db, at).await.expect("rows are written");
        let begun = Instant::now();
        let mut c = t.db.pool().acquire().await.expect("a connection");
        vacuum(&mut c).await.expect("vacuumed");
        facts += facts_backfill(&t.db, 0).await.expect("facts are made");
        folding += begun.elapsed();
        eprintln!("  {facts} facts after {:.0?}, of which {folding:.0?} for the facts", started.elapsed());
        if !more {
            break;
        }
        if at < shape.end - 60 * DAY {
            forget_builds(&mut c).await.expect("old rows go");
        }
    }
    loader.finish(&t.db).await.expect("sequences are set");
    if worlds > 1 {
        beside(&t.db, worlds as i64).await.expect("other worlds are made");
        facts *= worlds as u64;
        eprintln!("  {worlds} worlds after {:.0?}", started.elapsed());
    }
    for statement in ["vacuum (freeze, analyze)", "checkpoint"] {
        sqlx::raw_sql(statement).execute(t.db.pool()).await.expect(statement);
    }
    let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(t.db.pool())
        .await
        .expect("its size");
    eprintln!("  {facts} builds, {:.1} GB, after {:.0?}", bytes as f64 / 1e9, started.elapsed());
    let tables: Vec<(String, i64)> = sqlx::query_as(
        "select regexp_replace(c.relname, '_[0-9]{4}_[0-9]{2}$', ''), sum(pg_total_relation_size(c.oid))::bigint
           from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace group by 1 order by 2 desc limit 8",
    )
    .fetch_all(t.db.pool())
    .await
    .expect("sizes of tables");
    let shown: Vec<String> = tables.iter().map(|(name, n)| format!("{name} {} B", n / facts.max(1) as i64)).collect();
    eprintln!("  a build takes of {}", shown.join(", "));
    History { t, builds: facts }
}

/// Fills an empty database, for people who want to try reports before they have a history.
pub async fn invent(url: &str, of: Size) {
    let db = Db::connect(url, 4).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    tidemill_sql::migrate(&db).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    let there: i64 = sqlx::query_scalar("select count(*) from builders").fetch_one(db.pool()).await.expect("builders");
    if there > 0 {
        eprintln!("{url} has builders: give an empty database, invented builds do not go away again");
        return;
    }
    let now = OffsetDateTime::now_utc().unix_timestamp() * SECOND;
    let builds = std::env::var("TIDEMILL_BENCH_BUILDS").ok().and_then(|n| n.parse().ok());
    let shape = Shape { end: now, ..Shape::year(builds.unwrap_or(of.pick(20_000, 100_000)), 60, now) };
    let mut loader = Loader::begin(&db, shape, false).await.expect("the ground is laid");
    while loader.advance(&db, i64::MAX).await.expect("rows are written") {}
    loader.finish(&db).await.expect("sequences are set");
    let facts = facts_backfill(&db, 0).await.expect("facts are made");
    vacuum(&mut db.pool().acquire().await.expect("a connection")).await.expect("vacuumed");
    eprintln!("{facts} builds of a year that ends now. Try: tidemill report builder-health --database {url}");
}

/// Milliseconds that a report takes with these values: the median of a few, after one that is not counted.
async fn time(db: &Db, report: &Report, given: &[(&str, &str)], times: usize) -> (f64, usize) {
    let values =
        Values::read(&report.head.parameters, given.iter().copied(), OffsetDateTime::now_utc()).expect("good values");
    let bounds = Bounds { rows: 10_000, time: Duration::from_secs(120) };
    let (mut took, mut rows) = (Vec::new(), 0);
    for n in 0..=times {
        let begun = Instant::now();
        rows = run(db, report, &values, bounds).await.unwrap_or_else(|e| panic!("{}: {e}", report.name)).rows.len();
        if n > 0 {
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    (percentile(&mut took, 0.5), rows)
}

/// A line a report, and one of the slowest.
async fn each(name: &'static str, of: Size, given: impl Fn(&Report) -> Vec<(&'static str, &'static str)>) -> Vec<Line> {
    let mut history = HISTORY.lock().await;
    if history.is_none() {
        *history = Some(make(of).await);
    }
    let history = history.as_ref().expect("it was just made");
    let db = Db::connect_people(history.t.postgres.url(), 2).expect("an address");
    let mut lines = Vec::new();
    let mut slowest = (0.0, "");
    for report in built_in() {
        let (ms, rows) = time(&db, report, &given(report), of.pick(2, 5)).await;
        if ms > slowest.0 {
            slowest = (ms, &report.name);
        }
        lines.push(Line::alone(name, format!("{}: {rows} rows of {} builds", report.name, history.builds), ms, "ms"));
    }
    lines.push(Line::alone(name, format!("the slowest of all: {}", slowest.1), slowest.0, "ms"));
    db.pool().close().await;
    lines
}

pub async fn default(of: Size) -> Vec<Line> {
    each("report-default", of, |_| Vec::new()).await
}

pub async fn year(of: Size) -> Vec<Line> {
    each("report-year", of, |report| {
        let since = report.head.parameters.iter().any(|p| p.name == "since");
        if since { vec![("since", "365 days")] } else { Vec::new() }
    })
    .await
}

/// All reports one after the other, again and again, in a pool of its own, until told to stop.
fn run_all(url: String, stop: Arc<AtomicBool>, ran: Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let db = Db::connect_people(&url, 1).expect("an address");
        let bounds = Bounds { rows: 10_000, time: TIMEOUT };
        for report in built_in().iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let values = Values::read(&report.head.parameters, [], OffsetDateTime::now_utc()).expect("defaults");
            run(&db, report, &values, bounds).await.unwrap_or_else(|e| panic!("{}: {e}", report.name));
            ran.fetch_add(1, Ordering::Relaxed);
        }
        db.pool().close().await;
    })
}

pub async fn claims(of: Size) -> Vec<Line> {
    let history = match HISTORY.lock().await.take() {
        Some(history) => history,
        None => make(of).await,
    };
    let builds = history.builds;
    let url = history.t.postgres.url().to_owned();
    let mut s = setup_in(history.t, 100).await;
    let mut lows = Lows::default();
    let span = Duration::from_secs(of.pick(2, 10));
    cycles_timed(&mut s, &mut lows, span).await;
    let mut lines = loaded(&mut s, &mut lows, &url, of, span, builds).await;
    lines.extend(held(&mut s, &mut lows, &url, of, span).await);
    lines
}

/// In turns, so that both see the same machine.
async fn loaded(s: &mut Setup, lows: &mut Lows, url: &str, of: Size, span: Duration, builds: u64) -> Vec<Line> {
    let ran = Arc::new(AtomicUsize::new(0));
    let (mut idle, mut busy) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..of.pick(2, 5) {
        let (rate, took) = cycles_timed(s, lows, span).await;
        idle.0.push(rate);
        idle.1.extend(took);
        let stop = Arc::new(AtomicBool::new(false));
        let task = run_all(url.to_owned(), stop.clone(), ran.clone());
        let (rate, took) = cycles_timed(s, lows, span).await;
        stop.store(true, Ordering::Relaxed);
        task.await.expect("reports run");
        busy.0.push(rate);
        busy.1.extend(took);
    }
    let what = |of: &str| format!("{of} while a loop runs all reports on {builds} builds, against idle");
    eprintln!("  {} reports ran meanwhile", ran.load(Ordering::Relaxed));
    vec![
        Line::time(
            "report-claims",
            what("a claim of 100, median"),
            percentile(&mut busy.1, 0.5),
            "ms",
            percentile(&mut idle.1, 0.5),
        ),
        Line::time(
            "report-claims",
            what("a claim of 100, 95 of 100"),
            percentile(&mut busy.1, 0.95),
            "ms",
            percentile(&mut idle.1, 0.95),
        ),
        Line::rate(
            "report-claims",
            what("whole cycles"),
            percentile(&mut busy.0, 0.5),
            "cycles/s",
            percentile(&mut idle.0, 0.5),
        ),
    ]
}

/// A report's transaction stays open, as one of a slow reader would.
async fn held(s: &mut Setup, lows: &mut Lows, url: &str, of: Size, span: Duration) -> Vec<Line> {
    let hold = Duration::from_secs(of.pick(6, 120));
    let (before, mut took_before) = cycles_timed(s, lows, span).await;
    let db = Db::connect(url, 1).await.expect("a pool of its own");
    let report = built_in().iter().find(|r| r.name == "builder-trend").expect("a report of this name");
    let values = Values::read(&report.head.parameters, [], OffsetDateTime::now_utc()).expect("defaults");
    let mut holder = db.pool().begin().await.expect("a transaction");
    sqlx::raw_sql(
        "set transaction isolation level repeatable read, read only; set local idle_in_transaction_session_timeout = 0",
    )
    .execute(&mut *holder)
    .await
    .expect("a snapshot is held");
    sqlx::query(sqlx::AssertSqlSafe(report.sql_to_copy(&values)))
        .fetch_all(&mut *holder)
        .await
        .expect("the report runs");
    cycles_timed(s, lows, hold - span).await;
    let (during, mut took_during) = cycles_timed(s, lows, span).await;
    holder.rollback().await.expect("released");
    let what = |of: &str| format!("{of} at the end of a report held open {} s, against before", hold.as_secs());
    vec![
        Line::rate("report-claims", what("whole cycles"), during, "cycles/s", before),
        Line::time(
            "report-claims",
            what("a claim of 100, median"),
            percentile(&mut took_during, 0.5),
            "ms",
            percentile(&mut took_before, 0.5),
        ),
    ]
}
