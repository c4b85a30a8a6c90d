//! At times of the day (SC-14 to SC-16, D-31).

use super::{NONE, change};
use tidemill_lang::definition::{CronDef, NightlyDef, TimedDef};
use tidemill_master::schedulers::nightly::Rule;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

type Shown = super::Shown<Rule>;

const BUILD: [Vec<i64>; 1] = [vec![]];

fn utc(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(&format!("2026-{text}:00Z"), &Rfc3339).unwrap()
}

/// At this hour each day.
fn at_hour(hour: &str) -> NightlyDef {
    NightlyDef { at: CronDef { hour: hour.into(), ..CronDef::default() }, ..NightlyDef::default() }
}

fn if_changed(hour: &str) -> NightlyDef {
    NightlyDef { timed: TimedDef { only_if_changed: true, ..TimedDef::default() }, ..at_hour(hour) }
}

fn rule(def: &NightlyDef) -> Rule {
    Rule::new("nightly", def, None).unwrap()
}

#[test]
fn it_fires_once_at_its_time_and_not_when_it_is_new() {
    let mut s = Shown::new(rule(&at_hour("3")));
    assert_eq!((s.look(&[], utc("01-01T10:00")), s.next_at()), (vec![], Some(utc("01-02T03:00"))));
    assert_eq!(s.look(&[], utc("01-02T02:59")), NONE);
    assert_eq!((s.look(&[], utc("01-02T03:00")), s.next_at()), (BUILD.into(), Some(utc("01-03T03:00"))));
    // The clock steps back: the same time does not come again.
    assert_eq!((s.look(&[], utc("01-02T02:58")), s.next_at()), (vec![], Some(utc("01-03T03:00"))));
    assert_eq!(s.look(&[], utc("01-02T03:00")), NONE);
}

#[test]
fn times_missed_while_no_master_ran_are_one_run() {
    let mut s = Shown::new(rule(&at_hour("3")));
    s.look(&[], utc("01-01T10:00"));
    assert_eq!((s.look(&[], utc("01-05T12:00")), s.next_at()), (BUILD.into(), Some(utc("01-06T03:00"))));
}

#[test]
fn times_of_another_timetable_and_those_while_it_was_disabled_are_none() {
    let mut s = Shown::new(rule(&at_hour("3")));
    s.look(&[], utc("01-01T10:00"));
    // At noon the file says eleven o'clock instead: that is tomorrow.
    let mut s = s.becomes(rule(&at_hour("11")));
    assert_eq!((s.look(&[], utc("01-01T12:00")), s.next_at()), (vec![], Some(utc("01-02T11:00"))));
    let mut s = s.becomes(Rule::new("nightly", &at_hour("11"), Some(utc("01-04T12:00"))).unwrap());
    assert_eq!((s.look(&[], utc("01-04T12:00")), s.next_at()), (vec![], Some(utc("01-05T11:00"))));
    assert_eq!(s.look(&[], utc("01-05T11:00")), BUILD);
}

#[test]
fn only_if_changed_builds_a_baseline_and_then_after_important_changes() {
    let mut s = Shown::new(rule(&if_changed("3")));
    s.look(&[change(1, false)], utc("01-01T10:00"));
    assert_eq!(s.look(&[], utc("01-02T03:00")), [[1]], "to compare with");
    assert_eq!(s.look(&[change(2, false)], utc("01-03T03:00")), NONE);
    // A change that came in downtime, with the time, belongs to it; the unimportant ones ride along.
    assert_eq!(s.look(&[change(3, true)], utc("01-04T04:00")), [[2, 3]]);
    assert_eq!(s.look(&[], utc("01-05T03:00")), NONE);
}

#[test]
fn off_and_on_again_before_its_time_it_builds_once_for_what_came_meanwhile() {
    let mut s = Shown::new(rule(&if_changed("3")));
    s.look(&[], utc("01-01T10:00"));
    assert_eq!(s.look(&[], utc("01-02T03:00")), BUILD);
    // Nobody collects while the flag is off.
    let mut s = s.becomes(rule(&at_hour("3")));
    assert_eq!(s.look(&[], utc("01-02T10:00")), NONE);
    let mut s = s.becomes(rule(&if_changed("3")));
    assert_eq!(s.look(&[], utc("01-02T12:00")), NONE);
    assert_eq!(s.look(&[], utc("01-03T03:00")), BUILD);
    assert_eq!(s.look(&[], utc("01-04T03:00")), NONE);
}

#[test]
fn forced_times_build_without_a_change() {
    let force = CronDef { hour: "5".into(), day_of_week: "sun".into(), ..CronDef::default() };
    let mut s = Shown::new(rule(&NightlyDef { force_at: Some(force), ..if_changed("3") }));
    // The first of January 2026 is a Thursday.
    s.look(&[], utc("01-01T10:00"));
    assert_eq!(s.look(&[], utc("01-02T03:00")), BUILD);
    assert_eq!(s.look(&[], utc("01-03T03:00")), NONE);
    assert_eq!((s.look(&[], utc("01-04T03:00")), s.next_at()), (vec![], Some(utc("01-04T05:00"))));
    assert_eq!((s.look(&[], utc("01-04T05:00")), s.next_at()), (BUILD.into(), Some(utc("01-05T03:00"))));
    // Missed together with a plain one, it still counts.
    assert_eq!(s.look(&[], utc("01-12T01:00")), BUILD);
}

#[test]
fn a_jitter_is_the_same_each_time_and_differs_between_names() {
    let def = NightlyDef { jitter_us: 3_600_000_000, ..at_hour("3") };
    let mut offsets: Vec<Duration> = (0..50)
        .map(|i| {
            let mut s = Shown::new(Rule::new(&format!("n{i}"), &def, None).unwrap());
            s.look(&[], utc("01-01T10:00"));
            let first = s.next_at().unwrap();
            assert_eq!(s.look(&[], first - Duration::microseconds(1)), NONE);
            assert_eq!((s.look(&[], first), s.next_at()), (BUILD.into(), Some(first + Duration::days(1))));
            first - utc("01-02T03:00")
        })
        .collect();
    offsets.sort();
    offsets.dedup();
    assert!(offsets.len() > 40 && offsets[0] >= Duration::ZERO && offsets[offsets.len() - 1] < Duration::HOUR);
}

#[test]
fn a_million_unimportant_changes_leave_a_small_state() {
    let mut s = Shown::new(rule(&if_changed("3")));
    s.look(&[], utc("01-01T10:00"));
    s.run();
    use tidemill_master::schedulers::Rule as _;
    for id in 1..=20_000 {
        s.rule.change(&mut s.state, &change(id, false), utc("01-01T11:00"));
    }
    assert!(serde_json::to_string(&s.state).unwrap().len() < 20_000);
    assert_eq!(s.state.timed.collected.count(), 20_000);
}
