//! What each report must say, computed from the truth: plain Rust over records,
//! without a look at facts, sums or SQL.

mod builds;
mod lines;
mod notices;
mod queue;
mod steps;
mod sums;
mod tests;
mod workers;

use super::{DAY, HOUR, SECOND, Truth};
use std::cmp::Ordering;

/// What is asked of a report. What it has no parameter for is not given to it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub since: i64,
    pub until: i64,
    pub builder: Option<String>,
    pub project: Option<String>,
    pub branch: Option<String>,
    pub worker: Option<String>,
    pub every: &'static str,
    pub by: &'static str,
    pub statistic: &'static str,
    pub limit: usize,
    /// The clock: views that speak of now.
    pub now: i64,
}

impl Asked {
    pub fn of(since: i64, until: i64, now: i64) -> Asked {
        Asked {
            since,
            until,
            builder: None,
            project: None,
            branch: None,
            worker: None,
            every: "week",
            by: "project",
            statistic: "warnings",
            limit: 100_000,
            now,
        }
    }

    /// Names and values, for a report that takes these.
    pub fn given(&self, takes: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
        let seconds = |at: i64| (at / SECOND).to_string();
        let all = [
            ("since", Some(seconds(self.since))),
            ("until", Some(seconds(self.until))),
            ("recent", Some(seconds(self.recent()))),
            ("builder", self.builder.clone()),
            ("project", self.project.clone()),
            ("branch", self.branch.clone()),
            ("worker", self.worker.clone()),
            ("every", Some(self.every.to_owned())),
            ("by", Some(self.by.to_owned())),
            ("statistic", Some(self.statistic.to_owned())),
            ("limit", Some(self.limit.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.filter(|_| takes(name))?))).collect()
    }

    /// Where the newer part begins, of reports that compare.
    pub fn recent(&self) -> i64 {
        self.until - (self.until - self.since) / 4 / DAY * DAY - 7 * HOUR
    }

    /// Whether a builder is one of those asked for.
    fn wants(&self, truth: &Truth, builder: usize) -> bool {
        self.builder.as_ref().is_none_or(|b| *b == truth.world.builders[builder].name)
            && self.project.as_ref().is_none_or(|p| p == truth.project(builder))
    }

    fn wants_branch(&self, truth: &Truth, branch: usize) -> bool {
        self.branch.as_ref().is_none_or(|b| *b == truth.branches[branch].name)
    }

    /// The beginning of its period.
    fn period(&self, at: i64) -> i64 {
        match self.every {
            "hour" => floor(at, HOUR),
            "day" => floor(at, DAY),
            // Weeks begin on Monday, and 1970 did on Thursday.
            "week" => floor(at + 3 * DAY, 7 * DAY) - 3 * DAY,
            "month" => {
                let day = time::OffsetDateTime::from_unix_timestamp(at.div_euclid(SECOND)).expect("a time of ours");
                let first = day.date().replace_day(1).expect("each month has a first day");
                first.midnight().assume_utc().unix_timestamp() * SECOND
            }
            other => panic!("no period {other}"),
        }
    }
}

/// What a cell must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    /// Right but for rounding.
    Number(f64),
    /// From a histogram: within a bucket of it (four of which double a span).
    Near(f64),
    Time(i64),
    /// That, or nothing: it may be too far back to be known.
    OrNull(f64),
    /// The tests say nothing of it.
    Any,
}

pub type Row = Vec<Value>;

/// Name and computation of each report.
pub type Expected = fn(&Truth, &Asked) -> Vec<Row>;

pub const REPORTS: &[(&str, Expected)] = &[
    ("branch-health", builds::branch_health),
    ("breakages", lines::breakages),
    ("builder-health", lines::builder_health),
    ("builder-trend", sums::builder_trend),
    ("busiest-hours", sums::busiest_hours),
    ("collapse-savings", queue::collapse_savings),
    ("costs", workers::costs),
    ("failing-steps", steps::failing_steps),
    ("failure-rate", sums::failure_rate),
    ("failures-by-kind", sums::failures_by_kind),
    ("flaky-tests", tests::flaky_tests),
    ("lead-time", builds::lead_time),
    ("lock-waits", queue::lock_waits),
    ("log-growth", sums::log_growth),
    ("loudest-builders", sums::loudest_builders),
    ("notices-sent", notices::notices_sent),
    ("queue-hours", sums::queue_hours),
    ("queue-reasons", queue::queue_reasons),
    ("queue-waits", sums::queue_waits),
    ("retention-forecast", sums::retention_forecast),
    ("retries", builds::retries),
    ("slower-steps", steps::slower_steps),
    ("slowest-builds", builds::slowest_builds),
    ("slowest-steps", steps::slowest_steps),
    ("slowest-tests", tests::slowest_tests),
    ("statistics-trend", builds::statistics_trend),
    ("test-first-bad", tests::test_first_bad),
    ("time-to-repair", lines::time_to_repair),
    ("worker-use", workers::worker_use),
];

fn floor(at: i64, unit: i64) -> i64 {
    at.div_euclid(unit) * unit
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

fn text(s: impl Into<String>) -> Value {
    Value::Text(s.into())
}

fn count(n: impl TryInto<i64>) -> Value {
    Value::Number(n.try_into().unwrap_or(i64::MAX) as f64)
}

fn number(n: Option<f64>) -> Value {
    n.map_or(Value::Null, Value::Number)
}

fn time(at: Option<i64>) -> Value {
    at.map_or(Value::Null, Value::Time)
}

fn joined(mut names: Vec<&str>) -> Value {
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { Value::Null } else { text(names.join(", ")) }
}

/// a of b in percent; none of nothing.
fn percent(a: impl Into<f64>, b: impl Into<f64>) -> Option<f64> {
    let b = b.into();
    (b != 0.0).then(|| 100.0 * a.into() / b)
}

/// percentile_cont() of SQL: between the two nearest.
fn between(values: &mut [f64], fraction: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = fraction * (values.len().checked_sub(1)?) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

/// The value below which that share lies, as histograms count.
fn near(values: &mut [f64], fraction: f64) -> Value {
    values.sort_by(f64::total_cmp);
    let rank = (fraction * values.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    values.get(rank - 1).map_or(Value::Null, |v| Value::Near(*v))
}

/// Largest first; what is not known comes last.
fn falling(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Lowest first; what is not known comes last.
fn rising(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Compares what a report said with what it must say; the error names the first place where they differ.
pub fn compare(columns: &[String], said: &[Row], expected: &[Row]) -> Result<(), String> {
    for (n, (a, b)) in said.iter().zip(expected).enumerate() {
        for (column, (a, b)) in columns.iter().zip(a.iter().zip(b)) {
            if !same(a, b) {
                return Err(format!(
                    "row {n}, {column}: it says {a:?}, and it is {b:?}\n{:?}\n{:?}",
                    said[n], expected[n]
                ));
            }
        }
        if a.len() != b.len() {
            return Err(format!("row {n} has {} columns, and it should have {}", a.len(), b.len()));
        }
    }
    match said.len().cmp(&expected.len()) {
        Ordering::Equal => Ok(()),
        Ordering::Less => {
            Err(format!("{} rows of {}; the next: {:?}", said.len(), expected.len(), expected[said.len()]))
        }
        Ordering::Greater => {
            Err(format!("{} rows instead of {}: {:?}", said.len(), expected.len(), said[expected.len()]))
        }
    }
}

fn same(said: &Value, expected: &Value) -> bool {
    match (said, expected) {
        (_, Value::Any) | (Value::Null, Value::OrNull(_)) => true,
        (Value::Number(a), Value::OrNull(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-3),
        // Below a 27th of a second all is one bucket.
        (Value::Number(a), Value::Near(b)) => a.max(*b) < 0.038 || (a / b).max(b / a) < 1.19,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod own_tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let asked = |every| Asked { every, ..Asked::of(0, 0, 0) };
        let day = |n: i64| n * DAY + 5 * HOUR;
        // 2024-03-06 was a Wednesday, and day 19788.
        assert_eq!(asked("week").period(day(19_788)), 19_786 * DAY);
        assert_eq!(asked("week").period(19_786 * DAY), 19_786 * DAY);
        assert_eq!(asked("month").period(day(19_788)), 19_783 * DAY);
        assert_eq!(asked("day").period(day(19_788)), 19_788 * DAY);
    }

    #[test]
    fn percentiles_are_those_of_sql() {
        assert_eq!(between(&mut [4.0, 1.0, 2.0, 3.0], 0.5), Some(2.5));
        assert_eq!(between(&mut [], 0.5), None);
        assert_eq!(near(&mut [3.0, 1.0, 2.0, 4.0], 0.5), Value::Near(2.0));
        assert_eq!(near(&mut [3.0, 1.0, 2.0, 4.0], 0.9), Value::Near(4.0));
    }

    #[test]
    fn a_difference_is_told_with_its_place() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let row = |n: f64| vec![Value::Text("x".into()), Value::Number(n)];
        assert_eq!(compare(&columns, &[row(1.0)], &[row(1.0 + 1e-9)]), Ok(()));
        assert!(compare(&columns, &[row(1.0)], &[row(1.1)]).unwrap_err().starts_with("row 0, b"));
        assert!(compare(&columns, &[row(1.0)], &[]).is_err());
    }
}
