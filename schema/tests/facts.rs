//! Facts of builds and requests, and the sums over them.

mod common;

use common::history::{follow_all, history, more_history, sums_agree};
use common::*;
use std::collections::HashMap;
use tidemill_model::{NewChange, Results, SessionId};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::config::{Wanted, WantedProject};
use tidemill_schema::facts::backfill::Sweep;
use tidemill_schema::facts::rebuild::sums_rebuild;
use tidemill_schema::facts::{Pass, facts_backfill, follow};
use tidemill_schema::ingest::Outcome;
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Db, run_tx};
use time::macros::datetime;

/// Facts as text, in the order of their ends: builder, result, what was before, turn.
async fn told(t: &TestDb) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', build_id, results, 'after', coalesce(previous_results::text, '-'),
                          'good', coalesce(good_build_id::text, '-'), turn, 'bad', coalesce(bad_build_id::text, '-'),
                          nullif(array_to_string(blamed, ','), ''))
           from build_facts order by complete_at, build_id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap()
}

/// A build of this revision of main that ends now.
async fn built(t: &TestDb, session: SessionId, poll: u64, author: &str, results: Results) {
    let change = NewChange {
        author: author.into(),
        repository: "r".into(),
        branch: Some("main".into()),
        revision: Some(format!("rev{poll}")),
        ..NewChange::default()
    };
    run_tx!(t.db, "test", |c| {
        let changes = changes_insert(c, std::slice::from_ref(&change), None).await?;
        let new = NewBuildset {
            reason: "test".into(),
            scheduler: "nightly".into(),
            sourcestamps: vec![change.sourcestamp()],
            changes,
            builders: vec!["b".into()],
            ..NewBuildset::default()
        };
        buildset_insert(c, &new).await
    })
    .unwrap();
    let claims = claim(&t.db, session, poll, 1, i64::MAX).await;
    assert!(matches!(finish(&t.db, &claims[0], results).await, Outcome::Stored { .. }));
}

#[tokio::test]
async fn a_finished_build_gets_its_fact_with_what_it_meant_on_its_line() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let session = worker(&t.db, "w").await;
    assert_eq!(follow_all(&t).await, 0);
    built(&t, session, 1, "ada", Results::Success).await;
    assert_eq!(follow_all(&t).await, 1);
    built(&t, session, 2, "bob", Results::Exception).await;
    built(&t, session, 3, "eve", Results::Failure).await;
    built(&t, session, 4, "ada", Results::Failure).await;
    assert_eq!(follow_all(&t).await, 3);
    built(&t, session, 5, "bob", Results::Warnings).await;
    assert_eq!((follow_all(&t).await, follow_all(&t).await), (1, 0));
    assert_eq!(
        told(&t).await,
        [
            "1 0 after - good - bad -",
            "2 4 after 0 good 1 bad -",
            "3 2 after 0 good 1 broke bad 3 bob,eve",
            "4 2 after 2 good 1 bad 3",
            "5 1 after 2 good 1 fixed bad 3",
        ]
    );
    let line: (i16, i64, Option<i64>) = sqlx::query_as("select results, good_build_id, bad_build_id from line_states")
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert_eq!(line, (1, 5, None));
    let fact: (String, String, Option<String>, String, i32, bool) = sqlx::query_as(
        "select scheduler, branch, revision, repository, changes, first_change_at is not null from build_facts
          where build_id = 3",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(fact, ("nightly".into(), "main".into(), Some("rev3".into()), "r".into(), 1, true));
    let requests: (i64, i64) =
        sqlx::query_as("select count(*), sum(attempts) from request_facts").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(requests, (5, 5));
    sums_agree(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn a_backfill_stores_each_build_once_however_often_it_is_cut_off_and_whoever_helps() {
    let t = TestDb::new().await;
    history(&t, 6_000).await;
    // One that was cut off.
    let mut cut = Sweep::default();
    follow(&t.db, &mut cut).await.unwrap();
    follow(&t.db, &mut cut).await.unwrap();
    drop(cut);
    let (one, two) = tokio::join!(facts_backfill(&t.db, 0), facts_backfill(&t.db, 0));
    let all: i64 = scalar(&t, "select count(*) from builds").await;
    assert_eq!(one.unwrap() + two.unwrap() + 2_000, all as u64);
    assert_eq!(scalar::<i64>(&t, "select count(*) from build_facts").await, all);
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_facts").await, 6_000);
    assert_eq!(scalar::<i64>(&t, "select count(*) from event_readers").await, 1, "the wish is gone");
    assert_eq!(follow_all(&t).await, 0);
    assert_eq!(facts_backfill(&t.db, 0).await.unwrap(), 0);
    sums_agree(&t).await;
    let steps = "select count(*) from (
                     select b.builder_id, date_trunc('day', b.complete_at, 'UTC') as day, s.name, count(*) as runs,
                            count(*) filter (where s.results in (2, 4)) as bad, sum(s.complete_at - s.started_at) as took
                       from steps s join builds b on b.id = s.build_id group by 1, 2, 3) f
                  full join step_days d on d.builder_id = f.builder_id and d.day = f.day and d.name = f.name
                  where (f.runs, f.bad) is distinct from (d.runs, d.bad)
                     or abs(extract(epoch from f.took)::float8 - d.seconds) > 0.001
                     or (select sum(x & 16777215) from unnest(d.spans) x) <> f.runs";
    assert_eq!(scalar::<i64>(&t, steps).await, 0);
    t.drop().await;
}

#[tokio::test]
async fn facts_of_a_history_say_of_each_build_what_a_look_over_its_line_says() {
    let t = TestDb::new().await;
    history(&t, 3_000).await;
    facts_backfill(&t.db, 0).await.unwrap();
    type Row = (i64, i64, String, i16, Option<i16>, Option<i64>, Option<String>, Option<i64>);
    let rows: Vec<Row> = sqlx::query_as(
        "select f.build_id, f.builder_id, f.branch, b.results, f.previous_results, f.good_build_id, f.turn, f.bad_build_id
           from builds b join build_facts f on f.build_id = b.id order by b.complete_at, b.id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    let mut lines: HashMap<(i64, String), Vec<(i64, i16)>> = HashMap::new();
    let (mut broke, mut fixed) = (0, 0);
    for (build, builder, branch, results, previous, good, turn, bad) in rows {
        let before = lines.entry((builder, branch)).or_default();
        assert_eq!(previous, before.last().map(|(_, r)| *r), "{build}");
        assert_eq!(good, before.iter().rev().find(|(_, r)| *r < 2).map(|(b, _)| *b), "{build}");
        if results > 2 {
            assert_eq!((turn, bad), (None, None), "{build}");
            continue;
        }
        let failed_since = before.iter().rev().take_while(|(_, r)| *r == 2).last().map(|(b, _)| *b);
        let expected = match (previous, results) {
            (Some(2), 2) | (None, _) => None,
            (Some(_), 2) => Some("broke"),
            (Some(2), _) => Some("fixed"),
            _ => None,
        };
        assert_eq!(turn.as_deref(), expected, "{build}");
        assert_eq!(bad, failed_since.or((results == 2).then_some(build)), "{build}");
        broke += i64::from(expected == Some("broke"));
        fixed += i64::from(expected == Some("fixed"));
        before.push((build, results));
    }
    assert!(broke > 100 && fixed > 100, "{broke} {fixed}");
    let sums: (i64, i64) =
        sqlx::query_as("select sum(broke), sum(fixed) from build_days").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(sums, (broke, fixed));
    // Who is blamed is who came since the last good one.
    let blamed: Vec<(i64, Option<i64>, String, Vec<String>)> = sqlx::query_as(
        "select request_id, good_build_id / 2, branch, blamed from build_facts where turn = 'broke' limit 50",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    for (request, _, _, authors) in blamed {
        assert!(authors.contains(&format!("a{}", request % 7)), "{request} {authors:?}");
    }
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_comes_after_a_newer_one_of_its_line_turns_nothing_back() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let session = worker(&t.db, "w").await;
    for (poll, results) in [Results::Success, Results::Failure, Results::Success].into_iter().enumerate() {
        built(&t, session, poll as u64 + 1, "ada", results).await;
    }
    sql(
        &t,
        "update builds set state = 'running', complete_at = null, results = null where id = 2;
         create table kept as select complete_at from builds where id = 3",
    )
    .await;
    assert_eq!(facts_backfill(&t.db, 0).await.unwrap(), 2);
    sql(&t, "update builds set state = 'finished', results = 2, complete_at = (select complete_at from kept) - interval '1 us' where id = 2")
        .await;
    assert_eq!(facts_backfill(&t.db, 0).await.unwrap(), 1);
    assert_eq!(
        told(&t).await,
        ["1 0 after - good - bad -", "2 2 after 0 good 1 broke bad 2 ada", "3 0 after 0 good 1 bad -"]
    );
    let line: (i16, i64, Option<i64>) = sqlx::query_as("select results, good_build_id, bad_build_id from line_states")
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert_eq!(line, (0, 3, None));
    sums_agree(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn rebuilt_sums_are_those_that_were_kept() {
    let t = TestDb::new().await;
    history(&t, 3_000).await;
    facts_backfill(&t.db, 0).await.unwrap();
    sql(
        &t,
        "create table hours as select * from build_hours; create table days as select * from build_days;
         create table workers_then as select * from worker_hours;
         update build_hours set builds = 7, spans = '{}'; delete from build_days; update worker_hours set seconds = 0, lost = 9;
         update build_months set builds = 7, waits = '{}'; delete from total_hours; update total_days set led = 0;
         delete from branch_months where branch = 'branch1'; update request_months set started = 0; delete from worker_months",
    )
    .await;
    let (from, to) = (datetime!(2026-01-01 05:00 UTC), datetime!(2026-01-05 00:00 UTC));
    sums_rebuild(&t.db, from, to).await.unwrap();
    let differ = "select (select count(*) from (select (x).* from (select builder_id, hour, builds, spans, waits, broke, log_bytes from hours) x
                             except select builder_id, hour, builds, spans, waits, broke, log_bytes from build_hours) y)
                       + (select count(*) from (select builder_id, day, builds, spans, waits, fixed, retry from days
                             except select builder_id, day, builds, spans, waits, fixed, retry from build_days) y)
                       + (select count(*) from workers_then a full join worker_hours b using (worker_id, hour, builder_id)
                           where (a.builds, a.lost) is distinct from (b.builds, b.lost) or abs(a.seconds - b.seconds) > 0.001)";
    assert_eq!(scalar::<i64>(&t, differ).await, 0);
    sums_agree(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn a_build_counts_apart_if_what_it_is_shown_under_or_who_was_asked_is_private() {
    let t = TestDb::new().await;
    history(&t, 300).await;
    // The second builder shows builds of the third, which is of a private project; the fourth of the fifth.
    sql(&t, "update build_requests set builder_id = builder_id + 1 where builder_id in (2, 4)").await;
    facts_backfill(&t.db, 0).await.unwrap();
    let apart = "select sum(builds)::bigint from total_days where project = 'closed'";
    let private = "select count(*) from build_facts where builder_id in (2, 3, 6, 9)";
    assert_eq!(scalar::<i64>(&t, apart).await, scalar::<i64>(&t, private).await);
    let months = "select sum(builds)::bigint from worker_months where project = 'closed'";
    assert_eq!(scalar::<i64>(&t, months).await, scalar::<i64>(&t, private).await);
    let together = "select sum(builds)::bigint from total_hours where project = ''";
    assert_eq!(
        scalar::<i64>(&t, together).await,
        scalar::<i64>(&t, "select count(*) from build_facts where builder_id not in (2, 3, 6, 9)").await
    );
    t.drop().await;
}

#[tokio::test]
async fn a_request_knows_what_it_waited_for() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    for _ in 0..5 {
        submit(&t.db, "b").await;
    }
    // 1: for a worker. 2: for two locks at once, most of the time. 3: lost twice, the second
    // time with a back-off of four seconds. 4: became part of 1. 5: cancelled as it came.
    sql(
        &t,
        "select facts_partition('lock_wait_facts', '2026-01-01');
         update build_requests set submitted_at = '2026-01-01 10:00Z', complete_at = '2026-01-01 11:00Z', results = 0;
         update build_requests set collapsed_into = 1 where id = 4;
         update build_requests set complete_at = submitted_at, results = 6, complete_reason = 'no' where id = 5;
         insert into lock_wait_facts (ended_at, since, lock_id, builder_id)
         values ('2026-01-01 10:10Z', '2026-01-01 09:00Z', 1, 1), ('2026-01-01 10:15Z', '2026-01-01 10:05Z', 2, 1);
         insert into builds (builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id,
                             settings_id, state, started_at, complete_at, results)
         select 1, row_number() over (), r, 1, 1, 1, a, '', 1, 1, 'finished', f::timestamptz, f::timestamptz + interval '1 minute', s
           from (values (1, 1, '2026-01-01 10:16Z', 0), (2, 1, '2026-01-01 10:20Z', 0),
                        (3, 1, '2026-01-01 10:00Z', 5), (3, 2, '2026-01-01 10:01:01Z', 5), (3, 3, '2026-01-01 10:02:11Z', 0)) v(r, a, f, s);
         update lock_wait_facts set request_id = 2",
    )
    .await;
    facts_backfill(&t.db, 0).await.unwrap();
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', request_id, attempts, worker_wait, lock_wait, back_off, coalesce(why, '-'), collapsed_into, ended_because)
           from request_facts order by request_id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(
        rows,
        [
            "1 1 00:16:00 00:00:00 00:00:00 worker",
            "2 1 00:05:00 00:15:00 00:00:00 lock",
            "3 3 00:00:06 00:00:00 00:00:05 worker",
            "4 0 00:00:00 00:00:00 00:00:00 - 1",
            "5 0 00:00:00 00:00:00 00:00:00 - no",
        ]
    );
    let waits: Vec<f64> = sqlx::query_scalar(
        "select extract(epoch from started_at - waiting_since)::float8 from build_facts where request_id = 3 order by attempt",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(waits, [0.0, 1.0, 10.0]);
    t.drop().await;
}

#[tokio::test]
async fn a_project_that_is_not_public_stays_so_when_it_is_no_longer_defined() {
    let t = TestDb::new().await;
    let defined = |projects: &[(&str, bool)]| Wanted {
        projects: projects
            .iter()
            .map(|(name, public)| WantedProject { name: (*name).into(), description: "d".into(), public: *public })
            .collect(),
        ..Wanted::default()
    };
    activate(&t.db, &defined(&[("open", true), ("closed", false), ("twice", false), ("twice", true)])).await;
    activate(&t.db, &defined(&[("open", true), ("new", true)])).await;
    let rows: Vec<(String, bool, bool)> =
        sqlx::query_as("select name, active, public from projects order by id").fetch_all(t.db.pool()).await.unwrap();
    let mut rows: Vec<(&str, bool, bool)> = rows.iter().map(|r| (r.0.as_str(), r.1, r.2)).collect();
    rows.sort_unstable();
    assert_eq!(rows, [("closed", false, false), ("new", true, true), ("open", true, true), ("twice", false, false)]);
    t.drop().await;
}

/// How long a history takes: `FACTS=50000 cargo test -p tidemill-schema --test facts -- --ignored --nocapture`
#[tokio::test]
#[ignore = "prints a time, asserts what the others do"]
async fn a_long_history_is_backfilled() {
    let t = TestDb::new().await;
    history(&t, std::env::var("FACTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)).await;
    let begun = std::time::Instant::now();
    let stored = facts_backfill(&t.db, 0).await.unwrap();
    println!("{stored} builds in {:?}", begun.elapsed());
    sums_agree(&t).await;
    t.drop().await;
}

/// Rows that were read so far, of any table.
async fn rows_read(db: &Db) -> i64 {
    let mut c = db.pool().acquire().await.unwrap();
    sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&mut *c).await.unwrap();
    sqlx::raw_sql("select 1").execute(&mut *c).await.unwrap();
    sqlx::query_scalar(
        "select (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint from pg_stat_user_tables",
    )
    .fetch_one(&mut *c)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_page_reads_no_more_of_a_long_history_with_plans_from_when_it_was_short() {
    let t = TestDb::new().await;
    // One connection, so that it keeps its plans.
    let db = Db::connect(&t.url, 1).await.unwrap();
    history(&t, 1).await;
    let (mut sweep, mut read, mut last) = (Sweep::default(), vec![], 1);
    for more in [100, 100, 100, 100, 100, 100, 100, 20_000, 100, 100] {
        more_history(&db, last + 1, last + more).await;
        let xid: i64 = sqlx::query_scalar(
            "with made as (
                 insert into events (kind, build_id, data)
                 select 'builds.finished', id, '{}' from builds where request_id > $1
                  union all
                 select 'buildrequests.complete', null, jsonb_build_object('buildrequestid', id) from build_requests where id > $1
                 returning xid)
             select max(xid) from made",
        )
        .bind(last)
        .fetch_one(db.pool())
        .await
        .unwrap();
        // Looking in vain reads rows too; another test may hold the horizon back meanwhile.
        while !sqlx::query_scalar::<_, bool>("select $1 < tidemill_horizon()")
            .bind(xid)
            .fetch_one(db.pool())
            .await
            .unwrap()
        {
            tokio::task::yield_now().await;
        }
        let before = rows_read(&db).await;
        while follow(&db, &mut sweep).await.unwrap() != Pass::default() {}
        read.push((rows_read(&db).await - before) / more);
        last += more;
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_facts").await, last);
    assert!(read[9] <= read[1] + read[1] / 2, "rows read for each build: {read:?}");
    db.pool().close().await;
    t.drop().await;
}
