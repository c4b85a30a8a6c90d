//! When people work: by hour of day and day of week, and more of them each month.

use super::random::Rng;
use super::{DAY, HOUR, Shape};

/// How busy an hour is beside the busiest.
fn weight(shape: &Shape, hour: i64) -> f64 {
    let growth = 0.6 + 0.4 * (hour - shape.start()) as f64 / (shape.end - shape.start()) as f64;
    // 1970 began on a Thursday.
    let weekday = (hour.div_euclid(DAY) + 3) % 7;
    let of_week = if weekday >= 5 { 0.25 } else { 1.0 };
    let of_day = match hour.rem_euclid(DAY) / HOUR {
        9..=11 | 14..=16 => 1.0,
        8 | 12 | 13 | 17 => 0.75,
        7 | 18..=20 => 0.4,
        2 => 0.35,
        _ => 0.15,
    };
    growth * of_week * of_day
}

/// Moments at which buildsets are asked for, in order.
pub struct Arrivals {
    shape: Shape,
    rng: Rng,
    each: f64,
    hour: i64,
    ready: std::vec::IntoIter<i64>,
}

impl Arrivals {
    pub fn new(shape: &Shape, buildsets: f64) -> Arrivals {
        let end = last_hour(shape);
        let total: f64 = (shape.start()..end).step_by(HOUR as usize).map(|h| weight(shape, h)).sum();
        let rng = Rng::new(shape.seed ^ 0x5ea5_0115);
        Arrivals { each: buildsets / total, hour: shape.start(), rng, ready: Vec::new().into_iter(), shape: *shape }
    }
}

/// The last hours are for what still runs.
fn last_hour(shape: &Shape) -> i64 {
    shape.end - 12 * HOUR
}

impl Iterator for Arrivals {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        loop {
            if let Some(at) = self.ready.next() {
                return Some(at);
            }
            if self.hour >= last_hour(&self.shape) {
                return None;
            }
            let n = self.rng.poisson(self.each * weight(&self.shape, self.hour));
            // Whole milliseconds, as nobody's clock is better than that.
            let mut times: Vec<i64> = (0..n).map(|_| self.hour + self.rng.below(3_600_000) as i64 * 1000).collect();
            times.sort_unstable();
            self.ready = times.into_iter();
            self.hour += HOUR;
        }
    }
}
