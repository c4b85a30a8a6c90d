//! Results of tests, many sets at once; what they mean is kept in the same transaction
//! ([`super::test_fold`]). A set (build, step, name) is stored once: the same again
//! changes nothing. Who stores results of the same builder goes one after the other.

use super::partitions::partitions_ensure_for;
use super::test_fold::{Fold, Key, Seen, TestState};
use crate::changes::clean;
use crate::{Result, error};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tidemill_model::wire::{TEST_MESSAGE_MAX, TEST_NAME_MAX};
use time::OffsetDateTime;

/// Longest name and path, and longest message, in characters; longer ones are cut.
const NAME_MAX: usize = TEST_NAME_MAX;
const MESSAGE_MAX: usize = TEST_MESSAGE_MAX;
/// Results of a test on a builder that are looked at for what it was before.
const HISTORY: i64 = 20;
/// Rows of a statement.
const ROWS: usize = 10_000;

pub use tidemill_model::wire::TestOutcome as Outcome;

/// Results that a step gave together.
#[derive(Clone, Debug, Default)]
pub struct TestSet {
    pub build: i64,
    pub step: i32,
    pub name: String,
    /// When they were there; none is now.
    pub complete_at: Option<OffsetDateTime>,
    pub results: Vec<TestResult>,
}

#[derive(Clone, Debug)]
pub struct TestResult {
    pub name: String,
    /// Where the test stands, such as a file; may be empty.
    pub path: String,
    pub outcome: Outcome,
    pub seconds: Option<f64>,
    pub message: Option<String>,
}

/// A set that is new, with what is known of its build.
struct Stored<'a> {
    id: i64,
    build: i64,
    builder: i64,
    line: String,
    sources: String,
    revision: Option<String>,
    at: OffsetDateTime,
    results: &'a [TestResult],
}

/// Stores those of these sets that are new and whose builds exist; returns how many.
pub async fn test_results_store(c: &mut PgConnection, sets: &[TestSet]) -> Result<u64> {
    builders_lock(c, sets).await?;
    let mut stored = sets_insert(c, sets).await?;
    if stored.is_empty() {
        return Ok(0);
    }
    stored.sort_by_key(|s| (s.at, s.build, s.id));
    partitions_ensure_for(c, "test_results", stored.iter().map(|s| s.at)).await?;
    let names = names_intern(c, stored.iter().flat_map(|s| s.results)).await?;
    let mut fold = fold_of(c, &stored, &names).await?;
    let rows: Vec<Row<'_>> = stored
        .iter()
        .flat_map(|set| set.results.iter().enumerate().map(move |(n, result)| (set, n as i32 + 1, result)))
        .map(|(set, ordinal, result)| Row { set, ordinal, name: names[&hash(result)], result })
        .collect();
    for part in rows.chunks(ROWS) {
        results_insert(c, part).await?;
    }
    for row in &rows {
        fold.add(&row.seen());
    }
    states_store(c, &fold.changed).await?;
    flakes_store(c, &fold).await?;
    Ok(stored.len() as u64)
}

/// A result, its place in its set, and the id of its test.
struct Row<'a> {
    set: &'a Stored<'a>,
    ordinal: i32,
    name: i64,
    result: &'a TestResult,
}

impl Row<'_> {
    fn seen(&self) -> Seen {
        Seen {
            name: self.name,
            builder: self.set.builder,
            build: self.set.build,
            line: self.set.line.clone(),
            sources: self.set.sources.clone(),
            revision: self.set.revision.clone(),
            outcome: self.result.outcome,
            at: self.set.at,
        }
    }
}

async fn builders_lock(c: &mut PgConnection, sets: &[TestSet]) -> Result<()> {
    let builds: Vec<i64> = sets.iter().map(|s| s.build).collect();
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext('facts.tests'), hashint8(b.builder_id))
           from (select distinct k.builder_id
                   from unnest($1::bigint[]) u(id)
                  cross join lateral (select x.builder_id from builds x where x.id = u.id offset 0) k
                  order by 1) b",
        &builds
    )
    .fetch_all(c)
    .await?;
    Ok(())
}

async fn sets_insert<'a>(c: &mut PgConnection, sets: &'a [TestSet]) -> Result<Vec<Stored<'a>>> {
    // Of the same set twice the first counts.
    let mut first: BTreeMap<(i64, i32, String), &TestSet> = BTreeMap::new();
    for set in sets {
        first.entry((set.build, set.step, cut(&set.name, NAME_MAX))).or_insert(set);
    }
    let builds: Vec<i64> = first.keys().map(|k| k.0).collect();
    let steps: Vec<i32> = first.keys().map(|k| k.1).collect();
    let names: Vec<String> = first.keys().map(|k| k.2.clone()).collect();
    let times: Vec<Option<OffsetDateTime>> = first.values().map(|s| s.complete_at).collect();
    let count = |outcome: Outcome| {
        let of = move |set: &&TestSet| set.results.iter().filter(|r| r.outcome == outcome).count() as i32;
        first.values().map(of).collect::<Vec<i32>>()
    };
    let rows = sqlx::query!(
        r#"with known as materialized (
             select u.build_id, u.step, u.name, b.builder_id, buildset_line(r.buildset_id) as line,
                    x.sources, x.revision, coalesce(u.at, tidemill_now()) as at, u.passed, u.failed, u.skipped, u.errors
               from unnest($1::bigint[], $2::int[], $3::text[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::int[])
                    u(build_id, step, name, at, passed, failed, skipped, errors)
              cross join lateral (select k.builder_id, k.request_id from builds k where k.id = u.build_id offset 0) b
              cross join lateral (select k.buildset_id from build_requests k where k.id = b.request_id offset 0) r
              cross join lateral (
                    select md5(coalesce(array_agg(k.sourcestamp_id order by k.sourcestamp_id), '{}')::text)::uuid as sources,
                           (array_agg(s.revision order by s.codebase, s.repository))[1] as revision
                      from buildset_sourcestamps k join sourcestamps s on s.id = k.sourcestamp_id
                     where k.buildset_id = r.buildset_id) x
         ), made as (
             insert into test_sets (build_id, step, name, builder_id, line, sources, complete_at,
                                    passed, failed, skipped, errors)
             select build_id, step, name, builder_id, line, sources, at, passed, failed, skipped, errors from known
              where at >= coalesce((select facts_since from cluster), '-infinity')
             on conflict do nothing
             returning id, build_id, step, name
         )
         select m.id, k.build_id as "build_id!", k.step as "step!", k.name as "name!", k.builder_id, k.line::text as "line!",
                k.sources::text as "sources!", k.revision, k.at as "at!"
           from made m join known k on k.build_id = m.build_id and k.step = m.step and k.name = m.name"#,
        &builds,
        &steps,
        &names,
        &times as &[Option<OffsetDateTime>],
        &count(Outcome::Passed),
        &count(Outcome::Failed),
        &count(Outcome::Skipped),
        &count(Outcome::Error)
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            let set = first.get(&(r.build_id, r.step, r.name))?;
            Some(Stored {
                id: r.id,
                build: r.build_id,
                builder: r.builder_id,
                line: r.line,
                sources: r.sources,
                revision: r.revision,
                at: r.at,
                results: &set.results,
            })
        })
        .collect())
}

fn cut(text: &str, most: usize) -> String {
    clean(text).chars().take(most).collect()
}

/// What a test is known by.
type Hash = [u8; 32];

fn hash(result: &TestResult) -> Hash {
    let mut hasher = Sha256::new();
    for part in [cut(&result.name, NAME_MAX), cut(&result.path, NAME_MAX)] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

async fn names_intern<'a>(
    c: &mut PgConnection,
    results: impl Iterator<Item = &'a TestResult>,
) -> Result<HashMap<Hash, i64>> {
    // In one order, whoever interns.
    let wanted: BTreeMap<Hash, &TestResult> = results.map(|r| (hash(r), r)).collect();
    let all: Vec<Hash> = wanted.keys().copied().collect();
    let mut known = names_known(c, &all).await?;
    let missing: Vec<Hash> = all.into_iter().filter(|h| !known.contains_key(h)).collect();
    for part in missing.chunks(ROWS) {
        let hashes: Vec<Vec<u8>> = part.iter().map(|h| h.to_vec()).collect();
        let names: Vec<String> = part.iter().map(|h| cut(&wanted[h].name, NAME_MAX)).collect();
        let paths: Vec<String> = part.iter().map(|h| cut(&wanted[h].path, NAME_MAX)).collect();
        sqlx::query!(
            "insert into test_names (hash, name, path) select * from unnest($1::bytea[], $2::text[], $3::text[])
             on conflict do nothing",
            &hashes,
            &names,
            &paths
        )
        .execute(&mut *c)
        .await?;
    }
    known.extend(names_known(c, &missing).await?);
    error::expect("names of tests", wanted.len() as u64, known.len() as u64)?;
    Ok(known)
}

async fn names_known(c: &mut PgConnection, hashes: &[Hash]) -> Result<HashMap<Hash, i64>> {
    if hashes.is_empty() {
        return Ok(HashMap::new());
    }
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|h| h.to_vec()).collect();
    let rows = sqlx::query!("select id, hash from test_names where hash = any($1)", &hashes).fetch_all(c).await?;
    Ok(rows.into_iter().filter_map(|r| Some((Hash::try_from(r.hash).ok()?, r.id))).collect())
}

/// States of the tests of these sets, and what is remembered of those that fail now or
/// failed before: of the others nothing is needed.
async fn fold_of(c: &mut PgConnection, sets: &[Stored<'_>], names: &HashMap<Hash, i64>) -> Result<Fold> {
    let mut keys: HashSet<Key> = HashSet::new();
    let mut known: BTreeSet<(i64, i64)> = BTreeSet::new();
    for set in sets {
        for result in set.results {
            let name = names[&hash(result)];
            keys.insert((name, set.builder, set.line.clone()));
            if result.outcome.is_bad() {
                known.insert((name, set.builder));
            }
        }
    }
    let states = states_of(c, keys).await?;
    known.extend(states.keys().map(|k| (k.0, k.1)));
    let mut fold = Fold::of(states);
    let until = sets.first().map_or(OffsetDateTime::UNIX_EPOCH, |s| s.at);
    for seen in history(c, &known, sets, until).await? {
        fold.remember(&seen);
    }
    Ok(fold)
}

async fn states_of(c: &mut PgConnection, keys: HashSet<Key>) -> Result<HashMap<Key, TestState>> {
    let (mut names, mut builders, mut lines) = (vec![], vec![], vec![]);
    for (name, builder, line) in keys {
        names.push(name);
        builders.push(builder);
        lines.push(line);
    }
    let rows = sqlx::query!(
        r#"select s.name_id, s.builder_id, s.line::text as "line!", s.failing, s.since, s.since_build, s.good_build, s.complete_at
             from unnest($1::bigint[], $2::bigint[], $3::text[]) u(name_id, builder_id, line)
            cross join lateral (select k.* from test_states k
                                 where k.name_id = u.name_id and k.builder_id = u.builder_id and k.line = u.line::uuid
                                offset 0) s"#,
        &names,
        &builders,
        &lines
    )
    .fetch_all(c)
    .await?;
    let states = rows.into_iter().map(|r| {
        let state = TestState {
            failing: r.failing,
            since: r.since,
            since_build: r.since_build,
            good_build: r.good_build,
            complete_at: r.complete_at,
        };
        ((r.name_id, r.builder_id, r.line), state)
    });
    Ok(states.collect())
}

/// The last results of these tests on these builders that are no part of the sets, oldest first.
async fn history(
    c: &mut PgConnection,
    tests: &BTreeSet<(i64, i64)>,
    sets: &[Stored<'_>],
    from: OffsetDateTime,
) -> Result<Vec<Seen>> {
    let (names, builders): (Vec<i64>, Vec<i64>) = tests.iter().copied().unzip();
    let own: Vec<i64> = sets.iter().map(|s| s.id).collect();
    // Also what ended a little later: results of builds that ran at the same time come in any order.
    let until = sets.last().map_or(from, |s| s.at) + time::Duration::hours(1);
    let rows = sqlx::query!(
        r#"select r.name_id, r.builder_id, t.build_id, t.line::text as "line!", t.sources::text as "sources!", r.result,
                  r.complete_at
             from unnest($1::bigint[], $2::bigint[]) u(name_id, builder_id)
            cross join lateral (
                  select k.* from test_results k
                   where k.name_id = u.name_id and k.builder_id = u.builder_id and k.complete_at < $3
                     and k.set_id <> all($4)
                   order by k.complete_at desc limit $5) r
            cross join lateral (select k.* from test_sets k where k.id = r.set_id offset 0) t
            order by r.complete_at, t.build_id"#,
        &names,
        &builders,
        until,
        &own,
        HISTORY
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Seen {
            name: r.name_id,
            builder: r.builder_id,
            build: r.build_id,
            line: r.line,
            sources: r.sources,
            revision: None,
            outcome: Outcome::named(&r.result).unwrap_or(Outcome::Error),
            at: r.complete_at,
        })
        .collect())
}

async fn results_insert(c: &mut PgConnection, rows: &[Row<'_>]) -> Result<()> {
    let seconds = |r: &Row<'_>| r.result.seconds.filter(|s| s.is_finite() && *s >= 0.0);
    let message = |r: &Row<'_>| r.result.message.as_ref().map(|m| cut(m, MESSAGE_MAX));
    sqlx::query!(
        "insert into test_results (set_id, ordinal, builder_id, name_id, complete_at, result, seconds, message)
         select * from unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::text[],
                              $7::float8[], $8::text[])",
        &rows.iter().map(|r| r.set.id).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.ordinal).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.set.builder).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.name).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.set.at).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.result.outcome.name().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(seconds).collect::<Vec<_>>() as &[Option<f64>],
        &rows.iter().map(message).collect::<Vec<_>>() as &[Option<String>]
    )
    .execute(c)
    .await?;
    Ok(())
}

async fn states_store(c: &mut PgConnection, states: &HashMap<Key, TestState>) -> Result<()> {
    if states.is_empty() {
        return Ok(());
    }
    let all: Vec<(&Key, &TestState)> = states.iter().collect();
    sqlx::query!(
        "insert into test_states (name_id, builder_id, line, failing, since, since_build, good_build, complete_at)
         select name_id, builder_id, line::uuid, failing, since, since_build, good_build, complete_at
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bool[], $5::timestamptz[], $6::bigint[], $7::bigint[],
                       $8::timestamptz[]) u(name_id, builder_id, line, failing, since, since_build, good_build, complete_at)
         on conflict (name_id, builder_id, line) do update
            set failing = excluded.failing, since = excluded.since, since_build = excluded.since_build,
                good_build = excluded.good_build, complete_at = excluded.complete_at",
        &all.iter().map(|(k, _)| k.0).collect::<Vec<_>>(),
        &all.iter().map(|(k, _)| k.1).collect::<Vec<_>>(),
        &all.iter().map(|(k, _)| k.2.clone()).collect::<Vec<_>>(),
        &all.iter().map(|(_, s)| s.failing).collect::<Vec<_>>(),
        &all.iter().map(|(_, s)| s.since).collect::<Vec<_>>(),
        &all.iter().map(|(_, s)| s.since_build).collect::<Vec<_>>(),
        &all.iter().map(|(_, s)| s.good_build).collect::<Vec<_>>() as &[Option<i64>],
        &all.iter().map(|(_, s)| s.complete_at).collect::<Vec<_>>()
    )
    .execute(c)
    .await?;
    Ok(())
}

async fn flakes_store(c: &mut PgConnection, fold: &Fold) -> Result<()> {
    if fold.flakes.is_empty() {
        return Ok(());
    }
    let flakes = &fold.flakes;
    sqlx::query!(
        "insert into test_flakes (name_id, builder_id, passed_build, failed_build, at, line, revision)
         select name_id, builder_id, passed_build, failed_build, at, line::uuid, revision
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::text[], $7::text[])
                u(name_id, builder_id, passed_build, failed_build, at, line, revision)
         on conflict do nothing",
        &flakes.keys().map(|k| k.0).collect::<Vec<_>>(),
        &flakes.keys().map(|k| k.1).collect::<Vec<_>>(),
        &flakes.keys().map(|k| k.2).collect::<Vec<_>>(),
        &flakes.keys().map(|k| k.3).collect::<Vec<_>>(),
        &flakes.values().map(|f| f.at).collect::<Vec<_>>(),
        &flakes.values().map(|f| f.line.clone()).collect::<Vec<_>>(),
        &flakes.values().map(|f| f.revision.clone()).collect::<Vec<_>>() as &[Option<String>]
    )
    .execute(c)
    .await?;
    Ok(())
}
