//! Steps that read the output of one tool each.

use super::common::{COMMAND, COMMON, library, step};
use crate::values::convert::*;
use crate::values::spec::{Param, Spec, optional, required};

const fn command(default: &'static str) -> Param {
    optional("command", R_COMMAND, default, "As in `steps.ShellCommand`.")
}

static TRIAL: Spec = step(
    "steps.Trial",
    library("steps/python.star", "trial"),
    0,
    &[
        &[
            optional("tests", R_VALUE, "[]", "Names of modules or tests, one text or a list."),
            optional("testpath", R_OPTIONAL_TEXT, "\".\"", "Added to PYTHONPATH."),
            optional("python", R_VALUE, "[]", "The interpreter and its options."),
            optional("trial", R_TEXT, "\"trial\"", "The program."),
            optional("trialMode", R_VALUE, "[\"--reporter=bwverbose\"]", "Its options."),
            optional("jobs", R_COUNT, "", "Tests at once."),
        ],
        COMMON,
        COMMAND,
    ],
    "Runs Twisted's trial and counts its tests.",
    "steps.Trial(tests = \"petmail.test\")",
);

static PYFLAKES: Spec = step(
    "steps.PyFlakes",
    library("steps/python.star", "pyflakes"),
    0,
    &[&[command("[\"make\", \"pyflakes\"]")], COMMON, COMMAND],
    "Runs PyFlakes and counts its messages by kind.",
    "steps.PyFlakes(command = [\"pyflakes\", \"src\"])",
);

static PYLINT: Spec = step(
    "steps.PyLint",
    library("steps/python.star", "pylint"),
    0,
    &[&[required("command", R_COMMAND, "As in `steps.ShellCommand`.")], COMMON, COMMAND],
    "Runs PyLint and counts its messages by kind; errors fail the step.",
    "steps.PyLint(command = [\"pylint\", \"src\"])",
);

static SPHINX: Spec = step(
    "steps.Sphinx",
    library("steps/python.star", "sphinx"),
    0,
    &[
        &[
            required("sphinx_builddir", R_TEXT, "Where the pages go."),
            optional("sphinx_sourcedir", R_TEXT, "\".\"", "Where the texts are."),
            optional("sphinx_builder", R_OPTIONAL_TEXT, "", "For `-b`."),
            optional("sphinx", R_TEXT, "\"sphinx-build\"", "The program."),
            optional("tags", R_VALUE, "[]", "For `-t`."),
            optional("defines", R_VALUE, "{}", "For `-D`."),
            optional("strict_warnings", R_BOOL, "False", "Warnings are errors."),
            optional("mode", R_TEXT, "\"incremental\"", "`\"full\"` reads every text again."),
        ],
        COMMON,
        COMMAND,
    ],
    "Builds documentation with Sphinx and counts its warnings.",
    "steps.Sphinx(sphinx_builddir = \"_build\")",
);

static CPPCHECK: Spec = step(
    "steps.Cppcheck",
    library("steps/tools.star", "cppcheck"),
    0,
    &[
        &[
            optional("binary", R_TEXT, "\"cppcheck\"", "The program."),
            optional("source", R_VALUE, "[\".\"]", "What to check."),
            optional("enable", R_VALUE, "[]", "For `--enable`."),
            optional("inconclusive", R_BOOL, "False", "Also what is not certain."),
            optional("extra_args", R_VALUE, "{}", "More options, as a dict."),
        ],
        COMMON,
        COMMAND,
    ],
    "Runs Cppcheck and counts its messages by kind; errors fail the step.",
    "steps.Cppcheck(enable = [\"all\"])",
);

static PERL_MODULE_TEST: Spec = step(
    "steps.PerlModuleTest",
    library("steps/tools.star", "perl_module_test"),
    0,
    &[&[command("[\"prove\", \"--lib\", \"lib\", \"-r\", \"t\"]")], COMMON, COMMAND],
    "Runs Perl's tests and counts them.",
    "steps.PerlModuleTest(command = [\"make\", \"test\"])",
);

static HLINT: Spec = step(
    "steps.HLint",
    library("steps/tools.star", "hlint"),
    0,
    &[&[command("[\"hlint\", \".\"]")], COMMON, COMMAND],
    "Runs HLint on the tree and counts its hints.",
    "steps.HLint()",
);

static TREE_SIZE: Spec = step(
    "steps.TreeSize",
    library("steps/tools.star", "tree_size"),
    0,
    &[&[command("[\"du\", \"-s\", \"-k\", \".\"]")], COMMON, COMMAND],
    "Measures the work folder: its size in KiB becomes the property `tree-size-KiB`.",
    "steps.TreeSize()",
);

static RPM_BUILD: Spec = step(
    "steps.RpmBuild",
    library("steps/packages.star", "rpm_build"),
    0,
    &[
        &[
            required("specfile", R_TEXT, "The spec file."),
            optional("topdir", R_TEXT, "\"`pwd`\"", "For `_topdir`."),
            optional("dist", R_TEXT, "\".el7\"", "For `dist`."),
            optional("define", R_VALUE, "{}", "More macros."),
            optional("autoRelease", R_BOOL, "False", "No effect: give a `release` macro."),
        ],
        COMMON,
        COMMAND,
    ],
    "Builds an RPM package.",
    "steps.RpmBuild(specfile = \"a.spec\", dist = \".fc40\")",
);

static RPM_LINT: Spec = step(
    "steps.RpmLint",
    library("steps/packages.star", "rpm_lint"),
    0,
    &[
        &[optional("fileloc", R_TEXT, "\".\"", "What to check."), optional("config", R_OPTIONAL_TEXT, "", "For `-f`.")],
        COMMON,
        COMMAND,
    ],
    "Runs rpmlint and counts errors and warnings.",
    "steps.RpmLint(fileloc = \"dist\")",
);

static DEB_LINTIAN: Spec = step(
    "steps.DebLintian",
    library("steps/packages.star", "deb_lintian"),
    0,
    &[&[required("fileloc", R_TEXT, "The package or `.changes` file.")], COMMON, COMMAND],
    "Runs lintian and counts errors and warnings.",
    "steps.DebLintian(fileloc = \"a.deb\")",
);

pub(super) const SPECS: &[&Spec] = &[
    &TRIAL,
    &PYFLAKES,
    &PYLINT,
    &SPHINX,
    &CPPCHECK,
    &PERL_MODULE_TEST,
    &HLINT,
    &TREE_SIZE,
    &RPM_BUILD,
    &RPM_LINT,
    &DEB_LINTIAN,
];
