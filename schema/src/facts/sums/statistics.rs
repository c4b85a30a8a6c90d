//! Days of numbers that steps set.

use super::day;
use crate::Result;
use crate::facts::builds::Ended;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;

/// A number that a step set.
struct Statistic {
    build: i64,
    step: String,
    name: String,
    value: f64,
}

/// Of builds, in their order and that of their steps.
async fn statistics(c: &mut PgConnection, ended: &[Ended]) -> Result<Vec<Statistic>> {
    let builds: Vec<i64> = ended.iter().map(|e| e.build).collect();
    let rows = sqlx::query!(
        r#"select u.id as "build!", s.name as step, x.name, x.value
             from unnest($1::bigint[]) with ordinality u(id, place)
            cross join lateral (select k.* from step_statistics k where k.build_id = u.id offset 0) x
            cross join lateral (select k.name from steps k where k.build_id = u.id and k.number = x.step offset 0) s
            order by u.place, x.step"#,
        &builds
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| Statistic { build: r.build, step: r.step, name: r.name, value: r.value }).collect())
}

#[derive(Clone, Copy, Debug)]
struct StatisticSum {
    runs: i32,
    total: f64,
    lowest: f64,
    highest: f64,
    newest: f64,
    newest_at: OffsetDateTime,
    newest_build: i64,
}

/// Adds numbers of new builds to the days on which these ended.
pub async fn statistics_store(c: &mut PgConnection, ended: &[Ended]) -> Result<()> {
    let all = statistics(c, ended).await?;
    if all.is_empty() {
        return Ok(());
    }
    let builds: HashMap<i64, &Ended> = ended.iter().map(|e| (e.build, e)).collect();
    let mut sums: BTreeMap<(i64, &str, OffsetDateTime, &str), StatisticSum> = BTreeMap::new();
    for Statistic { build, step, name, value } in &all {
        let Some(e) = builds.get(build) else { continue };
        let none = StatisticSum {
            runs: 0,
            total: 0.0,
            lowest: *value,
            highest: *value,
            newest: *value,
            newest_at: e.complete_at,
            newest_build: *build,
        };
        let sum = sums.entry((e.builder, name, day(e.complete_at), step)).or_insert(none);
        sum.runs += 1;
        sum.total += value;
        sum.lowest = sum.lowest.min(*value);
        sum.highest = sum.highest.max(*value);
        (sum.newest, sum.newest_at, sum.newest_build) = (*value, e.complete_at, *build);
    }
    macro_rules! column {
        ($s:ident => $value:expr) => {
            sums.values().map(|$s| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into statistic_days as d (builder_id, name, day, step, runs, total, lowest, highest, newest, newest_at,
                                          newest_build)
         select * from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::text[], $5::int[], $6::float8[], $7::float8[],
                              $8::float8[], $9::float8[], $10::timestamptz[], $11::bigint[])
         on conflict (builder_id, name, day, step) do update
            set runs = d.runs + excluded.runs, total = d.total + excluded.total,
                lowest = least(d.lowest, excluded.lowest), highest = greatest(d.highest, excluded.highest),
                (newest, newest_at, newest_build) =
                    (select n.value, n.at, n.build
                       from (values (d.newest, d.newest_at, d.newest_build),
                                    (excluded.newest, excluded.newest_at, excluded.newest_build)) n(value, at, build)
                      order by n.at desc, n.build desc limit 1)",
        &sums.keys().map(|k| k.0).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.1.to_owned()).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.2).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.3.to_owned()).collect::<Vec<_>>(),
        &column!(s => s.runs),
        &column!(s => s.total),
        &column!(s => s.lowest),
        &column!(s => s.highest),
        &column!(s => s.newest),
        &column!(s => s.newest_at),
        &column!(s => s.newest_build)
    )
    .execute(c)
    .await?;
    Ok(())
}
