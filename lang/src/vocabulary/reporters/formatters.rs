//! Formatters: in what words an event is told.

use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Param, Spec, alias, moved, optional, required};

const WANTS: &[Param] = &[
    optional("want_properties", BOOL, "True", "`build.properties` is there."),
    optional("want_steps", BOOL, "False", "`build.steps` is there."),
    optional("want_logs", BOOL, "False", "Each step has its `logs`."),
    optional(
        "want_logs_content",
        LOGS,
        "False",
        "Logs have their `content`: `True` for all, or a list of names such as `\"stdio\"` or `\"compile.stdio\"`.",
    ),
    alias("wantProperties", "want_properties"),
    alias("wantSteps", "want_steps"),
    alias("wantLogs", "want_logs"),
];
const TYPE: Param =
    optional("template_type", TEXT, "\"plain\"", "`\"plain\"`, `\"html\"` (values are escaped) or `\"json\"`.");
const TEMPLATE: &[Param] = &[
    optional("template", OPTIONAL_TEXT, "", "The template; without it, the words of the reporter."),
    TYPE,
    optional("subject", OPTIONAL_TEXT, "", "A template of the subject, always plain."),
    optional("ctx", PROPERTIES, "{}", "Further names for the templates."),
    optional(
        "extra_info_cb",
        FUNCTION,
        "",
        "Function of the context that returns a dict of what a reporter may use beside the text.",
    ),
    moved(
        "template_filename",
        "template = …: a project has no other files than its own; put the text into a `.star` file and load it",
    ),
    moved("template_dir", "template = …: put the text into a `.star` file and load it"),
    moved("subject_filename", "subject = …: put the text into a `.star` file and load it"),
    moved("template_name", "template = …: put the text into a `.star` file and load it"),
];

static TEMPLATED: Spec = Spec {
    name: "reporters.MessageFormatter",
    kind: Kind::Formatter,
    params: &[TEMPLATE, WANTS],
    positional: 2,
    doc: "A text made from a template in the language of Jinja. The names in it are those of the context, see \
          [the project file](../project-file.md#reporters). `tidemill checkconfig` says which name a template has wrong. \
          What has no value is left out.",
    example: "reporters.MessageFormatter(\n    template = \"{{ buildername }} #{{ build.number }}: {{ build.state_string }}\\n{{ build_url }}\\n{% for c in changes %}{{ c.author }}: {{ c.comments }}\\n{% endfor %}\",\n    subject = \"{{ result_names[results] }}: {{ buildername }}\",\n)",
};

static MISSING: Spec = Spec {
    name: "reporters.MessageFormatterMissingWorker",
    kind: Kind::Formatter,
    params: &[TEMPLATE],
    positional: 2,
    doc: "The same about a worker that stays away: its context has `worker`.",
    example: "reporters.MessageFormatterMissingWorker(template = \"{{ worker.name }} is away since {{ worker.last_connection | datetime }}\")",
};

static FUNCTIONAL: Spec = Spec {
    name: "reporters.MessageFormatterFunction",
    kind: Kind::Formatter,
    params: &[
        &[
            required(
                "function",
                CALLABLE,
                "Function of the context, a dict, that returns a text; for `json`, any value; or `None` for no message.",
            ),
            TYPE,
        ],
        WANTS,
    ],
    positional: 2,
    doc: "A text made by a function.",
    example: "reporters.MessageFormatterFunction(lambda ctx: ctx[\"build\"], \"json\", want_steps = True)",
};

static RAW: Spec = Spec {
    name: "reporters.MessageFormatterFunctionRaw",
    kind: Kind::Formatter,
    params: &[
        &[required(
            "function",
            CALLABLE,
            "Function of the context, a dict, or of the master and it, that returns a dict of `body`, `type`, `subject` and `extra_info`; or `None` for no message.",
        )],
        WANTS,
    ],
    positional: 1,
    doc: "A whole message made by a function.",
    example: "reporters.MessageFormatterFunctionRaw(lambda ctx: {\"body\": ctx[\"summary\"], \"type\": \"plain\", \"subject\": ctx[\"buildername\"]})",
};

static RENDERABLE: Spec = Spec {
    name: "reporters.MessageFormatterRenderable",
    kind: Kind::Formatter,
    params: &[&[
        required(
            "template",
            R_OPTIONAL_TEXT,
            "A text, or a placeholder such as `util.Interpolate`; `None` for no message.",
        ),
        optional("subject", R_OPTIONAL_TEXT, "", "The same for the subject."),
    ]],
    positional: 2,
    doc: "A text made from a placeholder, with the properties of the build.",
    example: "reporters.MessageFormatterRenderable(util.Interpolate(\"%(prop:buildername)s is done.\"))",
};

static EMPTY: Spec = Spec {
    name: "reporters.MessageFormatterEmpty",
    kind: Kind::Formatter,
    params: &[],
    positional: 0,
    doc: "No text.",
    example: "reporters.MessageFormatterEmpty()",
};

pub(super) const SPECS: &[&Spec] = &[&TEMPLATED, &MISSING, &FUNCTIONAL, &RAW, &RENDERABLE, &EMPTY];
