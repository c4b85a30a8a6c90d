//! Sums over time: of builds by builder and of all builders, of branches, of steps, of
//! numbers that steps set, of workers. Those of requests are written with their facts.
//!
//! What new facts add to them is computed here, and merged with what is there: the
//! caller holds the lock of those who store facts, so that nobody else writes them
//! between the look and the write.

pub mod branches;
pub mod builds;
pub mod projects;
pub mod statistics;
pub mod steps;
pub mod workers;

use time::{Date, OffsetDateTime, UtcOffset};

/// The beginning of its hour (UTC).
pub fn hour(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(UtcOffset::UTC);
    at.replace_minute(0).and_then(|t| t.replace_second(0)).and_then(|t| t.replace_nanosecond(0)).unwrap_or(at)
}

/// The beginning of its day (UTC).
pub fn day(at: OffsetDateTime) -> OffsetDateTime {
    at.to_offset(UtcOffset::UTC).date().midnight().assume_utc()
}

/// The beginning of its month (UTC).
pub fn month(at: OffsetDateTime) -> OffsetDateTime {
    let day = at.to_offset(UtcOffset::UTC).date();
    Date::from_calendar_date(day.year(), day.month(), 1).map_or(at, |d| d.midnight().assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn months_days_and_hours_begin_in_utc() {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds_f64(90_061.5);
        let at = at.to_offset(UtcOffset::from_hms(5, 30, 0).unwrap());
        assert_eq!(hour(at).unix_timestamp(), 90_000);
        assert_eq!(day(at).unix_timestamp(), 86_400);
        assert_eq!(month(at).unix_timestamp(), 0);
    }
}
