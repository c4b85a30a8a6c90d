//! The read side on a real database: every field of every resource is run, and
//! logs are cut into windows.

mod common;

use common::*;
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_model::wire::{Event, Frame, LogKind};
use tidemill_model::{LogId, Results};
use tidemill_schema::Db;
use tidemill_schema::ingest::batches_store;
use tidemill_schema::read::builds::{self, BUILDS, Build};
use tidemill_schema::read::query::Direction;
use tidemill_schema::read::requests::{self, REQUESTS};
use tidemill_schema::read::text::{Bounds, Line, Start, Window, runs_from, window};
use tidemill_schema::read::{
    Kind, Listed, Query, Resource, Scope, builders, buildsets, changes, list, logs, masters, overview, policy_failures,
    schedulers, steps, tests, workers,
};
use tidemill_schema::testing::TestDb;

static ALL: [&Resource; 15] = [
    &BUILDS,
    &REQUESTS,
    &builders::BUILDERS,
    &buildsets::BUILDSETS,
    &buildsets::SOURCESTAMPS,
    &changes::CHANGES,
    &changes::CHANGE_SOURCES,
    &logs::LOGS,
    &tests::TEST_SETS,
    &tests::TEST_RESULTS,
    &masters::MASTERS,
    &policy_failures::POLICY_FAILURES,
    &schedulers::SCHEDULERS,
    &steps::STEPS,
    &workers::WORKERS,
];

fn parse(resource: &'static Resource, text: &str) -> Query {
    Query::parse(resource, text.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap())).unwrap()
}

async fn ask(db: &Db, resource: &'static Resource, scope: &[Scope], text: &str) -> Listed {
    let mut c = db.pool().acquire().await.unwrap();
    list(&mut c, resource, scope, &parse(resource, text)).await.unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A project, a worker, and builds with those results, oldest first.
async fn built(db: &Db, results: &[Results]) -> Vec<i64> {
    project(db, &["fast", "slow"]).await;
    let session = worker(db, "w").await;
    let mut ids = Vec::new();
    for (n, result) in results.iter().enumerate() {
        submit(db, "fast").await;
        let newest = ids.last().copied().unwrap_or(0);
        let claims = claim(db, session, n as u64 + 1, 1, newest).await;
        ids.push(claims[0].build);
        finish(db, &claims[0], *result).await;
    }
    ids
}

#[tokio::test]
async fn every_field_can_be_given_compared_and_ordered_as_its_kind_says() {
    let test = TestDb::new().await;
    built(&test.db, &[Results::Success, Results::Failure]).await;
    submit(&test.db, "slow").await;
    for resource in ALL {
        let whole = ask(&test.db, resource, &[], "").await;
        assert_eq!(whole.total, whole.rows.len() as i64, "{}", resource.name);
        for field in resource.fields {
            let name = field.name;
            let only = ask(&test.db, resource, &[], &format!("field={name}")).await;
            assert_eq!(only.rows.len(), whole.rows.len());
            for row in &only.rows {
                assert!(row.get().starts_with(&format!("{{\"{name}\" :")), "{}", row.get());
            }
            let operators: &[&str] = match field.kind {
                Kind::Int | Kind::Time => &["", "__eq", "__ne", "__lt", "__le", "__gt", "__ge"],
                Kind::Text => &["", "__eq", "__ne", "__lt", "__le", "__gt", "__ge", "__contains"],
                Kind::Bool => &["", "__eq", "__ne"],
                Kind::Texts => &["__contains"],
                Kind::Json | Kind::Properties => &[],
            };
            let value = match field.kind {
                Kind::Int | Kind::Time => "1",
                Kind::Bool => "false",
                _ => "a%_'\"",
            };
            for op in operators {
                let again = format!("{name}{op}={value}&{name}{op}={value}");
                ask(&test.db, resource, &[], &again).await;
            }
            if field.kind.comparable() {
                ask(&test.db, resource, &[], &format!("order=-{name}&order={name}&limit=1&offset=1")).await;
            }
        }
    }
    test.drop().await;
}

#[tokio::test]
async fn a_flag_splits_the_rows_and_what_is_open_is_found_by_its_lease() {
    let test = TestDb::new().await;
    built(&test.db, &[Results::Success, Results::Failure]).await;
    let session: i64 = sqlx::query_scalar("select id from worker_sessions").fetch_one(test.db.pool()).await.unwrap();
    submit(&test.db, "slow").await;
    submit(&test.db, "slow").await;
    claim(&test.db, tidemill_model::SessionId(session), 9, 1, 100).await;
    for (resource, text, rows) in [
        (&BUILDS, "complete=false", 1),
        (&BUILDS, "complete=true", 2),
        (&BUILDS, "complete__ne=true", 1),
        (&BUILDS, "complete=true&complete=false", 3),
        (&BUILDS, "results=2", 1),
        (&BUILDS, "results__ne=2", 2),
        (&BUILDS, "buildername__contains=low", 1),
        (&REQUESTS, "complete=0", 2),
        (&REQUESTS, "complete=0&claimed=0", 1),
        (&REQUESTS, "claimed=1", 3),
    ] {
        assert_eq!(ask(&test.db, resource, &[], text).await.total, rows, "{text}");
    }
    let mut c = test.db.pool().acquire().await.unwrap();
    let slow = builders::resolve(&mut c, "slow").await.unwrap().unwrap();
    let waiting = requests::waiting(&mut c, slow, 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].waits_for.as_deref(), Some("a free worker"));
    assert_eq!(builds::running(&mut c, &[], 10).await.unwrap().len(), 1);
    let now = overview::now(&mut c).await.unwrap();
    assert_eq!((now.running, now.pending, now.workers, now.configured), (1, 1, 1, true));
    let which = overview::Which { limit: 10, ..overview::Which::default() };
    let glance = overview::builders(&mut c, &which).await.unwrap();
    let fast = &glance[0];
    assert_eq!((fast.name.as_str(), fast.running, fast.pending, fast.recent.len()), ("fast", 0, 0, 2));
    assert_eq!((glance[1].running, glance[1].pending), (1, 1));
    drop(c);
    test.drop().await;
}

#[tokio::test]
async fn pages_by_the_key_give_every_row_once_and_the_total_is_that_of_all() {
    let test = TestDb::new().await;
    let ids = built(&test.db, &[Results::Success; 5]).await;
    let first = ask(&test.db, &BUILDS, &[], "order=-buildid&limit=2&property=*").await;
    assert_eq!((first.rows.len(), first.total), (2, 5));
    assert_eq!(first.next, Some((ids[3], Direction::Down)));
    let rest = ask(&test.db, &BUILDS, &[], &format!("order=-buildid&limit=3&buildid__lt={}", ids[3])).await;
    assert_eq!((rest.rows.len(), rest.total, rest.next), (3, 3, None));
    let past = ask(&test.db, &BUILDS, &[], "offset=9").await;
    assert_eq!((past.rows.len(), past.total), (0, 5));
    let none = ask(&test.db, &BUILDS, &[], "limit=0").await;
    assert_eq!((none.rows.len(), none.total), (0, 5));
    let build: Build = tidemill_schema::read::typed(&first.rows).unwrap().remove(0);
    assert_eq!(build.properties["workername"].value, "w");
    test.drop().await;
}

/// A log of these pieces, as a worker stores it.
async fn log_of(db: &Db, pieces: &[(Channel, &[u8])], gap: Option<(usize, u64)>, end: bool) -> LogId {
    project(db, &["fast"]).await;
    let session = worker(db, "w").await;
    submit(db, "fast").await;
    let claim = claim(db, session, 1, 1, 0).await.remove(0);
    let mut writer = ChunkWriter::new();
    let mut frames = vec![
        Frame::Event(Event::StepStarted { step: 0, name: "s".into(), at_us: 0 }),
        Frame::Event(Event::LogOpened {
            log: 0,
            step: 0,
            name: "stdio".into(),
            slug: "stdio".into(),
            kind: LogKind::Stdio,
        }),
    ];
    let mut chunks = Vec::new();
    for (n, (channel, bytes)) in pieces.iter().enumerate() {
        if let Some((_, left_out)) = gap.filter(|(at, _)| *at == n) {
            writer.gap(left_out, |c| chunks.push(c));
        }
        writer.write(*channel, bytes, |c| chunks.push(c));
    }
    chunks.extend(writer.cut());
    frames.extend(chunks.into_iter().map(|chunk| Frame::Log { log: 0, chunk }));
    if end {
        frames.push(Frame::Event(Event::LogFinished { log: 0, sum: writer.sum() }));
    }
    let mut stored = batch(&claim, 1, vec![]);
    stored.frames = frames;
    batches_store(db, &[stored]).await.unwrap();
    LogId(sqlx::query_scalar("select id from logs").fetch_one(db.pool()).await.unwrap())
}

async fn cut(db: &Db, log: LogId, start: Start, lines: i64) -> Window {
    let bounds = Bounds { lines, line_bytes: 200, read_bytes: 1 << 20 };
    window(&mut db.pool().acquire().await.unwrap(), log, start, bounds).await.unwrap()
}

fn numbers(window: &Window) -> (i64, i64) {
    (window.lines.first().unwrap().number, window.lines.last().unwrap().number)
}

#[tokio::test]
async fn any_window_of_a_long_log_has_the_lines_that_were_asked_for() {
    let test = TestDb::new().await;
    let text: String = (0..200_000).map(|n| format!("line {n} of the log\n")).collect();
    let log = log_of(&test.db, &[(Channel::Stdout, text.as_bytes())], None, true).await;
    for from in [0, 1, 2999, 100_000, 199_990] {
        let w = cut(&test.db, log, Start::Line(from), 10).await;
        assert_eq!(numbers(&w), (from, from + 9));
        for line in &w.lines {
            assert_eq!(line.text(), format!("line {} of the log", line.number));
            assert!(text[line.first_byte as usize..].starts_with(&line.text()));
        }
        assert_eq!(w.at_end, from == 199_990, "{from}");
    }
    let tail = cut(&test.db, log, Start::Tail(100), 101).await;
    assert_eq!(numbers(&tail), (199_900, 199_999));
    assert!(tail.at_end);
    assert_eq!((tail.next_byte, tail.next_line), (text.len() as i64, 200_000));
    let past = cut(&test.db, log, Start::Line(5_000_000), 10).await;
    assert!(past.at_end && past.lines.iter().all(|l| l.number >= 199_999));
    test.drop().await;
}

#[tokio::test]
async fn a_line_of_ten_mebibytes_is_shown_by_its_beginning_and_does_not_hide_its_neighbours() {
    let test = TestDb::new().await;
    let mut long = vec![b'x'; 10 << 20];
    long[5] = 0;
    long[6] = 0xff;
    long.push(b'\n');
    let pieces: [(Channel, &[u8]); 3] =
        [(Channel::Header, b"$ cmd\n"), (Channel::Stdout, &long), (Channel::Stderr, b"last")];
    let log = log_of(&test.db, &pieces, None, false).await;
    let head = cut(&test.db, log, Start::Line(0), 10).await;
    assert_eq!(head.lines[0].text(), "$ cmd");
    assert_eq!(head.lines[0].channel(), Channel::Header);
    let after = cut(&test.db, log, Start::Line(2), 10).await;
    assert_eq!(after.lines.iter().map(Line::text).collect::<Vec<_>>(), ["last"]);
    assert_eq!((after.next_byte, after.next_line), (6 + long.len() as i64, 2));
    assert!(!after.lines[0].ended);
    let middle = cut(&test.db, log, Start::Line(1), 10).await;
    assert_eq!((middle.lines.len(), middle.lines[0].number), (1, 1));
    assert!(middle.lines[0].text().starts_with("xxxxx\0\u{fffd}xx") && middle.lines[0].cut > 0);
    assert!(!middle.at_end);
    // The tail begins inside the line rather than reading all of it.
    let tail = cut(&test.db, log, Start::Tail(5), 10).await;
    assert!(tail.lines[0].head_cut && tail.at_end);
    assert_eq!(tail.lines.last().unwrap().text(), "last");
    test.drop().await;
}

#[tokio::test]
async fn runs_begin_at_any_byte_and_a_gap_counts_with_its_length() {
    let test = TestDb::new().await;
    let pieces: [(Channel, &[u8]); 3] =
        [(Channel::Stdout, b"head\nof it"), (Channel::Stdout, b" rest\n"), (Channel::Stderr, b"err\n")];
    let log = log_of(&test.db, &pieces, Some((1, 1_000_000)), true).await;
    let mut c = test.db.pool().acquire().await.unwrap();
    let read = runs_from(&mut c, log, 2).await.unwrap();
    assert_eq!((read.first_line, read.next), (0, 1_000_020));
    assert_eq!(read.runs[0].bytes, b"ad\nof it");
    assert_eq!(read.runs[1].gap(), Some(1_000_000));
    let inside = runs_from(&mut c, log, 500_010).await.unwrap();
    assert_eq!((inside.first_line, inside.runs[0].gap()), (1, Some(500_000)));
    let end = runs_from(&mut c, log, 1_000_017).await.unwrap();
    assert_eq!(end.runs[0].bytes, b"rr\n");
    assert!(runs_from(&mut c, log, 1_000_020).await.unwrap().runs.is_empty());
    drop(c);
    let w = cut(&test.db, log, Start::Line(0), 10).await;
    let texts: Vec<String> = w.lines.iter().map(Line::text).collect();
    assert_eq!(texts, ["head", "of it[1.0 MB left out here] rest", "err"]);
    test.drop().await;
}
