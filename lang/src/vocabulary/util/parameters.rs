//! Fields of the form of a ForceScheduler (B5).

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, optional, required};

const COMMON: &[Param] = &[
    optional("label", OPTIONAL_TEXT, "", "What the form calls it."),
    optional("tablabel", OPTIONAL_TEXT, "", "What its tab is called."),
    optional("default", ANY, "", "Its value at first."),
    optional("required", BOOL, "False", "It must be filled in."),
    optional("maxsize", COUNT, "", "Most bytes."),
    optional("tooltip", TEXT, "\"\"", "Words for people."),
    optional("hide", BOOL, "False", "Not shown."),
    optional("autopopulate", ANY, "", "Values of other fields, by choice."),
    optional("multiple", BOOL, "False", "Several values."),
    optional("regex", OPTIONAL_TEXT, "", "What it must match, from its start."),
];
const NAME: Param = required("name", TEXT, "The property that it sets.");
const OPTIONAL_NAME: Param = optional("name", TEXT, "", "The property that it sets.");

const fn field(
    name: &'static str,
    params: &'static [&'static [Param]],
    doc: &'static str,
    example: &'static str,
) -> Spec {
    Spec { name, kind: Kind::Part, params, positional: 1, doc, example }
}

static STRING: Spec = field(
    "util.StringParameter",
    &[&[OPTIONAL_NAME, optional("size", COUNT, "10", "Its width.")], COMMON],
    "A line of text.",
    "util.StringParameter(name = \"target\", default = \"all\")",
);
static TEXT_AREA: Spec = field(
    "util.TextParameter",
    &[
        &[OPTIONAL_NAME, optional("cols", COUNT, "80", "Its width."), optional("rows", COUNT, "20", "Its height.")],
        COMMON,
    ],
    "Several lines of text.",
    "util.TextParameter(name = \"notes\")",
);
static INT_FIELD: Spec = field(
    "util.IntParameter",
    &[&[OPTIONAL_NAME, optional("size", COUNT, "10", "Its width.")], COMMON],
    "A whole number.",
    "util.IntParameter(name = \"jobs\", default = 4)",
);
static BOOLEAN: Spec = field(
    "util.BooleanParameter",
    &[&[NAME], COMMON],
    "A box to tick.",
    "util.BooleanParameter(name = \"clean\", default = False)",
);
static FIXED: Spec = field(
    "util.FixedParameter",
    &[&[OPTIONAL_NAME], COMMON],
    "A value that is always sent and not shown.",
    "util.FixedParameter(name = \"forced\", default = True)",
);
static CHOICE: Spec = field(
    "util.ChoiceStringParameter",
    &[
        &[
            NAME,
            required("choices", TEXTS, "What there is to choose from."),
            optional("strict", BOOL, "True", "Other values are refused."),
        ],
        COMMON,
    ],
    "A choice.",
    "util.ChoiceStringParameter(name = \"kind\", choices = [\"debug\", \"release\"], default = \"debug\")",
);
static USERNAME: Spec = field(
    "util.UserNameParameter",
    &[
        &[
            OPTIONAL_NAME,
            optional("need_email", BOOL, "True", "It must look like a mail address."),
            optional("size", COUNT, "30", "Its width."),
        ],
        COMMON,
    ],
    "Who forces the build.",
    "util.UserNameParameter(label = \"your name\", size = 40)",
);
static CODEBASE: Spec = field(
    "util.CodebaseParameter",
    &[
        &[
            optional("codebase", TEXT, "\"\"", "Which one."),
            optional("branch", ANY, "", "A parameter, or a fixed value."),
            optional("revision", ANY, "", "A parameter, or a fixed value."),
            optional("repository", ANY, "", "A parameter, or a fixed value."),
            optional("project", ANY, "", "A parameter, or a fixed value."),
            optional("patch", ANY, "", "A `util.PatchParameter`."),
            OPTIONAL_NAME,
            optional("fields", ANY, "", "More fields."),
            optional("layout", TEXT, "\"vertical\"", "How fields stand."),
            optional("columns", COUNT, "", "In how many columns."),
        ],
        COMMON,
    ],
    "The source stamp of a codebase.",
    "util.CodebaseParameter(codebase = \"\", branch = util.StringParameter(name = \"branch\", default = \"main\"))",
);
static NESTED: Spec = field(
    "util.NestedParameter",
    &[
        &[
            NAME,
            required("fields", ANY, "List of fields."),
            optional("layout", TEXT, "\"vertical\"", "`\"simple\"`, `\"vertical\"` or `\"tabs\"`."),
            optional("columns", COUNT, "", "In how many columns."),
        ],
        COMMON,
    ],
    "A group of fields.",
    "util.NestedParameter(name = \"options\", fields = [util.BooleanParameter(name = \"a\")])",
);
static ANY_PROPERTY: Spec = field(
    "util.AnyPropertyParameter",
    &[&[NAME], COMMON],
    "A name and a value.",
    "util.AnyPropertyParameter(name = \"more\")",
);
static FILE: Spec = field("util.FileParameter", &[&[NAME], COMMON], "A file.", "util.FileParameter(name = \"input\")");
static PATCH: Spec = field(
    "util.PatchParameter",
    &[&[OPTIONAL_NAME, optional("fields", ANY, "", "Its fields.")], COMMON],
    "A patch.",
    "util.PatchParameter()",
);
static INHERIT: Spec = field(
    "util.InheritBuildParameter",
    &[&[NAME, optional("compatible_builds", FUNCTION, "", "Which builds there are to choose from.")], COMMON],
    "The values of an earlier build.",
    "util.InheritBuildParameter(name = \"inherit\")",
);
static WORKER_CHOICE: Spec = field(
    "util.WorkerChoiceParameter",
    &[&[OPTIONAL_NAME], COMMON],
    "Which worker is to build: a name, or nothing for any.",
    "util.WorkerChoiceParameter()",
);

pub(super) const SPECS: &[&Spec] = &[
    &STRING,
    &TEXT_AREA,
    &INT_FIELD,
    &BOOLEAN,
    &FIXED,
    &CHOICE,
    &USERNAME,
    &CODEBASE,
    &NESTED,
    &ANY_PROPERTY,
    &FILE,
    &PATCH,
    &INHERIT,
    &WORKER_CHOICE,
];
