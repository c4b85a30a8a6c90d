//! `schedulers.…`

use super::util::CHANGE_FILTER_OR_NONE;
use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, alias, later, optional, required};

static SINGLE_BRANCH: Spec = Spec {
    name: "schedulers.SingleBranchScheduler",
    kind: Kind::Scheduler,
    params: &[&[
        required("name", TEXT),
        required("builderNames", TEXTS),
        optional("change_filter", CHANGE_FILTER_OR_NONE),
        optional("branch", OPTIONAL_TEXT),
        optional("treeStableTimer", SECONDS),
        optional("fileIsImportant", FUNCTION),
        optional("onlyImportant", BOOL),
        optional("properties", PROPERTIES),
        optional("reason", TEXT),
        optional("priority", INT),
        optional("codebases", CODEBASES),
        alias("builders", "builderNames"),
        later("categories"),
        later("createAbsoluteSourceStamps"),
    ]],
    positional: 0,
};

pub(super) const SPECS: &[&Spec] = &[&SINGLE_BRANCH];

pub(super) const LATER: &[&str] = &[
    "AnyBranchScheduler",
    "Dependent",
    "ForceScheduler",
    "Nightly",
    "NightlyTriggerable",
    "Periodic",
    "Scheduler",
    "Triggerable",
    "Try_Jobdir",
    "Try_Userpass",
];
