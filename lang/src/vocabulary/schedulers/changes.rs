//! Schedulers that changes, other buildsets or Trigger steps set off.

use super::{BUILDERS, CHANGES, COMMON, NAME, OLD_BUILDERS};
use crate::values::convert::*;
use crate::values::spec::{Kind, Param, RuleKind, Spec, later, optional, required};

const SINGLE: &[Param] = &[
    optional("branch", OPTIONAL_TEXT, "", "Instead of a filter: only this branch; `None` is a change without one."),
    optional("branches", TEXTS, "[]", "Instead of a filter: only these branches."),
    optional(
        "treeStableTimer",
        SECONDS,
        "",
        "Seconds without a new change before builds start; `None` starts them for each change at once.",
    ),
    OLD_BUILDERS,
    later("categories"),
    optional(
        "createAbsoluteSourceStamps",
        BOOL,
        "False",
        "Builds a codebase without a change at the revision that was seen last, and not at the newest.",
    ),
];

static SINGLE_BRANCH: Spec = Spec {
    name: "schedulers.SingleBranchScheduler",
    kind: Kind::Scheduler(RuleKind::SingleBranch),
    params: &[&[NAME, BUILDERS], CHANGES, SINGLE, COMMON],
    positional: 0,
    doc: "Starts builds for changes, with one timer for all of them.",
    example: "schedulers.SingleBranchScheduler(name = \"main\", branch = \"main\", treeStableTimer = 10, builderNames = [\"linux\"])",
};

static ANY_BRANCH: Spec = Spec {
    name: "schedulers.AnyBranchScheduler",
    kind: Kind::Scheduler(RuleKind::AnyBranch),
    params: &[&[NAME, BUILDERS], CHANGES, SINGLE, COMMON],
    positional: 0,
    doc: "Starts builds for changes, with a timer for each branch.",
    example: "schedulers.AnyBranchScheduler(name = \"all\", treeStableTimer = 60, builderNames = [\"linux\"])",
};

static DEPENDENT: Spec = Spec {
    name: "schedulers.Dependent",
    kind: Kind::Scheduler(RuleKind::Dependent),
    params: &[&[NAME, required("upstream", SCHEDULER, "A scheduler, or its name."), BUILDERS, OLD_BUILDERS], COMMON],
    positional: 0,
    doc: "Starts builds when a buildset of another scheduler has ended well, for the same sources.",
    example: "schedulers.Dependent(name = \"package\", upstream = \"main\", builderNames = [\"linux\"])",
};

static TRIGGERABLE: Spec = Spec {
    name: "schedulers.Triggerable",
    kind: Kind::Scheduler(RuleKind::Triggerable),
    params: &[&[NAME, BUILDERS, OLD_BUILDERS], COMMON],
    positional: 0,
    doc: "Starts builds when a `steps.Trigger` says so. Its own properties win over those that the step sends. Its builds have \
          the priority of the build that triggers them, unless it has one itself.",
    example: "schedulers.Triggerable(name = \"package\", builderNames = [\"linux\"])",
};

static CUSTOM: Spec = Spec {
    name: "schedulers.Custom",
    kind: Kind::Scheduler(RuleKind::Custom),
    params: &[
        &[
            NAME,
            BUILDERS,
            required("rule", CALLABLE, "Function of a context, see below."),
            optional("interval", SECONDS, "", "It is asked at least so often."),
            optional("upstream", TEXTS, "[]", "Names of schedulers whose finished buildsets it wants to hear of."),
            optional("attrs", PROPERTIES, "{}", "Values for `ctx.attrs`."),
        ],
        CHANGES,
        COMMON,
    ],
    positional: 0,
    doc: "A scheduler with a rule of your own. The rule is asked when changes came, a buildset of `upstream` ended or its \
          timer came due, and gets a context: `ctx.state` (a dict that is kept), `ctx.attrs`, `ctx.changes` (each with \
          `.important`), `ctx.finished`, `ctx.timer`, `ctx.now` (seconds), `ctx.addBuildset(changes = …, builderNames = …, \
          properties = …, reason = …, priority = …)` and `ctx.wakeAt(seconds)`. What it does is stored in one transaction.",
    example: "schedulers.Custom(name = \"every-tenth\", builderNames = [\"linux\"], rule = lambda ctx: [ctx.addBuildset(changes = [c]) for c in ctx.changes if c.number % 10 == 0])",
};

pub(super) const SPECS: &[&Spec] = &[&SINGLE_BRANCH, &ANY_BRANCH, &DEPENDENT, &TRIGGERABLE, &CUSTOM];
