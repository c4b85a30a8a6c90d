//! How a build goes: its steps, what fails and why, what is told.

use super::random::Rng;
use super::records::*;
use super::world::{Builder, COMPILE, STEPS, TEST, TESTS, UPLOAD, World};
use super::{SECOND, Shape};

/// Fills in a build that begins; `bad` is the change that broke it, if one did.
pub fn decide(rng: &mut Rng, shape: &Shape, world: &World, build: &mut Build, bad: Option<i64>) {
    let builder = &world.builders[build.builder];
    let at = build.started_at;
    let fault = world.faulty(builder.pool, at);
    let u = rng.unit();
    let flaky = builder.flaky.is_some_and(|(from, rate)| at >= from && rng.chance(rate));
    let (lost, exception) = if fault { (0.22, 0.5) } else { (0.004, 0.008) };
    build.results = if u < lost {
        RETRY
    } else if u < exception {
        EXCEPTION
    } else if u > 0.988 {
        CANCELLED
    } else if u > 0.985 {
        SKIPPED
    } else if bad.is_some() || flaky {
        FAILURE
    } else if builder.warns && rng.chance(0.3) {
        WARNINGS
    } else {
        SUCCESS
    };
    // Where it stops short.
    let last = match build.results {
        SUCCESS | WARNINGS => STEPS.len() - 1,
        FAILURE => match bad {
            Some(change) if change % 2 == 0 && !builder.tests => COMPILE,
            _ => TEST,
        },
        SKIPPED => 0,
        _ => rng.below(STEPS.len()),
    };
    let mut now = at + 40_000;
    for step in 0..=last {
        now = run_step(rng, shape, builder, build, step, step == last, now) + 2_000;
    }
    build.complete_at = now + 10_000;
    if builder.tests && last >= TEST && matches!(build.results, SUCCESS | WARNINGS | FAILURE) {
        build.tests = (0..TESTS)
            .map(|t| {
                let fails = build.results == FAILURE && t == bad.map_or(build.builder, |c| c as usize) % TESTS;
                (!fails, (rng.log_normal(0.2 * (t + 1) as f64, 0.3) * 1000.0).round() / 1000.0)
            })
            .collect();
    }
    if matches!(build.results, FAILURE | EXCEPTION) && rng.chance(0.5) {
        tell(rng, world, build);
    }
}

/// Returns when it ended.
fn run_step(
    rng: &mut Rng,
    shape: &Shape,
    builder: &Builder,
    build: &mut Build,
    step: usize,
    last: bool,
    now: i64,
) -> i64 {
    let mut seconds = builder.seconds * STEPS[step].1 * rng.log_normal(1.0, 0.15);
    if let Some((from, slow, factor)) = builder.slower
        && slow == step
        && now >= from
    {
        seconds *= factor;
    }
    let mut results = SUCCESS;
    if last {
        match build.results {
            FAILURE => seconds *= 0.6,
            EXCEPTION | RETRY | CANCELLED => seconds *= rng.unit(),
            SKIPPED => seconds = 0.01,
            _ => {}
        }
        if !matches!(build.results, SUCCESS | WARNINGS) {
            results = build.results;
        }
    }
    if build.results == WARNINGS && step == COMPILE {
        results = WARNINGS;
    }
    let lock_wait = (step == UPLOAD && builder.lock.is_some())
        .then(|| if rng.chance(0.4) { (rng.exponential(45.0) * 1000.0) as i64 * 1000 + 1000 } else { 0 });
    let took = (seconds * 1000.0) as i64 * 1000 + 1000;
    let done = results == SUCCESS || results == WARNINGS || results == FAILURE;
    let age = (now - shape.start()) as f64 / (shape.end - shape.start()) as f64;
    let log = step == COMPILE || step == TEST && !shape.thin;
    build.steps.push(Step {
        name: step as u8,
        results,
        started_at: now,
        complete_at: now + lock_wait.unwrap_or(0) + took,
        lock_wait,
        log_bytes: log.then(|| (builder.log_bytes * (0.6 + 0.4 * age) * rng.log_normal(1.0, 0.3)) as i64),
        statistic: match step {
            COMPILE if done => Some(("warnings", if results == WARNINGS { 3.0 } else { 0.0 })),
            TEST if done && !shape.thin => Some(("tests-total", (100.0 + 400.0 * age).floor())),
            UPLOAD if done && !shape.thin => Some(("size", (1e6 * (1.0 + age) * (1.0 + 0.01 * rng.unit())).floor())),
            _ => None,
        },
    });
    now + lock_wait.unwrap_or(0) + took
}

fn tell(rng: &mut Rng, world: &World, build: &mut Build) {
    let planned_at = build.complete_at + 5_000;
    let author = rng.weighted(&world.author_totals);
    let (state, attempts, took) = match rng.below(40) {
        0 => ("parked", 1, SECOND),
        1 => ("superseded", 0, SECOND / 2),
        2 | 3 => ("sent", 2, 31 * SECOND),
        _ => ("sent", 1, 200_000),
    };
    build.notices.push(Notice {
        irc: rng.chance(0.2),
        author,
        state,
        attempts,
        planned_at,
        ended_at: planned_at + took,
    });
}
