//! What a replica keeps in memory about the active configuration to choose
//! lanes for a worker: refreshed on a wake and by a slow poll. Being late only
//! means looking into a lane too many or, until the refresh, one too few.

use crate::Result;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// Which lanes exist, and who may build what.
#[derive(Clone, Debug, Default)]
pub struct Eligibility {
    /// Builder of each lane of an active builder.
    pub lanes: HashMap<i64, i64>,
    /// Names of the active builders.
    pub names: HashMap<i64, String>,
    /// Builders that any worker may build.
    pub any_worker: HashSet<i64>,
    /// Builders by the name of a worker that may build them.
    pub by_worker: HashMap<String, HashSet<i64>>,
}

impl Eligibility {
    /// Whether this worker may build for this builder.
    pub fn may_build(&self, worker: &str, builder: i64) -> bool {
        self.any_worker.contains(&builder) || self.by_worker.get(worker).is_some_and(|b| b.contains(&builder))
    }

    /// Whether this worker may build what waits in this lane. Unknown lanes count as yes: the claim decides.
    pub fn may(&self, worker: &str, lane: i64) -> bool {
        let Some(builder) = self.lanes.get(&lane) else { return true };
        self.may_build(worker, *builder)
    }
}

pub async fn eligibility(c: &mut PgConnection) -> Result<Eligibility> {
    let lanes = sqlx::query!(
        "select l.id, l.builder_id, b.name, b.any_worker from lanes l join builders b on b.id = l.builder_id where b.active and not b.paused"
    )
    .fetch_all(&mut *c)
    .await?;
    let pairs = sqlx::query!(
        "select w.worker_name, w.builder_id from builder_workers w join builders b on b.id = w.builder_id where b.active"
    )
    .fetch_all(&mut *c)
    .await?;
    let mut found = Eligibility::default();
    for l in lanes {
        found.lanes.insert(l.id, l.builder_id);
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
