//! A pace for what is done at once while it is seldom, and gathered under load.

use std::time::Duration;
use tokio::time::Instant;

/// Turns at most every so often, but for a burst that is whole again after a rest.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    burst: u32,
    /// When the burst is whole again; each turn moves it by `every`.
    whole: Instant,
}

impl Pace {
    pub fn new(every: Duration, burst: u32) -> Pace {
        Pace { every, burst, whole: Instant::now() }
    }

    /// Takes the next turn: when it may begin.
    pub fn turn(&mut self) -> Instant {
        self.turn_at(Instant::now())
    }

    fn turn_at(&mut self, now: Instant) -> Instant {
        self.whole = self.whole.max(now) + self.every;
        (self.whole.checked_sub(self.every * self.burst)).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_no_pause_and_what_follows_keeps_the_pace() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(ms(50), 3);
        let start = Instant::now() + ms(1000);
        for wait in [0, 0, 0, 50, 100] {
            assert_eq!(pace.turn_at(start) - start, ms(wait));
        }
        let rested = start + ms(1000);
        assert_eq!(pace.turn_at(rested), rested);
    }
}
