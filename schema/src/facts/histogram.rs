//! Spans of time in few numbers: four buckets an octave, from 1/32 s to 13 years.
//!
//! As it is stored (0012_reporting.sql): an element is bucket * 2^24 + count, in the
//! order of buckets, each once. What is read from the middle of a bucket is wrong by
//! 9 % at most.

/// Counts are below this.
const COUNTS: i32 = 1 << 24;
const LAST: i32 = 127;

/// Counts by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<i32>);

/// The bucket of a span: floor(4 log2(seconds)) + 20, within 0 and 127.
pub fn bucket(seconds: f64) -> i32 {
    // What is no number becomes the first: `max` leaves it out.
    let bucket = (4.0 * seconds.max(0.0).log2()).floor() + 20.0;
    bucket.clamp(0.0, f64::from(LAST)) as i32
}

impl Histogram {
    /// From what is stored.
    pub fn of(stored: Vec<i32>) -> Histogram {
        Histogram(stored)
    }

    pub fn add(&mut self, seconds: f64) {
        self.count(bucket(seconds), 1);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for element in &other.0 {
            self.count(element / COUNTS, element % COUNTS);
        }
    }

    /// A count that is full stays full.
    fn count(&mut self, bucket: i32, more: i32) {
        match self.0.binary_search_by_key(&bucket, |e| e / COUNTS) {
            Ok(at) => {
                let count = (self.0[at] % COUNTS + more).min(COUNTS - 1);
                self.0[at] = bucket * COUNTS + count;
            }
            Err(at) => self.0.insert(at, bucket * COUNTS + more),
        }
    }

    /// How many spans there are.
    #[cfg(test)]
    pub fn total(&self) -> i64 {
        self.0.iter().map(|e| i64::from(e % COUNTS)).sum()
    }

    /// As a literal of an array.
    pub fn text(&self) -> String {
        let elements: Vec<String> = self.0.iter().map(i32::to_string).collect();
        format!("{{{}}}", elements.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_at_its_power_of_two() {
        for b in 1..LAST {
            let low = 2f64.powf(f64::from(b - 20) / 4.0);
            assert_eq!(bucket(low * 1.000001), b);
            assert_eq!(bucket(low * 0.999999), b - 1);
        }
        // Whole powers are exact.
        for octave in -4..26 {
            assert_eq!(bucket(2f64.powi(octave)), octave * 4 + 20);
        }
    }

    #[test]
    fn what_is_no_span_is_in_the_first_bucket_and_what_is_too_long_in_the_last() {
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-9] {
            assert_eq!(bucket(none), 0);
        }
        for long in [1e12, f64::INFINITY] {
            assert_eq!(bucket(long), LAST);
        }
    }

    #[test]
    fn histograms_add_up_in_any_order() {
        let spans = [0.001, 0.5, 0.5, 1.0, 1.1, 60.0, 3600.0, 0.5];
        let mut whole = Histogram::default();
        spans.iter().for_each(|s| whole.add(*s));
        let (mut left, mut right) = (Histogram::default(), Histogram::default());
        spans[..3].iter().for_each(|s| left.add(*s));
        spans[3..].iter().rev().for_each(|s| right.add(*s));
        right.merge(&left);
        assert_eq!(right, whole);
        assert_eq!(whole.total(), spans.len() as i64);
        assert_eq!(whole.0, [1, 16 * COUNTS + 3, 20 * COUNTS + 2, 43 * COUNTS + 1, 67 * COUNTS + 1]);
        assert_eq!(Histogram::default().text(), "{}");
    }

    #[test]
    fn a_full_count_stays_full_and_in_its_bucket() {
        let mut full = Histogram(vec![LAST * COUNTS + (COUNTS - 1)]);
        full.add(1e12);
        assert_eq!(full.0, [i32::MAX]);
        full.merge(&full.clone());
        assert_eq!(full.0, [i32::MAX]);
    }
}
