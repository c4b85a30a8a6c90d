//! Facts of builds: read from the rows of builds, a page at once, and stored.
//!
//! A build is read once: one that has its fact is passed over, and everybody who
//! stores facts does it under one lock ([`super::lock`]).

use super::fold::{self, Broken, LineState, Meaning, Turn};
use super::sums::projects::Builders;
use crate::{Result, error};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::HashMap;
use time::OffsetDateTime;

/// Facts of a builder that are looked at for what was before a build that comes late.
const LATE: i64 = 1_000;
/// Most changes whose authors are blamed.
const CHANGES_MAX: i32 = 200;

/// A build that ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub build: i64,
    pub builder: i64,
    /// That was asked; another one where `builder` is virtual.
    pub asked: i64,
    pub number: i64,
    pub request: i64,
    pub attempt: i32,
    pub worker: i64,
    pub started_at: OffsetDateTime,
    pub complete_at: OffsetDateTime,
    pub results: i16,
    pub buildset: i64,
    pub submitted_at: OffsetDateTime,
    pub waiting_since: OffsetDateTime,
    pub scheduler: String,
    pub reason: String,
    pub log_bytes: i64,
}

impl Ended {
    pub fn seconds(&self) -> f64 {
        (self.complete_at - self.started_at).as_seconds_f64().max(0.0)
    }

    pub fn builders(&self) -> Builders {
        (self.builder, self.asked)
    }

    pub fn waited(&self) -> f64 {
        (self.started_at - self.waiting_since).as_seconds_f64().max(0.0)
    }
}

/// Those of these builds that are over and have no fact, in the order of their ends.
pub(super) async fn ended(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<Ended>> {
    let rows = sqlx::query!(
        r#"select b.id, b.builder_id, b.number, b.request_id, b.attempt, b.worker_id, b.started_at,
                  b.complete_at as "complete_at!", b.results as "results!", r.builder_id as asked, r.buildset_id, r.submitted_at,
                  least(b.started_at, coalesce(
                      (select max(p.complete_at) from builds p where p.request_id = b.request_id and p.id < b.id),
                      r.submitted_at)) as "waiting_since!",
                  s.scheduler, s.reason,
                  -- What workers said of them is data: no sum of it is too large.
                  (select least(coalesce(sum(l.bytes), 0), 9223372036854775807)::bigint from logs l
                    where l.build_id = b.id) as "log_bytes!"
             from (select distinct id from unnest($1::bigint[]) x(id)) u
            cross join lateral (select k.* from builds k where k.id = u.id and k.complete_at is not null offset 0) b
            cross join lateral (select k.builder_id, k.buildset_id, k.submitted_at from build_requests k
                                 where k.id = b.request_id offset 0) r
            cross join lateral (select k.scheduler, k.reason from buildsets k where k.id = r.buildset_id offset 0) s
            -- With a limit it is a probe each: an anti-join could be planned as a scan of all facts.
            where (select f.build_id from build_facts f
                    where f.build_id = b.id and f.complete_at = b.complete_at limit 1) is null
              and b.complete_at >= coalesce((select facts_since from cluster), '-infinity')
            order by b.complete_at, b.id"#,
        ids
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Ended {
            build: r.id,
            builder: r.builder_id,
            asked: r.asked,
            number: r.number,
            request: r.request_id,
            attempt: r.attempt,
            worker: r.worker_id,
            started_at: r.started_at,
            complete_at: r.complete_at,
            results: r.results,
            buildset: r.buildset_id,
            submitted_at: r.submitted_at,
            waiting_since: r.waiting_since,
            scheduler: r.scheduler,
            reason: r.reason,
            log_bytes: r.log_bytes,
        })
        .collect())
}

/// What was built.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// As text: nobody here looks into it.
    pub line: String,
    pub codebase: String,
    pub repository: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub changes: i32,
    pub first_change_at: Option<OffsetDateTime>,
}

/// Sources of the buildsets of builds.
pub(super) async fn sources(c: &mut PgConnection, ended: &[Ended]) -> Result<HashMap<i64, Sources>> {
    let buildsets: Vec<i64> = ended.iter().map(|e| e.buildset).collect();
    let rows = sqlx::query!(
        r#"select u.id as "id!", buildset_line(u.id)::text as "line!",
                  t.codebase as "codebase?", t.repository as "repository?", t.branch as "branch?", t.revision as "revision?",
                  h.changes as "changes!", h.first
             from (select distinct id from unnest($1::bigint[]) x(id)) u
             left join lateral (
                  select s.codebase, s.repository, s.branch, s.revision
                    from buildset_sourcestamps x
                   cross join lateral (select k.* from sourcestamps k where k.id = x.sourcestamp_id offset 0) s
                   where x.buildset_id = u.id order by s.codebase, s.repository limit 1) t on true
            cross join lateral (
                  select count(*)::int as changes, min(coalesce(k.when_at, k.received_at)) as first
                    from buildset_changes x
                   cross join lateral (select y.when_at, y.received_at from changes y where y.id = x.change_id offset 0) k
                   where x.buildset_id = u.id) h"#,
        &buildsets
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let sources = Sources {
                line: r.line,
                codebase: r.codebase.unwrap_or_default(),
                repository: r.repository.unwrap_or_default(),
                branch: r.branch,
                revision: r.revision,
                changes: r.changes,
                first_change_at: r.first,
            };
            (r.id, sources)
        })
        .collect())
}

/// A step that ended.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub build: i64,
    pub name: String,
    pub results: i16,
    pub seconds: f64,
    pub lock_wait: f64,
}

/// Steps of builds, of each in their order.
pub(super) async fn steps(c: &mut PgConnection, ended: &[Ended]) -> Result<Vec<Step>> {
    let builds: Vec<i64> = ended.iter().map(|e| e.build).collect();
    let rows = sqlx::query!(
        r#"select s.build_id, s.name, s.results as "results!",
                  extract(epoch from s.complete_at - s.started_at)::float8 as "seconds!",
                  coalesce(extract(epoch from s.lock_wait), 0)::float8 as "lock_wait!"
             from unnest($1::bigint[]) u(id)
            cross join lateral (select k.* from steps k where k.build_id = u.id and k.complete_at is not null
                                 order by k.number) s"#,
        &builds
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Step {
            build: r.build_id,
            name: r.name,
            results: r.results,
            seconds: r.seconds.max(0.0),
            lock_wait: r.lock_wait.max(0.0),
        })
        .collect())
}

/// A builder's line.
pub(super) type Line = (i64, String);

/// How the lines of these builds stand.
pub(super) async fn line_states(c: &mut PgConnection, lines: &[Line]) -> Result<HashMap<Line, LineState>> {
    let (builders, lines): (Vec<i64>, Vec<String>) = lines.iter().cloned().unzip();
    let rows = sqlx::query!(
        r#"select s.builder_id, s.line::text as "line!", s.results, s.complete_at, s.good_build_id, s.bad_build_id,
                  s.bad_since
             from unnest($1::bigint[], $2::text[]) u(builder_id, line)
            cross join lateral (select k.* from line_states k
                                 where k.builder_id = u.builder_id and k.line = u.line::uuid offset 0) s"#,
        &builders,
        &lines
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let bad = r.bad_build_id.zip(r.bad_since).map(|(build, since)| Broken { build, since });
            let state = LineState { results: r.results, complete_at: r.complete_at, good: r.good_build_id, bad };
            ((r.builder_id, r.line), state)
        })
        .collect())
}

pub(super) async fn line_states_store(c: &mut PgConnection, states: &HashMap<Line, LineState>) -> Result<()> {
    if states.is_empty() {
        return Ok(());
    }
    let mut builders = vec![];
    let mut lines = vec![];
    let mut results = vec![];
    let mut times = vec![];
    let mut good = vec![];
    let mut bad = vec![];
    let mut since = vec![];
    for ((builder, line), state) in states {
        builders.push(*builder);
        lines.push(line.clone());
        results.push(state.results);
        times.push(state.complete_at);
        good.push(state.good);
        bad.push(state.bad.map(|b| b.build));
        since.push(state.bad.map(|b| b.since));
    }
    sqlx::query!(
        "insert into line_states (builder_id, line, results, complete_at, good_build_id, bad_build_id, bad_since)
         select builder_id, line::uuid, results, complete_at, good, bad, since
           from unnest($1::bigint[], $2::text[], $3::smallint[], $4::timestamptz[], $5::bigint[], $6::bigint[],
                       $7::timestamptz[]) u(builder_id, line, results, complete_at, good, bad, since)
         on conflict (builder_id, line) do update
            set results = excluded.results, complete_at = excluded.complete_at, good_build_id = excluded.good_build_id,
                bad_build_id = excluded.bad_build_id, bad_since = excluded.bad_since",
        &builders,
        &lines,
        &results,
        &times,
        &good as &[Option<i64>],
        &bad as &[Option<i64>],
        &since as &[Option<OffsetDateTime>]
    )
    .execute(c)
    .await?;
    Ok(())
}

/// How a line stood before a build that came after newer ones of it: from the facts of
/// its builder before that, as far as they are looked at.
pub(super) async fn line_state_at(
    c: &mut PgConnection,
    line: &Line,
    build: i64,
    at: OffsetDateTime,
) -> Result<Option<LineState>> {
    let found = sqlx::query!(
        r#"select k.build_id, k.results, k.complete_at, k.good_build_id, k.bad_build_id, k.bad_since
             from (select f.* from build_facts f
                    where f.builder_id = $1 and f.complete_at <= $3
                    order by f.complete_at desc, f.build_id desc limit $5) k
            where k.line = $2::text::uuid and k.results in (0, 1, 2) and (k.complete_at, k.build_id) < ($3, $4)
            order by k.complete_at desc, k.build_id desc limit 1"#,
        line.0,
        line.1,
        at,
        build,
        LATE
    )
    .fetch_optional(c)
    .await?;
    Ok(found.map(|f| {
        let bad = f.bad_build_id.zip(f.bad_since).map(|(build, since)| Broken { build, since });
        let meaning = Meaning { good: f.good_build_id, bad, ..Meaning::default() };
        fold::after(&meaning, f.build_id, f.results, f.complete_at)
    }))
}

/// Authors of the changes that these builds have and a good one has not: of
/// (buildset, good build), in that order.
pub(super) async fn authors(c: &mut PgConnection, broke: &[(i64, Option<i64>)]) -> Result<Vec<Vec<String>>> {
    if broke.is_empty() {
        return Ok(vec![]);
    }
    let (buildsets, good): (Vec<i64>, Vec<Option<i64>>) = broke.iter().copied().unzip();
    Ok(sqlx::query_scalar!(
        r#"select array(select distinct h.author
                          from unnest(changes_between(buildset_heads(u.buildset),
                                      coalesce((select buildset_heads(r.buildset_id)
                                                  from builds b join build_requests r on r.id = b.request_id
                                                 where b.id = u.good), '{}'), $3)) k(id)
                         cross join lateral (select x.author from changes x where x.id = k.id offset 0) h
                         where h.author <> '' order by 1) as "authors!: Vec<String>"
             from unnest($1::bigint[], $2::bigint[]) with ordinality u(buildset, good, place)
            order by u.place"#,
        &buildsets,
        &good as &[Option<i64>],
        CHANGES_MAX
    )
    .fetch_all(c)
    .await?)
}

/// What is stored of a build.
pub(super) struct Fact<'a> {
    pub ended: &'a Ended,
    pub sources: &'a Sources,
    pub meaning: Meaning,
    pub blamed: Vec<String>,
    pub steps: i32,
    pub failed_step: Option<String>,
    /// Seconds.
    pub lock_wait: f64,
}

/// Stores them; none of them is there.
pub(super) async fn facts_insert(c: &mut PgConnection, facts: &[Fact<'_>]) -> Result<()> {
    macro_rules! column {
        ($f:ident => $value:expr) => {
            facts.iter().map(|$f| $value).collect::<Vec<_>>()
        };
    }
    let done = sqlx::query!(
        "insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, revision,
                                  buildset_id, request_id, attempt, worker_id, scheduler, reason, submitted_at,
                                  waiting_since, started_at, results, failed_step, steps, lock_wait, log_bytes, changes,
                                  first_change_at, previous_results, good_build_id, turn, bad_build_id, bad_since, blamed)
         select build_id, complete_at, builder_id, number, line::uuid, codebase, repository, branch, revision,
                buildset_id, request_id, attempt, worker_id, scheduler, reason, submitted_at,
                waiting_since, started_at, results, failed_step, steps, lock_wait * interval '1 second', log_bytes, changes,
                first_change_at, previous_results, good_build_id, turn, bad_build_id, bad_since,
                case when blamed is null then '{}' else array(select jsonb_array_elements_text(blamed)) end
           from unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                       $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::int[], $13::bigint[], $14::text[],
                       $15::text[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::smallint[],
                       $20::text[], $21::int[], $22::float8[], $23::bigint[], $24::int[], $25::timestamptz[],
                       $26::smallint[], $27::bigint[], $28::text[], $29::bigint[], $30::timestamptz[], $31::jsonb[])
                u(build_id, complete_at, builder_id, number, line, codebase, repository, branch, revision,
                  buildset_id, request_id, attempt, worker_id, scheduler, reason, submitted_at,
                  waiting_since, started_at, results, failed_step, steps, lock_wait, log_bytes, changes,
                  first_change_at, previous_results, good_build_id, turn, bad_build_id, bad_since, blamed)
         on conflict do nothing",
        &column!(f => f.ended.build),
        &column!(f => f.ended.complete_at),
        &column!(f => f.ended.builder),
        &column!(f => f.ended.number),
        &column!(f => f.sources.line.clone()),
        &column!(f => f.sources.codebase.clone()),
        &column!(f => f.sources.repository.clone()),
        &column!(f => f.sources.branch.clone()) as &[Option<String>],
        &column!(f => f.sources.revision.clone()) as &[Option<String>],
        &column!(f => f.ended.buildset),
        &column!(f => f.ended.request),
        &column!(f => f.ended.attempt),
        &column!(f => f.ended.worker),
        &column!(f => f.ended.scheduler.clone()),
        &column!(f => f.ended.reason.clone()),
        &column!(f => f.ended.submitted_at),
        &column!(f => f.ended.waiting_since),
        &column!(f => f.ended.started_at),
        &column!(f => f.ended.results),
        &column!(f => f.failed_step.clone()) as &[Option<String>],
        &column!(f => f.steps),
        &column!(f => f.lock_wait),
        &column!(f => f.ended.log_bytes),
        &column!(f => f.sources.changes),
        &column!(f => f.sources.first_change_at) as &[Option<OffsetDateTime>],
        &column!(f => f.meaning.previous) as &[Option<i16>],
        &column!(f => f.meaning.good) as &[Option<i64>],
        &column!(f => f.meaning.turn.map(|t| Turn::name(t).to_owned())) as &[Option<String>],
        &column!(f => f.meaning.bad.map(|b| b.build)) as &[Option<i64>],
        &column!(f => f.meaning.bad.map(|b| b.since)) as &[Option<OffsetDateTime>],
        &column!(f => (!f.blamed.is_empty()).then(|| Value::from(f.blamed.clone()))) as &[Option<Value>]
    )
    .execute(c)
    .await?;
    error::expect("facts of builds stored", facts.len() as u64, done.rows_affected())
}
