//! Times of the day in their zones, beside a walk over every minute.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::collections::HashSet;
use tidemill_lang::definition::{CronDef, Day};
use tidemill_master::schedulers::cron::Times;
use time::OffsetDateTime;

fn cron(minute: &str, hour: &str, day: &str, month: &str, weekday: &str, zone: &str) -> CronDef {
    let [minute, hour, day_of_month, month, day_of_week, timezone] =
        [minute, hour, day, month, weekday, zone].map(str::to_owned);
    CronDef { minute, hour, day_of_month, month, day_of_week, timezone }
}

fn at(text: &str) -> OffsetDateTime {
    let t: Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    OffsetDateTime::from_unix_timestamp(t.as_second()).unwrap()
}

/// All times in a span, as the wall clock and offset show them.
fn times(def: &CronDef, from: &str, to: &str) -> Vec<String> {
    let (times, zone) = (Times::new(def).unwrap(), TimeZone::get(&def.timezone).unwrap());
    let (mut now, to) = (at(from), at(to));
    let mut found = Vec::new();
    while let Some(next) = times.next(now).filter(|t| *t <= to) {
        let shown = Timestamp::from_second(next.unix_timestamp()).unwrap().to_zoned(zone.clone());
        found.push(shown.strftime("%m-%d %H:%M %:z").to_string());
        now = next;
    }
    found
}

#[test]
fn a_time_that_the_clock_leaves_out_comes_at_the_next_moment_that_exists() {
    let half_past_two = cron("30", "2", "*", "*", "*", "Europe/Berlin");
    assert_eq!(
        times(&half_past_two, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ["03-28 02:30 +01:00", "03-29 03:00 +02:00", "03-30 02:30 +02:00"]
    );
    // Several at once are one, and one that is there anyway is not had twice.
    let quarters = cron("*/15", "2,3", "29", "3", "*", "Europe/Berlin");
    assert_eq!(
        times(&quarters, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
        ["03-29 03:00 +02:00", "03-29 03:15 +02:00", "03-29 03:30 +02:00", "03-29 03:45 +02:00"]
    );
    let new_york = cron("5", "2", "*", "*", "*", "America/New_York");
    assert_eq!(times(&new_york, "2026-03-08T00:00:00Z", "2026-03-08T23:00:00Z"), ["03-08 03:00 -04:00"]);
    let half_an_hour = cron("15", "2", "*", "*", "*", "Australia/Lord_Howe");
    assert_eq!(times(&half_an_hour, "2026-10-03T12:00:00Z", "2026-10-04T12:00:00Z"), ["10-04 02:30 +11:00"]);
}

#[test]
fn a_time_that_the_clock_repeats_comes_once() {
    let half_past_two = cron("30", "2", "*", "*", "*", "Europe/Berlin");
    assert_eq!(
        times(&half_past_two, "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z"),
        ["10-24 02:30 +02:00", "10-25 02:30 +02:00", "10-26 02:30 +01:00"]
    );
    let half_an_hour = cron("45", "1", "*", "*", "*", "Australia/Lord_Howe");
    assert_eq!(times(&half_an_hour, "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z"), ["04-05 01:45 +11:00"]);
    // From the second pass on, the next one is of the next day.
    assert_eq!(times(&half_past_two, "2026-10-25T01:10:00Z", "2026-10-26T12:00:00Z"), ["10-26 02:30 +01:00"]);
}

#[test]
fn days_that_are_rare_are_found() {
    let leap = cron("0", "0", "29", "feb", "*", "UTC");
    assert_eq!(
        times(&leap, "2026-01-01T00:00:00Z", "2032-12-31T00:00:00Z"),
        ["02-29 00:00 +00:00", "02-29 00:00 +00:00"]
    );
    let last = cron("59", "23", "L", "*", "*", "UTC");
    assert_eq!(
        times(&last, "2028-01-15T00:00:00Z", "2028-04-01T00:00:00Z"),
        ["01-31 23:59 +00:00", "02-29 23:59 +00:00", "03-31 23:59 +00:00"]
    );
    let fifth = cron("0", "0", "*", "feb", "mon#5", "UTC");
    assert_eq!(Times::new(&fifth).unwrap().next(at("2025-01-01T00:00:00Z")), Some(at("2044-02-29T00:00:00Z")));
    let second = cron("0", "9", "*", "*", "fri#2", "UTC");
    assert_eq!(
        times(&second, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ["01-09 09:00 +00:00", "02-13 09:00 +00:00"]
    );
    assert_eq!(
        Times::new(&cron("0", "0", "*", "*", "*", "Europe/Atlantis")).unwrap_err().to_string(),
        "there is no time zone `Europe/Atlantis`"
    );
}

/// Every minute of the span: it fires if its wall-clock minute matches and did
/// not come before, or if one matches that the clock just left out.
fn walk(def: &CronDef, from: i64, minutes: i64) -> Vec<i64> {
    let (cron, zone) = (def.compile().unwrap(), TimeZone::get(&def.timezone).unwrap());
    let wall = |minute: i64| Timestamp::from_second(minute * 60).unwrap().to_zoned(zone.clone()).datetime();
    let matches = |wall: DateTime| {
        let date = wall.date();
        let day = Day {
            month: date.month() as u8,
            day: date.day() as u8,
            weekday: date.weekday().to_monday_zero_offset() as u8,
            days_in_month: date.days_in_month() as u8,
        };
        cron.day(day) && cron.hour(wall.hour() as u8) && cron.minute(wall.minute() as u8)
    };
    let minute = jiff::Span::new().minutes(1);
    let mut had: HashSet<DateTime> = (from - 180..=from).map(wall).collect();
    let mut found = Vec::new();
    for now in from + 1..=from + minutes {
        let mut shown = wall(now - 1).checked_add(minute).unwrap();
        let mut fires = false;
        while shown < wall(now) {
            fires |= matches(shown);
            shown = shown.checked_add(minute).unwrap();
        }
        let first = had.insert(wall(now));
        if fires || first && matches(wall(now)) {
            found.push(now * 60);
        }
    }
    found
}

fn field(all: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn times_are_those_of_a_walk_over_every_minute(
        minute in field(&["0", "*", "30", "*/7", "5,45", "59"]),
        hour in field(&["*", "0", "1", "2", "3", "23-3", "*/2", "1,2,3"]),
        day in field(&["*", "1", "L", "29", "5,25"]),
        weekday in field(&["*", "sun", "mon-fri", "sun#L", "sun#1", "sat,sun"]),
        // Around the changes of 2026: (zone, when).
        (zone, change) in prop::sample::select(&[
            ("Europe/Berlin", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T01:00:00Z"),
            ("America/New_York", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-11-01T06:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
            ("UTC", "2026-03-01T00:00:00Z"),
        ][..]),
        before in 1_i64..1500,
    ) {
        let def = cron(minute, hour, day, "*", weekday, zone);
        let from = at(change).unix_timestamp() / 60 - before;
        let wanted = walk(&def, from, 3 * 1440);
        let times = Times::new(&def).unwrap();
        let mut now = OffsetDateTime::from_unix_timestamp(from * 60).unwrap();
        let mut found = Vec::new();
        while let Some(next) = times.next(now).filter(|t| t.unix_timestamp() <= (from + 3 * 1440) * 60) {
            found.push(next.unix_timestamp());
            now = next;
        }
        prop_assert_eq!(found, wanted);
    }
}
