//! Days and months of steps.

use super::{day, month};
use crate::Result;
use crate::facts::builds::{Ended, Step};
use crate::facts::histogram::Histogram;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;

/// Sums of steps of one name.
#[derive(Clone, Debug, Default)]
struct StepSum {
    runs: i32,
    bad: i32,
    seconds: f64,
    lock_wait: f64,
    spans: Histogram,
}

impl StepSum {
    fn add(&mut self, step: &Step) {
        self.runs += 1;
        self.bad += i32::from(matches!(step.results, 2 | 4));
        self.seconds += step.seconds;
        self.lock_wait += step.lock_wait;
        self.spans.add(step.seconds);
    }
}

/// By builder, the beginning of their time, and their name.
type StepSums<'a> = BTreeMap<(i64, OffsetDateTime, &'a str), StepSum>;

/// Adds steps of new builds to the days and months in which the builds ended.
pub async fn steps_store(c: &mut PgConnection, ended: &[Ended], steps: &[Step]) -> Result<()> {
    let builds: HashMap<i64, &Ended> = ended.iter().map(|e| (e.build, e)).collect();
    let (mut days, mut months) = (StepSums::new(), StepSums::new());
    for step in steps {
        let Some(e) = builds.get(&step.build) else { continue };
        days.entry((e.builder, day(e.complete_at), &step.name)).or_default().add(step);
        months.entry((e.builder, month(e.complete_at), &step.name)).or_default().add(step);
    }
    if days.is_empty() {
        return Ok(());
    }
    days_add(c, days).await?;
    months_add(c, months).await
}

// The tables differ by name and time only, which the checked macros want to see.
macro_rules! step_sums {
    ($add:ident, $table:literal, $at:literal) => {
        async fn $add(c: &mut PgConnection, sums: StepSums<'_>) -> Result<()> {
            let builders: Vec<i64> = sums.keys().map(|k| k.0).collect();
            let times: Vec<OffsetDateTime> = sums.keys().map(|k| k.1).collect();
            let names: Vec<String> = sums.keys().map(|k| k.2.to_owned()).collect();
            let there = sqlx::query!(
                "select u.place as \"place!\", s.runs, s.bad, s.seconds, s.lock_wait, s.spans
                   from unnest($1::bigint[], $2::timestamptz[], $3::text[]) with ordinality u(builder_id, at, name, place)
                  cross join lateral (select k.* from " + $table + " k
                                       where k.builder_id = u.builder_id and k." + $at + " = u.at and k.name = u.name
                                      offset 0) s",
                &builders,
                &times,
                &names
            )
            .fetch_all(&mut *c)
            .await?;
            let mut all: Vec<StepSum> = sums.into_values().collect();
            for row in there {
                let Some(sum) = usize::try_from(row.place - 1).ok().and_then(|n| all.get_mut(n)) else { continue };
                sum.runs += row.runs;
                sum.bad += row.bad;
                sum.seconds += row.seconds;
                sum.lock_wait += row.lock_wait;
                sum.spans.merge(&Histogram::of(row.spans));
            }
            sqlx::query!(
                "insert into " + $table + " (builder_id, " + $at + ", name, runs, bad, seconds, lock_wait, spans)
                 select builder_id, at, name, runs, bad, seconds, lock_wait, spans::int[]
                   from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[], $5::int[], $6::float8[],
                               $7::float8[], $8::text[]) u(builder_id, at, name, runs, bad, seconds, lock_wait, spans)
                 on conflict (builder_id, " + $at + ", name) do update
                    set runs = excluded.runs, bad = excluded.bad, seconds = excluded.seconds,
                        lock_wait = excluded.lock_wait, spans = excluded.spans",
                &builders,
                &times,
                &names,
                &all.iter().map(|s| s.runs).collect::<Vec<_>>(),
                &all.iter().map(|s| s.bad).collect::<Vec<_>>(),
                &all.iter().map(|s| s.seconds).collect::<Vec<_>>(),
                &all.iter().map(|s| s.lock_wait).collect::<Vec<_>>(),
                &all.iter().map(|s| s.spans.text()).collect::<Vec<_>>()
            )
            .execute(c)
            .await?;
            Ok(())
        }
    };
}

step_sums!(days_add, "step_days", "day");
step_sums!(months_add, "step_months", "month");
