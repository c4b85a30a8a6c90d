//! Steps that bring the sources.

use super::common::{COMMON, WORKDIR, step};
use crate::values::convert::*;
use crate::values::spec::{Param, Spec, StepKind, alias, later, optional, required};

/// SR-01.
const SOURCE: &[Param] = &[
    WORKDIR,
    optional(
        "mode",
        R_TEXT,
        "\"incremental\"",
        "`\"incremental\"` keeps files that are not of the repository; `\"full\"` is clean.",
    ),
    optional(
        "method",
        R_OPTIONAL_TEXT,
        "",
        "How `\"full\"` cleans: `\"clobber\"` anew, `\"fresh\"` removes all that is foreign, `\"clean\"` keeps ignored files; \
         of Subversion also `\"copy\"` and `\"export\"` from a checkout beside it.",
    ),
    optional("codebase", R_TEXT, "\"\"", "Which source stamp, where there are several."),
    optional("alwaysUseLatest", R_BOOL, "False", "Builds the newest revision whatever the source stamp says."),
    optional("timeout", R_SECONDS, "1200", "Seconds without output after which it is killed."),
    optional("retry", R_RETRY, "", "A pair (seconds to wait, number of tries) after a failure."),
];

static GIT: Spec = step(
    "steps.Git",
    StepKind::Git,
    0,
    &[
        &[
            required("repourl", R_TEXT, "The repository."),
            optional("branch", R_OPTIONAL_TEXT, "", "For a source stamp without a branch."),
            optional("shallow", R_SHALLOW, "False", "`True` for the newest commit alone, or a depth."),
            optional("submodules", R_BOOL, "False", "Checks them out too."),
        ],
        SOURCE,
        COMMON,
        &[
            later("clobberOnFailure"),
            later("config"),
            later("filters"),
            later("getDescription"),
            later("lfs"),
            later("origin"),
            later("progress"),
            later("reference"),
            later("remoteSubmodules"),
            later("retryFetch"),
            later("sshHostKey"),
            later("sshKnownHosts"),
            later("sshPrivateKey"),
            later("tags"),
            later("auth_credentials"),
            later("git_credentials"),
            later("env"),
            later("logEnviron"),
        ],
    ],
    "Brings the work folder to the build's source stamp, and sets the property `got_revision`. \
     A failure halts the build unless `haltOnFailure = False`.",
    "steps.Git(repourl = \"https://example.org/r.git\", mode = \"full\", method = \"fresh\")",
);

static SVN: Spec = step(
    "steps.SVN",
    StepKind::Svn,
    0,
    &[
        &[
            required(
                "repourl",
                R_TEXT,
                "The address; `%%BRANCH%%` in it is the branch, else the branch is added at the end.",
            ),
            optional("defaultBranch", R_OPTIONAL_TEXT, "", "For a source stamp without a branch."),
            optional("username", R_OPTIONAL_TEXT, "", "The user."),
            optional("password", R_OPTIONAL_TEXT, "", "The password, best a `util.Secret`."),
            optional("extra_args", R_VALUE, "[]", "More arguments for svn."),
            optional("keep_on_purge", R_VALUE, "[]", "Files that a clean checkout keeps."),
            optional("depth", R_OPTIONAL_TEXT, "", "`\"empty\"`, `\"files\"`, `\"immediates\"` or `\"infinity\"`."),
            optional(
                "preferLastChangedRev",
                R_BOOL,
                "False",
                "`got_revision` is the last revision that changed the folder.",
            ),
            alias("svnurl", "repourl"),
            alias("baseURL", "repourl"),
        ],
        SOURCE,
        COMMON,
    ],
    "Checks out from Subversion, and sets `got_revision`. The password never stands in a process list.",
    "steps.SVN(repourl = \"svn://example.org/amanda/\", mode = \"full\", method = \"fresh\")",
);

static MERCURIAL: Spec = step(
    "steps.Mercurial",
    StepKind::Mercurial,
    0,
    &[
        &[
            required("repourl", R_TEXT, "The repository."),
            optional("defaultBranch", R_OPTIONAL_TEXT, "\"default\"", "For a source stamp without a branch."),
            optional("branchType", R_TEXT, "\"inrepo\"", "`\"dirname\"`: the branch is added to the address."),
            optional("clobberOnBranchChange", R_BOOL, "True", "A new branch is cloned anew."),
        ],
        SOURCE,
        COMMON,
    ],
    "Checks out from Mercurial, and sets `got_revision`.",
    "steps.Mercurial(repourl = \"https://example.org/hg\", mode = \"incremental\")",
);

pub(super) const SPECS: &[&Spec] = &[&GIT, &SVN, &MERCURIAL];
