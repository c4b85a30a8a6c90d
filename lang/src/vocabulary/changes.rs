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
/// The same for those whose `project` may be a function.
const STAMP_BUT_PROJECT: &[Param] = &[STAMP[1], STAMP[2], STAMP[3]];
const AT_LAUNCH: Param =
    ignored("pollAtLaunch", "a source polls as soon as it is defined; the first poll records where it begins");
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
                "List of names, in which `*` and `?` match as in a shell; `True` for all; or a function of a ref's full name, such as `refs/heads/main`, that says whether it is wanted. Without it, the remote's default branch.",
            ),
            optional("branch", OPTIONAL_TEXT, "", "One name, instead of `branches`."),
            INTERVAL_PARAM,
            optional(
                "only_tags",
                BOOL,
                "False",
                "Watches tags instead of branches; the branch of a change is `refs/tags/NAME`.",
            ),
            optional("buildPushesWithNoCommits", BOOL, "False", "A new branch on a known commit gives a change too."),
            optional("usetimestamps", BOOL, "True", "A change carries the commit's time; else that of its arrival."),
            optional("pollRandomDelayMin", SECONDS, "0", "Least of what is added to each pause, drawn at random."),
            optional("pollRandomDelayMax", SECONDS, "0", "Most of it."),
            optional("sshPrivateKey", SECRET, "", "The key for a repository over ssh."),
            optional("sshHostKey", SECRET, "", "The key of its host, as in known_hosts without the host's name."),
            optional("sshKnownHosts", SECRET, "", "The whole text of a known_hosts file, instead."),
            optional("auth_credentials", LOGIN, "", "User and password for a repository over HTTP."),
            optional("git_credentials", LOGINS, "", "Logins by the beginning of the address that they are for."),
            AT_LAUNCH,
            alias("pollinterval", "pollInterval"),
            ignored("workdir", "Tidemill keeps its own clone"),
            ignored("gitbin", "Tidemill runs git from the PATH"),
            ignored("encoding", "text is UTF-8; other bytes are replaced"),
            later("revlink"),
            optional(
                "project",
                TEXT_OR_FUNCTION,
                "\"\"",
                "Set on its changes; or a function of a change that gives it.",
            ),
        ],
        STAMP_BUT_PROJECT,
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
            optional("svnpasswd", SECRET, "", "The password, best a `util.Secret`."),
            optional("revlinktmpl", OPTIONAL_TEXT, "", "The link of a revision, with `%s` for it."),
            AT_LAUNCH,
            optional(
                "extra_args",
                TEXTS,
                "[]",
                "More arguments for svn: of those that say which certificates to trust.",
            ),
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
            optional(
                "branch",
                OPTIONAL_TEXT,
                "",
                "The branch; without one, `branches` and `bookmarks`, it is `default`.",
            ),
            optional("branches", TEXTS, "[]", "Several branches."),
            optional("bookmarks", TEXTS, "[]", "Bookmarks."),
            optional("usetimestamps", BOOL, "True", "A change carries the commit's time; else that of its arrival."),
            INTERVAL_PARAM,
            AT_LAUNCH,
            alias("pollinterval", "pollInterval"),
            ignored("workdir", "Tidemill keeps its own clone"),
            ignored("hgbin", "Tidemill runs hg from the PATH"),
            ignored("encoding", "text is UTF-8; other bytes are replaced"),
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

const EVENTS_PARAM: Param = optional(
    "handled_events",
    TEXTS,
    "[\"patchset-created\", \"ref-updated\"]",
    "Kinds of events that become changes; the first two are read in full, others by their change and patch set.",
);
const GET_FILES: Param = optional("get_files", BOOL, "False", "Asks Gerrit for the files of each patch set.");

static GERRIT: Spec = Spec {
    name: "changes.GerritChangeSource",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            required(
                "gerritserver",
                TEXT,
                "The host of Gerrit; the repository of a change is `ssh://USER@HOST:PORT/PROJECT`.",
            ),
            required("username", TEXT, "The user."),
            optional("gerritport", POSITIVE, "29418", "The port of its ssh."),
            optional(
                "http_url",
                OPTIONAL_TEXT,
                "",
                "Address of Gerrit over HTTP, whose events-log is polled. Without it the source is not run by this release.",
            ),
            optional("http_auth", LOGIN, "", "User and password for that."),
            optional("http_poll_interval", INTERVAL, "30", "Seconds between polls."),
            EVENTS_PARAM,
            GET_FILES,
            ignored("identity_file", "events are read over HTTP"),
            ignored("ssh_server_alive_interval_s", "events are read over HTTP"),
            ignored("ssh_server_alive_count_max", "events are read over HTTP"),
            ignored("debug", "polls are shown at the source"),
        ],
        STAMP,
    ],
    positional: 2,
    doc: "Takes changes from Gerrit's events-log, so that none is lost while nobody listened.",
    example: "changes.GerritChangeSource(\"gerrit.example.org\", \"ci\", http_url = \"https://gerrit.example.org\", http_auth = (\"ci\", util.Secret(\"gerrit\")))",
};

static GERRIT_LOG: Spec = Spec {
    name: "changes.GerritEventLogPoller",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            required("baseURL", TEXT, "Address of Gerrit, such as `https://gerrit.example.org`."),
            optional("auth", LOGIN, "", "User and password."),
            EVENTS_PARAM,
            optional("pollInterval", INTERVAL, "30", "Seconds between polls."),
            optional(
                "gitBaseURL",
                OPTIONAL_TEXT,
                "",
                "Beginning of the repositories' addresses; without it, `baseURL`.",
            ),
            optional("firstFetchLookback", SECONDS, "300", "How far back the first poll looks."),
            GET_FILES,
            AT_LAUNCH,
            ignored("debug", "polls are shown at the source"),
        ],
        STAMP,
    ],
    positional: 2,
    doc: "Polls Gerrit's events-log.",
    example: "changes.GerritEventLogPoller(\"https://gerrit.example.org\", (\"ci\", util.Secret(\"gerrit\")), gitBaseURL = \"ssh://gerrit.example.org:29418\")",
};

const FILTER_PARAM: Param = optional(
    "pullrequest_filter",
    BOOL_OR_FUNCTION,
    "True",
    "A function of the forge's document of a pull request: whether it is wanted. `False` takes none.",
);

static GITHUB_PR: Spec = Spec {
    name: "changes.GitHubPullrequestPoller",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            required("owner", TEXT, "Who owns the repository."),
            required("repo", TEXT, "Its name."),
            optional(
                "branches",
                TEXTS,
                "",
                "Only pull requests into these branches, in which `*` and `?` match as in a shell.",
            ),
            optional("labels", TEXTS, "", "Only pull requests with one of these labels."),
            INTERVAL_PARAM,
            optional("token", SECRET, "", "A token of GitHub, best a `util.Secret`."),
            optional(
                "magic_link",
                BOOL,
                "False",
                "The branch of a change is `refs/pull/N/merge` of this repository, instead of the branch of the fork.",
            ),
            optional(
                "repository_type",
                TEXT,
                "\"https\"",
                "Which address a change carries: `https`, `svn`, `git` or `ssh`.",
            ),
            optional(
                "github_property_whitelist",
                TEXTS,
                "[]",
                "Fields of the document that become properties, as `github.title` or `github.*`.",
            ),
            FILTER_PARAM,
            optional("baseURL", TEXT, "\"https://api.github.com\"", "Address of the API."),
            AT_LAUNCH,
            alias("pollinterval", "pollInterval"),
        ],
        STAMP,
    ],
    positional: 2,
    doc: "Polls the open pull requests of a repository on GitHub: each new head is a change.",
    example: "changes.GitHubPullrequestPoller(\"example\", \"tool\", branches = [\"main\"], token = util.Secret(\"github\"))",
};

static BITBUCKET_PR: Spec = Spec {
    name: "changes.BitbucketPullrequestPoller",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        &[
            required("owner", TEXT, "The workspace."),
            required("slug", TEXT, "The repository's name in addresses."),
            optional("auth", LOGIN, "", "User and app password."),
            optional("branch", VALUES, "", "Only pull requests from these branches."),
            INTERVAL_PARAM,
            optional(
                "useTimestamps",
                BOOL,
                "True",
                "A change carries the pull request's time; else that of its arrival.",
            ),
            optional(
                "bitbucket_property_whitelist",
                TEXTS,
                "[]",
                "Fields of the document that become properties, as `bitbucket.title` or `bitbucket.*`.",
            ),
            FILTER_PARAM,
            optional("baseURL", TEXT, "\"https://api.bitbucket.org/2.0\"", "Address of the API."),
            AT_LAUNCH,
            alias("pollinterval", "pollInterval"),
        ],
        STAMP,
    ],
    positional: 2,
    doc: "Polls the open pull requests of a repository on Bitbucket: each new head is a change.",
    example: "changes.BitbucketPullrequestPoller(\"example\", \"tool\", auth = (\"ci\", util.Secret(\"bitbucket\")))",
};

/// Of all mail directories.
const MAILDIR: &[Param] = &[
    required(
        "maildir",
        TEXT,
        "The folder, absolute, with `new` and `cur` in it; each mail is read once and moved to `cur`.",
    ),
    optional(
        "prefix",
        OPTIONAL_TEXT,
        "",
        "Only files below this folder, which is cut off; a mail without one gives no change.",
    ),
    optional("pollInterval", INTERVAL, "10", "Seconds between polls."),
    alias("pollinterval", "pollInterval"),
];

static CVS_MAIL: Spec = Spec {
    name: "changes.CVSMaildirSource",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        MAILDIR,
        &[
            optional("repository", OPTIONAL_TEXT, "", "Set on its changes; else what a mail says."),
            optional("properties", PROPERTIES, "{}", "Set on its changes."),
            later("urlmaker"),
        ],
        STAMP,
    ],
    positional: 1,
    doc: "Reads the commit mails of a CVS server from a mail directory.",
    example: "changes.CVSMaildirSource(\"/var/mail/commits\", prefix = \"tool\")",
};

static SVN_MAIL: Spec = Spec {
    name: "changes.SVNCommitEmailMaildirSource",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[MAILDIR, STAMP],
    positional: 1,
    doc: "Reads Subversion's commit mails from a mail directory.",
    example: "changes.SVNCommitEmailMaildirSource(\"/var/mail/commits\", prefix = \"trunk/\")",
};

static BZR_MAIL: Spec = Spec {
    name: "changes.BzrLaunchpadEmailMaildirSource",
    kind: Kind::ChangeSource(SourceKind::Declared),
    params: &[
        MAILDIR,
        &[
            optional(
                "branchMap",
                PROPERTIES,
                "{}",
                "Branches by Launchpad's names of them, such as `lp:~ada/tool/work`.",
            ),
            optional("defaultBranch", OPTIONAL_TEXT, "", "The branch of mails that name none of those."),
        ],
        STAMP,
    ],
    positional: 1,
    doc: "Reads Launchpad's mails about branches from a mail directory.",
    example: "changes.BzrLaunchpadEmailMaildirSource(\"/var/mail/launchpad\", branchMap = {\"lp:~ada/tool/work\": \"work\"})",
};

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
