//! When a time of the day is, in its zone.
//!
//! Each wall-clock minute that the fields name comes once, whatever the clock
//! of the zone does: one that a change of the clock leaves out comes at the
//! first moment after the gap (several of them together), one that it repeats
//! comes the first time. Zones are the system's, or else those in the binary.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use tidemill_lang::definition::{Cron, CronDef, CronFault, Day};
use time::OffsetDateTime;

/// Fields of time and their zone.
#[derive(Clone, Debug)]
pub struct Times {
    cron: Cron,
    zone: TimeZone,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Fields(#[from] CronFault),
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

/// Days that are looked through for the next one: between two Februaries of five
/// such weekdays there may be forty years.
const DAYS_MAX: usize = 41 * 366;

impl Times {
    /// # Errors
    /// What `checkconfig` refuses; stored by another release perhaps.
    pub fn new(def: &CronDef) -> Result<Times, Error> {
        Ok(Times { cron: def.compile()?, zone: zone(&def.timezone)? })
    }

    /// The first of the times after a moment; none in forty years is none.
    pub fn next(&self, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let after = Timestamp::from_nanosecond(after.unix_timestamp_nanos()).ok()?;
        // Moments rise with wall-clock times, so the first that is late enough is the next one. In the
        // second pass of a repeated hour the wall clock is behind what was already had.
        let mut wall = after.to_zoned(self.zone.clone()).datetime();
        loop {
            wall = self.wall_from(wall)?;
            let at = self.moment(wall)?;
            if at > after {
                return OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).ok();
            }
            wall = wall.checked_add(jiff::Span::new().minutes(1)).ok()?;
        }
    }

    /// The first matching wall-clock minute that is not before this one.
    fn wall_from(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, mut hour, mut minute) = (from.date(), from.hour(), from.minute());
        for _ in 0..DAYS_MAX {
            if !self.cron.month(date.month() as u8) {
                date = date.last_of_month();
            } else if self.cron.day(day(date))
                && let Some((hour, minute)) = self.time_from(hour, minute)
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            date = date.tomorrow().ok()?;
            (hour, minute) = (0, 0);
        }
        None
    }

    fn time_from(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let hours = (hour..24).filter(|h| self.cron.hour(*h as u8));
        hours.into_iter().find_map(|h| {
            let first = if h == hour { minute } else { 0 };
            (first..60).find(|m| self.cron.minute(*m as u8)).map(|m| (h, m))
        })
    }

    fn moment(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock of after the gap this moment lies before it.
                let before = after.to_timestamp(wall).ok()?;
                self.zone.following(before).next().map(|t| t.timestamp())
            }
        }
    }
}

/// As a line of a crontab, and the zone.
pub fn words(at: &CronDef) -> String {
    let CronDef { minute, hour, day_of_month, month, day_of_week, timezone } = at;
    format!("{minute} {hour} {day_of_month} {month} {day_of_week} ({timezone})")
}

fn day(date: Date) -> Day {
    Day {
        month: date.month() as u8,
        day: date.day() as u8,
        weekday: date.weekday().to_monday_zero_offset() as u8,
        days_in_month: date.days_in_month() as u8,
    }
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    let found = jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    found.map_err(|_| Error::Zone(name.to_owned()))
}
