//! Reports over tests.

use super::super::load::test_name;
use super::super::records::*;
use super::super::world::TEST;
use super::*;
use std::collections::{BTreeMap, HashMap};

/// Runs of tests in the order of their ends: build, when, which test, whether it passed, seconds.
fn runs(t: &Truth) -> Vec<(&Build, i64, usize, bool, f64)> {
    let mut builds: Vec<(&Build, i64)> =
        t.builds.iter().filter(|b| !b.tests.is_empty()).map(|b| (b, b.steps[TEST].complete_at)).collect();
    builds.sort_by_key(|(b, at)| (*at, b.id));
    builds
        .into_iter()
        .flat_map(|(b, at)| b.tests.iter().enumerate().map(move |(n, (passed, s))| (b, at, n, *passed, *s)))
        .collect()
}

pub fn slowest_tests(t: &Truth, a: &Asked) -> Vec<Row> {
    let mut sums: BTreeMap<(usize, usize), (i64, f64, f64, i64)> = BTreeMap::new();
    for (b, at, test, passed, seconds) in runs(t) {
        if (a.since..a.until).contains(&at) && a.wants(t, b.builder) {
            let sum = sums.entry((test, b.builder)).or_default();
            sum.0 += 1;
            sum.1 += seconds;
            sum.2 = sum.2.max(seconds);
            sum.3 += i64::from(!passed);
        }
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by(|(a, x), (b, y)| {
        let name = |k: &(usize, usize)| (test_name(k.0), t.world.builders[k.1].name.clone());
        y.1.total_cmp(&x.1).then_with(|| name(a).cmp(&name(b)))
    });
    rows.into_iter()
        .take(a.limit)
        .map(|((test, builder), s)| {
            vec![
                text(test_name(test)),
                text(&t.world.builders[builder].name),
                count(s.0),
                Value::Number(s.1),
                Value::Number(s.1 / s.0 as f64),
                Value::Number(s.2),
                count(s.3),
            ]
        })
        .collect()
}

pub fn flaky_tests(t: &Truth, a: &Asked) -> Vec<Row> {
    let _ = (t, a);
    Vec::new()
}

pub fn test_first_bad(t: &Truth, a: &Asked) -> Vec<Row> {
    let _: HashMap<(), ()> = HashMap::new();
    let _ = (t, a);
    Vec::new()
}
