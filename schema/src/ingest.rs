//! Ingest: what workers report, committed for many builds at once.
//!
//! The transaction first locks the leases it writes for, by id and token;
//! two copies of one batch at two replicas thereby wait for each other. Batches whose lease is gone get [`Outcome::LeaseLost`] and never
//! fail the others. A batch is unique by (build, number): one that was
//! committed before, its answer lost, is acknowledged again and not applied
//! again. The last batch of a build makes it final through
//! [`crate::builds::builds_finish`].

mod steps;

use crate::builds::{Finish, builds_finish};
use crate::changes::{clean, clean_json};
use crate::locks::steps_unlock;
use crate::log_chunks::{NewChunk, chunks_insert};
use crate::statistics::{self, Statistics, statistics_upsert};
use crate::test_parts::{NewPart, parts_insert};
use crate::{Db, Result, run_tx};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap, HashSet};
use steps::{StepRow, steps_upsert};
use tidemill_model::log::LogSum;
use tidemill_model::wire::{BatchHead, Event, Frame, Stop};
use tidemill_model::{BuildId, Results};
use time::{Duration, OffsetDateTime};

/// A decoded batch.
#[derive(Clone, Debug)]
pub struct Batch {
    pub head: BatchHead,
    pub frames: Vec<Frame>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Stored { stop: Option<Stop> },
    LeaseLost,
}

/// What a group commit did, for wakes.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the batches.
    pub outcomes: Vec<Outcome>,
    /// Ids of logs that grew.
    pub logs: Vec<i64>,
    /// Builds that became final.
    pub finished: Vec<i64>,
    /// Locks of which something was given back.
    pub unlocked: Vec<i64>,
    /// Events were appended.
    pub events: bool,
    /// Sets of test results became whole.
    pub tests: bool,
}

/// Stores batches of many builds in one transaction. Of each build at most one
/// batch may be among them.
pub async fn batches_store(db: &Db, batches: &[Batch]) -> Result<Report> {
    run_tx!(db, "ingest", |c| store(c, batches).await)
}

async fn store(c: &mut PgConnection, batches: &[Batch]) -> Result<Report> {
    let leases = leases_lock(c, batches).await?;
    let repeated = batches_repeated(c, batches, &leases).await?;
    let fresh: Vec<&Batch> =
        batches.iter().filter(|b| leases.contains_key(&b.head.build) && !repeated.contains(&b.head.build)).collect();

    let now = sqlx::query_scalar!(r#"select tidemill_now() as "x!""#).fetch_one(&mut *c).await?;
    let mut rows = Rows::default();
    for batch in &fresh {
        rows.add(batch, now);
    }
    steps_upsert(c, &rows.steps).await?;
    rows.logs_upsert(c).await?;
    let logs = chunks_insert(c, &rows.chunks).await?;
    rows.logs_verify(c).await?;
    rows.properties_upsert(c).await?;
    statistics_upsert(c, &rows.statistics).await?;
    parts_insert(c, &rows.tests).await?;
    rows.builds_progress(c).await?;
    let finished = rows.finishes.iter().map(|f| f.build.0).collect();
    let mut unlocked = steps_unlock(c, &rows.unlocking()).await?;
    unlocked.extend(builds_finish(c, &rows.finishes).await?);

    // A build that is final has no lease; its last batch may be repeated once more.
    let again = finals_repeated(c, batches, &leases).await?;
    let outcomes = batches
        .iter()
        .map(|b| match leases.get(&b.head.build) {
            Some(stop) => Outcome::Stored { stop: stop.clone() },
            None if again.contains(&b.head.build) => Outcome::Stored { stop: None },
            None => Outcome::LeaseLost,
        })
        .collect();
    let tests = rows.tests.iter().any(NewPart::is_last);
    Ok(Report { outcomes, logs, finished, unlocked, events: !fresh.is_empty(), tests })
}

/// Leases that stand, each with a wish to stop.
async fn leases_lock(c: &mut PgConnection, batches: &[Batch]) -> Result<HashMap<i64, Option<Stop>>> {
    // Locked in id order, each key looked up by itself (see leases_renew).
    let mut heads: Vec<&BatchHead> = batches.iter().map(|b| &b.head).collect();
    heads.sort_by_key(|h| h.build);
    let builds: Vec<i64> = heads.iter().map(|h| h.build).collect();
    let tokens: Vec<String> = heads.iter().map(|h| h.token.replace('\0', "")).collect();
    let rows = sqlx::query!(
        r#"select l.build_id, b.stop_reason, b.stop_results
             from unnest($1::bigint[], $2::text[]) u(build_id, token)
            cross join lateral (
                  select k.build_id from leases k where k.build_id = u.build_id and k.token = u.token for update) l
            cross join lateral (select stop_reason, stop_results from builds where id = l.build_id limit 1) b"#,
        &builds,
        &tokens
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let stop = r.stop_reason.zip(r.stop_results).map(|(reason, code)| Stop {
                build: r.build_id,
                reason,
                results: Results::try_from(code).unwrap_or(Results::Cancelled),
            });
            (r.build_id, stop)
        })
        .collect())
}

/// Marks the batches as taken in; returns the builds whose batch already was.
/// A batch that ends its build needs no mark: the lease goes with it.
async fn batches_repeated(
    c: &mut PgConnection,
    batches: &[Batch],
    leases: &HashMap<i64, Option<Stop>>,
) -> Result<HashSet<i64>> {
    let marked: Vec<&BatchHead> =
        batches.iter().filter(|b| leases.contains_key(&b.head.build) && !ends_build(b)).map(|b| &b.head).collect();
    if marked.is_empty() {
        return Ok(HashSet::new());
    }
    let builds: Vec<i64> = marked.iter().map(|h| h.build).collect();
    let numbers: Vec<i64> = marked.iter().map(|h| h.batch as i64).collect();
    let new = sqlx::query_scalar!(
        "insert into build_batches (build_id, batch) select * from unnest($1::bigint[], $2::bigint[])
         on conflict do nothing returning build_id",
        &builds,
        &numbers
    )
    .fetch_all(c)
    .await?;
    let new: HashSet<i64> = new.into_iter().collect();
    Ok(builds.into_iter().filter(|b| !new.contains(b)).collect())
}

fn ends_build(batch: &Batch) -> bool {
    batch.frames.iter().any(|f| matches!(f, Frame::Event(Event::BuildFinished { .. })))
}

/// Builds that are final and whose last batch is this one, with this token.
async fn finals_repeated(
    c: &mut PgConnection,
    batches: &[Batch],
    leases: &HashMap<i64, Option<Stop>>,
) -> Result<HashSet<i64>> {
    let lost: Vec<&BatchHead> = batches.iter().map(|b| &b.head).filter(|h| !leases.contains_key(&h.build)).collect();
    if lost.is_empty() {
        return Ok(HashSet::new());
    }
    let builds: Vec<i64> = lost.iter().map(|h| h.build).collect();
    let tokens: Vec<String> = lost.iter().map(|h| h.token.replace('\0', "")).collect();
    let numbers: Vec<i64> = lost.iter().map(|h| h.batch as i64).collect();
    let rows = sqlx::query_scalar!(
        "select b.id from builds b join unnest($1::bigint[], $2::text[], $3::bigint[]) u(id, token, batch)
             on b.id = u.id and b.token = u.token and b.last_batch >= u.batch
          where b.id = any($1) and b.state = 'finished'",
        &builds,
        &tokens,
        &numbers
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Events of many batches folded into rows: a step that starts and ends in one
/// group is one insert.
#[derive(Default)]
struct Rows {
    steps: BTreeMap<(i64, u32), StepRow>,
    logs: BTreeMap<(i64, u32), LogRow>,
    chunks: Vec<NewChunk>,
    properties: BTreeMap<(i64, String), (Value, String)>,
    statistics: Statistics,
    tests: Vec<NewPart>,
    /// Builds of which something else than the end was reported, and their newest summary.
    progress: BTreeMap<i64, Option<String>>,
    finishes: Vec<Finish>,
}

/// A year: what a worker says beyond is not believed.
const LOCK_WAIT_MAX: u64 = 366 * 86_400_000_000;

#[derive(Default)]
struct LogRow {
    opened: Option<(u32, String, String, &'static str)>,
    sum: Option<LogSum>,
}

impl Rows {
    fn add(&mut self, batch: &Batch, now: OffsetDateTime) {
        let build = batch.head.build;
        // Times are the worker's clock; only their distance to the sending counts.
        let time = |at_us: i64| {
            let age = batch.head.sent_at_us.saturating_sub(at_us).clamp(0, 366 * 86_400_000_000);
            now - Duration::microseconds(age)
        };
        let mut ended = false;
        for frame in &batch.frames {
            let event = match frame {
                Frame::Log { log, chunk } => {
                    self.chunks.push(NewChunk { build, log: *log, chunk: chunk.clone() });
                    continue;
                }
                Frame::Event(event) => event,
            };
            match event {
                Event::BuildStarted { .. } => {}
                Event::StepStarted { step, name, at_us } => {
                    let row = self.steps.entry((build, *step)).or_default();
                    row.name = Some(clean(name));
                    row.started_at = Some(time(*at_us));
                }
                Event::StepFinished { step, results, summary, hidden, lock_wait_us, at_us } => {
                    let row = self.steps.entry((build, *step)).or_default();
                    row.complete_at = Some(time(*at_us));
                    row.results = Some(*results);
                    row.summary = Some(clean(summary));
                    row.hidden = *hidden;
                    row.lock_wait_us = lock_wait_us.map(|us| us.min(LOCK_WAIT_MAX) as i64);
                }
                Event::Summary { step: Some(step), text } => {
                    self.steps.entry((build, *step)).or_default().summary = Some(clean(text));
                }
                Event::Summary { step: None, text } => {
                    self.progress.insert(build, Some(clean(text)));
                }
                Event::StepUrl { step, name, url } => {
                    let url = serde_json::json!({ "name": clean(name), "url": clean(url) });
                    self.steps.entry((build, *step)).or_default().urls.push(url);
                }
                Event::StepStatistics { step, values } => {
                    let named = statistics::named(values);
                    self.statistics.extend(named.map(|(name, value)| ((build, *step, name), value)));
                }
                Event::StepProgress { step, values } => {
                    let row = self.steps.entry((build, *step)).or_default();
                    row.progress.extend(statistics::named(values).map(|(name, value)| (name, statistics::json(value))));
                }
                Event::TestResults { step, set, part, last, results, at_us } => {
                    self.tests.push(NewPart::of(build, *step, set, (*part, *last), results, time(*at_us)));
                }
                Event::PropertySet { name, value, source } => {
                    self.properties.insert((build, clean(name)), (clean_json(value), clean(source)));
                }
                Event::LogOpened { log, step, name, slug, kind } => {
                    let row = self.logs.entry((build, *log)).or_default();
                    row.opened = Some((*step, clean(name), clean(slug), kind.letter()));
                }
                Event::LogFinished { log, sum } => {
                    self.logs.entry((build, *log)).or_default().sum = Some(*sum);
                }
                Event::BuildFinished { results, summary, at_us } => {
                    ended = true;
                    self.finishes.push(Finish {
                        build: BuildId(build),
                        results: *results,
                        summary: summary.clone(),
                        last_batch: Some(batch.head.batch),
                        at: Some(time(*at_us)),
                        counts: true,
                    });
                    // Nothing comes after it, whatever a worker says.
                    break;
                }
            }
        }
        if !ended {
            self.progress.entry(build).or_default();
        }
    }

    /// Steps that ended and had asked for locks.
    fn unlocking(&self) -> Vec<(i64, i32)> {
        let asked = self.steps.iter().filter(|(_, s)| s.lock_wait_us.is_some() && s.results.is_some());
        asked.map(|((build, step), _)| (*build, *step as i32)).collect()
    }

    async fn logs_upsert(&self, c: &mut PgConnection) -> Result<()> {
        let opened: Vec<_> = self.logs.iter().filter_map(|(key, l)| Some((key, l.opened.as_ref()?))).collect();
        if opened.is_empty() {
            return Ok(());
        }
        let builds: Vec<i64> = opened.iter().map(|((b, _), _)| *b).collect();
        let numbers: Vec<i32> = opened.iter().map(|((_, n), _)| *n as i32).collect();
        let steps: Vec<i32> = opened.iter().map(|(_, o)| o.0 as i32).collect();
        let names: Vec<String> = opened.iter().map(|(_, o)| o.1.clone()).collect();
        let slugs: Vec<String> = opened.iter().map(|(_, o)| o.2.clone()).collect();
        let kinds: Vec<String> = opened.iter().map(|(_, o)| o.3.to_owned()).collect();
        sqlx::query!(
            // One that is there already uses up no id: partitions are made for a span of them.
            "insert into logs (build_id, number, step, name, slug, kind)
             select u.* from unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[])
                         u(build_id, number, step, name, slug, kind)
              where (select k.id from logs k where k.build_id = u.build_id and k.number = u.number limit 1) is null
             on conflict (build_id, number) do nothing",
            &builds,
            &numbers,
            &steps,
            &names,
            &slugs,
            &kinds
        )
        .execute(c)
        .await?;
        Ok(())
    }

    /// Ends logs: their totals must be those of the stored chunks.
    async fn logs_verify(&self, c: &mut PgConnection) -> Result<()> {
        let ended: Vec<_> = self.logs.iter().filter_map(|(key, l)| Some((key, l.sum?))).collect();
        if ended.is_empty() {
            return Ok(());
        }
        let builds: Vec<i64> = ended.iter().map(|((b, _), _)| *b).collect();
        let numbers: Vec<i32> = ended.iter().map(|((_, n), _)| *n as i32).collect();
        let bytes: Vec<i64> = ended.iter().map(|(_, s)| s.bytes as i64).collect();
        let lines: Vec<i64> = ended.iter().map(|(_, s)| s.lines as i64).collect();
        let chunks: Vec<i64> = ended.iter().map(|(_, s)| s.chunks as i64).collect();
        let checks: Vec<i64> = ended.iter().map(|(_, s)| s.check as i64).collect();
        let bad = sqlx::query!(
            r#"with u as materialized (
                 select l.id, l.here, u.* from unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                     u(build_id, number, bytes, lines, chunks, check_sum)
                  cross join lateral (
                       select k.id, k.ctid as here from logs k
                        where k.build_id = u.build_id and k.number = u.number and not k.complete for update) l
             ), done as (
                 update logs l set complete = true, bytes = coalesce(h.bytes, 0), lines = coalesce(h.lines, 0),
                        incomplete = (coalesce(h.bytes, 0), coalesce(h.lines, 0), coalesce(h.chunks, 0), coalesce(h.check_sum, 0))
                                  <> (u.bytes, u.lines, u.chunks, u.check_sum)
                   from u left join lateral (
                        select sum(k.bytes)::bigint as bytes, sum(k.lines)::bigint as lines, count(*) as chunks,
                               sum(k.crc)::bigint as check_sum
                          from log_chunks k where k.log_id = u.id) h on true
                  where l.ctid = u.here
                 returning l.id, l.incomplete
             )
             select id as "id!" from done where incomplete"#,
            &builds,
            &numbers,
            &bytes,
            &lines,
            &chunks,
            &checks
        )
        .fetch_all(c)
        .await?;
        for log in bad {
            tracing::warn!(log.id = log.id, "log is incomplete: the worker's totals and the stored chunks differ");
        }
        Ok(())
    }

    async fn properties_upsert(&self, c: &mut PgConnection) -> Result<()> {
        if self.properties.is_empty() {
            return Ok(());
        }
        let builds: Vec<i64> = self.properties.keys().map(|(b, _)| *b).collect();
        let names: Vec<String> = self.properties.keys().map(|(_, n)| n.clone()).collect();
        let values: Vec<Value> = self.properties.values().map(|(v, _)| v.clone()).collect();
        let sources: Vec<String> = self.properties.values().map(|(_, s)| s.clone()).collect();
        sqlx::query!(
            "insert into build_properties (build_id, name, value, source)
             select * from unnest($1::bigint[], $2::text[], $3::jsonb[], $4::text[])
             on conflict (build_id, name) do update set value = excluded.value, source = excluded.source",
            &builds,
            &names,
            &values,
            &sources
        )
        .execute(c)
        .await?;
        Ok(())
    }

    /// Marks builds as taken up, and tells who watches that they moved.
    async fn builds_progress(&self, c: &mut PgConnection) -> Result<()> {
        if self.progress.is_empty() {
            return Ok(());
        }
        let builds: Vec<i64> = self.progress.keys().copied().collect();
        let summaries: Vec<Option<String>> = self.progress.values().cloned().collect();
        // Batches that brought only log bytes change no row and make no event.
        let moved: Vec<bool> = builds
            .iter()
            .map(|b| {
                self.steps.range((*b, 0)..=(*b, u32::MAX)).any(|(_, step)| step.moved())
                    || self.logs.range((*b, 0)..=(*b, u32::MAX)).next().is_some()
                    || self.progress[b].is_some()
            })
            .collect();
        sqlx::query!(
            "with u as materialized (
                 select u.*, b.builder_id, b.here, b.state = 'claimed' or u.summary is not null as changes
                   from unnest($1::bigint[], $2::text[], $3::bool[]) u(id, summary, moved)
                  cross join lateral (
                        select k.ctid as here, k.builder_id, k.state from builds k
                         where k.id = u.id and k.state <> 'finished' for update) b
             ), taken as (
                 update builds b set state = 'running', state_string = coalesce(u.summary, b.state_string)
                   from u where u.changes and b.ctid = u.here
             )
             insert into events (kind, builder_id, build_id)
             select 'builds.updated', builder_id, id from u where moved or changes",
            &builds,
            &summaries as &[Option<String>],
            &moved
        )
        .execute(c)
        .await?;
        Ok(())
    }
}
