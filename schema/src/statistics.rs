//! Numbers of steps: what they counted, and how far they have come.

use crate::Result;
use crate::changes::clean;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Most characters of a name; longer ones are cut.
const NAME_MAX: usize = 200;

/// Most numbers of one step in one event; more are left out.
const VALUES_MAX: usize = 1000;

/// Numbers by build, step and name.
pub(crate) type Statistics = BTreeMap<(i64, u32, String), f64>;

/// Numbers of an event, fit to be stored.
pub(crate) fn named(values: &BTreeMap<String, f64>) -> impl Iterator<Item = (String, f64)> + '_ {
    let named = values.iter().map(|(name, value)| (clean(name).chars().take(NAME_MAX).collect(), *value));
    named.filter(|(_, value)| value.is_finite()).take(VALUES_MAX)
}

/// As SQL writes a number: whole ones without a fraction.
pub(crate) fn json(value: f64) -> Value {
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    if whole { (value as i64).into() } else { value.into() }
}

/// Stores numbers of many builds; one that is there already gets the new value.
pub(crate) async fn statistics_upsert(c: &mut PgConnection, statistics: &Statistics) -> Result<()> {
    if statistics.is_empty() {
        return Ok(());
    }
    let builds: Vec<i64> = statistics.keys().map(|(b, _, _)| *b).collect();
    let steps: Vec<i32> = statistics.keys().map(|(_, s, _)| *s as i32).collect();
    let names: Vec<String> = statistics.keys().map(|(_, _, n)| n.clone()).collect();
    let values: Vec<f64> = statistics.values().copied().collect();
    sqlx::query!(
        "insert into step_statistics (build_id, step, name, value)
         select * from unnest($1::bigint[], $2::int[], $3::text[], $4::float8[])
         on conflict (build_id, step, name) do update set value = excluded.value",
        &builds,
        &steps,
        &names,
        &values
    )
    .execute(c)
    .await?;
    Ok(())
}
