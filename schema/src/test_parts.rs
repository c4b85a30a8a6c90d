//! Results of tests on their way from workers to `test_results`.
//!
//! The group commit of a batch only puts parts into a queue, one row each: that takes no
//! lock which another build may hold, and a batch counts once, so a part does. When a set is
//! whole, [`test_parts_store`] makes results of it and deletes its parts, in one transaction:
//! a set is stored once, whoever is killed. One replica at a time does it, in the order in
//! which sets ended. What a build leaves behind that ended without the last part of a set is
//! dropped: its worker was lost, and the request has another attempt.

use crate::changes::clean;
use crate::facts::test_results::{self, TestSet, test_results_store};
use crate::{Db, Result, run_tx};
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidemill_model::wire::{TEST_MESSAGE_MAX, TEST_NAME_MAX, TEST_RESULTS_MAX, TestResult};
use time::OffsetDateTime;

/// Sets of one transaction.
const SETS: i64 = 100;
/// Parts after which no further set is taken into one: what it takes holds back the horizon of all
/// who read events.
const PARTS: i64 = 20;

/// A part as an event brought it.
#[derive(Clone, Debug)]
pub(crate) struct NewPart {
    build: i64,
    step: i32,
    name: String,
    part: i32,
    last: bool,
    at: OffsetDateTime,
    results: Vec<TestResult>,
}

impl NewPart {
    pub fn of(
        build: i64,
        step: u32,
        name: &str,
        (part, last): (u32, bool),
        results: &[TestResult],
        at: OffsetDateTime,
    ) -> NewPart {
        let kept = |r: &TestResult| TestResult {
            name: cut(&r.name, TEST_NAME_MAX),
            path: cut(&r.path, TEST_NAME_MAX),
            message: r.message.as_deref().map(|m| cut(m, TEST_MESSAGE_MAX)),
            ..r.clone()
        };
        NewPart {
            build,
            step: step.min(i32::MAX as u32) as i32,
            name: cut(name, TEST_NAME_MAX),
            part: part.min(i32::MAX as u32) as i32,
            last,
            at,
            results: results.iter().map(kept).collect(),
        }
    }

    /// Whether its set is whole with it.
    pub fn is_last(&self) -> bool {
        self.last
    }
}

fn cut(text: &str, most: usize) -> String {
    clean(text).chars().take(most).collect()
}

/// Puts parts into the queue; one that is there stays as it is.
pub(crate) async fn parts_insert(c: &mut PgConnection, parts: &[NewPart]) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into test_parts (build_id, step, name, part, last, at, results)
         select * from unnest($1::bigint[], $2::int[], $3::text[], $4::int[], $5::bool[], $6::timestamptz[], $7::jsonb[])
         on conflict do nothing",
        &parts.iter().map(|p| p.build).collect::<Vec<_>>(),
        &parts.iter().map(|p| p.step).collect::<Vec<_>>(),
        &parts.iter().map(|p| p.name.clone()).collect::<Vec<_>>(),
        &parts.iter().map(|p| p.part).collect::<Vec<_>>(),
        &parts.iter().map(|p| p.last).collect::<Vec<_>>(),
        &parts.iter().map(|p| p.at).collect::<Vec<_>>(),
        &parts.iter().map(|p| Json(&p.results)).collect::<Vec<_>>() as _
    )
    .execute(c)
    .await?;
    Ok(())
}

/// What a look at the queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Sets that were stored.
    pub sets: usize,
    /// Sets that were dropped, as they will never be whole.
    pub dropped: usize,
    /// There is more at once.
    pub full: bool,
    /// Somebody else is at it, who may have looked too early.
    pub busy: bool,
}

/// Stores sets that are whole, oldest first. One replica at a time does; the others find nothing.
pub async fn test_parts_store(db: &Db) -> Result<Pass> {
    match store(db, SETS).await {
        // Found one by one: a set that can never be stored must not keep the others waiting.
        Err(error) if error.is_data() => match store(db, 1).await {
            Err(error) if error.is_data() => {
                tracing::error!(%error, "results of tests cannot be stored, and are dropped");
                let dropped = run_tx!(db, "tests.drop", |c| oldest_drop(c).await)?;
                Ok(Pass { dropped, full: true, ..Pass::default() })
            }
            settled => settled,
        },
        settled => settled,
    }
}

async fn store(db: &Db, most: i64) -> Result<Pass> {
    run_tx!(db, "tests.store", |c| page(c, most).await)
}

/// Whether this is the one who works on the queue, until the transaction ends.
async fn alone(c: &mut PgConnection) -> Result<bool> {
    let got = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('tests.parts')) as "x!""#);
    Ok(got.fetch_one(c).await?)
}

async fn page(c: &mut PgConnection, most: i64) -> Result<Pass> {
    if !alone(c).await? {
        return Ok(Pass { busy: true, ..Pass::default() });
    }
    let (whole, full) = whole_take(c, most).await?;
    let sets = whole.len();
    if sets > 0 {
        let kept = bounded(c, whole).await?;
        test_results_store(c, &kept).await?;
        tell(c, &kept).await?;
    }
    let dropped = if full { 0 } else { lost_drop(c).await? };
    Ok(Pass { sets, dropped, full, busy: false })
}

/// Takes sets out of the queue that are whole, with whether there are more.
async fn whole_take(c: &mut PgConnection, most: i64) -> Result<(Vec<TestSet>, bool)> {
    let rows = sqlx::query!(
        r#"with ready as materialized (
             select p.build_id, p.step, p.name, p.part as parts, p.at
               from test_parts p where p.last
              order by p.at, p.build_id, p.step, p.name, p.part limit $1::bigint + 1
         ), numbered as (
             select r.*, row_number() over w as n, sum(parts) over w - parts as before
               from ready r window w as (order by at, build_id, step, name, parts)
         ), chosen as materialized (
             select * from numbered where n <= $1::bigint and before < $2::bigint
         ), gone as (
             delete from test_parts p using chosen k
              where p.build_id = k.build_id and p.step = k.step and p.name = k.name
             returning p.build_id, p.step, p.name, p.part, p.results, k.parts, k.at
         )
         select build_id, step, name, part, results as "results: Json<Vec<TestResult>>", parts, at,
                (select count(*) from ready) > (select count(*) from chosen) as "more!"
           from gone order by build_id, step, name, part"#,
        most,
        PARTS
    )
    .fetch_all(c)
    .await?;
    let more = rows.first().is_some_and(|r| r.more);
    let mut sets: BTreeMap<(i64, i32, String), (TestSet, i32, i32)> = BTreeMap::new();
    for row in rows {
        let entry = sets.entry((row.build_id, row.step, row.name.clone())).or_insert_with(|| {
            let set = TestSet {
                build: row.build_id,
                step: row.step,
                name: row.name,
                complete_at: Some(row.at),
                results: vec![],
            };
            (set, 0, row.parts)
        });
        entry.1 += 1;
        entry.0.results.extend(row.results.0.into_iter().map(result));
    }
    let whole = sets.into_values().filter_map(|(set, there, parts)| {
        if there != parts {
            // No worker of ours leaves one out.
            tracing::warn!(build.id = set.build, step = set.step, there, parts, "a set of test results has holes");
        }
        (there == parts).then_some(set)
    });
    Ok((whole.collect(), more))
}

fn result(r: TestResult) -> test_results::TestResult {
    test_results::TestResult {
        name: r.name,
        path: r.path,
        outcome: r.result,
        seconds: r.duration_us.map(|us| us as f64 / 1e6),
        message: r.message,
    }
}

/// The sets without what their builds have too much: no worker fills the tables alone.
async fn bounded(c: &mut PgConnection, mut sets: Vec<TestSet>) -> Result<Vec<TestSet>> {
    let builds: BTreeSet<i64> = sets.iter().map(|s| s.build).collect();
    let rows = sqlx::query!(
        r#"select build_id, sum(passed + failed + skipped + errors)::bigint as "stored!" from test_sets
            where build_id = any($1) group by build_id"#,
        &builds.into_iter().collect::<Vec<_>>()
    )
    .fetch_all(c)
    .await?;
    let mut stored: HashMap<i64, usize> = rows.into_iter().map(|r| (r.build_id, r.stored.max(0) as usize)).collect();
    for set in &mut sets {
        let before = stored.entry(set.build).or_default();
        let room = TEST_RESULTS_MAX.saturating_sub(*before);
        if set.results.len() > room {
            tracing::warn!(build.id = set.build, "the build gave more than {TEST_RESULTS_MAX} results of tests");
            set.results.truncate(room);
        }
        *before += set.results.len();
    }
    Ok(sets)
}

/// Tells who watches these builds: the results may come after their ends.
async fn tell(c: &mut PgConnection, sets: &[TestSet]) -> Result<()> {
    let builds: BTreeSet<i64> = sets.iter().map(|s| s.build).collect();
    sqlx::query!(
        "insert into events (kind, builder_id, build_id)
         select 'builds.updated', b.builder_id, b.id from unnest($1::bigint[]) u(id)
          cross join lateral (select k.id, k.builder_id from builds k where k.id = u.id offset 0) b",
        &builds.into_iter().collect::<Vec<_>>()
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Drops parts of builds that are over, of sets without a last part. A build's last batch ends it,
/// so nothing can come any more.
async fn lost_drop(c: &mut PgConnection) -> Result<usize> {
    let lost = sqlx::query!(
        r#"with open as materialized (
             select distinct build_id, step, name from test_parts p
              where not exists (select from test_parts l
                                 where l.build_id = p.build_id and l.step = p.step and l.name = p.name and l.last)
         ), gone as (
             delete from test_parts p using open o
              where p.build_id = o.build_id and p.step = o.step and p.name = o.name
                and coalesce((select k.state = 'finished' from builds k where k.id = o.build_id), true)
             returning p.build_id, p.step, p.name
         )
         select distinct build_id, step, name from gone"#
    )
    .fetch_all(c)
    .await?;
    for set in &lost {
        tracing::info!(build.id = set.build_id, step = set.step, "a build ended amid a set of test results; dropped");
    }
    Ok(lost.len())
}

/// Drops the set that would be stored next.
async fn oldest_drop(c: &mut PgConnection) -> Result<usize> {
    if !alone(c).await? {
        return Ok(0);
    }
    Ok(whole_take(c, 1).await?.0.len())
}
