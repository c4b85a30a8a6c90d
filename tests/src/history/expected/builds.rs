//! Reports over builds.

use super::super::records::*;
use super::super::world::STEPS;
use super::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const WORDS: [&str; 7] = ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"];

pub fn branch_health(t: &Truth, a: &Asked) -> Vec<Row> {
    #[derive(Default)]
    struct Sum {
        builds: u32,
        good: u32,
        failed: u32,
        last: i64,
        last_good: i64,
        last_bad: i64,
    }
    let mut sums: HashMap<(usize, usize), Sum> = HashMap::new();
    for b in t.ended(a.since, a.until).filter(|b| a.wants(t, b.builder)) {
        let sum = sums.entry((b.builder, b.branch)).or_default();
        sum.builds += 1;
        sum.last = b.complete_at;
        match b.results {
            SUCCESS | WARNINGS => {
                sum.good += 1;
                sum.last_good = b.complete_at;
            }
            FAILURE => {
                sum.failed += 1;
                sum.last_bad = b.complete_at;
            }
            _ => {}
        }
    }
    let mut branches: HashMap<usize, (u32, u32, u32, u32, u32, i64)> = HashMap::new();
    for ((_, branch), s) in &sums {
        let all = branches.entry(*branch).or_default();
        all.0 += 1;
        all.1 += s.builds;
        all.2 += s.good;
        all.3 += s.failed;
        all.4 += u32::from(s.last_bad > s.last_good);
        all.5 = all.5.max(s.last);
    }
    let mut rows: Vec<_> = branches.into_iter().collect();
    rows.sort_by_key(|(branch, all)| {
        let branch = &t.branches[*branch];
        (std::cmp::Reverse(all.1), t.world.projects[branch.project].name.clone(), branch.name.clone())
    });
    let row = |(branch, all): (usize, (u32, u32, u32, u32, u32, i64))| {
        let branch = &t.branches[branch];
        vec![
            text(&t.world.projects[branch.project].name),
            text(&branch.name),
            count(all.0),
            count(all.1),
            number(percent(all.2, all.2 + all.3)),
            count(all.4),
            Value::Time(all.5),
        ]
    };
    rows.into_iter().take(a.limit).map(row).collect()
}

pub fn slowest_builds(t: &Truth, a: &Asked) -> Vec<Row> {
    let worker = |b: &Build| t.world.workers[b.worker].name.as_str();
    let mut builds: Vec<&Build> = t
        .ended(a.since, a.until)
        .filter(|b| a.wants(t, b.builder) && a.wants_branch(t, b.branch))
        .filter(|b| a.worker.as_ref().is_none_or(|w| w == worker(b)))
        .collect();
    builds.sort_by_key(|b| (b.started_at - b.complete_at, b.id));
    builds
        .into_iter()
        .take(a.limit)
        .map(|b| {
            let slowest =
                b.steps.iter().max_by_key(|s| (s.complete_at - s.started_at, std::cmp::Reverse(s.started_at)));
            vec![
                text(t.builder(b)),
                count(b.number),
                count(b.id),
                text(&t.branches[b.branch].name),
                text(WORDS[b.results as usize]),
                Value::Time(b.complete_at),
                Value::Number(seconds(b.complete_at - b.started_at)),
                Value::Number(seconds(b.lock_wait())),
                Value::Number(seconds(b.started_at - b.waiting_since)),
                text(worker(b)),
                slowest.map_or(Value::Null, |s| text(STEPS[s.name as usize].0)),
                number(slowest.map(|s| seconds(s.complete_at - s.started_at))),
            ]
        })
        .collect()
}

pub fn retries(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut lost: BTreeMap<usize, (i64, BTreeSet<usize>, i64, i64)> = BTreeMap::new();
    for b in t.ended(a.since, a.until).filter(|b| b.results == RETRY && a.wants(t, b.builder)) {
        if a.worker.as_ref().is_some_and(|w| *w != t.world.workers[b.worker].name) {
            continue;
        }
        let sum = lost.entry(b.worker).or_default();
        sum.0 += 1;
        sum.1.insert(b.builder);
        sum.2 += b.complete_at - b.started_at;
        sum.3 = b.complete_at;
    }
    let mut rows: Vec<_> = lost.into_iter().collect();
    rows.sort_by_key(|(w, s)| (-s.0, -s.2, t.world.workers[*w].name.clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|(w, s)| {
            let worker = &t.world.workers[w];
            vec![
                text(&worker.name),
                count(s.0),
                Value::Number(s.1.len() as f64),
                Value::Number(seconds(s.2)),
                number(worker.hourly_cost.map(|cost| seconds(s.2) / 3600.0 * cost / worker.slots as f64)),
                Value::Time(s.3),
            ]
        })
        .collect()
}

/// Exactly of one branch, and of whole days otherwise.
fn range(a: &Asked, exact: bool) -> (i64, i64) {
    if exact { (a.since, a.until) } else { (floor(a.since, DAY), floor(a.until + DAY - 1, DAY)) }
}

pub fn lead_time(t: &Truth, a: &Asked) -> Vec<Row> {
    let (since, until) = range(a, a.branch.is_some());
    let mut periods: BTreeMap<i64, (i64, Vec<f64>)> = BTreeMap::new();
    for b in t.ended(since, until).filter(|b| b.results <= WARNINGS) {
        if !a.wants(t, b.builder) || !a.wants_branch(t, b.branch) {
            continue;
        }
        let changes = t.changes_of(b);
        if let Some(first) = changes.iter().map(|c| t.change(*c).made_at).min() {
            let sum = periods.entry(a.period(b.complete_at)).or_default();
            sum.0 += changes.len() as i64;
            sum.1.push(seconds(b.complete_at - first));
        }
    }
    periods
        .into_iter()
        .map(|(period, (changes, mut leads))| {
            let mut percentile = |fraction| match a.branch {
                Some(_) => number(between(&mut leads, fraction)),
                None => near(&mut leads, fraction),
            };
            let (median, p90) = (percentile(0.5), percentile(0.9));
            vec![
                Value::Time(period),
                Value::Number(leads.len() as f64),
                count(changes),
                median,
                p90,
                number(leads.last().copied()),
            ]
        })
        .collect()
}

pub fn statistics_trend(t: &Truth, a: &Asked) -> Vec<Row> {
    let (since, until) = range(a, a.branch.is_some() || a.every == "hour");
    let mut periods: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    // In the order of ends, so that the last of each is the newest.
    for b in t.ended(since, until).filter(|b| a.wants(t, b.builder) && a.wants_branch(t, b.branch)) {
        for (name, value) in b.steps.iter().filter_map(|s| s.statistic) {
            if name == a.statistic {
                periods.entry(a.period(b.complete_at)).or_default().push(value);
            }
        }
    }
    periods
        .into_iter()
        .map(|(period, values)| {
            vec![
                Value::Time(period),
                Value::Number(values.len() as f64),
                Value::Number(values.iter().sum::<f64>() / values.len() as f64),
                number(values.iter().copied().min_by(f64::total_cmp)),
                number(values.iter().copied().max_by(f64::total_cmp)),
                number(values.last().copied()),
            ]
        })
        .collect()
}
