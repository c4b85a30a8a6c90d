//! `util.date`: times as seconds since 1970 in UTC, to texts and back.

use super::error;
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::float::UnpackFloat;
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn at(seconds: f64) -> starlark::Result<OffsetDateTime> {
    let whole = seconds.floor();
    let in_range = (-62_135_596_800.0..253_402_300_800.0).contains(&whole);
    let time = in_range.then(|| OffsetDateTime::from_unix_timestamp(whole as i64).ok()).flatten();
    time.ok_or_else(|| error(format!("{seconds} is no time that a date can be made of")))
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// A time as text. In the format, `%Y %m %d %H %M %S %j %a %b %s %%` stand for year, month, day, hour,
    /// minute, second, day of the year, day of the week, name of the month, the seconds, and a percent sign.
    fn format(
        #[starlark(require = pos)] seconds: UnpackFloat,
        #[starlark(require = pos, default = "%Y-%m-%dT%H:%M:%SZ")] format: &str,
    ) -> starlark::Result<String> {
        let time = at(seconds.0)?;
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            // Writing to a String does not fail.
            let _ = match chars.next() {
                Some('Y') => write!(out, "{:04}", time.year()),
                Some('m') => write!(out, "{:02}", u8::from(time.month())),
                Some('d') => write!(out, "{:02}", time.day()),
                Some('H') => write!(out, "{:02}", time.hour()),
                Some('M') => write!(out, "{:02}", time.minute()),
                Some('S') => write!(out, "{:02}", time.second()),
                Some('j') => write!(out, "{:03}", time.ordinal()),
                Some('a') => write!(out, "{}", &time.weekday().to_string()[..3]),
                Some('b') => write!(out, "{}", &time.month().to_string()[..3]),
                Some('s') => write!(out, "{}", time.unix_timestamp()),
                Some('%') => write!(out, "%"),
                other => {
                    let sign = other.map(String::from).unwrap_or_default();
                    return Err(error(format!("%{sign} is not one of %Y %m %d %H %M %S %j %a %b %s %%")));
                }
            };
        }
        Ok(out)
    }

    /// The seconds of a time such as `2026-01-31T12:00:00Z` or `2026-01-31`.
    fn parse(#[starlark(require = pos)] text: &str) -> starlark::Result<f64> {
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        match OffsetDateTime::parse(&whole, &Rfc3339) {
            Ok(time) => Ok(time.unix_timestamp_nanos() as f64 / 1e9),
            Err(why) => Err(error(format!("{text:?} is no time such as 2026-01-31T12:00:00Z: {why}"))),
        }
    }

    /// The day of the week of a time, 0 is Monday.
    fn weekday(#[starlark(require = pos)] seconds: UnpackFloat) -> starlark::Result<i32> {
        Ok(at(seconds.0)?.weekday().number_days_from_monday().into())
    }
}
