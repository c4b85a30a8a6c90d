//! Sums over time: hours and days of builders, days of steps, hours of workers.
//!
//! What new facts add to them is computed here, and merged with what is there: the
//! caller holds the lock of those who store facts, so that nobody else writes them
//! between the look and the write.

use super::builds::{Ended, Step};
use super::fold::Turn;
use super::histogram::Histogram;
use crate::Result;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use time::{OffsetDateTime, UtcOffset};

/// Sums of builds of a builder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BuildSum {
    pub builds: i32,
    /// By the code of the result.
    pub results: [i32; 7],
    pub broke: i32,
    pub fixed: i32,
    pub seconds: f64,
    pub waited: f64,
    pub log_bytes: i64,
    pub spans: Histogram,
    pub waits: Histogram,
}

/// What a sum is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built {
    pub results: i16,
    pub turn: Option<Turn>,
    pub seconds: f64,
    pub waited: f64,
    pub log_bytes: i64,
}

impl BuildSum {
    fn add(&mut self, b: &Built) {
        self.builds += 1;
        if let Some(count) = self.results.get_mut(b.results as usize) {
            *count += 1;
        }
        self.broke += i32::from(b.turn == Some(Turn::Broke));
        self.fixed += i32::from(b.turn == Some(Turn::Fixed));
        self.seconds += b.seconds;
        self.waited += b.waited;
        self.log_bytes = self.log_bytes.saturating_add(b.log_bytes);
        self.spans.add(b.seconds);
        self.waits.add(b.waited);
    }

    fn merge(&mut self, there: &BuildSum) {
        self.builds += there.builds;
        self.results.iter_mut().zip(there.results).for_each(|(mine, theirs)| *mine += theirs);
        self.broke += there.broke;
        self.fixed += there.fixed;
        self.seconds += there.seconds;
        self.waited += there.waited;
        self.log_bytes = self.log_bytes.saturating_add(there.log_bytes);
        self.spans.merge(&there.spans);
        self.waits.merge(&there.waits);
    }
}

/// Sums by builder and the beginning of an hour or a day.
pub(super) type BuildSums = BTreeMap<(i64, OffsetDateTime), BuildSum>;

/// Hours and days of builds.
#[derive(Default)]
pub(super) struct Sums {
    pub hours: BuildSums,
    pub days: BuildSums,
}

impl Sums {
    pub fn add(&mut self, builder: i64, complete_at: OffsetDateTime, built: &Built) {
        self.hours.entry((builder, hour(complete_at))).or_default().add(built);
        self.days.entry((builder, day(complete_at))).or_default().add(built);
    }

    /// Adds them to what is there.
    pub async fn store(mut self, c: &mut PgConnection) -> Result<()> {
        for (key, there) in hours_read(c, &self.hours).await? {
            self.hours.entry(key).or_default().merge(&there);
        }
        for (key, there) in days_read(c, &self.days).await? {
            self.days.entry(key).or_default().merge(&there);
        }
        self.replace(c).await
    }

    /// Writes them instead of what is there.
    pub async fn replace(self, c: &mut PgConnection) -> Result<()> {
        hours_write(c, &self.hours).await?;
        days_write(c, &self.days).await
    }
}

/// The beginning of its hour (UTC).
pub(super) fn hour(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(UtcOffset::UTC);
    at.replace_minute(0).and_then(|t| t.replace_second(0)).and_then(|t| t.replace_nanosecond(0)).unwrap_or(at)
}

/// The beginning of its day (UTC).
pub(super) fn day(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(UtcOffset::UTC).date().midnight().assume_utc()
}

fn keys(sums: &BuildSums) -> (Vec<i64>, Vec<OffsetDateTime>) {
    sums.keys().copied().unzip()
}

// The tables of hours and days differ by name only, which the checked macros want to see.
macro_rules! build_sums {
    ($read:ident, $write:ident, $table:literal, $at:literal) => {
        async fn $read(c: &mut PgConnection, wanted: &BuildSums) -> Result<Vec<((i64, OffsetDateTime), BuildSum)>> {
            let (builders, times) = keys(wanted);
            let rows = sqlx::query!(
                "select s.builder_id, s." + $at + " as at, s.builds, s.success, s.warnings, s.failure, s.skipped, s.exception,
                        s.retry, s.cancelled, s.broke, s.fixed, s.seconds, s.waited, s.log_bytes, s.spans, s.waits
                   from unnest($1::bigint[], $2::timestamptz[]) u(builder_id, at)
                  cross join lateral (select k.* from " + $table + " k
                                       where k.builder_id = u.builder_id and k." + $at + " = u.at offset 0) s",
                &builders,
                &times
            )
            .fetch_all(c)
            .await?;
            let sums = rows.into_iter().map(|r| {
                let sum = BuildSum {
                    builds: r.builds,
                    results: [r.success, r.warnings, r.failure, r.skipped, r.exception, r.retry, r.cancelled],
                    broke: r.broke,
                    fixed: r.fixed,
                    seconds: r.seconds,
                    waited: r.waited,
                    log_bytes: r.log_bytes,
                    spans: Histogram::of(r.spans),
                    waits: Histogram::of(r.waits),
                };
                ((r.builder_id, r.at), sum)
            });
            Ok(sums.collect())
        }

        async fn $write(c: &mut PgConnection, sums: &BuildSums) -> Result<()> {
            let (builders, times) = keys(sums);
            let of = |n: usize| sums.values().map(|s| s.results[n]).collect::<Vec<i32>>();
            sqlx::query!(
                "insert into " + $table + " (builder_id, " + $at + ", builds, success, warnings, failure, skipped, exception, retry,
                                     cancelled, broke, fixed, seconds, waited, log_bytes, spans, waits)
                 select builder_id, at, builds, success, warnings, failure, skipped, exception, retry, cancelled, broke,
                        fixed, seconds, waited, log_bytes, spans::int[], waits::int[]
                   from unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[],
                               $8::int[], $9::int[], $10::int[], $11::int[], $12::int[], $13::float8[], $14::float8[],
                               $15::bigint[], $16::text[], $17::text[])
                        u(builder_id, at, builds, success, warnings, failure, skipped, exception, retry, cancelled, broke,
                          fixed, seconds, waited, log_bytes, spans, waits)
                 on conflict (builder_id, " + $at + ") do update
                    set builds = excluded.builds, success = excluded.success, warnings = excluded.warnings,
                        failure = excluded.failure, skipped = excluded.skipped, exception = excluded.exception,
                        retry = excluded.retry, cancelled = excluded.cancelled, broke = excluded.broke,
                        fixed = excluded.fixed, seconds = excluded.seconds, waited = excluded.waited,
                        log_bytes = excluded.log_bytes, spans = excluded.spans, waits = excluded.waits",
                &builders,
                &times,
                &sums.values().map(|s| s.builds).collect::<Vec<_>>(),
                &of(0),
                &of(1),
                &of(2),
                &of(3),
                &of(4),
                &of(5),
                &of(6),
                &sums.values().map(|s| s.broke).collect::<Vec<_>>(),
                &sums.values().map(|s| s.fixed).collect::<Vec<_>>(),
                &sums.values().map(|s| s.seconds).collect::<Vec<_>>(),
                &sums.values().map(|s| s.waited).collect::<Vec<_>>(),
                &sums.values().map(|s| s.log_bytes).collect::<Vec<_>>(),
                &sums.values().map(|s| s.spans.text()).collect::<Vec<_>>(),
                &sums.values().map(|s| s.waits.text()).collect::<Vec<_>>()
            )
            .execute(c)
            .await?;
            Ok(())
        }
    };
}

build_sums!(hours_read, hours_write, "build_hours", "hour");
build_sums!(days_read, days_write, "build_days", "day");

/// Sums of steps of one name.
#[derive(Clone, Debug, Default)]
struct StepSum {
    runs: i32,
    bad: i32,
    seconds: f64,
    lock_wait: f64,
    spans: Histogram,
}

/// Adds steps of new builds to the days on which the builds ended.
pub(super) async fn steps_store(c: &mut PgConnection, ended: &[Ended], steps: &[Step]) -> Result<()> {
    let builds: HashMap<i64, (i64, OffsetDateTime)> =
        ended.iter().map(|e| (e.build, (e.builder, day(e.complete_at)))).collect();
    let mut sums: BTreeMap<(i64, OffsetDateTime, &str), StepSum> = BTreeMap::new();
    for step in steps {
        let Some((builder, day)) = builds.get(&step.build) else { continue };
        let sum = sums.entry((*builder, *day, &step.name)).or_default();
        sum.runs += 1;
        sum.bad += i32::from(matches!(step.results, 2 | 4));
        sum.seconds += step.seconds;
        sum.lock_wait += step.lock_wait;
        sum.spans.add(step.seconds);
    }
    if sums.is_empty() {
        return Ok(());
    }
    let builders: Vec<i64> = sums.keys().map(|k| k.0).collect();
    let days: Vec<OffsetDateTime> = sums.keys().map(|k| k.1).collect();
    let names: Vec<String> = sums.keys().map(|k| k.2.to_owned()).collect();
    let there = sqlx::query!(
        r#"select u.place as "place!", s.runs, s.bad, s.seconds, s.lock_wait, s.spans
             from unnest($1::bigint[], $2::timestamptz[], $3::text[]) with ordinality u(builder_id, day, name, place)
            cross join lateral (select k.* from step_days k
                                 where k.builder_id = u.builder_id and k.day = u.day and k.name = u.name offset 0) s"#,
        &builders,
        &days,
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
        "insert into step_days (builder_id, day, name, runs, bad, seconds, lock_wait, spans)
         select builder_id, day, name, runs, bad, seconds, lock_wait, spans::int[]
           from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::int[], $5::int[], $6::float8[], $7::float8[],
                       $8::text[]) u(builder_id, day, name, runs, bad, seconds, lock_wait, spans)
         on conflict (builder_id, day, name) do update
            set runs = excluded.runs, bad = excluded.bad, seconds = excluded.seconds, lock_wait = excluded.lock_wait,
                spans = excluded.spans",
        &builders,
        &days,
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

/// Most hours that a build is busy in; one that took longer counts in its last ones.
const HOURS_MAX: i64 = 24 * 366;

/// What a worker did in an hour for a builder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct WorkerSum {
    builds: i32,
    lost: i32,
    seconds: f64,
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

/// Adds new builds to the hours of their workers.
pub(super) async fn workers_store(c: &mut PgConnection, ended: &[Ended]) -> Result<()> {
    let mut sums: BTreeMap<(i64, OffsetDateTime, i64), WorkerSum> = BTreeMap::new();
    for e in ended {
        for (hour, seconds) in hours_of(e.started_at, e.complete_at) {
            sums.entry((e.worker, hour, e.builder)).or_default().seconds += seconds;
        }
        let end = sums.entry((e.worker, hour(e.complete_at), e.builder)).or_default();
        end.builds += 1;
        end.lost += i32::from(e.results == 5);
    }
    let workers: Vec<i64> = sums.keys().map(|k| k.0).collect();
    let hours: Vec<OffsetDateTime> = sums.keys().map(|k| k.1).collect();
    let builders: Vec<i64> = sums.keys().map(|k| k.2).collect();
    sqlx::query!(
        "insert into worker_hours as w (worker_id, hour, builder_id, builds, lost, seconds)
         select * from unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::int[], $5::int[], $6::float8[])
         on conflict (worker_id, hour, builder_id) do update
            set builds = w.builds + excluded.builds, lost = w.lost + excluded.lost, seconds = w.seconds + excluded.seconds",
        &workers,
        &hours,
        &builders,
        &sums.values().map(|s| s.builds).collect::<Vec<_>>(),
        &sums.values().map(|s| s.lost).collect::<Vec<_>>(),
        &sums.values().map(|s| s.seconds).collect::<Vec<_>>()
    )
    .execute(c)
    .await?;
    Ok(())
}

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

    #[test]
    fn sums_of_parts_are_the_sum_of_the_whole() {
        let built = |n: i16| Built {
            results: n % 7,
            turn: [None, Some(Turn::Broke), Some(Turn::Fixed)][n as usize % 3],
            seconds: f64::from(n),
            waited: f64::from(n) / 4.0,
            log_bytes: i64::from(n),
        };
        let (mut whole, mut left, mut right) = (BuildSum::default(), BuildSum::default(), BuildSum::default());
        for n in 0..100 {
            whole.add(&built(n));
            if n < 30 { left.add(&built(n)) } else { right.add(&built(n)) }
        }
        left.merge(&right);
        assert_eq!(left, whole);
        assert_eq!(whole.results.iter().sum::<i32>(), whole.builds);
        assert_eq!((whole.spans.total(), whole.waits.total()), (100, 100));
    }

    #[test]
    fn days_and_hours_begin_in_utc() {
        let at = at(90_061.5).to_offset(UtcOffset::from_hms(5, 30, 0).unwrap());
        assert_eq!(hour(at).unix_timestamp(), 90_000);
        assert_eq!(day(at).unix_timestamp(), 86_400);
    }
}
