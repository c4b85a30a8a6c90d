//! `schedulers.…`

mod changes;
mod force;
mod timed;

use crate::values::convert::*;
use crate::values::spec::{Param, Spec, optional};

/// What every scheduler takes (SC-01 to SC-07), apart from its builders.
const COMMON: &[Param] = &[
    optional("properties", PROPERTIES, "{}", "Properties of its builds."),
    optional("reason", TEXT, "", "Why its builds were made; `%(name)s` is the scheduler's name."),
    optional(
        "priority",
        PRIORITY,
        "0",
        "Higher goes first. Also a function of the names of builders and the list of changes.",
    ),
    optional(
        "codebases",
        CODEBASES,
        "",
        "Codebases it takes changes of: a list, or a dict by name with `repository`, `branch` and `revision` \
         for builds that no change speaks for. Without it, the one without a name.",
    ),
];

/// What those take that look at changes.
const CHANGES: &[Param] = &[
    optional("change_filter", CHANGE_FILTER_OR_NONE, "", "A `util.ChangeFilter`; without one, every change."),
    optional("fileIsImportant", FUNCTION, "", "Function of a change; an unimportant change starts nothing by itself."),
    optional("onlyImportant", BOOL, "False", "`True`: unimportant changes are dropped altogether."),
];

const BUILDERS: Param = crate::values::spec::required(
    "builderNames",
    BUILDER_NAMES,
    "Names of the builders it starts; or a function of the list of changes that returns them.",
);
const NAME: Param = crate::values::spec::required("name", TEXT, "Unique among schedulers.");
const OLD_BUILDERS: Param = crate::values::spec::alias("builders", "builderNames");

pub(super) const SPECS: &[&[&Spec]] = &[changes::SPECS, timed::SPECS, force::SPECS];

pub(super) const LATER: &[&str] = &[];
