//! Custom steps and what belongs to them.

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, optional, required};

static BUILD_STEP: Spec = Spec {
    name: "util.BuildStep",
    kind: Kind::StepMaker,
    params: &[&[
        optional(
            "implementation",
            FUNCTION,
            "",
            "Function of the step that does its work and returns its result, such as `SUCCESS`; nothing is success. Without it, the base's own work.",
        ),
        optional("attrs", ATTRS, "{}", "Arguments of its own: names to `util.attr(…)`, or to a default value."),
        optional(
            "base",
            BASE,
            "steps.BuildStep",
            "A kind of step whose arguments it takes too: `steps.ShellCommand`, or another custom step.",
        ),
        optional("defaults", DEFAULTS, "{}", "Other defaults for arguments of the base."),
        optional("prohibitArgs", TEXTS, "[]", "Arguments of the base that it refuses."),
        optional("progressMetrics", TEXTS, "[]", "Names of what it counts with `setProgress`."),
        optional("logObservers", OBSERVERS, "{}", "Names of logs to observers, see `util.LogLineObserver`."),
        optional(
            "getCurrentSummary",
            FUNCTION,
            "",
            "Function of the step: its text while it runs; asked at `updateSummary()`, at most about once a second.",
        ),
        optional(
            "getResultSummary",
            FUNCTION,
            "",
            "Function of the step: its text at the end, or a dict with `step` and `build`.",
        ),
        optional("renderables", TEXTS, "[]", "No effect: every argument may be a placeholder."),
        optional("name", OPTIONAL_TEXT, "", "What it is called; the variable's name if not given."),
        optional("doc", OPTIONAL_TEXT, "", "Words for people."),
    ]],
    positional: 1,
    doc: "Makes a kind of step. Call the result like any other: `Framboozle(dirname = \"x\", haltOnFailure = True)`.",
    example: "util.BuildStep(implementation = lambda self: self.shell([\"ls\", self.dirname]).results(), attrs = {\"dirname\": util.attr(str)})",
};

static ATTR: Spec = Spec {
    name: "util.attr",
    kind: Kind::Attribute,
    params: &[&[
        optional("type", ANY, "", "`str`, `int`, `float`, `bool`, `list`, `dict`, a list of them, or nothing for any."),
        optional("default", ANY, "", "Without it, the argument is required."),
        optional("required", BOOL, "", "`False`: it may be missing without a default, and is `None` then."),
        optional("doc", OPTIONAL_TEXT, "", "Words for people."),
    ]],
    positional: 1,
    doc: "An argument of a custom step.",
    example: "util.attr(int, default = 5, doc = \"how often\")",
};

static OBSERVER: Spec = Spec {
    name: "util.LogLineObserver",
    kind: Kind::Observer,
    params: &[&[
        optional(
            "outLineReceived",
            FUNCTION,
            "",
            "Function of the observer and a line of standard output, without its end.",
        ),
        optional("errLineReceived", FUNCTION, "", "The same for standard error."),
        optional("headerLineReceived", FUNCTION, "", "The same for headers."),
        optional("finished", FUNCTION, "", "Function of the observer, called when the log ends."),
        optional("maxLineLength", POSITIVE, "16384", "Longer lines, in bytes, are not delivered."),
        OPEN,
    ]],
    positional: 1,
    doc: "Sees the lines of a log while they come. More arguments are its state: attributes that its functions read and set, as \
          in `self.count += 1`; `self.step` is the step. Let the functions stand at the top of a file: then memory stays flat \
          however long the log is.",
    example: "util.LogLineObserver(outLineReceived = lambda self, line: self.step.setProgress(\"lines\", 1), count = 0)",
};

static REMOTE_COMMAND: Spec = Spec {
    name: "util.RemoteCommand",
    kind: Kind::RemoteCommand,
    params: &[&[
        required("remote_command", TEXT, "`shell`, `stat`, `listdir`, `glob`, `mkdir`, `rmdir`, `cpdir` or `rmfile`."),
        required("args", R_VALUE, "A dict of its arguments, such as `{\"file\": path}`."),
        optional("ignore_updates", BOOL, "False", "No effect."),
        optional("collectStdout", BOOL, "False", "Keeps the standard output in `.stdout`."),
        optional("collectStderr", BOOL, "False", "Keeps the standard error in `.stderr`."),
        optional("decodeRC", R_DECODE_RC, "{0: SUCCESS}", "What exit codes mean."),
        optional("stdioLogName", OPTIONAL_TEXT, "\"stdio\"", "The log of its output; `None` for none."),
    ]],
    positional: 2,
    doc: "A command for the worker, for `self.runCommand(cmd)`. Afterwards it has `.rc`, `.didFail()`, `.results()`, `.stdout`, `.stderr` and `.updates`.",
    example: "util.RemoteCommand(\"stat\", {\"file\": \"Makefile\"})",
};

static SHELL_ARG: Spec = Spec {
    name: "util.ShellArg",
    kind: Kind::ShellArg,
    params: &[&[
        required("command", R_COMMAND, "As in `steps.ShellCommand`."),
        optional("logname", R_OPTIONAL_TEXT, "", "The log of its output; without it, none."),
        optional("haltOnFailure", R_BOOL, "False", "Its failure ends the sequence."),
        optional("flunkOnFailure", R_BOOL, "True", "Its failure fails the step."),
        optional("flunkOnWarnings", R_BOOL, "False", "Its warnings fail the step."),
        optional("warnOnFailure", R_BOOL, "False", "Its failure makes the step a warning."),
        optional("warnOnWarnings", R_BOOL, "False", "Its warnings make the step a warning."),
    ]],
    positional: 1,
    doc: "A command of a `steps.ShellSequence`.",
    example: "util.ShellArg(command = [\"make\"], logname = \"make\")",
};

pub(super) const SPECS: &[&Spec] = &[&BUILD_STEP, &ATTR, &OBSERVER, &REMOTE_COMMAND, &SHELL_ARG];
