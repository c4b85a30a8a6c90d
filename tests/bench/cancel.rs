//! [cancel-branch, big-change] Many requests at once: all of a branch cancelled
//! in a deep queue, and a hundred thousand made by one change while others are
//! claimed and finished.

use crate::claim::{Setup, claim_rate, setup};
use crate::{Line, Size};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemill_model::SourceStamp;
use tidemill_schema::request_control::{Selection, cancel_all};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;

const FOREVER: Duration = Duration::from_secs(3600);

/// A buildset of this branch to put requests into.
async fn buildset(s: &Setup, branch: &str) -> tidemill_model::BuildsetId {
    let stamp = SourceStamp { repository: "r".into(), branch: Some(branch.into()), ..SourceStamp::default() };
    let new = NewBuildset { sourcestamps: vec![stamp], ..NewBuildset::default() };
    let made = run_tx!(s.t.db, "bench", |c| buildset_insert(c, &new).await).expect("a buildset");
    sqlx::query("update buildsets set complete_at = null, results = null where id = $1")
        .bind(made.buildset.0)
        .execute(s.t.db.pool())
        .await
        .expect("open");
    made.buildset
}

async fn cancel(s: &Setup, branch: &str) -> (u64, f64) {
    let selection = Selection { branch: Some(branch.into()), ..Selection::default() };
    let begun = Instant::now();
    let done = cancel_all(&s.t.db, &selection, false, "bench", FOREVER).await.expect("cancelled");
    (done.requests, begun.elapsed().as_secs_f64())
}

/// All of one branch, a tenth of what waits; and a claim with the rest still there.
pub async fn branch(size: Size) -> Vec<Line> {
    let (deep, part) = size.pick((20_000, 5_000), (900_000, 100_000));
    let mut s = setup(1).await;
    let mut shallow = Vec::new();
    for _ in 0..size.pick(3, 10) {
        s.enqueue(1_000).await;
        shallow.push(claim_rate(&mut s, 10).await);
    }
    // The same many alone, for the comparison.
    s.buildset = buildset(&s, "alone").await;
    s.enqueue(part).await;
    let (alone, alone_took) = cancel(&s, "alone").await;
    // Half of the others before, half after.
    let main = buildset(&s, "main").await;
    s.buildset = main;
    s.enqueue(deep / 2).await;
    s.buildset = buildset(&s, "topic").await;
    s.enqueue(part).await;
    s.buildset = main;
    s.enqueue(deep / 2).await;
    for statement in ["vacuum analyze", "checkpoint"] {
        sqlx::raw_sql(statement).execute(s.t.db.pool()).await.expect(statement);
    }
    let (done, took) = cancel(&s, "topic").await;
    assert_eq!((done, alone), (part as u64, part as u64), "all of them");
    let mut full = Vec::new();
    for _ in 0..5 {
        full.push(claim_rate(&mut s, size.pick(5, 40)).await);
    }
    let median = |v: &mut Vec<f64>| crate::meter::percentile(v, 0.5);
    let all = deep + part;
    vec![
        Line::time(
            "cancel-branch",
            format!("{part} of one branch of {all} pending, against them alone"),
            took,
            "s",
            alone_took,
        ),
        Line::rate(
            "cancel-branch",
            format!("claims with {deep} pending after it, against 1,000"),
            median(&mut full),
            "claims/s",
            median(&mut shallow),
        ),
    ]
}

/// Requests for each of so many builders, by so many schedulers, of one change (F16).
pub async fn big_change(size: Size) -> Vec<Line> {
    let (builders, schedulers) = size.pick((50, 10), (1_000, 100));
    let mut s = setup(builders + 1).await;
    let first = s.lanes[0];
    s.enqueue_first(size.pick(20_000, 200_000)).await;
    let names: Vec<String> = (1..=builders).map(|i| format!("b{i}")).collect();
    let busy = Arc::new(AtomicBool::new(true));
    let alone = s.cycles(first, size.pick(1, 5)).await;
    let insert = {
        let (db, busy) = (s.t.db.clone(), busy.clone());
        tokio::spawn(async move {
            let begun = Instant::now();
            // As the schedule loop: each scheduler's buildset in a transaction that stays short.
            for n in 0..schedulers {
                let new =
                    NewBuildset { reason: format!("scheduler {n}"), builders: names.clone(), ..NewBuildset::default() };
                run_tx!(db, "bench", |c| buildset_insert(c, &new).await).expect("made");
            }
            busy.store(false, Ordering::Relaxed);
            begun.elapsed().as_secs_f64()
        })
    };
    let mut rates = Vec::new();
    while busy.load(Ordering::Relaxed) {
        rates.push(s.cycles(first, 1).await);
    }
    let took = insert.await.expect("the inserting task ends");
    let made = builders * schedulers;
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    vec![
        Line::alone("big-change", format!("{made} requests of {builders} builders made"), took, "s"),
        Line::rate("big-change", "builds claimed and finished meanwhile, against alone", mean, "builds/s", alone),
    ]
}
