//! The generator keeps its promises.

use super::records::*;
use super::*;

fn truth(shape: Shape) -> Truth {
    let mut simulation = Simulation::new(shape);
    let mut collected = truth::Collected::default();
    while simulation.advance(i64::MAX) {}
    collected.take(std::mem::take(&mut simulation.out));
    collected.truth(simulation)
}

const NOW: i64 = 1_780_000_000 * SECOND;

#[test]
fn the_same_shape_is_the_same_history_in_each_week() {
    let shape = Shape { builds: 3_000, ..Shape::small(NOW) };
    let (a, b) = (truth(shape), truth(Shape { end: shape.end + 7 * DAY, ..shape }));
    assert_eq!(a.builds.len(), b.builds.len());
    for (a, b) in a.builds.iter().zip(&b.builds) {
        assert_eq!((a.id, a.builder, a.results, a.worker), (b.id, b.builder, b.results, b.worker));
        assert_eq!(a.complete_at + 7 * DAY, b.complete_at);
    }
    let other = truth(Shape { seed: 8, ..shape });
    assert!(a.builds.iter().zip(&other.builds).any(|(a, b)| a.started_at != b.started_at));
}

#[test]
fn all_that_reports_tell_of_happens() {
    let t = truth(Shape::small(NOW));
    for results in 0..=6 {
        assert!(t.builds.iter().filter(|b| b.results == results).count() > 20, "builds with result {results}");
    }
    let all = t.builds.len();
    assert!((18_000..22_000).contains(&all), "{all} builds");
    let happens = [
        ("lines that break", t.meanings.iter().filter(|m| m.broke).count()),
        ("lines that are mended", t.meanings.iter().filter(|m| m.fixed).count()),
        ("collapsed requests", t.requests.iter().filter(|r| r.collapsed_into.is_some()).count()),
        ("cancelled requests", t.requests.iter().filter(|r| r.reason.is_some()).count()),
        ("second attempts", t.builds.iter().filter(|b| b.attempt == 2).count()),
        ("waits for workers", t.builds.iter().filter(|b| b.started_at - b.waiting_since > MINUTE).count()),
        ("waits for locks", t.builds.iter().filter(|b| b.lock_wait() > SECOND).count()),
        ("tests that fail", t.builds.iter().flat_map(|b| &b.tests).filter(|t| !t.0).count()),
        ("notices", t.builds.iter().map(|b| b.notices.len()).sum()),
        ("sessions", t.sessions.len() - t.world.workers.len()),
        ("side branches", t.branches.len() - t.world.projects.len()),
        ("of an hour or more", t.builds.iter().filter(|b| b.results <= WARNINGS && b.attempt > 1).count()),
    ];
    for (what, n) in happens {
        assert!(n >= 20, "{what}: {n}");
    }
    let last = t.builds.iter().map(|b| b.complete_at).max().expect("builds");
    assert!(last < t.shape.end, "nothing ends after the end");
}

#[test]
fn each_report_has_something_to_say() {
    let t = truth(Shape::small(NOW));
    for (name, expected) in expected::REPORTS {
        let rows = expected(&t, &expected::Asked::of(t.shape.start(), t.shape.end, NOW));
        assert!(!rows.is_empty(), "{name}");
    }
}
