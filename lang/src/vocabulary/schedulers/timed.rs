//! Schedulers that the clock sets off.

use super::{BUILDERS, CHANGES, COMMON, NAME, OLD_BUILDERS};
use crate::values::convert::*;
use crate::values::spec::{Kind, Param, RuleKind, Spec, optional, required};

const CRON: &[Param] = &[
    optional("minute", CRON_FIELD, "0", "Minutes: a number, a list of numbers, or a text such as `\"*/15\"`."),
    optional("hour", CRON_FIELD, "\"*\"", "Hours."),
    optional(
        "dayOfMonth",
        CRON_FIELD,
        "\"*\"",
        "Days of the month; `\"L\"` is the last. With `dayOfWeek` too, a day of either comes, as in cron.",
    ),
    optional("month", CRON_FIELD, "\"*\"", "Months."),
    optional(
        "dayOfWeek",
        CRON_FIELD,
        "\"*\"",
        "Days of the week, 0 is Monday, or names as in `\"mon-fri\"`; `\"fri#2\"` is the second of the month, `\"L4\"` \
         the last Friday.",
    ),
    optional(
        "timezone",
        TEXT,
        "",
        "The time zone of these times, such as `\"Europe/Berlin\"`; the default is `c[\"timezone\"]`. A time that a \
         change of the clock leaves out comes at the next moment that exists, one that it repeats comes once.",
    ),
];
const IF_CHANGED: &[Param] = &[
    optional("onlyIfChanged", BOOL, "False", "Only if an important change came since the last time."),
    optional("branch", OPTIONAL_TEXT, "", "The branch that is built; changes of others do not count."),
    optional(
        "createAbsoluteSourceStamps",
        BOOL,
        "False",
        "Builds a codebase without a change at the revision that was seen last, and not at the newest.",
    ),
    OLD_BUILDERS,
];

static PERIODIC: Spec = Spec {
    name: "schedulers.Periodic",
    kind: Kind::Scheduler(RuleKind::Periodic),
    params: &[
        &[NAME, BUILDERS, required("periodicBuildTimer", INTERVAL, "Seconds between builds.")],
        CHANGES,
        IF_CHANGED,
        COMMON,
    ],
    positional: 0,
    doc: "Starts builds every so many seconds, at once when it is first seen.",
    example: "schedulers.Periodic(name = \"hourly\", builderNames = [\"linux\"], periodicBuildTimer = 3600)",
};

static NIGHTLY: Spec = Spec {
    name: "schedulers.Nightly",
    kind: Kind::Scheduler(RuleKind::Nightly),
    params: &[
        &[NAME, BUILDERS],
        CRON,
        CHANGES,
        IF_CHANGED,
        &[
            optional("force_at_minute", CRON_FIELD, "", "At these minutes also without a change."),
            optional("force_at_hour", CRON_FIELD, "", "At these hours also without a change."),
            optional("force_at_day_of_month", CRON_FIELD, "", "On these days also without a change."),
            optional("force_at_month", CRON_FIELD, "", "In these months also without a change."),
            optional("force_at_day_of_week", CRON_FIELD, "", "On these days also without a change."),
            optional(
                "jitter",
                SECONDS,
                "",
                "Starts so many seconds later at most, so that many schedulers of one time do not start all at once; \
                 always the same for one scheduler.",
            ),
        ],
        COMMON,
    ],
    positional: 0,
    doc: "Starts builds at times of the day.",
    example: "schedulers.Nightly(name = \"nightly\", builderNames = [\"linux\"], hour = 3, minute = 30, onlyIfChanged = True)",
};

static NIGHTLY_TRIGGERABLE: Spec = Spec {
    name: "schedulers.NightlyTriggerable",
    kind: Kind::Scheduler(RuleKind::NightlyTriggerable),
    params: &[&[NAME, BUILDERS, OLD_BUILDERS], CRON, COMMON],
    positional: 0,
    doc: "Remembers the latest trigger, and fires it once at the next of the given times. A `steps.Trigger` that waits does \
          not wait for it.",
    example: "schedulers.NightlyTriggerable(name = \"night-package\", builderNames = [\"linux\"], hour = 3)",
};

pub(super) const SPECS: &[&Spec] = &[&PERIODIC, &NIGHTLY, &NIGHTLY_TRIGGERABLE];
