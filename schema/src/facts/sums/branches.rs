//! Months of branches.

use super::month;
use crate::Result;
use crate::facts::builds::Fact;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

#[derive(Clone, Copy, Debug)]
struct BranchSum {
    builds: i32,
    good: i32,
    failed: i32,
    last_at: OffsetDateTime,
    good_at: Option<OffsetDateTime>,
    failed_at: Option<OffsetDateTime>,
}

/// Adds new builds to the months in which they ended.
pub async fn branches_store(c: &mut PgConnection, facts: &[Fact<'_>]) -> Result<()> {
    let mut sums: BTreeMap<(i64, OffsetDateTime, Option<&str>), BranchSum> = BTreeMap::new();
    for fact in facts {
        let at = fact.ended.complete_at;
        let (good, failed) = (matches!(fact.ended.results, 0 | 1), fact.ended.results == 2);
        let key = (fact.ended.builder, month(at), fact.sources.branch.as_deref());
        let none = BranchSum { builds: 0, good: 0, failed: 0, last_at: at, good_at: None, failed_at: None };
        let sum = sums.entry(key).or_insert(none);
        sum.builds += 1;
        sum.good += i32::from(good);
        sum.failed += i32::from(failed);
        sum.last_at = sum.last_at.max(at);
        // Nothing is before everything.
        sum.good_at = sum.good_at.max(good.then_some(at));
        sum.failed_at = sum.failed_at.max(failed.then_some(at));
    }
    macro_rules! column {
        ($s:ident => $value:expr) => {
            sums.values().map(|$s| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query!(
        "insert into branch_months as m (builder_id, month, branch, builds, good, failed, last_at, good_at, failed_at)
         select * from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[], $5::int[], $6::int[],
                              $7::timestamptz[], $8::timestamptz[], $9::timestamptz[])
         on conflict (builder_id, month, branch) do update
            set builds = m.builds + excluded.builds, good = m.good + excluded.good, failed = m.failed + excluded.failed,
                last_at = greatest(m.last_at, excluded.last_at), good_at = greatest(m.good_at, excluded.good_at),
                failed_at = greatest(m.failed_at, excluded.failed_at)",
        &sums.keys().map(|k| k.0).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.1).collect::<Vec<_>>(),
        &sums.keys().map(|k| k.2.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
        &column!(s => s.builds),
        &column!(s => s.good),
        &column!(s => s.failed),
        &column!(s => s.last_at),
        &column!(s => s.good_at) as &[Option<OffsetDateTime>],
        &column!(s => s.failed_at) as &[Option<OffsetDateTime>]
    )
    .execute(c)
    .await?;
    Ok(())
}
