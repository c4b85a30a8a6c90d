//! What became of the builds that a trigger started, for the build that waits.

use super::Key;
use crate::Result;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::HashMap;
use tidemill_model::Results;
use tidemill_model::wire::{TriggeredBuild, TriggeredRequest, TriggeredSet};

/// The state of all that the trigger made, without addresses of pages. None if
/// the lease of its build is gone, or the trigger is not stored.
pub async fn trigger_watch(c: &mut PgConnection, key: Key, token: &str) -> Result<Option<Vec<TriggeredSet>>> {
    let rows = sqlx::query!(
        r#"select s.scheduler, s.unimportant, s.buildset_id,
                  s.buildset_id is null or b.complete_at is not null as "complete!", b.results as "results?"
             from leases l
             join triggers t on t.build_id = l.build_id and t.step = $3 and t.nth = $4
             join trigger_buildsets s on s.trigger_id = t.id
             left join buildsets b on b.id = s.buildset_id
            where l.build_id = $1 and l.token = $2
            order by s.position"#,
        key.build.0,
        token.replace('\0', ""),
        key.step,
        key.nth
    )
    .fetch_all(&mut *c)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let ids: Vec<i64> = rows.iter().filter_map(|r| r.buildset_id).collect();
    let mut requests = requests(c, &ids).await?;
    let sets = rows.into_iter().map(|r| TriggeredSet {
        scheduler: r.scheduler,
        unimportant: r.unimportant,
        buildset: r.buildset_id,
        complete: r.complete,
        results: r.results.and_then(|code| Results::try_from(code).ok()),
        requests: r.buildset_id.and_then(|id| requests.remove(&id)).unwrap_or_default(),
    });
    Ok(Some(sets.collect()))
}

/// By buildset.
async fn requests(c: &mut PgConnection, buildsets: &[i64]) -> Result<HashMap<i64, Vec<TriggeredRequest>>> {
    let rows = sqlx::query!(
        r#"select r.buildset_id, r.id, u.name, r.complete_at is not null as "complete!", r.results,
                  (select coalesce(jsonb_agg(jsonb_build_object('build', b.id, 'number', b.number, 'state', b.state,
                                                                'results', b.results) order by b.id), '[]')
                     from builds b where b.request_id = r.id) as "builds!: Json<Vec<TriggeredBuild>>"
             from build_requests r join builders u on u.id = r.builder_id
            where r.buildset_id = any($1) order by r.id"#,
        buildsets
    )
    .fetch_all(c)
    .await?;
    let mut found: HashMap<i64, Vec<TriggeredRequest>> = HashMap::new();
    for r in rows {
        found.entry(r.buildset_id).or_default().push(TriggeredRequest {
            request: r.id,
            builder: r.name,
            complete: r.complete,
            results: r.results.and_then(|code| Results::try_from(code).ok()),
            builds: r.builds.0,
        });
    }
    Ok(found)
}

/// Names of the builders of those of these requests that nobody can start: workers
/// that may build them are connected, and each of their slots is held by a build
/// that waits for builds itself.
pub async fn pending_blocked(c: &mut PgConnection, requests: &[i64]) -> Result<Vec<String>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar!(
        r#"with able as materialized (
             select u.name, q.worker_name, q.trusted,
                    s.slots > (select count(*) from leases l
                                 join builds b on b.id = l.build_id
                                where b.worker_id = s.worker_id
                                  and exists (select 1 from triggers t
                                               where t.build_id = l.build_id and t.state = 'waiting')) as free
               from (select distinct r.builder_id, r.worker_name, r.trusted from build_requests r
                      where r.id = any($1) and r.complete_at is null) q
               join builders u on u.id = q.builder_id
               join worker_sessions s on s.state = 'open' and s.seen_at > tidemill_now() - interval '45 seconds'
               join workers w on w.id = s.worker_id and not w.paused
              where (u.any_worker
                     or exists (select 1 from builder_workers x where x.builder_id = u.id and x.worker_name = w.name))
                and (q.worker_name is null or w.name = q.worker_name)
                and (q.trusted or not worker_takes_trusted_only(w.name))
         )
         select distinct x.name as "name!"
           from (select name from able group by name, worker_name, trusted having not bool_or(free)) x order by 1"#,
        requests
    )
    .fetch_all(c)
    .await?)
}
