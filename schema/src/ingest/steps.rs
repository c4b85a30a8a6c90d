//! Steps of a group commit: what the events made of each, written by two statements.

use crate::Result;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_model::Results;
use time::OffsetDateTime;

/// What the events of a group say of one step.
#[derive(Default)]
pub(super) struct StepRow {
    pub name: Option<String>,
    pub started_at: Option<OffsetDateTime>,
    pub complete_at: Option<OffsetDateTime>,
    pub results: Option<Results>,
    pub summary: Option<String>,
    pub hidden: bool,
    pub urls: Vec<Value>,
    pub progress: Map<String, Value>,
    /// None: it asked for no locks.
    pub lock_wait_us: Option<i64>,
}

impl StepRow {
    /// Whether it is worth an event. Progress alone is not: pages that show it look again by themselves.
    pub fn moved(&self) -> bool {
        self.name.is_some() || self.results.is_some() || self.summary.is_some() || !self.urls.is_empty()
    }
}

/// Inserts steps that began, and updates those that are open.
pub(super) async fn steps_upsert(c: &mut PgConnection, steps: &BTreeMap<(i64, u32), StepRow>) -> Result<()> {
    let (new, old): (Vec<_>, Vec<_>) = steps.iter().partition(|(_, s)| s.name.is_some());
    if !new.is_empty() {
        let columns = StepColumns::of(&new);
        sqlx::query!(
            "insert into steps (build_id, number, name, started_at, complete_at, results, state_string, hidden, urls, progress,
                                lock_wait)
             select build_id, number, name, started_at,
                    case when complete_at < started_at then started_at else complete_at end, results,
                    coalesce(summary, ''), hidden, urls, progress, lock_wait_us * interval '1 microsecond'
               from unnest($1::bigint[], $2::int[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::smallint[],
                           $7::text[], $8::bool[], $9::jsonb[], $10::jsonb[], $11::bigint[])
                    u(build_id, number, name, started_at, complete_at, results, summary, hidden, urls, progress,
                      lock_wait_us)
              order by build_id, number
             on conflict (build_id, number) do nothing",
            &columns.builds,
            &columns.numbers,
            &columns.names as &[Option<String>],
            &columns.started as &[Option<OffsetDateTime>],
            &columns.complete as &[Option<OffsetDateTime>],
            &columns.results as &[Option<i16>],
            &columns.summaries as &[Option<String>],
            &columns.hidden,
            &columns.urls,
            &columns.progress,
            &columns.lock_waits as &[Option<i64>],
        )
        .execute(&mut *c)
        .await?;
    }
    if !old.is_empty() {
        let columns = StepColumns::of(&old);
        sqlx::query!(
            "with u as materialized (
                 select u.*, k.here
                   from unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::smallint[], $5::text[], $6::bool[],
                               $7::jsonb[], $8::jsonb[], $9::bigint[])
                        u(build_id, number, complete_at, results, summary, hidden, urls, progress, lock_wait_us)
                  cross join lateral (
                        select s.ctid as here from steps s
                         where s.build_id = u.build_id and s.number = u.number and s.complete_at is null
                           for update) k
             )
             update steps s
                set complete_at = case when u.complete_at < s.started_at then s.started_at else u.complete_at end,
                    results = u.results,
                    state_string = coalesce(u.summary, s.state_string), hidden = s.hidden or u.hidden,
                    urls = s.urls || u.urls, progress = s.progress || u.progress,
                    lock_wait = coalesce(u.lock_wait_us * interval '1 microsecond', s.lock_wait)
               from u where s.ctid = u.here",
            &columns.builds,
            &columns.numbers,
            &columns.complete as &[Option<OffsetDateTime>],
            &columns.results as &[Option<i16>],
            &columns.summaries as &[Option<String>],
            &columns.hidden,
            &columns.urls,
            &columns.progress,
            &columns.lock_waits as &[Option<i64>],
        )
        .execute(&mut *c)
        .await?;
    }
    Ok(())
}

/// Steps turned by 90 degrees, for unnest.
struct StepColumns {
    builds: Vec<i64>,
    numbers: Vec<i32>,
    names: Vec<Option<String>>,
    started: Vec<Option<OffsetDateTime>>,
    complete: Vec<Option<OffsetDateTime>>,
    results: Vec<Option<i16>>,
    summaries: Vec<Option<String>>,
    hidden: Vec<bool>,
    urls: Vec<Value>,
    progress: Vec<Value>,
    lock_waits: Vec<Option<i64>>,
}

impl StepColumns {
    fn of(steps: &[(&(i64, u32), &StepRow)]) -> StepColumns {
        StepColumns {
            builds: steps.iter().map(|((b, _), _)| *b).collect(),
            numbers: steps.iter().map(|((_, n), _)| *n as i32).collect(),
            names: steps.iter().map(|(_, s)| s.name.clone()).collect(),
            started: steps.iter().map(|(_, s)| s.started_at).collect(),
            complete: steps.iter().map(|(_, s)| s.complete_at).collect(),
            results: steps.iter().map(|(_, s)| s.results.map(|r| r.code())).collect(),
            summaries: steps.iter().map(|(_, s)| s.summary.clone()).collect(),
            hidden: steps.iter().map(|(_, s)| s.hidden).collect(),
            urls: steps.iter().map(|(_, s)| Value::Array(s.urls.clone())).collect(),
            progress: steps.iter().map(|(_, s)| Value::Object(s.progress.clone())).collect(),
            lock_waits: steps.iter().map(|(_, s)| s.lock_wait_us).collect(),
        }
    }
}
