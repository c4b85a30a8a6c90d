//! Steps that run commands.

use super::common::{COMMAND, COMMON, library, step};
use crate::values::convert::*;
use crate::values::spec::{Param, Spec, StepKind, optional, required};

const COMMAND_LINE: Param = required(
    "command",
    R_COMMAND,
    "A list of a program and its arguments, run without a shell (lists in it are flattened), or a text for `/bin/sh -c`.",
);

/// SR-11.
const WARNINGS: &[Param] = &[
    optional(
        "warningPattern",
        R_TEXT,
        "\".*warning[: ].*\"",
        "Lines that match this regular expression from their start are warnings.",
    ),
    optional(
        "warningExtractor",
        FUNCTION,
        "",
        "Function of the step, a line and the match (a list of groups): returns file, line and text.",
    ),
    optional("directoryEnterPattern", R_OPTIONAL_TEXT, "", "Its first group is a folder that is entered."),
    optional("directoryLeavePattern", R_OPTIONAL_TEXT, "", "A folder is left."),
    optional(
        "suppressionFile",
        R_OPTIONAL_TEXT,
        "",
        "A file on the worker with warnings that do not count: `FILE : TEXT [: LINES]`.",
    ),
    optional("suppressionList", R_VALUE, "[]", "The same as a list of `[file, text, first line, last line]`."),
    optional("maxWarnCount", R_COUNT, "", "More warnings than this fail the step."),
];

static SHELL_COMMAND: Spec = step(
    "steps.ShellCommand",
    StepKind::Shell,
    0,
    &[&[COMMAND_LINE], COMMON, COMMAND],
    "Runs a command; its exit code decides the result.",
    "steps.ShellCommand(command = [\"make\", \"-j\", \"4\"], timeout = 600)",
);

static COMPILE: Spec = step(
    "steps.Compile",
    library("steps/warnings.star", "compile"),
    0,
    &[
        &[optional("command", R_COMMAND, "[\"make\", \"all\"]", "As in `steps.ShellCommand`.")],
        COMMON,
        COMMAND,
        WARNINGS,
    ],
    "Compiles: a ShellCommand with `haltOnFailure` that counts warnings. With warnings it ends as WARNINGS, \
     collects them in a log `warnings (N)`, and adds their number to the property `warnings-count` and the statistic `warnings`.",
    "steps.Compile(command = [\"make\"], maxWarnCount = 10)",
);

static TEST: Spec = step(
    "steps.Test",
    library("steps/warnings.star", "test"),
    0,
    &[
        &[optional("command", R_COMMAND, "[\"make\", \"test\"]", "As in `steps.ShellCommand`.")],
        COMMON,
        COMMAND,
        WARNINGS,
    ],
    "Runs tests: like `steps.Compile`, with `warnOnFailure` in place of `haltOnFailure`, and without a warning pattern of its own. \
     The statistics `tests-total`, `tests-failed`, `tests-passed` and `tests-warnings` become part of its text.",
    "steps.Test(command = [\"make\", \"check\"])",
);

static WARNING_COUNTING: Spec = step(
    "steps.WarningCountingShellCommand",
    library("steps/warnings.star", "counting"),
    0,
    &[&[COMMAND_LINE], COMMON, COMMAND, WARNINGS],
    "A ShellCommand that counts warnings, see `steps.Compile`.",
    "steps.WarningCountingShellCommand(command = \"lint .\", warningPattern = \"W: \")",
);

static CONFIGURE: Spec = step(
    "steps.Configure",
    StepKind::Shell,
    0,
    &[&[optional("command", R_COMMAND, "[\"./configure\"]", "As in `steps.ShellCommand`.")], COMMON, COMMAND],
    "Runs `./configure`; a failure halts the build.",
    "steps.Configure(command = [\"./configure\", \"--prefix=/usr\"])",
);

static CMAKE: Spec = step(
    "steps.CMake",
    library("steps/tools.star", "cmake"),
    0,
    &[
        &[
            optional("path", R_TEXT, "\".\"", "The source or build folder."),
            optional("generator", R_OPTIONAL_TEXT, "", "For `-G`."),
            optional("definitions", R_VALUE, "{}", "A dict for `-D`."),
            optional("options", R_VALUE, "[]", "More arguments."),
            optional("cmake", R_TEXT, "\"cmake\"", "The program."),
        ],
        COMMON,
        COMMAND,
    ],
    "Runs CMake; a failure halts the build.",
    "steps.CMake(definitions = {\"CMAKE_BUILD_TYPE\": \"Release\"}, generator = \"Ninja\")",
);

static SHELL_SEQUENCE: Spec = step(
    "steps.ShellSequence",
    library("steps/sequence.star", "shell_sequence"),
    0,
    &[&[required("commands", SHELL_ARGS, "List of `util.ShellArg`, or a placeholder for one.")], COMMON, COMMAND],
    "Runs several commands one after the other in one step. It stops after a failing one with `haltOnFailure`; \
     the result is the worst by the flags of each.",
    "steps.ShellSequence(commands = [\n    util.ShellArg(command = [\"./configure\"], logname = \"configure\"),\n    util.ShellArg(command = \"make\", haltOnFailure = True),\n])",
);

static SET_PROPERTY_FROM_COMMAND: Spec = step(
    "steps.SetPropertyFromCommand",
    library("steps/properties.star", "set_property_from_command"),
    0,
    &[
        &[
            COMMAND_LINE,
            optional("property", R_TEXT, "", "The property that gets the standard output."),
            optional(
                "extract_fn",
                FUNCTION,
                "",
                "Function of exit code, standard output and standard error that returns a dict of properties.",
            ),
            optional("strip", R_BOOL, "True", "Without white space at the ends."),
            optional("includeStdout", R_BOOL, "True", "`extract_fn` gets the standard output."),
            optional("includeStderr", R_BOOL, "False", "`extract_fn` gets the standard error."),
        ],
        COMMON,
        COMMAND,
    ],
    "Sets properties from the output of a command: `property`, or those that `extract_fn` returns.",
    "steps.SetPropertyFromCommand(command = \"uname -m\", property = \"machine\")",
);

pub(super) const SPECS: &[&Spec] = &[
    &SHELL_COMMAND,
    &COMPILE,
    &TEST,
    &WARNING_COUNTING,
    &CONFIGURE,
    &CMAKE,
    &SHELL_SEQUENCE,
    &SET_PROPERTY_FROM_COMMAND,
];
