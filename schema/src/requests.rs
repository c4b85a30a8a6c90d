//! Buildsets and requests: what is to be built, and the queue of what could
//! start now.

use crate::changes::{clean, clean_json, clean_option};
use crate::collapse::{CollapseBy, CollapseKey, Fresh, Pairwise};
use crate::copy::BinaryCopy;
use crate::lanes::{Terms, lanes_ensure};
use crate::sourcestamps::sourcestamps_intern;
use crate::{Error, Result};
use postgres_types::Type;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use tidemill_model::{BuildId, BuilderId, BuildsetId, ChangeId, Properties, RequestId, Results, SourceStamp};

/// One scheduling decision.
#[derive(Clone, Debug, Default)]
pub struct NewBuildset {
    pub reason: String,
    /// Name of the scheduler, or who else decided («force»).
    pub scheduler: String,
    /// One for each codebase.
    pub sourcestamps: Vec<SourceStamp>,
    pub properties: Properties,
    /// The changes that led to it.
    pub changes: Vec<ChangeId>,
    /// By name; each gets a request.
    pub builders: Vec<String>,
    pub priority: i32,
    pub external_idstring: Option<String>,
    /// Asked again with the same key, the first buildset is the answer.
    pub dedupe_key: Option<String>,
    /// The build that asked for it, and how that calls it.
    pub parent: Option<(BuildId, Option<String>)>,
    /// That build waits for it: its requests merge with no others.
    pub waited_for: bool,
    /// The build that this repeats: the first of a chain of rebuilds.
    pub rebuilt: Option<BuildId>,
    /// For builders whose requests may become one; the others' never do.
    pub collapse: HashMap<String, CollapseBy>,
}

/// What [`buildset_insert`] made.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub buildset: BuildsetId,
    pub requests: Vec<RequestId>,
    /// Lanes that now hold work: for the wake after the commit.
    pub lanes: Vec<i64>,
    /// Those that may become one with others by their key: for [`crate::collapse`], the last act of
    /// the transaction.
    pub fresh: Vec<Fresh>,
    /// Those that are compared with others one by one.
    pub pairwise: Vec<Pairwise>,
}

/// Stores a buildset and puts its requests into the queue; merging them with
/// older ones is the caller's last act. A set without
/// builders is complete at once (D-30). An unknown builder is an error that
/// names it; a retired one is accepted and waits, visibly.
pub async fn buildset_insert(c: &mut PgConnection, new: &NewBuildset) -> Result<Submitted> {
    let builders = builder_ids(c, &new.builders).await?;
    let stamps: Vec<i64> = sourcestamps_intern(c, &cleaned_stamps(new)).await?.iter().map(|s| s.0).collect();
    let changes: Vec<i64> = new.changes.iter().map(|c| c.0).collect();
    let properties = clean_json(&serde_json::to_value(&new.properties).unwrap_or_default());
    let empty = builders.is_empty().then_some(Results::Success.code());
    let buildset = sqlx::query_scalar!(
        r#"with made as (
             insert into buildsets (reason, scheduler, external_idstring, properties, complete_at, results,
                                    parent_build_id, parent_relationship, rebuilt_build_id, dedupe_key)
             values ($1, $2, $3, $4, case when $5::smallint is null then null else tidemill_now() end, $5, $8, $9, $10,
                     $11)
             on conflict (dedupe_key) where dedupe_key is not null do nothing
             returning id
         ), stamps as (
             insert into buildset_sourcestamps select id, s from made, unnest($6::bigint[]) s
         ), blamed as (
             insert into buildset_changes select id, h from made, unnest($7::bigint[]) h
         ), told as (
             insert into events (kind, data)
             select e.kind, e.data from made m
              cross join lateral (
                    select 1, 'buildsets.new', jsonb_build_object('bsid', m.id)
                     union all
                    select 2, 'buildsets.complete', jsonb_build_object('bsid', m.id, 'results', $5::smallint)
                     where $5::smallint is not null) e(place, kind, data)
              order by e.place
         )
         select id as "id!" from made"#,
        clean(&new.reason),
        clean(&new.scheduler),
        clean_option(&new.external_idstring),
        properties,
        empty,
        &stamps,
        &changes,
        new.parent.as_ref().map(|(build, _)| build.0),
        new.parent.as_ref().and_then(|(_, relationship)| clean_option(relationship)),
        new.rebuilt.map(|b| b.0),
        clean_option(&new.dedupe_key)
    )
    .fetch_optional(&mut *c)
    .await?;
    let Some(buildset) = buildset else { return buildset_of_key(c, new).await };
    requests_insert(c, BuildsetId(buildset), &builders, new).await
}

/// What was made of the same key before: nothing of it is new.
async fn buildset_of_key(c: &mut PgConnection, new: &NewBuildset) -> Result<Submitted> {
    let found = sqlx::query!(
        r#"select s.id, array(select r.id from build_requests r where r.buildset_id = s.id order by r.id) as "requests!"
             from buildsets s where s.dedupe_key = $1"#,
        clean_option(&new.dedupe_key)
    )
    .fetch_optional(c)
    .await?
    .ok_or_else(|| Error::Conflict("the buildset of this key is being removed; ask again".into()))?;
    let requests = found.requests.into_iter().map(RequestId).collect();
    let (lanes, fresh, pairwise) = Default::default();
    Ok(Submitted { buildset: BuildsetId(found.id), requests, lanes, fresh, pairwise })
}

async fn requests_insert(
    c: &mut PgConnection,
    buildset: BuildsetId,
    builders: &[BuilderId],
    new: &NewBuildset,
) -> Result<Submitted> {
    let (requests, lanes, fresh, pairwise) = Default::default();
    let mut made = Submitted { buildset, requests, lanes, fresh, pairwise };
    if builders.is_empty() {
        return Ok(made);
    }
    let builders: Vec<i64> = builders.iter().map(|b| b.0).collect();
    let (terms, lanes) = Terms::of(c, buildset, &builders, new.priority, &new.properties).await?;
    let by = |name: &String| new.collapse.get(name);
    let keys: Vec<Option<Vec<u8>>> =
        new.builders.iter().map(|b| by(b)?.key().map(|k| terms.key(k).0.to_vec())).collect();
    let rows = sqlx::query!(
        r#"with made as (
             insert into build_requests (buildset_id, builder_id, priority, collapse_key, waited_for,
                                         worker_name, trusted, virtual_id)
             select $1, b, $3, k, $5, $6, $7, $8 from unnest($2::bigint[], $4::bytea[]) u(b, k)
             returning id, builder_id, collapse_key
         ), queued as (
             insert into request_queue (lane, request_id, buildset_id)
             select l.id, m.id, $1 from made m join lanes l on l.builder_id = m.builder_id and l.id = any($9)
             order by m.id
             returning lane, request_id
         ), told as (
             insert into events (kind, builder_id, data)
             select 'buildrequests.new', builder_id, jsonb_build_object('buildrequestid', id, 'bsid', $1::bigint) from made
         )
         select q.lane as "lane!", m.id as "request_id!", m.builder_id as "builder!", m.collapse_key
           from queued q join made m on m.id = q.request_id order by m.id"#,
        buildset.0,
        &builders,
        new.priority,
        &keys as &[Option<Vec<u8>>],
        new.waited_for,
        terms.worker,
        terms.trusted,
        terms.virtual_id,
        &lanes
    )
    .fetch_all(&mut *c)
    .await?;
    crate::error::expect("requests queued", builders.len() as u64, rows.len() as u64)?;
    debug_assert!(rows.iter().all(|r| lanes.contains(&r.lane)));
    for row in rows {
        let request = RequestId(row.request_id);
        made.requests.push(request);
        made.lanes.push(row.lane);
        let builder = BuilderId(row.builder);
        let key = row.collapse_key.and_then(|k| <[u8; 16]>::try_from(k).ok());
        made.fresh.extend(key.map(|k| Fresh { builder, key: CollapseKey(k) }));
        let name = builders.iter().position(|b| *b == row.builder).map(|at| new.builders[at].clone());
        let pairwise = name.filter(|n| matches!(by(n), Some(CollapseBy::Pairs)));
        made.pairwise.extend(pairwise.map(|name| Pairwise { request, builder, name }));
    }
    Ok(made)
}

async fn builder_ids(c: &mut PgConnection, names: &[String]) -> Result<Vec<BuilderId>> {
    let rows = sqlx::query!(
        "select n.name as \"name!\", b.id as \"id?\", b.virtual as \"virtual?\"
           from unnest($1::text[]) with ordinality n(name, ord)
           left join builders b on b.name = n.name order by n.ord",
        names
    )
    .fetch_all(&mut *c)
    .await?;
    if let Some(row) = rows.iter().find(|r| r.r#virtual == Some(true)) {
        let name = &row.name;
        return Err(Error::Conflict(format!(
            "builder `{name}` is virtual: builds of other builders appear under it, and none is asked of it"
        )));
    }
    rows.into_iter()
        .map(|r| {
            r.id.map(BuilderId).ok_or_else(|| Error::NotFound(format!("there is no builder named `{}`", r.name).into()))
        })
        .collect()
}

fn cleaned_stamps(new: &NewBuildset) -> Vec<SourceStamp> {
    new.sourcestamps
        .iter()
        .map(|s| SourceStamp {
            codebase: clean(&s.codebase),
            repository: clean(&s.repository),
            project: clean(&s.project),
            branch: clean_option(&s.branch),
            revision: clean_option(&s.revision),
            patch: s.patch.clone(),
        })
        .collect()
}

/// Puts `count` requests of one builder, all of one buildset, into the queue:
/// for imports and generated load. The requests and their queue rows go by binary
/// COPY; the event stream does not tell of each.
pub async fn requests_insert_bulk(
    c: &mut PgConnection,
    buildset: BuildsetId,
    builder: BuilderId,
    count: usize,
) -> Result<(Vec<RequestId>, Vec<i64>)> {
    let lanes = lanes_ensure(c, &[builder.0], 0).await?;
    let ids = sqlx::query_scalar!(
        r#"select nextval(pg_get_serial_sequence('build_requests', 'id')) as "id!" from generate_series(1, $1)"#,
        count as i64
    )
    .fetch_all(&mut *c)
    .await?;
    let mut requests = BinaryCopy::new(&[Type::INT8, Type::INT8, Type::INT8]);
    let mut queue = BinaryCopy::new(&[Type::INT8, Type::INT8, Type::INT8]);
    for id in &ids {
        requests.row(&[id, &buildset.0, &builder.0]).expect("three bigints");
        queue.row(&[&lanes[0], id, &buildset.0]).expect("three bigints");
    }
    requests.send(c, "build_requests (id, buildset_id, builder_id)").await?;
    queue.send(c, "request_queue (lane, request_id, buildset_id)").await?;
    Ok((ids.into_iter().map(RequestId).collect(), lanes))
}

/// Moves what has waited long enough back to the queue, with a new ticket.
/// Returns the lanes that got work.
pub async fn waits_release(c: &mut PgConnection) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        r#"with due as (
             delete from request_waits where request_id = any(array(
                 select request_id from request_waits where until <= tidemill_now()
                  order by until limit 5000 for update skip locked))
             returning request_id, lane, attempt
         ), queued as (
             insert into request_queue (lane, request_id, buildset_id, attempt)
             select d.lane, d.request_id, r.buildset_id, d.attempt from due d join build_requests r on r.id = d.request_id
             returning lane
         )
         select distinct lane as "lane!" from queued"#
    )
    .fetch_all(&mut *c)
    .await?)
}

/// Cancels requests that no build works on. Returns those that were cancelled:
/// one that a worker has claimed meanwhile is not among them (stop its build).
/// A collapsed one is cancelled alone: those that became part of it follow the
/// request that it had become part of.
pub async fn requests_cancel(c: &mut PgConnection, requests: &[RequestId], reason: &str) -> Result<Vec<RequestId>> {
    requests_end(c, requests, Results::Cancelled, reason).await
}

/// The same with another result.
pub(crate) async fn requests_end(
    c: &mut PgConnection,
    requests: &[RequestId],
    results: Results,
    reason: &str,
) -> Result<Vec<RequestId>> {
    let ids: Vec<i64> = requests.iter().map(|r| r.0).collect();
    buildsets_lock(c, requests).await?;
    let taken = sqlx::query_scalar!(
        r#"with q as (
             delete from request_queue where request_id = any($1) returning request_id
         ), w as (
             delete from request_waits where request_id = any($1) returning request_id
         )
         select request_id as "id!" from q union all select request_id from w"#,
        &ids
    )
    .fetch_all(&mut *c)
    .await?;
    let mut closing: Vec<_> = taken.iter().map(|id| Closing::must(RequestId(*id), results)).collect();
    let collapsed = crate::collapse::requests_part(c, &ids).await?;
    closing.extend(collapsed.into_iter().map(|id| Closing { must: false, ..Closing::must(id, results) }));
    let closed = requests_complete(c, &closing, reason).await?;
    // Not those that went along.
    let meant: HashSet<RequestId> = requests.iter().copied().collect();
    Ok(closed.into_iter().filter(|id| meant.contains(id)).collect())
}

/// Locks the buildsets of these requests, and of all that may end with them, in the order in which
/// `requests_complete` does. Whoever ends requests in several steps calls it once, with all.
pub(crate) async fn buildsets_lock(c: &mut PgConnection, requests: &[RequestId]) -> Result<()> {
    let ids: Vec<i64> = requests.iter().map(|r| r.0).collect();
    sqlx::query!(
        "with recursive all_of(id) as (
             select u.id from unnest($1::bigint[]) u(id)
             union
             select r.id
               from all_of a cross join lateral (
                    select k.id from build_requests k where k.collapsed_into = a.id offset 0) r
         )
         select s.id
           from all_of a
          cross join lateral (select k.buildset_id from build_requests k where k.id = a.id offset 0) r
           join buildsets s on s.id = r.buildset_id
          order by s.id for update of s",
        &ids
    )
    .fetch_all(c)
    .await?;
    Ok(())
}

/// A request that ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub request: RequestId,
    pub results: Results,
    /// It cannot have ended otherwise: the caller took it out of the place where it was.
    pub must: bool,
}

impl Closing {
    pub fn must(request: RequestId, results: Results) -> Closing {
        Closing { request, results, must: true }
    }
}

/// Completes open requests, with them those that became part of them, and the
/// buildsets of which they were the last. Returns all that it completed.
/// Only [`crate::builds::builds_finish`] and [`requests_end`] call it.
pub(crate) async fn requests_complete(
    c: &mut PgConnection,
    closing: &[Closing],
    reason: &str,
) -> Result<Vec<RequestId>> {
    if closing.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = closing.iter().map(|k| k.request.0).collect();
    let results: Vec<i16> = closing.iter().map(|k| k.results.code()).collect();
    // The buildset rows are locked before anything is read of them: of two
    // transactions that complete the last two requests, the second sees the first.
    // Nothing becomes part of a request any more that left the queue.
    let rows = sqlx::query!(
        r#"with recursive all_of(id, results) as (
             select u.id, u.results from unnest($1::bigint[], $2::smallint[]) u(id, results)
             union all
             select r.id, a.results
               from all_of a cross join lateral (
                    select k.id from build_requests k where k.collapsed_into = a.id offset 0) r
         )
         select a.id as "id!", a.results as "results!", s.id as buildset
           from all_of a
          cross join lateral (select k.buildset_id from build_requests k where k.id = a.id offset 0) r
           join buildsets s on s.id = r.buildset_id
          order by s.id for update of s"#,
        &ids,
        &results
    )
    .fetch_all(&mut *c)
    .await?;
    let mut buildsets: Vec<i64> = rows.iter().map(|r| r.buildset).collect();
    buildsets.dedup();
    let (ids, results): (Vec<i64>, Vec<i16>) = rows.iter().map(|r| (r.id, r.results)).unzip();
    let changed = sqlx::query_scalar!(
        r#"with u as materialized (
             select u.id, u.results from unnest($1::bigint[], $2::smallint[]) u(id, results)
              cross join lateral (
                    select k.ctid from build_requests k
                     where k.id = u.id and k.complete_at is null for update) r
         ), done as (
             -- Not through its ctid: who merges or parts requests does not hold the buildset's
             -- lock, and a row that it moved meanwhile is not in this statement's snapshot.
             update build_requests r
                set complete_at = tidemill_now(), results = u.results, complete_reason = nullif($3::text, '')
               from u where r.id = any(array(select id from u)) and r.id = u.id
             returning r.id, r.builder_id, r.buildset_id, r.results
         ), told as (
             insert into events (kind, builder_id, data)
             select 'buildrequests.complete', builder_id,
                    jsonb_build_object('buildrequestid', id, 'bsid', buildset_id, 'results', results, 'reason', $3::text)
               from done
         )
         select id as "id!" from done"#,
        &ids,
        &results,
        clean(reason)
    )
    .fetch_all(&mut *c)
    .await?;
    let must = closing.iter().filter(|k| k.must);
    let all: HashSet<i64> = changed.iter().copied().collect();
    let done = must.clone().filter(|k| all.contains(&k.request.0)).count();
    crate::error::expect("open requests completed", must.count() as u64, done as u64)?;
    sqlx::query!(
        "with done as (
             update buildsets s
                set complete_at = tidemill_now(),
                    results = coalesce((select r.results from build_requests r
                                         where r.buildset_id = s.id and r.results <> 3
                                         order by results_rank(r.results) desc limit 1), 0)
              where s.id = any($1) and s.complete_at is null
                and (select r.id from build_requests r
                      where r.buildset_id = s.id and r.complete_at is null limit 1) is null
             returning s.id, s.results
         )
         insert into events (kind, data)
         select 'buildsets.complete', jsonb_build_object('bsid', id, 'results', results) from done",
        &buildsets
    )
    .execute(&mut *c)
    .await?;
    Ok(changed.into_iter().map(RequestId).collect())
}
