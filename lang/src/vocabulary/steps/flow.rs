//! Steps that steer the build: properties, checks, other builds, more steps.

use super::common::{COMMON, WORKDIR, library, step};
use crate::values::convert::*;
use crate::values::spec::{Spec, StepKind, optional, required};

static SET_PROPERTY: Spec = step(
    "steps.SetProperty",
    StepKind::SetProperty,
    0,
    &[
        &[
            required("property", R_TEXT, "The name."),
            required("value", R_VALUE, "Text, number, bool, `None`, or lists and dicts of them."),
        ],
        COMMON,
    ],
    "Sets a property of the build.",
    "steps.SetProperty(property = \"verbose\", value = True)",
);

static SET_PROPERTIES: Spec = step(
    "steps.SetProperties",
    library("steps/properties.star", "set_properties"),
    0,
    &[&[required("properties", R_VALUE, "A dict, or a renderer that returns one.")], COMMON],
    "Sets several properties of the build.",
    "steps.SetProperties(properties = {\"a\": 1, \"b\": util.Property(\"branch\")})",
);

static SET_PROPERTIES_FROM_ENV: Spec = step(
    "steps.SetPropertiesFromEnv",
    library("steps/properties.star", "set_properties_from_env"),
    0,
    &[
        &[
            required("variables", R_VALUE, "List of names."),
            optional("source", R_TEXT, "\"WorkerEnvironment\"", "Who is said to have set them."),
        ],
        COMMON,
    ],
    "Sets properties from the worker's environment.",
    "steps.SetPropertiesFromEnv(variables = [\"PATH\"])",
);

static ASSERT: Spec = step(
    "steps.Assert",
    library("steps/properties.star", "assert_true"),
    1,
    &[&[required("check", R_VALUE, "A placeholder; if it is false, the step fails.")], COMMON],
    "Fails unless something is true.",
    "steps.Assert(util.Property(\"branch\") == \"main\")",
);

static LOG_RENDERABLE: Spec = step(
    "steps.LogRenderable",
    library("steps/properties.star", "log_renderable"),
    1,
    &[&[required("content", R_VALUE, "What to show.")], COMMON],
    "Shows what a placeholder stands for, as a log.",
    "steps.LogRenderable(util.Interpolate(\"%(prop:branch)s\"))",
);

static TRIGGER: Spec = step(
    "steps.Trigger",
    library("steps/trigger.star", "trigger"),
    0,
    &[
        &[
            required(
                "schedulerNames",
                R_VALUE,
                "Names of `schedulers.Triggerable`, or dicts with `name`, `unimportant` and `properties` for it alone; one \
                 may be named several times.",
            ),
            optional("unimportantSchedulerNames", R_VALUE, "[]", "Those of them whose result does not count."),
            optional(
                "waitForFinish",
                R_BOOL,
                "False",
                "Waits for the builds, and takes the worst result of those that count; they are cancelled if this build is stopped or lost.",
            ),
            optional("set_properties", R_VALUE, "{}", "Properties for the builds."),
            optional("copy_properties", R_VALUE, "[]", "Names of properties of this build that they get too."),
            optional(
                "sourceStamp",
                R_VALUE,
                "{}",
                "The source stamp for them: `codebase`, `repository`, `project`, `branch`, `revision`; what it leaves out \
                 is as the scheduler's `codebases` say.",
            ),
            optional("sourceStamps", R_VALUE, "[]", "The same for several codebases."),
            optional(
                "alwaysUseLatest",
                R_BOOL,
                "False",
                "They build the newest revision, as the scheduler's `codebases` say.",
            ),
            optional(
                "updateSourceStamp",
                R_BOOL,
                "True",
                "They build this build's sources at its `got_revision`; `False`: at the revision that it was asked for.",
            ),
            optional("parent_relationship", R_OPTIONAL_TEXT, "\"Triggered from\"", "What pages call the relation."),
        ],
        COMMON,
    ],
    "Starts builds of triggerable schedulers. Without `waitForFinish` it is a success at once. With it, this build keeps \
     its slot of the worker while it waits: builds that only this worker may build need another slot. At most 20 builds \
     stand above one another.",
    "steps.Trigger(schedulerNames = [\"package\"], waitForFinish = True)",
);

static STEPS_FROM: Spec = step(
    "steps.StepsFrom",
    library("steps/tree.star", "steps_from"),
    1,
    &[
        &[
            required(
                "file",
                R_TEXT,
                "A Starlark file of the sources, below the work folder. It defines `build_steps`, a list.",
            ),
            optional("allowed_secrets", TEXTS, "[]", "Names of the secrets that its steps may use."),
            optional("optional", R_BOOL, "False", "A missing file is no failure."),
            WORKDIR,
        ],
        COMMON,
    ],
    "Reads more steps from a file of the change's own tree and runs them after this one. The file knows `util` and `steps` \
     only; which workers, locks and secrets a build has is decided here and not there.",
    "steps.StepsFrom(\"tidemill.star\", allowed_secrets = [\"upload-key\"])",
);

pub(super) const SPECS: &[&Spec] =
    &[&SET_PROPERTY, &SET_PROPERTIES, &SET_PROPERTIES_FROM_ENV, &ASSERT, &LOG_RENDERABLE, &TRIGGER, &STEPS_FROM];
