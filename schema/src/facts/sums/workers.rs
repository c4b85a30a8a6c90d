//! Hours and months of workers.

use super::projects::{Project, Projects};
use super::{hour, month};
use crate::Result;
use crate::facts::builds::Ended;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Most hours that a build is busy in; one that took longer counts in its last ones.
const HOURS_MAX: i64 = 24 * 366;

/// What a worker did in an hour for a builder, or in a month for a project.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct WorkerSum {
    builds: i32,
    lost: i32,
    seconds: f64,
}

impl WorkerSum {
    fn end(&mut self, e: &Ended) {
        self.builds += 1;
        self.lost += i32::from(e.results == 5);
    }
}

/// The hours that a build touched, with its seconds in each; the last is that of its end.
fn hours_of(started_at: OffsetDateTime, complete_at: OffsetDateTime) -> Vec<(OffsetDateTime, f64)> {
    let last = hour(complete_at);
    let started_at = started_at.min(complete_at).max(last - time::Duration::hours(HOURS_MAX));
    let mut hours = vec![];
    let mut at = hour(started_at);
    while at <= last {
        let next = at + time::Duration::hours(1);
        hours.push((at, (complete_at.min(next) - started_at.max(at)).as_seconds_f64()));
        at = next;
    }
    hours
}

/// Adds new builds to the hours and months of their workers.
pub async fn workers_store(c: &mut PgConnection, ended: &[Ended], projects: &Projects) -> Result<()> {
    let mut hours: BTreeMap<(i64, OffsetDateTime, i64), WorkerSum> = BTreeMap::new();
    let mut months: BTreeMap<(i64, OffsetDateTime, &str), WorkerSum> = BTreeMap::new();
    for e in ended {
        let project = projects.get(&e.builders()).map(Project::shown_as).unwrap_or_default();
        for (hour, seconds) in hours_of(e.started_at, e.complete_at) {
            hours.entry((e.worker, hour, e.builder)).or_default().seconds += seconds;
            months.entry((e.worker, month(hour), project)).or_default().seconds += seconds;
        }
        hours.entry((e.worker, hour(e.complete_at), e.builder)).or_default().end(e);
        months.entry((e.worker, month(e.complete_at), project)).or_default().end(e);
    }
    hours_add(c, hours).await?;
    months_add(c, months).await
}

// The tables differ by name and key only, which the checked macros want to see.
macro_rules! worker_sums {
    ($add:ident, $table:literal, $at:literal, $of:literal, $kind:literal, $key:ty, $array:ty) => {
        async fn $add(c: &mut PgConnection, sums: BTreeMap<(i64, OffsetDateTime, $key), WorkerSum>) -> Result<()> {
            let workers: Vec<i64> = sums.keys().map(|k| k.0).collect();
            let times: Vec<OffsetDateTime> = sums.keys().map(|k| k.1).collect();
            let of: Vec<$array> = sums.keys().map(|k| k.2.to_owned()).collect();
            sqlx::query!(
        "insert into " + $table + " as w (worker_id, " + $at + ", " + $of + ", builds, lost, seconds)
         select * from unnest($1::bigint[], $2::timestamptz[], $3::" + $kind + "[], $4::int[], $5::int[], $6::float8[])
         on conflict (worker_id, " + $at + ", " + $of + ") do update
            set builds = w.builds + excluded.builds, lost = w.lost + excluded.lost, seconds = w.seconds + excluded.seconds",
                &workers,
                &times,
                &of,
                &sums.values().map(|s| s.builds).collect::<Vec<_>>(),
                &sums.values().map(|s| s.lost).collect::<Vec<_>>(),
                &sums.values().map(|s| s.seconds).collect::<Vec<_>>()
            )
            .execute(c)
            .await?;
            Ok(())
        }
    };
}

worker_sums!(hours_add, "worker_hours", "hour", "builder_id", "bigint", i64, i64);
worker_sums!(months_add, "worker_months", "month", "project", "text", &str, String);

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    fn at(seconds: f64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds_f64(seconds)
    }

    #[test]
    fn a_build_is_busy_in_each_hour_that_it_touched() {
        let hours = |from, to| -> Vec<(f64, f64)> {
            let all = hours_of(at(from), at(to));
            all.iter().map(|(h, s)| (h.unix_timestamp() as f64 / 3600.0, *s)).collect()
        };
        assert_eq!(hours(10.0, 70.5), [(0.0, 60.5)]);
        assert_eq!(hours(3500.0, 7300.0), [(0.0, 100.0), (1.0, 3600.0), (2.0, 100.0)]);
        // One that ended with the hour counts as a build of the next.
        assert_eq!(hours(3590.0, 3600.0), [(0.0, 10.0), (1.0, 0.0)]);
        assert_eq!(hours(5.0, 5.0), [(0.0, 0.0)]);
        assert_eq!(hours(-1e9, 100.0).len() as i64, HOURS_MAX + 1);
    }
}
