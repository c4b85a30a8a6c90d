//! Builders, factories and locks.

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, alias, optional, required};

static BUILDER_CONFIG: Spec = Spec {
    name: "util.BuilderConfig",
    kind: Kind::Builder,
    params: &[&[
        required("name", TEXT, "Unique among builders."),
        required("workernames", TEXTS, "Names of the workers that may build it; `[\"*\"]` is every worker."),
        required("factory", FACTORY, "A `util.BuildFactory`."),
        optional("tags", TEXTS, "[]", "Labels, to find and filter it by."),
        optional("description", OPTIONAL_TEXT, "", "Shown on its page."),
        optional("description_format", OPTIONAL_TEXT, "", "`\"markdown\"`; without it, plain text."),
        optional("project", OPTIONAL_TEXT, "", "Name of a `util.Project` that it belongs to."),
        optional("env", R_ENV, "{}", "Variables for all its commands; a step's own win."),
        optional("properties", PROPERTIES, "{}", "Properties that its builds always have."),
        optional(
            "defaultProperties",
            PROPERTIES,
            "{}",
            "Properties that its builds have unless something else set them.",
        ),
        optional(
            "collapseRequests",
            COLLAPSE,
            "",
            "Whether older waiting requests are merged into newer ones: `True`, `False`, a function of builder and two requests, or a `util.CollapseKey`. `None` is what `c[\"collapseRequests\"]` says.",
        ),
        optional(
            "nextBuild",
            FUNCTION,
            "",
            "Function of the builder and its waiting requests that returns the one to start.",
        ),
        optional(
            "nextWorker",
            FUNCTION,
            "",
            "Function of the builder, the free workers and the request that returns the worker.",
        ),
        optional(
            "canStartBuild",
            FUNCTION,
            "",
            "Function of the builder, a worker and a request: false leaves the request waiting. `(False, \"why\")` tells \
             people the reason; `(False, \"why\", seconds)` is not asked again for so long.",
        ),
        optional(
            "locks",
            LOCKS_OR_FUNCTION,
            "[]",
            "Locks that each of its builds holds, as in `[lock.access(\"counting\")]`; or a function of builder, worker and request.",
        ),
        optional(
            "do_build_if",
            FUNCTION,
            "",
            "Function of the build: false ends it as SKIPPED without running its steps.",
        ),
        optional(
            "max_attempts",
            POSITIVE,
            "",
            "How often a request is tried when its worker is lost; then it ends as an exception.",
        ),
        optional(
            "requires",
            OPTIONAL_TEXT,
            "",
            "Of those workers only the ones whose labels fit, as in `\"os == 'linux' and mem >= 8\"`.",
        ),
        optional(
            "expires_after",
            SECONDS,
            "",
            "How long a request waits while no worker that may build it is connected, in seconds; then it ends as an exception. Without it, for ever.",
        ),
        optional("builddir", OPTIONAL_TEXT, "", "Name of its folder; made of its name if not given."),
        optional(
            "workerbuilddir",
            OPTIONAL_TEXT,
            "",
            "Name of its folder on workers; that of `builddir` if not given.",
        ),
        alias("workername", "workernames"),
        alias("slavename", "workernames"),
        alias("slavenames", "workernames"),
        alias("mergeRequests", "collapseRequests"),
        alias("slavebuilddir", "workerbuilddir"),
        alias("nextSlave", "nextWorker"),
    ]],
    positional: 0,
    doc: "A builder: a recipe, and the workers that may follow it. In `c[\"builders\"]`, a dict with these keys is one too.",
    example: "util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = util.BuildFactory([steps.ShellCommand(command = \"make\")]))",
};

const STEPS_PARAM: Param = optional("steps", STEPS, "[]", "List of steps.");
const FACTORY_WORKDIR: Param = optional(
    "workdir",
    FACTORY_FOLDER,
    "\"build\"",
    "Work folder for steps that name none: a text, or a function of the build's source stamps that returns one.",
);

static BUILD_FACTORY: Spec = Spec {
    name: "util.BuildFactory",
    kind: Kind::Factory,
    params: &[&[STEPS_PARAM, FACTORY_WORKDIR]],
    positional: 1,
    doc: "The steps of a builder, in order. Methods: `addStep(step)`, `addSteps(list)`, `clone()`. \
          A factory that another file made is read-only: let that file offer a function that makes one, or take a `clone()`.",
    example: "util.BuildFactory([steps.ShellCommand(command = \"make\")])",
};

const SOURCE: Param = required("source", STEP, "The step that brings the sources.");

static GNU_AUTOCONF: Spec = Spec {
    name: "util.GNUAutoconf",
    kind: Kind::Factory,
    params: &[&[
        SOURCE,
        optional("configure", R_COMMAND, "\"./configure\"", "The command that configures; `None` leaves it out."),
        optional("configureEnv", R_ENV, "{}", "Its variables."),
        optional("configureFlags", TEXTS, "[]", "Its arguments."),
        optional("reconf", R_VALUE, "None", "`True` runs `autoreconf -si` before; or a command."),
        optional("compile", R_COMMAND, "[\"make\", \"all\"]", "The command that compiles."),
        optional("test", R_COMMAND, "[\"make\", \"check\"]", "The command that tests."),
        optional("distcheck", R_COMMAND, "[\"make\", \"distcheck\"]", "The command that checks the distribution."),
    ]],
    positional: 1,
    doc: "A factory: sources, configure, compile, test, distcheck.",
    example: "util.GNUAutoconf(source = steps.Git(repourl = \"https://example.org/r.git\"))",
};

static QUICK: Spec = Spec {
    name: "util.QuickBuildFactory",
    kind: Kind::Factory,
    params: &[&[
        SOURCE,
        optional("configure", R_COMMAND, "\"./configure\"", "The command that configures; `None` leaves it out."),
        optional("configureEnv", R_ENV, "{}", "Its variables."),
        optional("configureFlags", TEXTS, "[]", "Its arguments."),
        optional("compile", R_COMMAND, "[\"make\", \"all\"]", "The command that compiles."),
        optional("test", R_COMMAND, "[\"make\", \"check\"]", "The command that tests."),
    ]],
    positional: 1,
    doc: "As `util.GNUAutoconf`, without a distcheck, for builds that keep their work folder.",
    example: "util.QuickBuildFactory(source = steps.Git(repourl = \"https://example.org/r.git\"))",
};

static BASIC: Spec = Spec {
    name: "util.BasicBuildFactory",
    kind: Kind::Factory,
    params: &[&[
        SOURCE,
        optional("configure", R_COMMAND, "\"./configure\"", "The command that configures; `None` leaves it out."),
        optional("configureEnv", R_ENV, "{}", "Its variables."),
        optional("configureFlags", TEXTS, "[]", "Its arguments."),
        optional("compile", R_COMMAND, "[\"make\", \"all\"]", "The command that compiles."),
        optional("test", R_COMMAND, "[\"make\", \"check\"]", "The command that tests."),
    ]],
    positional: 1,
    doc: "As `util.GNUAutoconf`, without a distcheck.",
    example: "util.BasicBuildFactory(source = steps.Git(repourl = \"https://example.org/r.git\"))",
};

static DISTUTILS: Spec = Spec {
    name: "util.Distutils",
    kind: Kind::Factory,
    params: &[&[
        SOURCE,
        optional("python", TEXT, "\"python\"", "The interpreter."),
        optional("test", R_COMMAND, "", "The command that tests; without it, none."),
    ]],
    positional: 1,
    doc: "A factory: sources, `python setup.py build`, tests.",
    example: "util.Distutils(source = steps.Git(repourl = \"https://example.org/r.git\"))",
};

static TRIAL: Spec = Spec {
    name: "util.Trial",
    kind: Kind::Factory,
    params: &[&[
        SOURCE,
        required("tests", R_VALUE, "What trial is to run."),
        optional("buildpython", TEXTS, "[\"python\"]", "The interpreter that builds."),
        optional("trialpython", TEXTS, "[]", "The interpreter that tests."),
        optional("trial", TEXT, "\"trial\"", "The program."),
    ]],
    positional: 1,
    doc: "A factory: sources, `python setup.py build`, `steps.Trial`.",
    example: "util.Trial(source = steps.Git(repourl = \"https://example.org/r.git\"), tests = \"petmail.test\")",
};

static MASTER_LOCK: Spec = Spec {
    name: "util.MasterLock",
    kind: Kind::Lock,
    params: &[&[
        required("name", TEXT, "Unique among locks."),
        optional("maxCount", POSITIVE, "1", "How many may hold it at once."),
    ]],
    positional: 2,
    doc: "A lock for the whole cluster. `lock.access(mode, count = 1)` is how somebody holds it; the mode is `\"counting\"` or `\"exclusive\"`.",
    example: "util.MasterLock(\"database\", maxCount = 2)",
};

static WORKER_LOCK: Spec = Spec {
    name: "util.WorkerLock",
    kind: Kind::Lock,
    params: &[&[
        required("name", TEXT, "Unique among locks."),
        optional("maxCount", POSITIVE, "1", "How many may hold it at once on each worker."),
        optional("maxCountForWorker", COUNTS, "{}", "Other counts for some workers, by name."),
        alias("maxCountForSlave", "maxCountForWorker"),
    ]],
    positional: 2,
    doc: "A lock for each worker, see `util.MasterLock`.",
    example: "util.WorkerLock(\"cpu\", maxCount = 1, maxCountForWorker = {\"big\": 4})",
};

static PROJECT: Spec = Spec {
    name: "util.Project",
    kind: Kind::ProjectEntry,
    params: &[&[
        required("name", TEXT, "Unique; builders name it."),
        optional("slug", OPTIONAL_TEXT, "", "Its part of addresses."),
        optional("description", OPTIONAL_TEXT, "", "Shown on its page."),
        optional("description_format", OPTIONAL_TEXT, "", "`\"markdown\"`; without it, plain text."),
        optional(
            "share",
            POSITIVE,
            "",
            "Its part of the workers: among requests of the same priority the project goes first that has the fewest \
             running builds for its share. Without a share a project has the share 1; if none has one, age alone counts.",
        ),
        optional(
            "public",
            BOOL,
            "True",
            "`False`: in reports only who was granted it sees its builders. Pages and the API show them all the same.",
        ),
    ]],
    positional: 0,
    doc: "A group of builders, for `c[\"projects\"]`. Builders belong to it by their argument `project`.",
    example: "util.Project(name = \"compiler\", description = \"All of it\", share = 3)",
};

pub(super) const SPECS: &[&Spec] = &[
    &BUILDER_CONFIG,
    &BUILD_FACTORY,
    &GNU_AUTOCONF,
    &QUICK,
    &BASIC,
    &DISTUTILS,
    &TRIAL,
    &MASTER_LOCK,
    &WORKER_LOCK,
    &PROJECT,
];
