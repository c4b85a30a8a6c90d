//! Labels of workers, and which workers fit a builder's requirement.
//!
//! Who fits is worked out when it can change: at an activation for every builder
//! with a requirement, at a hello for the worker that said it. The result are
//! rows of `builder_workers` as if the builder had named those workers, so a
//! claim costs the same with requirements as without.

use crate::Result;
use crate::changes::clean_json;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::BTreeMap;
use tidemill_model::WorkerId;
use tidemill_model::requires::{Labels, Requires};

/// What the revision that is being activated says of workers.
pub(crate) async fn worker_labels_store(c: &mut PgConnection, wanted: &[(String, Labels)]) -> Result<()> {
    let given = wanted.iter().filter(|(_, labels)| !labels.is_empty());
    let (names, labels): (Vec<String>, Vec<Value>) = given
        .map(|(name, labels)| (name.clone(), clean_json(&serde_json::to_value(labels).unwrap_or_default())))
        .unzip();
    sqlx::query!("delete from worker_labels where worker_name <> all($1)", &names).execute(&mut *c).await?;
    sqlx::query!(
        "insert into worker_labels as w (worker_name, labels) select * from unnest($1::text[], $2::jsonb[])
         on conflict (worker_name) do update set labels = excluded.labels where w.labels <> excluded.labels",
        &names,
        &labels
    )
    .execute(c)
    .await?;
    Ok(())
}

/// The labels of every enrolled worker; nothing if nobody `asks`.
pub(crate) async fn labels_all(c: &mut PgConnection, asks: bool) -> Result<BTreeMap<String, Labels>> {
    if !asks {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"select w.name as "name!", w.labels || coalesce(p.labels, '{}') as "labels!: Json<Labels>"
             from workers w left join worker_labels p on p.worker_name = w.name"#
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| (r.name, r.labels.0)).collect())
}

/// Names of the workers that fit; `of` are those that may, none is any.
pub(crate) fn fitting(requires: &str, of: Option<&[String]>, known: &BTreeMap<String, Labels>) -> Vec<String> {
    // A revision was checked before it came here; another release may have known more words.
    let Ok(requires) = Requires::parse(requires) else { return Vec::new() };
    let may = |name: &String| of.is_none_or(|names| names.contains(name));
    known.iter().filter(|(name, labels)| may(name) && requires.fits(labels)).map(|(name, _)| name.clone()).collect()
}

/// What a worker says of itself, at its hello, and for which builders that makes it fit. True if
/// that is other than before.
pub async fn worker_labelled(c: &mut PgConnection, worker: WorkerId, labels: &Labels) -> Result<bool> {
    let told = clean_json(&serde_json::to_value(labels).unwrap_or_default());
    sqlx::query!("update workers set labels = $2 where id = $1 and labels <> $2", worker.0, told)
        .execute(&mut *c)
        .await?;
    let asked = sqlx::query_scalar!(r#"select exists (select from builders where requires is not null) as "x!""#)
        .fetch_one(&mut *c)
        .await?;
    if !asked {
        return Ok(false);
    }
    // An activation works out the same for all workers: one after the other.
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtext('config.activate'))").execute(&mut *c).await?;
    let builders = sqlx::query!(
        r#"select b.id, b.requires as "requires!", b.requires_of from builders b where b.requires is not null and b.active"#
    )
    .fetch_all(&mut *c)
    .await?;
    let row = sqlx::query!(
        r#"select w.name as "name!", w.labels || coalesce(p.labels, '{}') as "labels!: Json<Labels>"
             from workers w left join worker_labels p on p.worker_name = w.name where w.id = $1"#,
        worker.0
    )
    .fetch_one(&mut *c)
    .await?;
    let known = BTreeMap::from([(row.name.clone(), row.labels.0)]);
    let all: Vec<i64> = builders.iter().map(|b| b.id).collect();
    let fit: Vec<i64> = builders
        .iter()
        .filter(|b| !fitting(&b.requires, b.requires_of.as_deref(), &known).is_empty())
        .map(|b| b.id)
        .collect();
    let changed = sqlx::query_scalar!(
        r#"with gone as (
             delete from builder_workers where worker_name = $1 and builder_id = any($2) and builder_id <> all($3)
             returning builder_id
         ), come as (
             insert into builder_workers (builder_id, worker_name) select b, $1 from unnest($3::bigint[]) b
             on conflict do nothing
             returning builder_id
         )
         select (select count(*) from gone) + (select count(*) from come) as "n!""#,
        row.name,
        &all,
        &fit
    )
    .fetch_one(c)
    .await?;
    Ok(changed > 0)
}
