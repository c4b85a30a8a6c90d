//! Reports over hours and days.

use super::super::records::*;
use super::*;
use std::collections::BTreeMap;

/// What builds of a group come to.
#[derive(Default)]
struct Sum {
    builds: i64,
    results: [i64; 7],
    broke: i64,
    fixed: i64,
    spans: Vec<f64>,
    waits: Vec<f64>,
    /// Microseconds.
    ran: i64,
    waited: i64,
    log_bytes: i64,
}

impl Sum {
    fn good(&self) -> i64 {
        self.results[SUCCESS as usize] + self.results[WARNINGS as usize]
    }

    fn verdicts(&self) -> i64 {
        self.good() + self.results[FAILURE as usize]
    }

    fn mean(&self, us: i64) -> Value {
        Value::Number(seconds(us) / self.builds as f64)
    }
}

/// Builds that ended in whole units of that time, by a key.
fn sums<K: Ord>(t: &Truth, a: &Asked, unit: i64, key: impl Fn(&Build) -> K) -> BTreeMap<K, Sum> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    for b in t.ended(floor(a.since, unit), floor(a.until + unit - 1, unit)).filter(|b| a.wants(t, b.builder)) {
        let sum = sums.entry(key(b)).or_default();
        let meaning = t.meaning(b);
        sum.builds += 1;
        sum.results[b.results as usize] += 1;
        sum.broke += i64::from(meaning.broke);
        sum.fixed += i64::from(meaning.fixed);
        sum.spans.push(seconds(b.complete_at - b.started_at));
        sum.waits.push(seconds(b.started_at - b.waiting_since));
        sum.ran += b.complete_at - b.started_at;
        sum.waited += b.started_at - b.waiting_since;
        sum.log_bytes += b.log_bytes();
    }
    sums
}

/// Of days: a period is that of the day on which a build ended.
fn period(a: &Asked, b: &Build) -> i64 {
    a.period(floor(b.complete_at, DAY))
}

fn share(a: i64, b: i64) -> Value {
    number(percent(a as f64, b as f64))
}

pub fn builder_trend(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, DAY, |b| period(a, b))
        .into_iter()
        .map(|(period, mut s)| {
            vec![
                Value::Time(period),
                count(s.builds),
                count(s.good()),
                count(s.results[FAILURE as usize]),
                share(s.good(), s.verdicts()),
                s.mean(s.ran),
                near(&mut s.spans, 0.5),
                near(&mut s.spans, 0.95),
                s.mean(s.waited),
            ]
        })
        .collect()
}

pub fn failure_rate(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, DAY, |b| period(a, b))
        .into_iter()
        .map(|(period, s)| {
            let failed = s.results[FAILURE as usize];
            vec![
                Value::Time(period),
                count(s.verdicts()),
                count(failed),
                count(s.broke),
                count(s.fixed),
                share(s.broke, s.verdicts()),
                share(failed, s.verdicts()),
            ]
        })
        .collect()
}

pub fn failures_by_kind(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, DAY, |b| period(a, b))
        .into_iter()
        .map(|(period, s)| {
            let of = |code: u8| s.results[code as usize];
            vec![
                Value::Time(period),
                count(s.builds),
                count(s.good()),
                count(of(FAILURE)),
                count(of(EXCEPTION)),
                count(of(CANCELLED)),
                count(of(RETRY)),
                count(of(SKIPPED)),
                share(of(EXCEPTION) + of(RETRY), s.builds),
            ]
        })
        .collect()
}

/// «1 Mon» to «7 Sun», and the hour of the day.
fn of_week(b: &Build) -> (String, i64) {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let day = (b.complete_at.div_euclid(DAY) + 3).rem_euclid(7) as usize;
    (format!("{} {}", day + 1, DAYS[day]), b.complete_at.rem_euclid(DAY) / HOUR)
}

pub fn busiest_hours(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, HOUR, of_week)
        .into_iter()
        .map(|((day, hour), s)| {
            vec![text(day), count(hour), count(s.builds), Value::Number(seconds(s.ran)), s.mean(s.waited)]
        })
        .collect()
}

pub fn queue_hours(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, HOUR, of_week)
        .into_iter()
        .map(|((day, hour), mut s)| {
            vec![text(day), count(hour), count(s.builds), s.mean(s.waited), near(&mut s.waits, 0.9)]
        })
        .collect()
}

pub fn queue_waits(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut rows: Vec<_> = sums(t, a, DAY, |b| b.builder).into_iter().collect();
    rows.sort_by_key(|(b, s)| (-s.waited, t.world.builders[*b].name.clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|(b, mut s)| {
            vec![
                text(&t.world.builders[b].name),
                count(s.builds),
                s.mean(s.waited),
                near(&mut s.waits, 0.5),
                near(&mut s.waits, 0.9),
                near(&mut s.waits, 0.99),
                Value::Number(seconds(s.waited)),
            ]
        })
        .collect()
}

pub fn log_growth(t: &Truth, a: &Asked) -> Vec<Row> {
    sums(t, a, DAY, |b| period(a, b))
        .into_iter()
        .map(|(period, s)| {
            vec![
                Value::Time(period),
                count(s.log_bytes),
                count(s.builds),
                Value::Number(s.log_bytes as f64 / s.builds as f64),
            ]
        })
        .collect()
}

pub fn loudest_builders(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut rows: Vec<_> = sums(t, a, DAY, |b| b.builder).into_iter().collect();
    let all: i64 = rows.iter().map(|(_, s)| s.log_bytes).sum();
    rows.sort_by_key(|(b, s)| (-s.log_bytes, t.world.builders[*b].name.clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|(b, s)| {
            vec![
                text(&t.world.builders[b].name),
                count(s.builds),
                count(s.log_bytes),
                Value::Number(s.log_bytes as f64 / s.builds as f64),
                share(s.log_bytes, all),
            ]
        })
        .collect()
}

pub fn retention_forecast(t: &Truth, a: &Asked) -> Vec<Row> {
    const AHEAD: i64 = 90;
    let today = floor(a.until, DAY);
    let mut days: BTreeMap<i64, f64> = BTreeMap::new();
    for b in t.ended(today - 730 * DAY, today) {
        if a.project.as_ref().is_none_or(|p| p == t.project(b.builder)) {
            *days.entry((floor(b.complete_at, DAY) - today) / DAY).or_default() += b.log_bytes() as f64;
        }
    }
    let of = |n: i64| days.get(&n).copied().unwrap_or(0.0);
    let seen: Vec<(f64, f64)> = ((floor(a.since, DAY) - today) / DAY..0).map(|n| (n as f64, of(n))).collect();
    let count_of = seen.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| seen.iter().map(f).sum::<f64>() / count_of;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = seen.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = seen.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    let intercept = y - slope * x;
    [7, 30, 90, 180, 365, 730]
        .map(|keep: i64| {
            let now: f64 = (-keep..0).map(of).sum();
            let left: f64 = (AHEAD - keep..0).map(of).sum();
            let new: f64 = ((AHEAD - keep).max(0)..AHEAD).map(|d| (intercept + slope * d as f64).max(0.0)).sum();
            let growth = (now != 0.0).then(|| 100.0 * ((left + new) / now - 1.0));
            vec![
                count(keep),
                Value::Number(now),
                Value::Number(left + new),
                number(growth),
                Value::Number(y),
                Value::Number(slope),
            ]
        })
        .to_vec()
}
