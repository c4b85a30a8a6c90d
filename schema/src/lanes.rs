//! Lanes: a builder at one priority, apart for what not every worker of it may
//! take. What a request says of that are its terms; they never change, but for
//! trust, which a claim may take away (`request_distrust` in 0002_claim.sql).
//!
//! Lanes are made when first needed and stay: there are at most as many as
//! builders times priorities times workers that were ever chosen.

use crate::Result;
use crate::collapse::CollapseKey;
use crate::virtual_builders::virtual_builder;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tidemill_model::{BuilderId, BuildsetId, Properties};

/// Longest name of a worker that is looked for.
const NAME_MAX: usize = 200;

/// Of the requests of a buildset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Only this worker may build them.
    pub worker: Option<String>,
    /// False: nothing for workers that take trusted changes only.
    pub trusted: bool,
    /// The virtual builder under which the builds appear.
    pub virtual_id: Option<i64>,
}

impl Terms {
    /// Those of a buildset that was just stored, and the lanes of its requests.
    pub async fn of(
        c: &mut PgConnection,
        buildset: BuildsetId,
        builders: &[i64],
        priority: i32,
        properties: &Properties,
    ) -> Result<(Terms, Vec<i64>)> {
        let worker = chosen_worker(properties);
        let virtual_id = match builders.first() {
            Some(builder) => virtual_builder(c, properties, BuilderId(*builder)).await?,
            None => None,
        };
        // Where no worker asks for it, nobody wants to know, and a claim of one that does later looks itself.
        let found = sqlx::query!(
            r#"with t as materialized (
                 select not exists (select from worker_definitions d where d.trusted_only) or buildset_trusted($3) as trusted
             )
             select t.trusted as "trusted!",
                    array(select l.id from lanes l
                           where l.builder_id = any($1) and l.priority = $2 and l.trusted = t.trusted
                             and l.worker_name is not distinct from $4
                             and l.virtual_id is not distinct from $5) as "lanes!"
               from t"#,
            builders,
            priority,
            buildset.0,
            worker,
            virtual_id
        )
        .fetch_one(&mut *c)
        .await?;
        let terms = Terms { worker, trusted: found.trusted, virtual_id };
        if found.lanes.len() == builders.len() {
            return Ok((terms, found.lanes));
        }
        sqlx::query!(
            "insert into lanes (builder_id, priority, worker_name, trusted, virtual_id)
             select distinct b, $2::int, $3::text, $4::bool, $5::bigint from unnest($1::bigint[]) b order by b
             on conflict do nothing",
            builders,
            priority,
            terms.worker,
            terms.trusted,
            terms.virtual_id
        )
        .execute(&mut *c)
        .await?;
        let lanes = sqlx::query_scalar!(
            "select l.id from lanes l
              where l.builder_id = any($1) and l.priority = $2 and l.trusted = $4
                and l.worker_name is not distinct from $3 and l.virtual_id is not distinct from $5",
            builders,
            priority,
            terms.worker,
            terms.trusted,
            terms.virtual_id
        )
        .fetch_all(c)
        .await?;
        Ok((terms, lanes))
    }

    /// Requests of different terms never become one.
    pub fn key(&self, key: CollapseKey) -> CollapseKey {
        if self.worker.is_none() && self.trusted && self.virtual_id.is_none() {
            return key;
        }
        let mut hash = Sha256::new();
        hash.update(key.0);
        hash.update([u8::from(self.trusted)]);
        hash.update(self.virtual_id.unwrap_or_default().to_be_bytes());
        hash.update(self.worker.as_deref().unwrap_or_default());
        let mut own = [0; 16];
        own.copy_from_slice(&hash.finalize()[..16]);
        CollapseKey(own)
    }
}

/// The worker that the property `workername` of a buildset names: as in Buildbot, it is
/// chosen for all of its requests.
fn chosen_worker(properties: &Properties) -> Option<String> {
    let name = properties.get("workername")?.as_str()?.trim();
    let name: String = name.chars().filter(|c| *c != '\0').take(NAME_MAX).collect();
    Some(name).filter(|n| !n.is_empty())
}

/// The lanes of these builders at this priority for what any of their workers may take.
pub(crate) async fn lanes_ensure(c: &mut PgConnection, builders: &[i64], priority: i32) -> Result<Vec<i64>> {
    sqlx::query!(
        "insert into lanes (builder_id, priority)
         select distinct b, $2::int from unnest($1::bigint[]) b
          where not exists (select from lanes l where l.builder_id = b and l.priority = $2 and l.trusted
                               and l.worker_name is null and l.virtual_id is null)
          order by b
         on conflict do nothing",
        builders,
        priority
    )
    .execute(&mut *c)
    .await?;
    Ok(sqlx::query_scalar!(
        "select id from lanes
          where builder_id = any($1) and priority = $2 and trusted and worker_name is null and virtual_id is null",
        builders,
        priority
    )
    .fetch_all(c)
    .await?)
}

/// The lanes of these requests at another priority.
pub(crate) async fn lanes_ensure_for(c: &mut PgConnection, requests: &[i64], priority: i32) -> Result<()> {
    sqlx::query!(
        "insert into lanes (builder_id, priority, worker_name, trusted, virtual_id)
         select distinct r.builder_id, $2::int, r.worker_name, r.trusted, r.virtual_id
           from build_requests r
          where r.id = any($1)
            and not exists (select from lanes l
                             where l.builder_id = r.builder_id and l.priority = $2 and l.trusted = r.trusted
                               and l.worker_name is not distinct from r.worker_name
                               and l.virtual_id is not distinct from r.virtual_id)
          order by 1
         on conflict do nothing",
        requests,
        priority
    )
    .execute(c)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: serde_json::Value) -> Option<String> {
        let mut properties = Properties::new();
        properties.set("workername", value, "test");
        chosen_worker(&properties)
    }

    #[test]
    fn only_a_text_chooses_a_worker() {
        assert_eq!(named("ada".into()).as_deref(), Some("ada"));
        assert_eq!(named(" ".into()), None);
        assert_eq!(named(7.into()), None);
        assert_eq!(named("x".repeat(10_000).into()).map(|n| n.len()), Some(NAME_MAX));
    }

    #[test]
    fn other_terms_are_another_key() {
        let plain = Terms { worker: None, trusted: true, virtual_id: None };
        let key = CollapseKey([7; 16]);
        assert_eq!(plain.key(key), key);
        let of_ada = Terms { worker: Some("ada".into()), ..plain.clone() };
        assert_ne!(of_ada.key(key), Terms { worker: Some("bob".into()), ..plain.clone() }.key(key));
        assert_ne!(Terms { trusted: false, ..plain }.key(key), key);
    }
}
