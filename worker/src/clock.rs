//! The worker's clock: wall time that never jumps.
//!
//! Times in a batch and the time of sending are read from one monotonic clock
//! that was set to wall time at first use. So the master can turn one into
//! database time by the difference to the other, even if somebody sets the
//! machine's clock while a build runs (F18).

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, never running backwards within this process.
pub(crate) fn now_us() -> i64 {
    static START: OnceLock<(Instant, i64)> = OnceLock::new();
    let (start, wall) = START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), wall.as_micros() as i64)
    });
    wall + start.elapsed().as_micros() as i64
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_is_of_this_century_and_does_not_run_backwards() {
        let (a, b) = (super::now_us(), super::now_us());
        assert!(a > 1_700_000_000_000_000 && b >= a);
    }
}
