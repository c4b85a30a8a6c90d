//! Reports over steps.

use super::super::records::*;
use super::super::world::STEPS;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Sum {
    runs: i64,
    bad: i64,
    ran: i64,
    lock_wait: i64,
    spans: Vec<f64>,
}

/// Steps of builds that ended on whole days of that time.
fn sums<K: Ord>(t: &Truth, a: &Asked, key: impl Fn(&Build, usize) -> K) -> BTreeMap<K, Sum> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    for b in t.ended(floor(a.since, DAY), floor(a.until + DAY - 1, DAY)).filter(|b| a.wants(t, b.builder)) {
        for s in &b.steps {
            let sum = sums.entry(key(b, s.name as usize)).or_default();
            sum.runs += 1;
            sum.bad += i64::from(matches!(s.results, FAILURE | EXCEPTION));
            sum.ran += s.complete_at - s.started_at;
            sum.lock_wait += s.lock_wait.unwrap_or(0);
            sum.spans.push(seconds(s.complete_at - s.started_at));
        }
    }
    sums
}

fn name(t: &Truth, (builder, step): &(usize, usize)) -> (String, &'static str) {
    (t.world.builders[*builder].name.clone(), STEPS[*step].0)
}

pub fn failing_steps(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut rows: Vec<_> = sums(t, a, |b, s| (b.builder, s)).into_iter().filter(|(_, s)| s.bad > 0).collect();
    let rate = |s: &Sum| percent(s.bad as f64, s.runs as f64);
    rows.sort_by(|(a, x), (b, y)| {
        y.bad.cmp(&x.bad).then_with(|| falling(rate(x), rate(y))).then_with(|| name(t, a).cmp(&name(t, b)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|(key, s)| {
            let (builder, step) = name(t, &key);
            vec![
                text(builder),
                text(step),
                count(s.runs),
                count(s.bad),
                number(rate(&s)),
                Value::Number(seconds(s.ran)),
            ]
        })
        .collect()
}

pub fn slowest_steps(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut rows: Vec<_> = sums(t, a, |b, s| (b.builder, s)).into_iter().collect();
    let all: i64 = rows.iter().map(|(_, s)| s.ran).sum();
    rows.sort_by(|(a, x), (b, y)| y.ran.cmp(&x.ran).then_with(|| name(t, a).cmp(&name(t, b))));
    rows.into_iter()
        .take(a.limit)
        .map(|(key, mut s)| {
            let (builder, step) = name(t, &key);
            vec![
                text(builder),
                text(step),
                count(s.runs),
                Value::Number(seconds(s.ran)),
                number(percent(s.ran as f64, all as f64)),
                Value::Number(seconds(s.ran) / s.runs as f64),
                near(&mut s.spans, 0.5),
                near(&mut s.spans, 0.95),
                Value::Number(seconds(s.lock_wait)),
            ]
        })
        .collect()
}

/// Days of a step: when, runs, seconds together.
type Days = Vec<(i64, f64, f64)>;

/// Where the days of a step fall best into two parts of different means, and F of that.
fn split(days: &Days, least: f64) -> Option<(usize, f64)> {
    let n: f64 = days.iter().map(|d| d.1).sum();
    let s: f64 = days.iter().map(|d| d.2).sum();
    let total = days.iter().map(|d| d.1 * (d.2 / d.1 - s / n).powi(2)).sum::<f64>();
    let mut best: Option<(usize, f64)> = None;
    for at in 1..days.len() {
        let n1: f64 = days[..at].iter().map(|d| d.1).sum();
        let s1: f64 = days[..at].iter().map(|d| d.2).sum();
        let (n2, s2) = (n - n1, s - s1);
        if n1 >= least && n2 >= least {
            let between = n1 * n2 / n * (s2 / n2 - s1 / n1).powi(2);
            if best.is_none_or(|b| between > b.1) {
                best = Some((at, between));
            }
        }
    }
    let (at, between) = best?;
    let rest = (total - between).max(1e-9 * total + 1e-12);
    Some((at, between / (rest / (days.len() as f64 - 2.0))))
}

/// Runs and mean of a part.
fn mean(part: &[(i64, f64, f64)]) -> (f64, f64) {
    let n: f64 = part.iter().map(|d| d.1).sum();
    (n, part.iter().map(|d| d.2).sum::<f64>() / n)
}

/// Steps by what is larger first, then by name.
fn largest(t: &Truth, mut steps: Vec<((usize, usize), f64)>, most: usize) -> Vec<(usize, usize)> {
    steps.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| name(t, &a.0).cmp(&name(t, &b.0))));
    steps.into_iter().take(most).map(|(key, _)| key).collect()
}

/// Steps whose months say that they became slower: the first and the last month as a whole.
fn slower_by_months(t: &Truth, a: &Asked, factor: f64, least: f64) -> Vec<((usize, usize), f64)> {
    let month = |at| Asked { every: "month", ..a.clone() }.period(at);
    // The last one too.
    let whole = Asked { since: month(a.since), until: month(month(a.until - 1) + 32 * DAY), ..a.clone() };
    let mut series: BTreeMap<(usize, usize), Days> = BTreeMap::new();
    for ((builder, step, month), s) in sums(t, &whole, |b, s| (b.builder, s, month(b.complete_at))) {
        series.entry((builder, step)).or_default().push((month, s.runs as f64, seconds(s.ran)));
    }
    let slower = series.into_iter().filter_map(|(key, months)| {
        let (at, _) = split(&months, least)?;
        let ((_, before), (runs, after)) = (mean(&months[..at]), mean(&months[at..]));
        (after >= before * (1.0 + (factor - 1.0) / 2.0)).then_some((key, runs * (after - before)))
    });
    slower.collect()
}

pub fn slower_steps(t: &Truth, a: &Asked) -> Vec<Row> {
    const FACTOR: f64 = 1.2;
    const LEAST: f64 = 10.0;
    const CERTAIN: f64 = 15.0;
    let took = sums(t, a, |b, s| (b.builder, s)).into_iter().map(|(key, s)| (key, seconds(s.ran))).collect();
    let mut steps: BTreeSet<_> = largest(t, took, 100 * a.limit).into_iter().collect();
    if a.until - a.since > 92 * DAY {
        let slower = slower_by_months(t, a, FACTOR, LEAST).into_iter().filter(|(key, _)| steps.contains(key)).collect();
        steps = largest(t, slower, 10 * a.limit).into_iter().collect();
    }
    let mut series: BTreeMap<(usize, usize), Days> = BTreeMap::new();
    for ((builder, step, day), s) in sums(t, a, |b, s| (b.builder, s, floor(b.complete_at, DAY))) {
        if steps.contains(&(builder, step)) {
            series.entry((builder, step)).or_default().push((day, s.runs as f64, seconds(s.ran)));
        }
    }
    let mut rows = Vec::new();
    for (key, days) in series.into_iter().filter(|(_, d)| d.len() >= 4) {
        let Some((at, certainty)) = split(&days, LEAST) else { continue };
        let ((_, before), (runs, after)) = (mean(&days[..at]), mean(&days[at..]));
        if before > 0.0 && after >= before * FACTOR && certainty >= CERTAIN {
            rows.push((key, days[at].0, before, after, runs, certainty));
        }
    }
    rows.sort_by(|x, y| {
        let extra = |r: &(_, _, f64, f64, f64, _)| r.4 * (r.3 - r.2);
        extra(y).total_cmp(&extra(x)).then_with(|| name(t, &x.0).cmp(&name(t, &y.0)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|(key, day, before, after, runs, certainty)| {
            let (builder, step) = name(t, &key);
            vec![
                text(builder),
                text(step),
                Value::Time(day),
                Value::Number(before),
                Value::Number(after),
                Value::Number(after / before),
                Value::Number(runs),
                Value::Number(runs * (after - before)),
                Value::Number(certainty),
                changes(t, key.0, day),
            ]
        })
        .collect()
}

/// Changes of a builder's builds of a day: the first five.
fn changes(t: &Truth, builder: usize, day: i64) -> Value {
    let of_day: BTreeSet<i64> = t
        .ended(day, day + DAY)
        .filter(|b| b.builder == builder)
        .flat_map(|b| t.changes_of(b).iter().copied())
        .collect();
    said(t, of_day)
}

/// «author revision», of at most five changes by id.
pub(super) fn said(t: &Truth, changes: impl IntoIterator<Item = i64>) -> Value {
    let said: Vec<String> = changes
        .into_iter()
        .take(5)
        .map(|c| format!("{} {}", t.world.authors[t.change(c).author], &t.change(c).revision()[..12]))
        .collect();
    if said.is_empty() { Value::Null } else { text(said.join(", ")) }
}
