//! Reports over workers and what they cost.

use super::super::records::*;
use super::*;
use std::collections::BTreeMap;

/// Builds that ended in whole hours from `from` on, and how long each was busy in those.
fn busy(t: &Truth, from: i64, until: i64) -> impl Iterator<Item = (&Build, bool, i64)> {
    let until = floor(until + HOUR - 1, HOUR);
    t.builds.iter().filter_map(move |b| {
        let ended = (from..until).contains(&b.complete_at);
        let busy = (b.complete_at.min(until) - b.started_at.max(from)).max(0);
        (ended || busy > 0).then_some((b, ended, busy))
    })
}

pub fn worker_use(t: &Truth, a: &Asked) -> Vec<Row> {
    let from = floor(a.since, HOUR);
    #[derive(Default)]
    struct Sum {
        builds: i64,
        lost: i64,
        busy: i64,
        online: Option<i64>,
        used: bool,
    }
    let mut sums: BTreeMap<usize, Sum> = BTreeMap::new();
    for (b, ended, busy) in busy(t, from, a.until) {
        let sum = sums.entry(b.worker).or_default();
        sum.builds += i64::from(ended);
        sum.lost += i64::from(ended && b.results == RETRY);
        sum.busy += busy;
        sum.used = true;
    }
    for s in &t.sessions {
        let span = s.seen_at.min(a.until) - s.opened_at.max(from);
        if span > 0 {
            *sums.entry(s.worker).or_default().online.get_or_insert(0) += span;
        }
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(w, s)| {
            let worker = &t.world.workers[w];
            let online = seconds(s.online.unwrap_or(0));
            let slots = online * worker.slots as f64;
            let busy = seconds(s.busy);
            let cost = worker.hourly_cost.map(|c| online / 3600.0 * c);
            // Without a session GREATEST passes over what is unknown: all of nothing is idle.
            let idle = cost.map(|c| c * if slots > 0.0 { (1.0 - busy / slots).max(0.0) } else { 0.0 });
            (worker, s, online, slots, busy, percent(busy, slots), cost, idle)
        })
        .filter(|r| a.worker.as_ref().is_none_or(|w| *w == r.0.name))
        .collect();
    rows.sort_by(|x, y| falling(x.7, y.7).then_with(|| rising(x.5, y.5)).then_with(|| x.0.name.cmp(&y.0.name)));
    rows.into_iter()
        .map(|(worker, s, online, slots, busy, used, cost, idle)| {
            vec![
                text(&worker.name),
                count(s.builds),
                count(s.lost),
                Value::Number(online),
                Value::Number(slots),
                Value::Number(busy),
                number(used),
                number(worker.hourly_cost),
                number(cost),
                number(idle),
            ]
        })
        .collect()
}

pub fn costs(t: &Truth, a: &Asked) -> Vec<Row> {
    const PRICE: f64 = 1.0;
    let since = floor(a.since, HOUR);
    // Whole hours: one that begins within the time is all of it.
    let before = floor(since - (a.until - since) + HOUR - 1, HOUR);
    #[derive(Default)]
    struct Sum {
        builds: i64,
        hours: f64,
        cost: Option<f64>,
        before: Option<f64>,
    }
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let project = |b: &Build| a.project.as_ref().is_none_or(|p| p == t.project(b.builder));
    for (from, until, now) in [(since, a.until, true), (before, since, false)] {
        for (b, ended, busy) in busy(t, from, until).filter(|(b, ..)| project(b)) {
            let worker = &t.world.workers[b.worker];
            let name = match a.by {
                "builder" => t.builder(b),
                "worker" => &worker.name,
                _ => t.project(b.builder),
            };
            let hours = seconds(busy) / 3600.0;
            let cost = hours * worker.hourly_cost.map_or(PRICE, |c| c / worker.slots as f64);
            let sum = sums.entry(name).or_default();
            if now {
                sum.builds += i64::from(ended);
                sum.hours += hours;
                *sum.cost.get_or_insert(0.0) += cost;
            } else {
                *sum.before.get_or_insert(0.0) += cost;
            }
        }
    }
    let all: f64 = sums.values().filter_map(|s| s.cost).sum();
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by(|(a, x), (b, y)| falling(x.cost, y.cost).then(a.cmp(b)));
    rows.into_iter()
        .take(a.limit)
        .map(|(name, s)| {
            let growth = s.before.filter(|b| *b != 0.0).map(|b| 100.0 * (s.cost.unwrap_or(0.0) / b - 1.0));
            vec![
                text(name),
                count(s.builds),
                Value::Number(s.hours),
                Value::Number(s.cost.unwrap_or(0.0)),
                number(s.cost.and_then(|c| percent(c, all))),
                Value::Number(s.before.unwrap_or(0.0)),
                number(growth),
            ]
        })
        .collect()
}
