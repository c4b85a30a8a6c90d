//! `changes.…`

use crate::values::convert::*;
use crate::values::spec::{Kind, Spec, alias, ignored, later, optional, required};

static GIT_POLLER: Spec = Spec {
    name: "changes.GitPoller",
    kind: Kind::ChangeSource,
    params: &[&[
        required("repourl", TEXT),
        optional("branches", BRANCHES),
        optional("branch", OPTIONAL_TEXT),
        optional("pollInterval", INTERVAL),
        optional("project", TEXT),
        optional("category", OPTIONAL_TEXT),
        optional("codebase", TEXT),
        optional("name", TEXT),
        optional("buildPushesWithNoCommits", BOOL),
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
    ]],
    positional: 1,
};

pub(super) const SPECS: &[&Spec] = &[&GIT_POLLER];

pub(super) const LATER: &[&str] = &[
    "BitbucketPullrequestPoller",
    "BzrLaunchpadEmailMaildirSource",
    "BzrPoller",
    "CVSMaildirSource",
    "GerritChangeFilter",
    "GerritChangeSource",
    "GerritEventLogPoller",
    "GitHubPullrequestPoller",
    "HgPoller",
    "P4Source",
    "PBChangeSource",
    "SVNCommitEmailMaildirSource",
    "SVNPoller",
];
