//! Reports over tests.

use super::super::load::{TESTS_PAGE, test_name};
use super::super::records::*;
use super::super::world::{TEST, TESTS};
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

/// A test that passed and failed on the same sources.
struct Flake {
    at: i64,
    test: usize,
    builder: usize,
}

/// How a test that ever failed on a line stands there.
struct State<'t> {
    failing: bool,
    since: i64,
    build: &'t Build,
    /// The last build in which it had passed, and whether that is near enough to be known.
    good: Option<(&'t Build, bool)>,
}

/// By test, builder and branch.
type States<'t> = HashMap<(usize, usize, usize), State<'t>>;

/// Results that are looked back at from a page of them, of one test on one builder (`facts::test_results`).
const HISTORY: usize = 20;

/// Walks the results of all tests in the order of time.
fn walk(t: &Truth) -> (Vec<Flake>, States<'_>) {
    struct Seen<'t> {
        page: usize,
        build: &'t Build,
        passed: bool,
    }
    let mut of_test: HashMap<(usize, usize), Vec<Seen>> = HashMap::new();
    let mut flakes = Vec::new();
    let mut states = States::new();
    for (n, (build, at, test, passed, _)) in runs(t).into_iter().enumerate() {
        let page = n / TESTS / TESTS_PAGE;
        let seen = of_test.entry((test, build.builder)).or_default();
        let from = seen.partition_point(|s| s.page < page).saturating_sub(HISTORY);
        let known = &seen[from..];
        if known.iter().any(|s| s.passed != passed && s.build.head == build.head) {
            flakes.push(Flake { at, test, builder: build.builder });
        }
        let key = (test, build.builder, build.branch);
        match states.get(&key) {
            None if passed => {}
            Some(s) if s.failing != passed => {}
            _ => {
                let good = seen.iter().rposition(|s| s.passed && s.build.branch == build.branch);
                let good = good.map(|g| (seen[g].build, g >= from));
                states.insert(key, State { failing: !passed, since: at, build, good });
            }
        }
        seen.push(Seen { page, build, passed });
    }
    (flakes, states)
}

pub fn flaky_tests(t: &Truth, a: &Asked) -> Vec<Row> {
    let (flakes, _) = walk(t);
    let mut sums: BTreeMap<(usize, usize), (i64, i64)> = BTreeMap::new();
    for f in flakes.iter().filter(|f| (a.since..a.until).contains(&f.at) && a.wants(t, f.builder)) {
        let sum = sums.entry((f.test, f.builder)).or_default();
        sum.0 += 1;
        sum.1 = sum.1.max(f.at);
    }
    let runs = runs(t);
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|((test, b), s)| (-s.0, test_name(*test), t.world.builders[*b].name.clone()));
    rows.into_iter()
        .take(a.limit)
        .map(|((test, builder), (n, last))| {
            let own =
                || runs.iter().filter(|r| r.2 == test && r.0.builder == builder && (a.since..a.until).contains(&r.1));
            let first = flakes.iter().filter(|f| (f.test, f.builder) == (test, builder)).map(|f| f.at).min();
            vec![
                text(test_name(test)),
                text(&t.world.builders[builder].name),
                count(n),
                Value::Number(own().count() as f64),
                number(percent(n as f64, own().count() as f64)),
                Value::Number(own().filter(|r| !r.3).count() as f64),
                time(first),
                Value::Time(last),
            ]
        })
        .collect()
}

pub fn test_first_bad(t: &Truth, a: &Asked) -> Vec<Row> {
    let (_, states) = walk(t);
    let mut rows: Vec<_> = states
        .into_iter()
        .filter(|((_, b, _), s)| s.failing && (a.since..a.until).contains(&s.since) && a.wants(t, *b))
        .collect();
    rows.sort_by_key(|((test, b, _), s)| (-s.since, test_name(*test), t.world.builders[*b].name.clone(), s.build.id));
    rows.into_iter()
        .take(a.limit)
        .map(|((test, builder, branch), s)| {
            vec![
                text(test_name(test)),
                text(&t.world.builders[builder].name),
                Value::Time(s.since),
                Value::Number(seconds(a.until - s.since)),
                count(s.build.number),
                text(&t.branches[branch].name),
                text(t.change(s.build.head).revision()),
                match s.good {
                    None => Value::Null,
                    Some((good, true)) => count(good.number),
                    Some((good, false)) => Value::OrNull(good.number as f64),
                },
                super::steps::said(t, t.changes_of(s.build).iter().copied()),
            ]
        })
        .collect()
}
