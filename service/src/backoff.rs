//! Doubling waits with jitter, for everything that tries again.

use rand::Rng;
use std::time::Duration;

/// The next wait is between half and all of a span that doubles up to a bound.
/// Jitter keeps many clients of one dead server from returning in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    span: Duration,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Self {
        Backoff { min, max, span: min }
    }

    /// How long to wait before the next try.
    pub fn wait(&mut self) -> Duration {
        let span = self.span;
        self.span = (span * 2).min(self.max);
        span.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.span = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_again_after_a_success() {
        let ms = Duration::from_millis;
        let mut b = Backoff::new(ms(100), ms(400));
        for span in [100, 200, 400, 400] {
            let wait = b.wait();
            assert!(wait >= ms(span / 2) && wait <= ms(span), "{wait:?} of {span}");
        }
        b.reset();
        assert!(b.wait() <= ms(100));
    }
}
