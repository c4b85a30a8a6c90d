//! What a replica keeps in memory about the active configuration to choose
//! lanes for a worker: refreshed on a wake and by a slow poll. Being late only
//! means looking into a lane too many or, until the refresh, one too few.

use crate::Result;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// Which lanes exist, and who may build what.
#[derive(Clone, Debug, Default)]
pub struct Eligibility {
    /// Lanes of active builders.
    pub lanes: HashMap<i64, LaneOf>,
    /// Names of the active builders.
    pub names: HashMap<i64, String>,
    /// Builders that any worker may build.
    pub any_worker: HashSet<i64>,
    /// Builders by the name of a worker that may build them.
    pub by_worker: HashMap<String, HashSet<i64>>,
    /// Names of the workers that take trusted changes only.
    pub trusted_only: HashSet<String>,
}

/// Whose a lane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOf {
    pub builder: i64,
    /// The only worker that may take what waits in it.
    pub worker: Option<String>,
    /// False: what outsiders sent.
    pub trusted: bool,
}

impl LaneOf {
    /// Whether it is not for all workers of its builder.
    pub fn is_apart(&self) -> bool {
        self.worker.is_some() || !self.trusted
    }
}

impl Eligibility {
    /// Whether this worker may build for this builder.
    pub fn may_build(&self, worker: &str, builder: i64) -> bool {
        self.any_worker.contains(&builder) || self.by_worker.get(worker).is_some_and(|b| b.contains(&builder))
    }

    /// Whether this worker may build what waits in this lane. Unknown lanes count as yes: the claim decides.
    pub fn may(&self, worker: &str, lane: i64) -> bool {
        let Some(lane) = self.lanes.get(&lane) else { return true };
        self.may_build(worker, lane.builder)
            && lane.worker.as_deref().is_none_or(|chosen| chosen == worker)
            && (lane.trusted || !self.trusted_only.contains(worker))
    }
}

pub async fn eligibility(c: &mut PgConnection) -> Result<Eligibility> {
    let lanes = sqlx::query!(
        "select l.id, l.builder_id, l.worker_name, l.trusted, b.name, b.any_worker
           from lanes l join builders b on b.id = l.builder_id where b.active and not b.paused"
    )
    .fetch_all(&mut *c)
    .await?;
    let pairs = sqlx::query!(
        "select w.worker_name, w.builder_id from builder_workers w join builders b on b.id = w.builder_id where b.active"
    )
    .fetch_all(&mut *c)
    .await?;
    let trusted_only =
        sqlx::query_scalar!("select worker_name from worker_definitions where trusted_only").fetch_all(c).await?;
    let mut found = Eligibility { trusted_only: trusted_only.into_iter().collect(), ..Eligibility::default() };
    for l in lanes {
        let of = LaneOf { builder: l.builder_id, worker: l.worker_name, trusted: l.trusted };
        found.lanes.insert(l.id, of);
        if l.any_worker {
            found.any_worker.insert(l.builder_id);
        }
        found.names.entry(l.builder_id).or_insert(l.name);
    }
    for p in pairs {
        found.by_worker.entry(p.worker_name).or_default().insert(p.builder_id);
    }
    Ok(found)
}

/// The lanes that hold anything, by a loose scan of the queue's key: as many
/// probes as lanes that hold something, whatever the depth.
pub async fn lanes_waiting(c: &mut PgConnection) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        r#"with recursive l(lane) as (
             (select lane from request_queue order by lane limit 1)
             union all
             select (select q.lane from request_queue q where q.lane > l.lane order by q.lane limit 1)
               from l where l.lane is not null
         )
         select lane as "lane!" from l where lane is not null"#
    )
    .fetch_all(c)
    .await?)
}
