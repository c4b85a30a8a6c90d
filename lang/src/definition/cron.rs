//! Times of the day: the five fields of `Nightly` and `NightlyTriggerable`.
//!
//! What a field means is said here once, for the check of a file and for the
//! rule that fires. Days of the week count from Monday = 0, also in a range.
//! As in cron, a day comes if it is one of `dayOfMonth` or one of `dayOfWeek`
//! where both are restricted. When a time is, in its zone, is the master's
//! business: nothing here knows a clock.

use serde::{Deserialize, Serialize};

/// Fields as they were written, lists joined by commas.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CronDef {
    pub minute: String,
    pub hour: String,
    pub day_of_month: String,
    pub month: String,
    pub day_of_week: String,
    /// A name of the time zone database.
    pub timezone: String,
}

impl Default for CronDef {
    fn default() -> CronDef {
        let every = || "*".to_owned();
        CronDef {
            minute: "0".into(),
            hour: every(),
            day_of_month: every(),
            month: every(),
            day_of_week: every(),
            timezone: UTC.into(),
        }
    }
}

/// The zone where none is named: the same on every replica.
pub const UTC: &str = "UTC";

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct Fault {
    /// The argument's name for `Nightly`.
    pub argument: &'static str,
    pub said: String,
    /// What would be right.
    pub hint: String,
}

/// Fields that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    weekdays: Weekdays,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Days {
    numbers: u64,
    /// The last of the month, whichever it is.
    last: bool,
    restricted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Weekdays {
    every: u64,
    /// Bits of the weekday for the first, second … fifth of the month.
    nth: [u64; 5],
    last: u64,
    restricted: bool,
}

/// A day, by what its month says of it. Monday is 0.
#[derive(Clone, Copy, Debug)]
pub struct Day {
    pub month: u8,
    pub day: u8,
    pub weekday: u8,
    pub days_in_month: u8,
}

struct Field {
    argument: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
    /// For «must be …».
    right: &'static str,
}

const MINUTE: Field = Field { argument: "minute", first: 0, last: 59, names: &[], right: "0 to 59" };
const HOUR: Field = Field { argument: "hour", first: 0, last: 23, names: &[], right: "0 to 23" };
const DAY: Field =
    Field { argument: "dayOfMonth", first: 1, last: 31, names: &[], right: "1 to 31, or L for the last" };
const MONTH: Field = Field {
    argument: "month",
    first: 1,
    last: 12,
    names: &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
    right: "1 to 12, or names such as jan",
};
const WEEKDAY: Field = Field {
    argument: "dayOfWeek",
    first: 0,
    last: 6,
    names: &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    right: "0 (Monday) to 6 (Sunday), or names such as fri, fri#2 for the second of the month, L5 for the last",
};

impl CronDef {
    pub fn compile(&self) -> Result<Cron, Fault> {
        let cron = Cron {
            minutes: MINUTE.bits(&self.minute)?,
            hours: HOUR.bits(&self.hour)?,
            months: MONTH.bits(&self.month)?,
            days: days(&self.day_of_month)?,
            weekdays: weekdays(&self.day_of_week)?,
        };
        if cron.never() {
            let said = format!("no month of `{}` has a day `{}`: the time never comes", self.month, self.day_of_month);
            return Err(Fault { argument: DAY.argument, said, hint: "\"L\" is the last day of each month".into() });
        }
        Ok(cron)
    }

    /// What means other days here than in Buildbot. That turns plain numbers of
    /// days, from Monday = 0, into those of its cron, where Sunday is 0, and hands
    /// over everything else as it is: ranges, steps, `#` and `L` with numbers count
    /// from Sunday there. With names in the place of the numbers both mean the same.
    pub fn weekdays_unlike_buildbot(&self) -> bool {
        parts(&self.day_of_week).any(|part| {
            let (day, rest) = part.split_once(['#', '/']).unwrap_or((part, ""));
            // Each so many days begins with the first of the week, whichever that is.
            let steps = day.trim() == "*" && !matches!(rest.trim(), "" | "1");
            steps || part.parse::<u8>().is_err() && day.contains(|c: char| c.is_ascii_digit())
        })
    }
}

impl Cron {
    pub fn minute(&self, minute: u8) -> bool {
        has(self.minutes, minute)
    }

    pub fn hour(&self, hour: u8) -> bool {
        has(self.hours, hour)
    }

    pub fn month(&self, month: u8) -> bool {
        has(self.months, month)
    }

    pub fn day(&self, day: Day) -> bool {
        if !self.month(day.month) {
            return false;
        }
        let by_number = has(self.days.numbers, day.day) || self.days.last && day.day == day.days_in_month;
        let of = |bits: u64| has(bits, day.weekday);
        let nth = self.weekdays.nth[usize::from((day.day.max(1) - 1) / 7).min(4)];
        let by_weekday =
            of(self.weekdays.every) || of(nth) || day.day + 7 > day.days_in_month && of(self.weekdays.last);
        match (self.days.restricted, self.weekdays.restricted) {
            (true, true) => by_number || by_weekday,
            (true, false) => by_number,
            _ => by_weekday,
        }
    }

    /// Numbers of days that no month of these has.
    fn never(&self) -> bool {
        let longest = |month: u8| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let comes = |month: u8| self.days.last || (1..=longest(month)).any(|day| has(self.days.numbers, day));
        self.days.restricted && !self.weekdays.restricted && !(1..=12).any(|m| self.month(m) && comes(m))
    }
}

fn has(bits: u64, number: u8) -> bool {
    number < 64 && bits & (1 << number) != 0
}

fn days(text: &str) -> Result<Days, Fault> {
    let mut found = Days { numbers: 0, last: false, restricted: false };
    for part in parts(text) {
        match part {
            "L" | "l" => found.last = true,
            part => found.numbers |= DAY.part(part)?,
        }
    }
    found.restricted = found.numbers != DAY.all();
    DAY.some(text, found.numbers != 0 || found.last)?;
    Ok(found)
}

fn weekdays(text: &str) -> Result<Weekdays, Fault> {
    let mut found = Weekdays { every: 0, nth: [0; 5], last: 0, restricted: false };
    for part in parts(text) {
        let one = |text: &str| WEEKDAY.number(text).map(|n| 1_u64 << n);
        if let Some((day, which)) = part.split_once('#') {
            match which.trim() {
                "L" | "l" => found.last |= one(day)?,
                which => {
                    let which = which.parse::<usize>().ok().filter(|n| (1..=5).contains(n));
                    let which = which.ok_or_else(|| WEEKDAY.fault(part, "counts from 1 to 5 after the #"))?;
                    found.nth[which - 1] |= one(day)?;
                }
            }
        } else if let Some(day) = last_of(part) {
            found.last |= one(day)?;
        } else {
            found.every |= WEEKDAY.part(part)?;
        }
    }
    found.restricted = found.every != WEEKDAY.all();
    WEEKDAY.some(text, found.every != 0 || found.last != 0 || found.nth != [0; 5])?;
    Ok(found)
}

/// `L5` and `5L`: the last of the month.
fn last_of(part: &str) -> Option<&str> {
    let day = part.strip_prefix(['L', 'l']).or_else(|| part.strip_suffix(['L', 'l']))?;
    day.trim().parse::<u8>().is_ok().then_some(day)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

impl Field {
    fn all(&self) -> u64 {
        (self.first..=self.last).fold(0, |bits, n| bits | 1 << n)
    }

    fn bits(&self, text: &str) -> Result<u64, Fault> {
        let mut bits = 0;
        for part in parts(text) {
            bits |= self.part(part)?;
        }
        self.some(text, bits != 0)?;
        Ok(bits)
    }

    fn some(&self, text: &str, some: bool) -> Result<(), Fault> {
        if some { Ok(()) } else { Err(self.fault(text, "names no time")) }
    }

    /// `*`, `5`, `2-5`, `22-2` (past the end), each with `/step`.
    fn part(&self, part: &str) -> Result<u64, Fault> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.trim().parse::<u8>().ok().filter(|s| (1..=59).contains(s));
                (range.trim(), Some(step.ok_or_else(|| self.fault(part, "has no step from 1 to 59 after the /"))?))
            }
            None => (part, None),
        };
        let (first, last) = match range {
            "*" => (self.first, self.last),
            _ => match range.split_once('-') {
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                // Until the end, if there is a step.
                None => (self.number(range)?, if step.is_some() { self.last } else { self.number(range)? }),
            },
        };
        let count = u16::from(self.last - self.first) + 1;
        let length = (u16::from(last) + count - u16::from(first)) % count;
        let numbers = (0..=length).step_by(usize::from(step.unwrap_or(1)));
        let at = |n: u16| (u16::from(first - self.first) + n) % count + u16::from(self.first);
        Ok(numbers.fold(0, |bits, n| bits | 1 << at(n)))
    }

    /// A number, or a name or its beginning of three letters or more.
    fn number(&self, text: &str) -> Result<u8, Fault> {
        let text = text.trim();
        let fits = |n: &u8| (self.first..=self.last).contains(n);
        if let Some(number) = text.parse::<u8>().ok().filter(fits) {
            return Ok(number);
        }
        let lower = text.to_ascii_lowercase();
        let named = self.names.iter().position(|name| lower.len() >= 3 && name.starts_with(&lower));
        let number = named.and_then(|at| u8::try_from(at).ok()).map(|at| at + self.first);
        number.ok_or_else(|| self.fault(text, "is no such time"))
    }

    fn fault(&self, text: &str, what: &str) -> Fault {
        let shown: String = text.chars().take(50).collect();
        let said = format!("`{}`: {shown:?} {what}", self.argument);
        let hint =
            format!("it takes {}, a range such as 2-4, a step such as */2, a list, or \"*\" for all", self.right);
        Fault { argument: self.argument, said, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(minute: &str, hour: &str, day: &str, month: &str, weekday: &str) -> Result<Cron, Fault> {
        let [minute, hour, day_of_month, month, day_of_week] = [minute, hour, day, month, weekday].map(str::to_owned);
        CronDef { minute, hour, day_of_month, month, day_of_week, timezone: UTC.into() }.compile()
    }

    fn numbers(bits: u64) -> Vec<u8> {
        (0..64).filter(|n| has(bits, *n)).collect()
    }

    #[test]
    fn a_field_takes_numbers_names_ranges_steps_and_lists() {
        let minutes = |text: &str| numbers(MINUTE.bits(text).unwrap());
        assert_eq!(minutes("*").len(), 60);
        assert_eq!(minutes("5"), [5]);
        assert_eq!(minutes("1, 3-5"), [1, 3, 4, 5]);
        assert_eq!(minutes("*/20"), [0, 20, 40]);
        assert_eq!(minutes("50/4"), [50, 54, 58]);
        assert_eq!(minutes("58-1"), [0, 1, 58, 59]);
        assert_eq!(minutes("10-20/5"), [10, 15, 20]);
        assert_eq!(numbers(MONTH.bits("jan,Mar-may,december").unwrap()), [1, 3, 4, 5, 12]);
        assert_eq!(numbers(WEEKDAY.bits("fri-mon").unwrap()), [0, 4, 5, 6]);
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_would_be_right() {
        let fault = |f: Result<Cron, Fault>| f.unwrap_err();
        let f = fault(cron("60", "*", "*", "*", "*"));
        assert_eq!((f.argument, f.said.as_str()), ("minute", "`minute`: \"60\" is no such time"));
        assert!(f.hint.starts_with("it takes 0 to 59"), "{}", f.hint);
        assert_eq!(fault(cron("0", "24", "*", "*", "*")).argument, "hour");
        assert_eq!(fault(cron("0", "*/0", "*", "*", "*")).argument, "hour");
        assert_eq!(fault(cron("0", "0", "0", "*", "*")).argument, "dayOfMonth");
        assert_eq!(fault(cron("0", "0", "*", "ja", "*")).argument, "month");
        assert_eq!(fault(cron("0", "0", "*", "*", "7")).argument, "dayOfWeek");
        assert_eq!(fault(cron("0", "0", "*", "*", "5#6")).argument, "dayOfWeek");
        assert_eq!(fault(cron("", "0", "*", "*", "*")).argument, "minute");
        assert!(fault(cron("0", "0", "30,31", "feb", "*")).said.contains("never comes"));
        cron("0", "0", "30", "feb", "mon").expect("it comes on Mondays");
    }

    #[test]
    fn days_are_of_the_month_or_of_the_week() {
        let day = |day, weekday| Day { month: 2, day, weekday, days_in_month: 28 };
        let comes = |days: &str, weekdays: &str, at: Day| cron("0", "0", days, "*", weekdays).unwrap().day(at);
        assert!(comes("L", "*", day(28, 3)) && !comes("L", "*", day(27, 2)));
        assert!(comes("*", "fri#2", day(8, 4)) && comes("*", "4#2", day(14, 4)));
        assert!(!comes("*", "fri#2", day(7, 4)) && !comes("*", "fri#2", day(15, 4)) && !comes("*", "fri#2", day(9, 5)));
        assert!(comes("*", "L4", day(22, 4)) && comes("*", "4L", day(28, 4)) && comes("*", "fri#L", day(22, 4)));
        assert!(!comes("*", "L4", day(21, 4)));
        // Either, as in cron, where both say something.
        assert!(comes("1", "mon", day(1, 5)) && comes("1", "mon", day(9, 0)) && !comes("1", "mon", day(9, 1)));
        assert!(comes("*", "mon", day(9, 0)) && !comes("*", "mon", day(9, 1)));
        let june = cron("0", "0", "*", "jun", "*").unwrap();
        assert!(!june.day(day(1, 0)));
    }

    #[test]
    fn numbers_in_a_range_of_weekdays_are_told_from_buildbots() {
        let unlike = |day: &str| CronDef { day_of_week: day.into(), ..CronDef::default() }.weekdays_unlike_buildbot();
        for other in ["1-5", "mon,5#2", "L5", "5L", "5#L", "1-5/2", "1/2", "*/2", "mon, 3 - 4"] {
            assert!(unlike(other), "{other}");
        }
        for same in ["*", "*/1", "1,2", "6", "mon-fri", "mon-fri/2", "fri#2", "fri#L", "tue/2", "mon,5"] {
            assert!(!unlike(same), "{same}");
        }
    }
}
