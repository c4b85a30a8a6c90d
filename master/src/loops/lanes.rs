//! Hints about lanes, in this replica's memory: which may hold work, and the
//! ticket below which there is none.
//!
//! Losing or misjudging a hint costs time only. The low bound lags, because a
//! ticket drawn earlier may commit later; what commits later still is found by
//! the sweep, which looks from zero. A claim that skipped a row locked by
//! another replica, which then rolled back, is covered by the sweep too.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a highest ticket ripens before it becomes the bound.
const LAG: Duration = Duration::from_millis(300);
/// A sweep looks at each waiting lane from zero at least this often.
pub const SWEEP: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Lanes(HashMap<i64, Lane>);

struct Lane {
    /// There may be something to claim. The number tells a later mark from an
    /// earlier one, so that a claim that came too early does not clear it.
    hot: Option<u64>,
    low: i64,
    ripening: VecDeque<(Instant, i64)>,
    swept: Instant,
}

impl Lanes {
    /// These lanes may hold work.
    pub fn mark(&mut self, lanes: impl IntoIterator<Item = i64>, generation: u64) {
        for lane in lanes {
            self.0.entry(lane).or_insert_with(Lane::new).hot = Some(generation);
        }
    }

    /// Hot lanes that pass `may`, each with the ticket to look from.
    pub fn hot(&mut self, now: Instant, may: impl Fn(i64) -> bool) -> Vec<(i64, i64)> {
        let mut hot = Vec::new();
        for (id, lane) in self.0.iter_mut().filter(|(id, l)| l.hot.is_some() && may(**id)) {
            if now.duration_since(lane.swept) >= SWEEP {
                lane.swept = now;
                hot.push((*id, 0));
            } else {
                hot.push((*id, lane.bound(now)));
            }
        }
        hot
    }

    /// A claim took tickets up to this one out of the lane.
    pub fn taken(&mut self, lane: i64, highest: i64, now: Instant) {
        self.0.entry(lane).or_insert_with(Lane::new).ripening.push_back((now, highest));
    }

    /// Each lane is looked at from the start again.
    pub fn unbound(&mut self) {
        for lane in self.0.values_mut() {
            lane.low = 0;
            lane.ripening.clear();
        }
    }

    /// A claim begun at `generation` found no more in this lane.
    pub fn drained(&mut self, lane: i64, generation: u64) {
        if let Some(l) = self.0.get_mut(&lane)
            && l.hot.is_some_and(|marked| marked <= generation)
        {
            l.hot = None;
        }
    }

    pub fn any_hot(&self, may: impl Fn(i64) -> bool) -> bool {
        self.0.iter().any(|(id, l)| l.hot.is_some() && may(*id))
    }
}

impl Lane {
    fn new() -> Lane {
        // The first look is from the start, which is a sweep.
        Lane { hot: None, low: 0, ripening: VecDeque::new(), swept: Instant::now() }
    }

    fn bound(&mut self, now: Instant) -> i64 {
        while let Some((at, ticket)) = self.ripening.front().copied() {
            if now.duration_since(at) < LAG {
                break;
            }
            self.low = self.low.max(ticket);
            self.ripening.pop_front();
        }
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_ripens_and_the_sweep_looks_from_zero() {
        let mut lanes = Lanes::default();
        let start = Instant::now();
        lanes.mark([1], 1);
        lanes.taken(1, 50, start);
        assert_eq!(lanes.hot(start, |_| true), [(1, 0)]);
        assert_eq!(lanes.hot(start + LAG, |_| true), [(1, 50)]);
        assert_eq!(lanes.hot(start + SWEEP + LAG, |_| true), [(1, 0)]);
        assert_eq!(lanes.hot(start + SWEEP + LAG, |_| true), [(1, 50)]);
    }

    #[test]
    fn without_its_bounds_a_lane_stays_hot_and_is_looked_at_from_the_start() {
        let mut lanes = Lanes::default();
        let start = Instant::now();
        lanes.mark([1], 1);
        lanes.taken(1, 50, start);
        assert_eq!(lanes.hot(start + LAG, |_| true), [(1, 50)]);
        lanes.taken(1, 60, start + LAG);
        lanes.unbound();
        assert_eq!(lanes.hot(start + LAG * 3, |_| true), [(1, 0)]);
    }

    #[test]
    fn a_mark_that_came_during_a_claim_is_not_cleared_by_it() {
        let mut lanes = Lanes::default();
        lanes.mark([1], 5);
        lanes.drained(1, 4);
        assert!(lanes.any_hot(|_| true));
        lanes.drained(1, 5);
        assert!(!lanes.any_hot(|_| true));
    }
}
