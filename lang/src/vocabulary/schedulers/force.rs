//! Schedulers that people set off.

use super::{BUILDERS, COMMON, NAME, OLD_BUILDERS};
use crate::values::convert::*;
use crate::values::spec::{Kind, RuleKind, Spec, ignored, optional};

static FORCE: Spec = Spec {
    name: "schedulers.ForceScheduler",
    kind: Kind::Scheduler(RuleKind::Force),
    params: &[&[
        NAME,
        BUILDERS,
        OLD_BUILDERS,
        optional("label", OPTIONAL_TEXT, "", "What pages call it."),
        optional("buttonName", OPTIONAL_TEXT, "", "The text of the button."),
        optional("username", PARAMETER, "", "A `util.UserNameParameter`."),
        optional("reason", PARAMETER, "", "A `util.StringParameter` for the reason."),
        optional("reasonString", TEXT, "", "The reason, with `%(owner)s` and `%(reason)s`."),
        optional("codebases", PARAMETERS, "[]", "List of `util.CodebaseParameter`, or of names."),
        optional("properties", PARAMETERS, "[]", "List of parameters that become properties."),
        optional("priority", PARAMETER, "", "A `util.IntParameter`."),
        ignored("forcedProperties", "give `properties`"),
    ]],
    positional: 0,
    doc: "A button and a form on the pages of its builders.",
    example: "schedulers.ForceScheduler(name = \"force\", builderNames = [\"linux\"], properties = [util.BooleanParameter(name = \"clean\", default = False)])",
};

static TRY_JOBDIR: Spec = Spec {
    name: "schedulers.Try_Jobdir",
    kind: Kind::Scheduler(RuleKind::Declared),
    params: &[
        &[
            NAME,
            BUILDERS,
            OLD_BUILDERS,
            ignored("jobdir", "try jobs come by `tidemill try`, with a token of `tidemill user add NAME --scope try`"),
        ],
        COMMON,
    ],
    positional: 0,
    doc: "The same as `schedulers.Try_Userpass`: no folder is watched, `tidemill try` sends jobs over HTTP.",
    example: "schedulers.Try_Jobdir(name = \"try\", builderNames = [\"linux\"], jobdir = \"jobs\")",
};

static TRY_USERPASS: Spec = Spec {
    name: "schedulers.Try_Userpass",
    kind: Kind::Scheduler(RuleKind::Declared),
    params: &[
        &[
            NAME,
            BUILDERS,
            OLD_BUILDERS,
            ignored("port", "try jobs come over the master's own address"),
            ignored("userpass", "people have tokens of their own: `tidemill user add NAME --scope try`"),
        ],
        COMMON,
    ],
    positional: 0,
    doc: "Builds what people try with `tidemill try`: a difference on top of a revision. Only its builders may be named.",
    example: "schedulers.Try_Userpass(name = \"try-net\", builderNames = [\"linux\"])",
};

pub(super) const SPECS: &[&Spec] = &[&FORCE, &TRY_JOBDIR, &TRY_USERPASS];
