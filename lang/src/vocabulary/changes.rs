//! `changes.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, SourceKind, Spec, alias, ignored, later, optional, required};

/// Set on the changes of a source.
const STAMP: &[Param] = &[
    optional("project", TEXT, "\"\"", "Set on its changes."),
    optional("codebase", TEXT, "\"\"", "Set on its changes."),
    optional("category", CATEGORY, "", "Set on its changes."),
    optional("name", TEXT, "", "Unique; made of the kind and the repository if not given."),
];
const REPOURL: Param = required("repourl", TEXT, "The repository; may be given without its name.");
const INTERVAL_PARAM: Param = optional("pollInterval", INTERVAL, "600", "Seconds between polls.");

static GIT_POLLER: Spec = Spec {
    name: "changes.GitPoller",
    kind: Kind::ChangeSource(SourceKind::Git),
    params: &[
        &[
            REPOURL,
            optional(
                "branches",
                BRANCHES,
                "",
                "List of names, in which `*` and `?` match as in a shell, or `True` for all. Without it, the remote's default branch.",
            ),
            optional("branch", OPTIONAL_TEXT, "", "One name, instead of `branches`."),
            INTERVAL_PARAM,
            optional("buildPushesWithNoCommits", BOOL, "False", "A new branch on a known commit gives a change too."),
            alias("pollinterval", "pollInterval"),
            ignored("workdir", "Tidemill keeps its own clone"),
            ignored("gitbin", "Tidemill runs git from the PATH"),
            ignored("encoding", "text is UTF-8; other bytes are replaced"),
            ignored("usetimestamps", "a change always carries the commit's time"),
            later("only_tags"),
            later("pollAtLaunch"),
            later("pollRandomDelayMax"),
            later("pollRandomDelayMin"),
            later("revlink"),
            later("sshHostKey"),
            later("sshKnownHosts"),
            later("sshPrivateKey"),
            later("auth_credentials"),
            later("git_credentials"),
        ],
        STAMP,
    ],
    positional: 1,
    doc: "Polls a git repository.",
    example: "changes.GitPoller(\"https://example.org/r.git\", branches = [\"main\", \"release-*\"], pollInterval = 60)",
};

static POLLING: Spec = Spec {
    name: "changes.PollingChangeSource",
    kind: Kind::ChangeSource(SourceKind::Custom),
    params: &[
        &[
            required("poll", CALLABLE, "Function of a context, see below."),
            INTERVAL_PARAM,
            optional("pollAtLaunch", BOOL, "False", "Polls at once when it is first seen."),
            optional("attrs", PROPERTIES, "{}", "Values for `ctx.attrs`."),
            alias("pollinterval", "pollInterval"),
        ],
        STAMP,
    ],
    positional: 0,
    doc: "A change source with a poll of your own. The function gets a context: `ctx.state` (a dict that is kept), `ctx.attrs`, \
          `ctx.now` (seconds), `ctx.addChange(author = …, files = …, revision = …, branch = …, comments = …, …)`, \
          `ctx.http(url, method = \"GET\", headers = {}, body = \"\")` (with `.status`, `.body`, `.headers`, and `.data`: the body as JSON) and \
          `ctx.command(argv)` (with `.rc`, `.stdout`, `.stderr`). Polls never overlap; changes and state are stored in one \
          transaction; a failing poll stores nothing, is shown, and polling goes on.",
    example: "changes.PollingChangeSource(name = \"tags\", poll = lambda ctx: ctx.addChange(author = \"bot\", revision = \"1\"), pollInterval = 300)",
};

static SVN_POLLER: Spec = Spec {
    name: "changes.SVNPoller",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            REPOURL,
            optional(
                "split_file",
                FUNCTION,
                "util.svn.split_file_alwaystrunk",
                "Function of a path that returns a dict with `path` and, where known, `branch`, `project`, `repository`, `codebase`; or a pair (branch, path); or `None` for a file of no interest.",
            ),
            INTERVAL_PARAM,
            optional("histmax", POSITIVE, "100", "Most revisions of one poll."),
            optional("svnuser", OPTIONAL_TEXT, "", "The user."),
            optional("svnpasswd", R_OPTIONAL_TEXT, "", "The password, best a `util.Secret`."),
            optional("revlinktmpl", OPTIONAL_TEXT, "", "The link of a revision, with `%s` for it."),
            optional("pollAtLaunch", BOOL, "False", "Polls at once when it is first seen."),
            optional("extra_args", TEXTS, "[]", "More arguments for svn."),
            alias("svnurl", "repourl"),
            alias("pollinterval", "pollInterval"),
            ignored("svnbin", "Tidemill runs svn from the PATH"),
            ignored("cachepath", "the last revision is a row"),
        ],
        STAMP,
    ],
    positional: 1,
    doc: "Polls a Subversion repository. `split_file` tells branches and projects apart by the paths of files.",
    example: "changes.SVNPoller(\"svn://example.org/amanda\", split_file = util.svn.split_file_branches)",
};

static HG_POLLER: Spec = Spec {
    name: "changes.HgPoller",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            REPOURL,
            optional("branch", OPTIONAL_TEXT, "\"default\"", "The branch."),
            optional("branches", TEXTS, "[]", "Several branches."),
            optional("bookmarks", TEXTS, "[]", "Bookmarks."),
            INTERVAL_PARAM,
            optional("pollAtLaunch", BOOL, "False", "Polls at once when it is first seen."),
            alias("pollinterval", "pollInterval"),
            ignored("workdir", "Tidemill keeps its own clone"),
            ignored("hgbin", "Tidemill runs hg from the PATH"),
            ignored("encoding", "text is UTF-8; other bytes are replaced"),
            ignored("usetimestamps", "a change always carries the commit's time"),
        ],
        STAMP,
    ],
    positional: 1,
    doc: "Polls a Mercurial repository.",
    example: "changes.HgPoller(\"https://example.org/hg\", branch = \"default\")",
};

/// A source of Buildbot's whose arguments are carried as they are.
const fn declared(name: &'static str, doc: &'static str) -> Spec {
    Spec {
        name,
        kind: Kind::ChangeSource(SourceKind::Declared),
        params: &[&[OPEN], STAMP],
        positional: 0,
        doc,
        example: "",
    }
}

static P4: Spec = declared("changes.P4Source", "Polls Perforce.");
static PB: Spec =
    declared("changes.PBChangeSource", "Takes changes of `tidemill sendchange` and of hook scripts; always on here.");
static GERRIT: Spec = declared("changes.GerritChangeSource", "Listens to Gerrit's event stream.");
static GERRIT_LOG: Spec = declared("changes.GerritEventLogPoller", "Polls Gerrit's event log.");
static GITHUB_PR: Spec = declared("changes.GitHubPullrequestPoller", "Polls pull requests of GitHub.");
static BITBUCKET_PR: Spec = declared("changes.BitbucketPullrequestPoller", "Polls pull requests of Bitbucket.");
static CVS_MAIL: Spec = declared("changes.CVSMaildirSource", "Reads CVS commit mails from a maildir.");
static SVN_MAIL: Spec =
    declared("changes.SVNCommitEmailMaildirSource", "Reads Subversion commit mails from a maildir.");
static BZR_MAIL: Spec = declared("changes.BzrLaunchpadEmailMaildirSource", "Reads Launchpad's mails from a maildir.");
static BZR: Spec = declared("changes.BzrPoller", "Polls Bazaar.");

pub(super) const SPECS: &[&[&Spec]] = &[&[
    &GIT_POLLER,
    &POLLING,
    &SVN_POLLER,
    &HG_POLLER,
    &P4,
    &PB,
    &GERRIT,
    &GERRIT_LOG,
    &GITHUB_PR,
    &BITBUCKET_PR,
    &CVS_MAIL,
    &SVN_MAIL,
    &BZR_MAIL,
    &BZR,
]];

pub(super) const LATER: &[&str] = &["GerritChangeFilter"];
