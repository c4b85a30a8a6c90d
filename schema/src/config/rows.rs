//! The rows of a definition: builders, schedulers, change sources.
//!
//! A few statements each, however many there are. A row that is already as it
//! should be is not written, nor locked (C-102): pollers go on polling, timers
//! go on, and an activation costs what it changes. The transaction that calls
//! these has the only activation of its time, so rows do not come between a
//! look and a write; what else is written to them meanwhile (a poll's lease, a
//! cursor, a switch) is in other columns, and an update waits for it.

use super::{WantedBuilder, WantedScheduler};
use crate::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Columns of what is wanted, one entry a builder.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    tags: Vec<Value>,
    descriptions: Vec<String>,
    projects: Vec<String>,
    any_worker: Vec<bool>,
    requires: Vec<Option<String>>,
    /// Of which workers, as a list of JSON; none is any.
    requires_of: Vec<Option<Value>>,
    settings: Vec<Vec<u8>>,
    max_attempts: Vec<i32>,
    /// Microseconds.
    expires: Vec<Option<i64>>,
    steps: Vec<Value>,
    locks: Vec<Option<Value>>,
    lock_rules: Vec<bool>,
}

/// Attempts of a builder that does not say.
const ATTEMPTS: i32 = 5;

/// Most builders that one activation may add: each gets a sequence, whose lock is
/// held to the commit, and the table of locks is small.
const NEW_MAX: i64 = 5_000;

pub async fn builders(c: &mut PgConnection, wanted: &[WantedBuilder]) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|b| b.name.clone()).collect();
    let new = sqlx::query_scalar!(
        r#"select count(*) as "n!" from unnest($1::text[]) n where not exists (select from builders b where b.name = n)"#,
        &names
    )
    .fetch_one(&mut *c)
    .await?;
    if new > NEW_MAX {
        return Err(Error::Conflict(format!(
            "the project defines {new} builders that were not there before, and one activation can add {NEW_MAX}: \
             apply it in parts, each with at most {NEW_MAX} more"
        )));
    }
    let mut all = Columns::default();
    let mut settings = BTreeMap::new();
    for b in wanted {
        let (hash, values) = settings_of(b);
        settings.entry(hash.clone()).or_insert(values);
        all.names.push(b.name.clone());
        // Arrays in an array must be of one length in SQL, so these go as JSON.
        all.tags.push(Value::from(b.tags.clone()));
        all.descriptions.push(b.description.clone());
        all.projects.push(b.project.clone());
        all.any_worker.push(b.any_worker && b.requires.is_none());
        let named = b.requires.is_some() && !b.any_worker;
        all.requires.push(b.requires.clone());
        all.requires_of.push(named.then(|| Value::from(b.workernames.clone())));
        all.settings.push(hash);
        all.max_attempts.push(b.max_attempts.unwrap_or(ATTEMPTS));
        all.expires.push(b.expires_after.map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)));
        all.steps.push(Value::from(b.steps.clone()));
        all.locks.push(super::locks::accesses(&b.locks));
        all.lock_rules.push(b.lock_rule);
    }
    settings_intern(c, settings).await?;
    sqlx::query!(
        "with w as (
             select u.name, u.description, u.project, u.any_worker, s.id as settings_id, u.max_attempts,
                    u.locks, u.lock_rule, u.expires * interval '1 microsecond' as expires_after, u.requires,
                    case when u.requires_of is not null then array(select jsonb_array_elements_text(u.requires_of)) end
                        as requires_of,
                    array(select jsonb_array_elements_text(u.tags)) as tags,
                    array(select jsonb_array_elements_text(u.steps)) as steps
               from unnest($1::text[], $2::jsonb[], $3::text[], $4::text[], $5::bool[], $6::bytea[], $7::int[],
                           $8::jsonb[], $9::bigint[], $10::jsonb[], $11::bool[], $12::text[],
                           $13::jsonb[])
                    u(name, tags, description, project, any_worker, settings, max_attempts, steps, expires,
                      locks, lock_rule, requires, requires_of)
               join builder_settings s on s.hash = u.settings
         ), changed as (
             update builders b
                set active = true, virtual = false, tags = w.tags, description = w.description, project = w.project,
                    any_worker = w.any_worker, settings_id = w.settings_id, max_attempts = w.max_attempts,
                    steps = w.steps, expires_after = w.expires_after, locks = w.locks, lock_rule = w.lock_rule,
                    requires = w.requires, requires_of = w.requires_of
               from w
              where b.name = w.name
                and (b.active, b.virtual, b.tags, b.description, b.project, b.any_worker, b.settings_id, b.max_attempts, b.steps,
                     b.expires_after, b.locks, b.lock_rule, b.requires, b.requires_of)
                    is distinct from
                    (true, false, w.tags, w.description, w.project, w.any_worker, w.settings_id, w.max_attempts, w.steps,
                     w.expires_after, w.locks, w.lock_rule, w.requires, w.requires_of)
         )
         insert into builders (name, tags, description, project, any_worker, settings_id, max_attempts, steps, expires_after,
                               locks, lock_rule, requires, requires_of)
         select name, tags, description, project, any_worker, settings_id, max_attempts, steps, expires_after,
                locks, lock_rule, requires, requires_of
           from w where not exists (select 1 from builders b where b.name = w.name)",
        &all.names,
        &all.tags,
        &all.descriptions,
        &all.projects,
        &all.any_worker,
        &all.settings,
        &all.max_attempts,
        &all.steps,
        &all.expires as &[Option<i64>],
        &all.locks as &[Option<Value>],
        &all.lock_rules,
        &all.requires as &[Option<String>],
        &all.requires_of as &[Option<Value>]
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "update builders b set active = false
          where active and not virtual and not exists (select 1 from unnest($1::text[]) n where n = b.name)",
        &all.names
    )
    .execute(&mut *c)
    .await?;
    workers_and_lanes(c, &all.names, wanted).await
}

/// Who may build what, and a lane for each builder.
async fn workers_and_lanes(c: &mut PgConnection, names: &[String], wanted: &[WantedBuilder]) -> Result<()> {
    let known = crate::labels::labels_all(c, wanted.iter().any(|b| b.requires.is_some())).await?;
    let pairs = wanted.iter().flat_map(|b| {
        let named: Vec<String> = match &b.requires {
            None => b.workernames.clone(),
            Some(requires) => {
                let of = (!b.any_worker).then_some(b.workernames.as_slice());
                crate::labels::fitting(requires, of, &known)
            }
        };
        named.into_iter().map(|w| (b.name.clone(), w))
    });
    let (builders, workers): (Vec<String>, Vec<String>) = pairs.unzip();
    sqlx::query!(
        "with w as (
             select distinct b.id, u.worker
               from unnest($2::text[], $3::text[]) u(name, worker) join builders b on b.name = u.name
         ), gone as (
             delete from builder_workers x using builders b, unnest($1::text[]) n
              where b.name = n and x.builder_id = b.id
                and not exists (select 1 from w where w.id = x.builder_id and w.worker = x.worker_name)
         )
         insert into builder_workers (builder_id, worker_name)
         select id, worker from w
          where not exists (select 1 from builder_workers x where x.builder_id = w.id and x.worker_name = w.worker)",
        names,
        &builders,
        &workers
    )
    .execute(&mut *c)
    .await?;
    // A claim or a submit may make other lanes meanwhile, and this one.
    sqlx::query!(
        "insert into lanes (builder_id, priority)
         select b.id, 0 from unnest($1::text[]) n join builders b on b.name = n
          where not exists (select 1 from lanes l where l.builder_id = b.id and l.priority = 0 and l.trusted
                               and l.worker_name is null and l.virtual_id is null)
         on conflict do nothing",
        names
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Shares of projects.
pub async fn shares(c: &mut PgConnection, wanted: &[(String, f64)]) -> Result<()> {
    let (names, shares): (Vec<String>, Vec<f64>) = wanted.iter().cloned().unzip();
    sqlx::query!("delete from project_shares where project <> all($1)", &names).execute(&mut *c).await?;
    sqlx::query!(
        "insert into project_shares as s (project, share) select * from unnest($1::text[], $2::float8[])
         on conflict (project) do update set share = excluded.share where s.share <> excluded.share",
        &names,
        &shares
    )
    .execute(c)
    .await?;
    Ok(())
}

/// The hash and content of a builder's settings.
fn settings_of(b: &WantedBuilder) -> (Vec<u8>, (Value, Value)) {
    let json = |p| serde_json::to_value(p).unwrap_or_default();
    let (properties, defaults): (Value, Value) = (json(&b.properties), json(&b.default_properties));
    (Sha256::digest(format!("{properties}\0{defaults}")).to_vec(), (properties, defaults))
}

/// Rows of these settings: equal ones are one row, and a row never changes.
async fn settings_intern(c: &mut PgConnection, settings: BTreeMap<Vec<u8>, (Value, Value)>) -> Result<()> {
    let (hashes, values): (Vec<Vec<u8>>, Vec<(Value, Value)>) = settings.into_iter().unzip();
    let (properties, defaults): (Vec<Value>, Vec<Value>) = values.into_iter().unzip();
    sqlx::query!(
        "insert into builder_settings (hash, properties, default_properties)
         select h, p, d from unnest($1::bytea[], $2::jsonb[], $3::jsonb[]) u(h, p, d)
          where not exists (select 1 from builder_settings s where s.hash = u.h)
         on conflict do nothing",
        &hashes,
        &properties,
        &defaults
    )
    .execute(c)
    .await?;
    Ok(())
}

/// A scheduler that is new starts at the horizon of now: it sees every change
/// that commits after its activation, and of those before it only what came
/// since the oldest transaction began that is still open. One that comes back
/// after being inactive starts so too, and one that begins to look at changes.
/// One of another kind begins with an empty state, which the former kind's rule
/// wrote. Whether it is enabled, people say: that stays (SC-08).
pub async fn schedulers(c: &mut PgConnection, wanted: &[WantedScheduler]) -> Result<()> {
    fn column<T>(wanted: &[WantedScheduler], f: impl Fn(&WantedScheduler) -> T) -> Vec<T> {
        wanted.iter().map(f).collect()
    }
    let names = column(wanted, |s| s.name.clone());
    sqlx::query!(
        "with w as (
             select u.n, u.d, u.watches, u.hears, u.looks, u.summary, s.id,
                    coalesce(s.active and k.was is not distinct from k.is, false) as keep
               from unnest($1::text[], $2::jsonb[], $3::bool[], $4::bool[], $5::bool[], $6::text[])
                    u(n, d, watches, hears, looks, summary)
               left join schedulers s on s.name = u.n
               cross join lateral (select
                   -- A kind is a text or an object of one key; what is only declared has its kind inside.
                   array[coalesce(jsonb_path_query_first(s.definition, '$.kind.keyvalue().key', '{}', true),
                                  s.definition -> 'kind'), s.definition #> '{kind,declared,kind}'] as was,
                   array[coalesce(jsonb_path_query_first(u.d, '$.kind.keyvalue().key', '{}', true),
                                  u.d -> 'kind'), u.d #> '{kind,declared,kind}'] as is) k
         ), changed as (
             update schedulers s
                set definition = w.d, active = true, watches = w.watches, hears = w.hears,
                    cursor_xid = case when s.active and s.watches then s.cursor_xid else tidemill_horizon() end,
                    cursor_id = case when s.active and s.watches then s.cursor_id else 0 end,
                    heard_xid = case when s.active and s.hears then s.heard_xid else tidemill_horizon() end,
                    heard_id = case when s.active and s.hears then s.heard_id else 0 end,
                    state = case when w.keep then s.state else '{}' end,
                    summary = case when w.keep then s.summary else w.summary end,
                    next_at = case when w.looks then tidemill_now() when w.keep then s.next_at end,
                    run_asked_at = case when s.active then s.run_asked_at end,
                    run_asked_by = case when s.active then s.run_asked_by end
               from w
              where s.id = w.id and (s.definition <> w.d or not s.active
                                     or (s.watches, s.hears) <> (w.watches, w.hears))
         )
         insert into schedulers (name, definition, cursor_xid, cursor_id, next_at, watches, hears, summary)
         select n, d, tidemill_horizon(), 0, case when looks then tidemill_now() end, watches, hears, summary
           from w where id is null",
        &names,
        &column(wanted, |s| s.definition.clone()),
        &column(wanted, |s| s.watches),
        &column(wanted, |s| s.hears),
        &column(wanted, |s| s.looks),
        &column(wanted, |s| s.summary.clone()),
    )
    .execute(&mut *c)
    .await?;
    // What failed may be repaired by this revision, in a function that no definition shows.
    sqlx::query!("update schedulers set retry_at = null, failures = 0 where failures > 0").execute(&mut *c).await?;
    sqlx::query!(
        "update schedulers s set active = false
          where active and not exists (select 1 from unnest($1::text[]) n where n = s.name)",
        &names
    )
    .execute(&mut *c)
    .await?;
    // What was waited for before it went, or before it became something else, is not waited for any more.
    sqlx::query!(
        "delete from scheduler_upstreams p using schedulers s
          where s.id = p.scheduler_id and not (s.active and s.definition #> '{kind,dependent}' is not null)"
    )
    .execute(c)
    .await?;
    Ok(())
}

/// One whose definition did not change is left running (C-32).
pub async fn change_sources(c: &mut PgConnection, wanted: &[(String, Value)]) -> Result<()> {
    let (names, definitions): (Vec<String>, Vec<Value>) = wanted.iter().cloned().unzip();
    sqlx::query!(
        "with w as (select n, d from unnest($1::text[], $2::jsonb[]) u(n, d)
         ), place(p) as (
             values ('$.kind.keyvalue().key'), ('$.kind.declared.kind'), ('$.**.repourl'), ('$.**.args.owner'),
                    ('$.**.args.repo'), ('$.**.args.slug'), ('$.**.args.baseURL'), ('$.**.args.http_url'),
                    ('$.**.args.maildir'), ('$.**.only_tags')
         ), changed as (
             update change_sources s
                set definition = w.d, active = true, next_at = tidemill_now(), error = null, errors = 0,
                    -- A poll that runs now asked by the old definition: what it finds is not stored.
                    holder = null, held_until = null,
                    -- Another kind or another place begins anew (D-38).
                    cursor = case when array(select jsonb_path_query_array(s.definition, p::jsonpath) from place p)
                                       = array(select jsonb_path_query_array(w.d, p::jsonpath) from place p)
                                  then s.cursor end
               from w
              where s.name = w.n and (s.definition <> w.d or not s.active)
         )
         insert into change_sources (name, definition)
         select n, d from w where not exists (select 1 from change_sources s where s.name = w.n)",
        &names,
        &definitions
    )
    .execute(&mut *c)
    .await?;
    // What failed may be repaired by this revision, in a function that no definition shows.
    sqlx::query!(
        "update change_sources set next_at = tidemill_now()
          where active and errors > 0 and next_at is not null and next_at > tidemill_now() and held_until is null"
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "update change_sources s set active = false, holder = null, held_until = null
          where active and not exists (select 1 from unnest($1::text[]) n where n = s.name)",
        &names
    )
    .execute(c)
    .await?;
    Ok(())
}
