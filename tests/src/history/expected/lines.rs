//! Reports over lines that break and are mended.

use super::super::records::*;
use super::super::world::STEPS;
use super::*;
use std::collections::{BTreeMap, HashMap};

const WORDS: [&str; 3] = ["success", "warnings", "failure"];

fn broke<'t>(t: &'t Truth, a: &Asked) -> Vec<&'t Build> {
    t.ended(a.since, a.until)
        .filter(|b| t.meaning(b).broke && a.wants(t, b.builder) && a.wants_branch(t, b.branch))
        .collect()
}

/// Builds that fixed what others broke, by those.
fn fixed(t: &Truth, since: i64, until: i64) -> HashMap<i64, &Build> {
    t.ended(since, until).filter(|b| t.meaning(b).fixed).filter_map(|b| Some((t.meaning(b).bad?, b))).collect()
}

pub fn breakages(t: &Truth, a: &Asked) -> Vec<Row> {
    let fixed = fixed(t, a.since, i64::MAX);
    let author = |a: usize| t.world.authors[a].as_str();
    broke(t, a)
        .into_iter()
        .rev()
        .take(a.limit)
        .map(|b| {
            let f = fixed.get(&b.id);
            let failed = b.steps.iter().find(|s| s.results == FAILURE).expect("a failed build has a failed step");
            let by = f.map(|f| t.changes_of(f).iter().map(|c| author(t.change(*c).author)).collect());
            vec![
                Value::Time(b.complete_at),
                text(t.builder(b)),
                text(&t.branches[b.branch].name),
                count(b.number),
                text(t.change(b.head).revision()),
                text(STEPS[failed.name as usize].0),
                text(t.meaning(b).blamed.iter().map(|a| author(*a)).collect::<Vec<_>>().join(", ")),
                time(f.map(|f| f.complete_at)),
                number(f.map(|f| f.number as f64)),
                by.map_or(Value::Null, joined),
                number(f.map(|f| seconds(f.complete_at - b.complete_at))),
            ]
        })
        .collect()
}

pub fn time_to_repair(t: &Truth, a: &Asked) -> Vec<Row> {
    let fixed = fixed(t, a.since, a.until);
    let mut builders: BTreeMap<usize, (i64, Vec<f64>)> = BTreeMap::new();
    for b in broke(t, a) {
        let sum = builders.entry(b.builder).or_default();
        sum.0 += 1;
        sum.1.extend(fixed.get(&b.id).map(|f| seconds(f.complete_at - b.complete_at)));
    }
    let mut rows: Vec<_> = builders.into_iter().collect();
    let total = |spans: &[f64]| (!spans.is_empty()).then(|| spans.iter().sum::<f64>());
    rows.sort_by(|(a, x), (b, y)| {
        let name = |b: usize| &t.world.builders[b].name;
        falling(total(&x.1), total(&y.1)).then(y.0.cmp(&x.0)).then_with(|| name(*a).cmp(name(*b)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|(b, (breakages, mut spans))| {
            vec![
                text(&t.world.builders[b].name),
                count(breakages),
                Value::Number(spans.len() as f64),
                Value::Number(breakages as f64 - spans.len() as f64),
                number(between(&mut spans, 0.5)),
                number(between(&mut spans, 0.9)),
                number(spans.last().copied()),
                number(total(&spans)),
            ]
        })
        .collect()
}

/// How a builder stands now: its newest verdict of four weeks.
fn newest(t: &Truth, now: i64) -> HashMap<usize, super::super::truth::Standing> {
    let mut newest = HashMap::new();
    let lines = t.lines(i64::MAX).into_iter().filter(|(_, s)| s.complete_at > now - 28 * DAY);
    for ((builder, _), standing) in lines {
        let known = newest.entry(builder).or_insert(standing);
        if standing.complete_at > known.complete_at {
            *known = standing;
        }
    }
    newest
}

pub fn builder_health(t: &Truth, a: &Asked) -> Vec<Row> {
    let (from, recent) = (floor(a.since, DAY), floor(a.recent(), DAY));
    let until = floor(a.until + DAY - 1, DAY);
    // Builds; good and verdicts before and since `recent`.
    let mut sums: BTreeMap<usize, (u32, [u32; 2], [u32; 2])> = BTreeMap::new();
    for b in t.ended(from, until).filter(|b| a.wants(t, b.builder)) {
        let sum = sums.entry(b.builder).or_default();
        let part = usize::from(b.complete_at >= recent);
        sum.0 += 1;
        sum.1[part] += u32::from(b.results <= WARNINGS);
        sum.2[part] += u32::from(b.results <= FAILURE);
    }
    let newest = newest(t, a.now);
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(builder, (builds, good, verdicts))| {
            let now = newest.get(&builder);
            let before = percent(good[0], verdicts[0]);
            let recent = percent(good[1], verdicts[1]);
            let bad = now.and_then(|n| n.bad).map(|b| t.build(b).complete_at);
            (builder, builds, good, verdicts, now, before, recent, bad)
        })
        .collect();
    rows.sort_by(|x, y| {
        let name = |b: usize| &t.world.builders[b].name;
        x.7.is_none()
            .cmp(&y.7.is_none())
            .then_with(|| rising(x.6, y.6))
            .then(y.1.cmp(&x.1))
            .then_with(|| name(x.0).cmp(name(y.0)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|(builder, builds, good, verdicts, now, before, recent, bad)| {
            vec![
                text(&t.world.builders[builder].name),
                text(t.project(builder)),
                now.map_or(Value::Null, |n| text(WORDS[n.results as usize])),
                time(now.map(|n| n.complete_at)),
                time(bad),
                count(builds),
                number(percent(good[0] + good[1], verdicts[0] + verdicts[1])),
                number(before),
                number(recent),
                number(recent.zip(before).map(|(r, b)| r - b)),
            ]
        })
        .collect()
}
