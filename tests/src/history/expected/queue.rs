//! Reports over requests and locks.

use super::super::records::*;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

pub fn collapse_savings(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut sums: BTreeMap<usize, (u32, u32)> = BTreeMap::new();
    for r in requests(t, a) {
        let sum = sums.entry(r.builder).or_default();
        sum.0 += 1;
        sum.1 += u32::from(r.collapsed_into.is_some());
    }
    // Whole days.
    let mut means: BTreeMap<usize, (f64, i64)> = BTreeMap::new();
    for b in t.ended(floor(a.since, DAY), floor(a.until + DAY - 1, DAY)).filter(|b| a.wants(t, b.builder)) {
        let mean = means.entry(b.builder).or_default();
        mean.0 += seconds(b.complete_at - b.started_at);
        mean.1 += 1;
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .filter(|(_, s)| s.1 > 0)
        .map(|(builder, s)| {
            let mean = means.get(&builder).map(|m| m.0 / m.1 as f64);
            (builder, s, mean, mean.map(|m| m * f64::from(s.1)))
        })
        .collect();
    rows.sort_by(|x, y| {
        let name = |b: usize| &t.world.builders[b].name;
        falling(x.3, y.3).then(y.1.1.cmp(&x.1.1)).then_with(|| name(x.0).cmp(name(y.0)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|(builder, s, mean, saved)| {
            vec![
                text(&t.world.builders[builder].name),
                count(s.0),
                count(s.1),
                number(percent(s.1, s.0)),
                number(mean),
                number(saved),
            ]
        })
        .collect()
}

fn requests<'t>(t: &'t Truth, a: &'t Asked) -> impl Iterator<Item = &'t Request> {
    t.requests.iter().filter(|r| (a.since..a.until).contains(&r.complete_at) && a.wants(t, r.builder))
}

pub fn queue_reasons(t: &Truth, a: &Asked) -> Vec<Row> {
    // Waits between builds of one request, by its id: all, and how much of that was a back-off.
    let mut between: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for b in t.builds.iter().filter(|b| b.attempt > 1) {
        let gap = b.started_at - b.waiting_since;
        let sum = between.entry(b.request).or_default();
        sum.0 += gap;
        sum.1 += gap.min((2 << (b.attempt - 2)) * SECOND);
    }
    let mut sums: BTreeMap<usize, ([i64; 3], [i64; 3], i64)> = BTreeMap::new();
    for r in requests(t, a).filter(|r| r.collapsed_into.is_none()) {
        let Some(claimed) = r.claimed_at else { continue };
        let (gaps, back_off) = between.get(&r.id).copied().unwrap_or_default();
        // No builder of ours stands in line for a lock before it builds.
        let worker = claimed - r.submitted_at + gaps - back_off;
        let sum = sums.entry(r.builder).or_default();
        sum.2 += 1;
        sum.1[0] += worker;
        sum.1[2] += back_off;
        if worker + back_off >= SECOND {
            sum.0[if back_off >= worker { 2 } else { 0 }] += 1;
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(b, s)| (-s.1.iter().sum::<i64>(), t.world.builders[*b].name.clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|(builder, (why, waited, n))| {
            let mut row = vec![text(&t.world.builders[builder].name), count(n)];
            row.extend(why.map(count));
            row.extend(waited.map(|w| Value::Number(seconds(w))));
            row
        })
        .collect()
}

pub fn lock_waits(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut sums: BTreeMap<usize, (BTreeSet<usize>, Vec<f64>, i64, i64)> = BTreeMap::new();
    for b in t.builds.iter().filter(|b| a.wants(t, b.builder)) {
        for s in &b.steps {
            let Some(wait) = s.lock_wait.filter(|w| *w > 0) else { continue };
            let ended = s.started_at + wait;
            if (a.since..a.until).contains(&ended) {
                let lock = t.world.builders[b.builder].lock.expect("who waits has a lock");
                let sum = sums.entry(lock).or_default();
                sum.0.insert(b.builder);
                sum.1.push(seconds(wait));
                sum.2 += wait;
                sum.3 = sum.3.max(ended);
            }
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(lock, s)| (-s.2, t.world.locks[*lock].clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|(lock, (builders, mut waits, total, last))| {
            vec![
                text(&t.world.locks[lock]),
                Value::Number(waits.len() as f64),
                Value::Number(builders.len() as f64),
                Value::Number(seconds(total)),
                number(between(&mut waits, 0.5)),
                number(between(&mut waits, 0.95)),
                number(waits.last().copied()),
                Value::Time(last),
            ]
        })
        .collect()
}
