//! Years of invented history with a known truth.
//!
//! [`Simulation`] plays a whole Tidemill in memory, from a seed: people commit,
//! branches break and are mended, tests flake, machines fail for hours, requests
//! wait, collapse and are cancelled. The same [`Shape`] gives the same history. What
//! came to its end is handed out in pieces, so that ten million builds need little
//! memory: [`load`] writes the raw rows that a Tidemill would have kept, and
//! keeps the records themselves as the [`Truth`] where that is asked for.
//!
//! What reporting derives is not written: that comes from the real code. What it
//! must come to is computed from the truth, in Rust and not in SQL, by
//! [`expected`].

mod beside;
pub mod expected;
mod load;
mod outcome;
#[cfg(test)]
mod own_tests;
mod random;
pub mod records;
mod seasons;
mod simulate;
mod truth;
pub mod world;

pub use beside::beside;
pub use load::{Loaded, Loader, load, test_name};
pub use random::Rng;
pub use simulate::Simulation;
pub use truth::Truth;

/// Microseconds.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// How much history, and which.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub seed: u64,
    /// About so many builds.
    pub builds: usize,
    pub builders: usize,
    pub days: i64,
    /// When it ends: nothing in it is later.
    pub end: i64,
    /// Fewer rows a build: one log, one statistic.
    pub thin: bool,
}

impl Shape {
    pub fn start(&self) -> i64 {
        self.end - self.days * DAY
    }

    /// For tests: half a year that ends with the last Saturday. Seasons are of weeks, so that it
    /// is the same history each week, but for its dates.
    pub fn small(now: i64) -> Shape {
        // 1970-01-04 was a Sunday.
        let end = (now - 3 * DAY).div_euclid(7 * DAY) * 7 * DAY + 3 * DAY;
        Shape { seed: 7, builds: 20_000, builders: 60, days: 182, end, thin: false }
    }

    /// A year of as many builds as asked for.
    pub fn year(builds: usize, builders: usize, now: i64) -> Shape {
        Shape { builds, builders, days: 364, ..Shape::small(now) }
    }
}
