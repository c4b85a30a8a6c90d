//! Flood control: a bucket of tokens, one a line.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Bucket {
    burst: u32,
    every: Duration,
    /// When the bucket would be empty if every line sent had cost `every`: at
    /// most `burst - 1` spans ahead of now lets one more go.
    horizon: Instant,
}

impl Bucket {
    pub fn new(burst: u32, every: Duration, now: Instant) -> Bucket {
        Bucket { burst: burst.max(1), every, horizon: now }
    }

    /// When the next line may go.
    pub fn ready_at(&self) -> Instant {
        self.horizon.checked_sub(self.every * (self.burst - 1)).unwrap_or(self.horizon)
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        // The smallest horizon that is still in the past: rest beyond a full bucket is lost.
        if self.horizon < now {
            self.horizon = now;
        }
        let free = self.ready_at() <= now;
        if free {
            self.horizon += self.every;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_one_line_a_span() {
        let now = Instant::now();
        let s = |n| now + Duration::from_secs(n);
        let mut bucket = Bucket::new(5, Duration::from_secs(2), now);
        assert_eq!((0..10).filter(|_| bucket.take(now)).count(), 5);
        assert!(!bucket.take(s(1)));
        assert_eq!(bucket.ready_at(), s(2));
        assert!(bucket.take(s(2)) && !bucket.take(s(3)) && bucket.take(s(4)));
        // A long rest fills it again, and no fuller.
        assert_eq!((0..10).filter(|_| bucket.take(s(1000))).count(), 5);
    }
}
