//! Hours, days and months of builds: by builder, and of all builders together.

use super::{day, hour, month};
use crate::Result;
use crate::facts::builds::Fact;
use crate::facts::fold::Turn;
use crate::facts::histogram::Histogram;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildSum {
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
    /// Good builds that had changes, and these.
    pub led: i32,
    pub led_changes: i32,
    pub longest_lead: f64,
    pub leads: Histogram,
}

/// What a sum is made of.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    pub results: i16,
    pub turn: Option<Turn>,
    pub seconds: f64,
    pub waited: f64,
    pub log_bytes: i64,
    /// Its changes, and the seconds from the oldest of them to its end.
    pub lead: Option<(i32, f64)>,
}

impl From<&Fact<'_>> for Built {
    fn from(fact: &Fact<'_>) -> Built {
        let (ended, sources) = (fact.ended, fact.sources);
        let lead = |first: OffsetDateTime| (sources.changes, (ended.complete_at - first).as_seconds_f64().max(0.0));
        Built {
            results: ended.results,
            turn: fact.meaning.turn,
            seconds: ended.seconds(),
            waited: ended.waited(),
            log_bytes: ended.log_bytes,
            lead: sources.first_change_at.map(lead),
        }
    }
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
        if let Some((changes, seconds)) = b.lead.filter(|_| matches!(b.results, 0 | 1)) {
            self.led += 1;
            self.led_changes = self.led_changes.saturating_add(changes);
            self.longest_lead = self.longest_lead.max(seconds);
            self.leads.add(seconds);
        }
    }

    pub fn merge(&mut self, there: &BuildSum) {
        self.builds += there.builds;
        self.results.iter_mut().zip(there.results).for_each(|(mine, theirs)| *mine += theirs);
        self.broke += there.broke;
        self.fixed += there.fixed;
        self.seconds += there.seconds;
        self.waited += there.waited;
        self.log_bytes = self.log_bytes.saturating_add(there.log_bytes);
        self.spans.merge(&there.spans);
        self.waits.merge(&there.waits);
        self.led += there.led;
        self.led_changes = self.led_changes.saturating_add(there.led_changes);
        self.longest_lead = self.longest_lead.max(there.longest_lead);
        self.leads.merge(&there.leads);
    }
}

/// By whose they are, and the beginning of their time.
pub type SumsBy<K> = BTreeMap<(K, OffsetDateTime), BuildSum>;

#[derive(Default)]
pub struct Sums {
    pub hours: SumsBy<i64>,
    pub days: SumsBy<i64>,
    pub months: SumsBy<i64>,
    /// By project, as [`super::projects::Project::of_totals`].
    pub total_hours: SumsBy<String>,
    pub total_days: SumsBy<String>,
}

impl Sums {
    pub fn add(&mut self, builder: i64, project: &str, at: OffsetDateTime, built: &Built) {
        self.hours.entry((builder, hour(at))).or_default().add(built);
        self.days.entry((builder, day(at))).or_default().add(built);
        self.months.entry((builder, month(at))).or_default().add(built);
        self.total_hours.entry((project.to_owned(), hour(at))).or_default().add(built);
        self.total_days.entry((project.to_owned(), day(at))).or_default().add(built);
    }

    /// Adds them to what is there.
    pub async fn store(mut self, c: &mut PgConnection) -> Result<()> {
        let there = hours_read(c, &self.hours).await?;
        merge(&mut self.hours, there);
        let there = days_read(c, &self.days).await?;
        merge(&mut self.days, there);
        let there = months_read(c, &self.months).await?;
        merge(&mut self.months, there);
        let there = total_hours_read(c, &self.total_hours).await?;
        merge(&mut self.total_hours, there);
        let there = total_days_read(c, &self.total_days).await?;
        merge(&mut self.total_days, there);
        self.replace(c).await
    }

    /// Writes them instead of what is there.
    pub async fn replace(self, c: &mut PgConnection) -> Result<()> {
        hours_write(c, &self.hours).await?;
        days_write(c, &self.days).await?;
        months_write(c, &self.months).await?;
        total_hours_write(c, &self.total_hours).await?;
        total_days_write(c, &self.total_days).await
    }
}

/// The months of builders that these days add up to.
pub fn months_of(days: SumsBy<i64>) -> SumsBy<i64> {
    let mut months = SumsBy::new();
    for ((builder, day), sum) in days {
        months.entry((builder, month(day))).or_insert_with(BuildSum::default).merge(&sum);
    }
    months
}

fn merge<K: Ord>(sums: &mut SumsBy<K>, there: SumsBy<K>) {
    for (key, sum) in there {
        sums.entry(key).or_default().merge(&sum);
    }
}

fn keys<K: Clone>(sums: &SumsBy<K>) -> (Vec<K>, Vec<OffsetDateTime>) {
    sums.keys().cloned().unzip()
}

// The tables differ by name and key only, which the checked macros want to see.
macro_rules! build_sums {
    ($read:ident, $write:ident, $table:literal, $of:literal, $kind:literal, $at:literal, $key:ty) => {
        pub async fn $read(c: &mut PgConnection, wanted: &SumsBy<$key>) -> Result<SumsBy<$key>> {
            let (of, times) = keys(wanted);
            let rows = sqlx::query!(
                "select s." + $of + " as of, s." + $at + " as at, s.builds, s.success, s.warnings, s.failure, s.skipped, s.exception,
                        s.retry, s.cancelled, s.broke, s.fixed, s.seconds, s.waited, s.log_bytes, s.spans, s.waits,
                        s.led, s.led_changes, s.longest_lead, s.leads
                   from unnest($1::" + $kind + "[], $2::timestamptz[]) u(of, at)
                  cross join lateral (select k.* from " + $table + " k
                                       where k." + $of + " = u.of and k." + $at + " = u.at offset 0) s",
                &of,
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
                    led: r.led,
                    led_changes: r.led_changes,
                    longest_lead: r.longest_lead,
                    leads: Histogram::of(r.leads),
                };
                ((r.of, r.at), sum)
            });
            Ok(sums.collect())
        }

        pub async fn $write(c: &mut PgConnection, sums: &SumsBy<$key>) -> Result<()> {
            let (of, times) = keys(sums);
            let results = |n: usize| sums.values().map(|s| s.results[n]).collect::<Vec<i32>>();
            sqlx::query!(
                "insert into " + $table + " (" + $of + ", " + $at + ", builds, success, warnings, failure, skipped, exception, retry,
                                     cancelled, broke, fixed, seconds, waited, log_bytes, spans, waits, led, led_changes,
                                     longest_lead, leads)
                 select of, at, builds, success, warnings, failure, skipped, exception, retry, cancelled, broke,
                        fixed, seconds, waited, log_bytes, spans::int[], waits::int[], led, led_changes, longest_lead,
                        leads::int[]
                   from unnest($1::" + $kind + "[], $2::timestamptz[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[],
                               $8::int[], $9::int[], $10::int[], $11::int[], $12::int[], $13::float8[], $14::float8[],
                               $15::bigint[], $16::text[], $17::text[], $18::int[], $19::int[], $20::float8[], $21::text[])
                        u(of, at, builds, success, warnings, failure, skipped, exception, retry, cancelled, broke,
                          fixed, seconds, waited, log_bytes, spans, waits, led, led_changes, longest_lead, leads)
                 on conflict (" + $of + ", " + $at + ") do update
                    set builds = excluded.builds, success = excluded.success, warnings = excluded.warnings,
                        failure = excluded.failure, skipped = excluded.skipped, exception = excluded.exception,
                        retry = excluded.retry, cancelled = excluded.cancelled, broke = excluded.broke,
                        fixed = excluded.fixed, seconds = excluded.seconds, waited = excluded.waited,
                        log_bytes = excluded.log_bytes, spans = excluded.spans, waits = excluded.waits,
                        led = excluded.led, led_changes = excluded.led_changes, longest_lead = excluded.longest_lead,
                        leads = excluded.leads",
                &of,
                &times,
                &sums.values().map(|s| s.builds).collect::<Vec<_>>(),
                &results(0),
                &results(1),
                &results(2),
                &results(3),
                &results(4),
                &results(5),
                &results(6),
                &sums.values().map(|s| s.broke).collect::<Vec<_>>(),
                &sums.values().map(|s| s.fixed).collect::<Vec<_>>(),
                &sums.values().map(|s| s.seconds).collect::<Vec<_>>(),
                &sums.values().map(|s| s.waited).collect::<Vec<_>>(),
                &sums.values().map(|s| s.log_bytes).collect::<Vec<_>>(),
                &sums.values().map(|s| s.spans.text()).collect::<Vec<_>>(),
                &sums.values().map(|s| s.waits.text()).collect::<Vec<_>>(),
                &sums.values().map(|s| s.led).collect::<Vec<_>>(),
                &sums.values().map(|s| s.led_changes).collect::<Vec<_>>(),
                &sums.values().map(|s| s.longest_lead).collect::<Vec<_>>(),
                &sums.values().map(|s| s.leads.text()).collect::<Vec<_>>()
            )
            .execute(c)
            .await?;
            Ok(())
        }
    };
}

build_sums!(hours_read, hours_write, "build_hours", "builder_id", "bigint", "hour", i64);
build_sums!(days_read, days_write, "build_days", "builder_id", "bigint", "day", i64);
build_sums!(months_read, months_write, "build_months", "builder_id", "bigint", "month", i64);
build_sums!(total_hours_read, total_hours_write, "total_hours", "project", "text", "hour", String);
build_sums!(total_days_read, total_days_write, "total_days", "project", "text", "day", String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_parts_are_the_sum_of_the_whole() {
        let built = |n: i16| Built {
            results: n % 7,
            turn: [None, Some(Turn::Broke), Some(Turn::Fixed)][n as usize % 3],
            seconds: f64::from(n),
            waited: f64::from(n) / 4.0,
            log_bytes: i64::from(n),
            lead: (n % 2 == 0).then_some((i32::from(n % 5), f64::from(n))),
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
        // Of good ones that had changes.
        let led = (0..100).filter(|n| n % 2 == 0 && n % 7 < 2).count();
        assert_eq!((whole.led as usize, whole.leads.total() as usize), (led, led));
        assert_eq!(whole.longest_lead, 98.0);
    }
}
