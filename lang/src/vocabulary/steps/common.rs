//! Arguments that many steps share.

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, StepKind, ignored, optional};

/// What every step takes.
pub(crate) const COMMON: &[Param] = &[
    optional("name", R_TEXT, "", "The step's name; two of one name in a build get the suffixes `_1`, `_2`."),
    optional("description", R_WORDS, "", "Text, or a list of words, while the step runs."),
    optional("descriptionDone", R_WORDS, "", "Text, or a list of words, when it is done."),
    optional("descriptionSuffix", R_WORDS, "", "Added to either text."),
    optional("haltOnFailure", R_BOOL, "False", "A failure skips the steps after it, but not those with `alwaysRun`."),
    optional("flunkOnFailure", R_BOOL, "True", "A failure makes the build fail."),
    optional("flunkOnWarnings", R_BOOL, "False", "Warnings make the build fail."),
    optional("warnOnFailure", R_BOOL, "False", "A failure makes the build a warning."),
    optional("warnOnWarnings", R_BOOL, "False", "Warnings make the build a warning."),
    optional("alwaysRun", BOOL, "False", "Runs although an earlier step halted the build or the build was stopped."),
    optional(
        "doStepIf",
        R_BOOL_OR_FUNCTION,
        "True",
        "`False`, a placeholder or a function of the step: if false, the step is skipped.",
    ),
    optional(
        "hideStepIf",
        R_BOOL_OR_FUNCTION,
        "False",
        "The same with a function of result and step: if true, pages leave the step out.",
    ),
    optional("locks", LOCKS, "[]", "Locks that it holds while it runs, as in `[lock.access(\"exclusive\")]`."),
    optional(
        "updateBuildSummaryPolicy",
        RESULTS,
        "",
        "Results with which the step's text becomes part of the build's: a list, or `True` for every result.",
    ),
    ignored("progressMetrics", "progress is estimated from earlier builds"),
    ignored("useProgress", "progress is estimated from earlier builds"),
    ignored("logEncoding", "logs keep their bytes"),
];

/// Where its files are.
pub(crate) const WORKDIR: Param =
    optional("workdir", R_FOLDER, "\"build\"", "Folder below the builder's; made if it is missing.");

/// What every step takes that runs commands, apart from the command.
pub(crate) const COMMAND: &[Param] = &[
    WORKDIR,
    optional(
        "env",
        R_ENV,
        "{}",
        "Variables. A list is joined with `:`, `None` removes one, `${NAME}` in a value is the worker's own.",
    ),
    optional("timeout", R_SECONDS, "1200", "Seconds without output after which it is killed; `None` is never."),
    optional("maxTime", R_SECONDS, "", "Seconds after which it is killed."),
    optional("max_lines", R_COUNT, "", "Lines of output after which it is killed."),
    optional("sigtermTime", R_SECONDS, "", "Seconds between TERM and KILL; without it, KILL at once."),
    optional("interruptSignal", R_TEXT, "\"KILL\"", "The signal that stops it: `KILL`, `TERM`, `INT` …"),
    optional("initialStdin", R_OPTIONAL_TEXT, "", "Text for its standard input."),
    optional("want_stdout", R_BOOL, "True", "`False` drops its standard output."),
    optional("want_stderr", R_BOOL, "True", "`False` drops its standard error."),
    optional("usePTY", R_BOOL, "False", "Run it in a pseudo terminal."),
    optional("logEnviron", R_BOOL, "True", "`False` leaves the environment out of the log."),
    optional(
        "logfiles",
        R_LOGFILES,
        "{}",
        "Files that are followed while it runs: names of logs to paths, or to `{\"filename\": …, \"follow\": True}`.",
    ),
    optional("lazylogfiles", R_BOOL, "False", "Such a log is opened only when its file is there."),
    optional("decodeRC", R_DECODE_RC, "{0: SUCCESS}", "Exit codes and what they mean; other codes but 0 are failures."),
    optional("logMaxSize", R_COUNT, "", "Bytes of the log that are kept at its head."),
    optional("logMaxTailSize", R_COUNT, "", "Bytes of the log that are kept at its tail, when `logMaxSize` cuts it."),
    optional(
        "test_reports",
        R_REPORTS,
        "[]",
        "Files with results of single tests, in JUnit's XML, that are read when the step is over, however it ended: patterns \
         below `workdir` such as `build/**/TEST-*.xml`. What was written before the build began is left out.",
    ),
];

pub(super) const fn step(
    name: &'static str,
    kind: StepKind,
    positional: usize,
    params: &'static [&'static [Param]],
    doc: &'static str,
    example: &'static str,
) -> Spec {
    Spec { name, kind: Kind::Step(kind), params, positional, doc, example }
}

/// A step whose work is a function of the built-in library.
pub(super) const fn library(file: &'static str, function: &'static str) -> StepKind {
    StepKind::Library { file, function }
}
