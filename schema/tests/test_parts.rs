//! Results of tests from the batches of workers to `test_results`.

mod common;

use common::*;
use tidemill_model::Results::{Failure, Retry, Success};
use tidemill_model::wire::{Claim, Event, TEST_PART_MAX, TEST_RESULTS_MAX, TestOutcome, TestResult};
use tidemill_schema::builds::{Finish, builds_finish};
use tidemill_schema::ingest::{Outcome, batches_store};
use tidemill_schema::run_tx;
use tidemill_schema::test_parts::{Pass, test_parts_store};
use tidemill_schema::testing::TestDb;

const STORED: Outcome = Outcome::Stored { stop: None };

/// A part of the set `unit` of step 1: names with `!` failed.
fn part(part: u32, last: bool, tests: &[&str]) -> Event {
    let result = |name: &&str| TestResult {
        name: name.trim_end_matches('!').into(),
        path: "a.py".into(),
        result: if name.ends_with('!') { TestOutcome::Failed } else { TestOutcome::Passed },
        duration_us: Some(250_000),
        message: name.ends_with('!').then(|| "no\u{0}".into()),
    };
    let results = tests.iter().map(result).collect();
    Event::TestResults { step: 1, set: "unit".into(), part, last, results, at_us: 0 }
}

fn started() -> Event {
    Event::StepStarted { step: 1, name: "test".into(), at_us: 0 }
}

async fn claims(t: &TestDb, n: u32) -> Vec<Claim> {
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    for _ in 0..n {
        submit(&t.db, "linux").await;
    }
    claim(&t.db, session, 1, n, 0).await
}

const RESULTS: &str = "select coalesce(string_agg(concat_ws(' ', s.build_id, r.ordinal, n.name, r.result), '; '
                                                  order by s.build_id, r.ordinal), '')
                         from test_results r join test_sets s on s.id = r.set_id join test_names n on n.id = r.name_id";
const PARTS: &str = "select count(*) from test_parts";

#[tokio::test]
async fn a_set_of_several_batches_is_stored_once_and_whole_whatever_is_sent_again() {
    let t = TestDb::new().await;
    let c = claims(&t, 1).await.remove(0);
    let one = batch(&c, 1, vec![started(), part(1, false, &["a", "b!"])]);
    let two = batch(&c, 2, vec![part(2, false, &["c"]), part(3, true, &[])]);
    for sent in [&one, &one] {
        assert_eq!(store(&t.db, sent.clone()).await, STORED);
    }
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass::default(), "the build goes on and the set is not whole");
    assert_eq!(scalar::<i64>(&t, PARTS).await, 1);
    let report = batches_store(&t.db, std::slice::from_ref(&two)).await.unwrap();
    assert!(report.tests);
    assert_eq!(store(&t.db, two).await, STORED);
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass { sets: 1, ..Pass::default() });
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass::default());
    let expected = format!("{0} 1 a passed; {0} 2 b failed; {0} 3 c passed", c.build);
    assert_eq!(scalar::<String>(&t, RESULTS).await, expected);
    let counts = "select concat_ws(' ', step, name, passed, failed, skipped, errors) from test_sets";
    assert_eq!(scalar::<String>(&t, counts).await, "1 unit 2 1 0 0");
    // The last batch has no mark of its own: with the lease it counts once, too.
    let end = batch(&c, 3, vec![part(1, true, &["late"]), finished(Failure)]);
    for sent in [&end, &end] {
        assert_eq!(store(&t.db, sent.clone()).await, STORED);
    }
    assert_eq!(test_parts_store(&t.db).await.unwrap().sets, 1);
    assert_eq!(scalar::<String>(&t, RESULTS).await, expected, "a set of that name is there already");
    assert_eq!(scalar::<i64>(&t, PARTS).await, 0);
    t.drop().await;
}

#[tokio::test]
async fn half_a_set_of_a_build_that_was_lost_is_dropped_and_nothing_of_others() {
    let t = TestDb::new().await;
    let all = claims(&t, 2).await;
    let (lost, alive) = (&all[0], &all[1]);
    for c in [lost, alive] {
        store(&t.db, batch(c, 1, vec![started(), part(1, false, &["a"])])).await;
    }
    let gone = Finish {
        build: tidemill_model::BuildId(lost.build),
        results: Retry,
        summary: "lost".into(),
        last_batch: None,
        at: None,
        counts: true,
    };
    run_tx!(t.db, "test", |c| builds_finish(c, std::slice::from_ref(&gone)).await).unwrap();
    // What comes without a lease is not taken.
    assert_eq!(store(&t.db, batch(lost, 2, vec![part(2, true, &["b"])])).await, Outcome::LeaseLost);
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass { dropped: 1, ..Pass::default() });
    assert_eq!(scalar::<i64>(&t, PARTS).await, 1);
    store(&t.db, batch(alive, 2, vec![part(2, true, &["b"]), finished(Success)])).await;
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass { sets: 1, ..Pass::default() });
    assert_eq!(scalar::<String>(&t, RESULTS).await, format!("{0} 1 a passed; {0} 2 b passed", alive.build));
    t.drop().await;
}

#[tokio::test]
async fn sets_are_folded_in_the_order_of_their_ends_and_many_take_several_pages() {
    let t = TestDb::new().await;
    let all = claims(&t, 120).await;
    // Broken from the sixtieth on; the last ones come in first.
    for (n, c) in all.iter().enumerate().rev() {
        let events = vec![started(), part(1, true, &[if n < 60 { "a" } else { "a!" }]), finished(Success)];
        store(&t.db, batch(c, 1, events)).await;
    }
    sql(
        &t,
        "update test_parts p set at = now() - make_interval(mins => 200) + k.n * interval '1 minute'
           from (select build_id, row_number() over (order by build_id) as n from test_parts) k where k.build_id = p.build_id",
    )
    .await;
    let mut sets = 0;
    loop {
        let pass = test_parts_store(&t.db).await.unwrap();
        sets += pass.sets;
        assert!((1..=20).contains(&pass.sets), "{pass:?}");
        if !pass.full {
            break;
        }
    }
    assert_eq!(sets, all.len());
    let state = "select concat_ws(' ', failing, since_build, good_build) from test_states";
    assert_eq!(scalar::<String>(&t, state).await, format!("t {} {}", all[60].build, all[59].build));
    t.drop().await;
}

#[tokio::test]
async fn one_replica_at_a_time_stores_sets_and_the_others_hear_that_it_is_busy() {
    let t = TestDb::new().await;
    let c = claims(&t, 1).await.remove(0);
    store(&t.db, batch(&c, 1, vec![started(), part(1, true, &["a"])])).await;
    let mut other = t.db.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('tests.parts'))").execute(&mut *other).await.unwrap();
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass { busy: true, ..Pass::default() });
    other.rollback().await.unwrap();
    assert_eq!(test_parts_store(&t.db).await.unwrap(), Pass { sets: 1, ..Pass::default() });
    let told = "select count(*) from events where kind = 'builds.updated' and build_id is not null";
    assert!(scalar::<i64>(&t, told).await >= 2, "who watches the build hears of it");
    t.drop().await;
}

#[tokio::test]
async fn of_a_set_as_large_as_may_be_all_is_stored_and_of_another_nothing() {
    let t = TestDb::new().await;
    let c = claims(&t, 1).await.remove(0);
    store(&t.db, batch(&c, 1, vec![started()])).await;
    let names: Vec<String> = (0..TEST_RESULTS_MAX).map(|n| format!("suite::test_{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chunks: Vec<_> = names.chunks(TEST_PART_MAX).collect();
    let parts = chunks.iter().zip(1..).map(|(names, n)| part(n, n as usize == chunks.len(), names)).collect();
    assert_eq!(store(&t.db, batch(&c, 2, parts)).await, STORED);
    let begun = std::time::Instant::now();
    assert_eq!(test_parts_store(&t.db).await.unwrap().sets, 1);
    println!("a set of {TEST_RESULTS_MAX} results was stored in {:?}", begun.elapsed());
    let mut more = part(1, true, &["x"]);
    if let Event::TestResults { step, .. } = &mut more {
        *step = 2;
    }
    store(&t.db, batch(&c, 3, vec![more])).await;
    assert_eq!(test_parts_store(&t.db).await.unwrap().sets, 1);
    assert_eq!(scalar::<i64>(&t, "select count(*) from test_results").await, TEST_RESULTS_MAX as i64);
    t.drop().await;
}
