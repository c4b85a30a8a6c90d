//! Status and comments on forges.

use super::{DEBUG, DESCRIPTIONS, OLD, OLD_TAGS, REPORTER, VERBOSE, VERIFY};
use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Param, Spec, optional, required};

const CONTEXT: Param = optional(
    "context",
    R_OPTIONAL_TEXT,
    "util.Interpolate(\"buildbot/%(prop:buildername)s\")",
    "What tells the builders apart there.",
);
const TOKEN: Param = required("token", SECRET, "A token of the forge, best a `util.Secret`.");

static GITHUB: Spec = Spec {
    name: "reporters.GitHubStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            TOKEN,
            CONTEXT,
            optional("baseURL", OPTIONAL_TEXT, "\"https://api.github.com\"", "Address of the API."),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 1,
    doc: "Sets the status of commits on GitHub: when a build is requested, when it begins and when it is over.",
    example: "reporters.GitHubStatusPush(util.Secret(\"github\"), context = util.Interpolate(\"ci/%(prop:buildername)s\"))",
};

static GITHUB_COMMENT: Spec = Spec {
    name: "reporters.GitHubCommentPush",
    kind: Kind::Reporter,
    params: &[
        &[
            TOKEN,
            optional("baseURL", OPTIONAL_TEXT, "\"https://api.github.com\"", "Address of the API."),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 1,
    doc: "Comments on pull requests of GitHub when their builds are over.",
    example: "reporters.GitHubCommentPush(util.Secret(\"github\"))",
};

static GITLAB: Spec = Spec {
    name: "reporters.GitLabStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            TOKEN,
            CONTEXT,
            optional("baseURL", OPTIONAL_TEXT, "\"https://gitlab.com\"", "Address of GitLab."),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 1,
    doc: "Sets the status of commits on GitLab: when a build is requested, when it begins and when it is over.",
    example: "reporters.GitLabStatusPush(util.Secret(\"gitlab\"), baseURL = \"https://gitlab.example.org\")",
};

static GITEA: Spec = Spec {
    name: "reporters.GiteaStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            required("baseURL", TEXT, "Address of Gitea or Forgejo."),
            TOKEN,
            CONTEXT,
            optional(
                "context_pr",
                R_OPTIONAL_TEXT,
                "util.Interpolate(\"buildbot/pull_request/%(prop:buildername)s\")",
                "The same for builds of pull requests.",
            ),
            optional("warningAsSuccess", BOOL, "False", "Warnings are a success."),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 2,
    doc: "Sets the status of commits on Gitea and Forgejo: when a build is requested, when it begins and when it is over.",
    example: "reporters.GiteaStatusPush(\"https://gitea.example.org\", util.Secret(\"gitea\"))",
};

static BITBUCKET: Spec = Spec {
    name: "reporters.BitbucketStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            optional("oauth_key", SECRET, "", "The key of an OAuth consumer."),
            optional("oauth_secret", SECRET, "", "Its secret, best a `util.Secret`."),
            optional("auth", LOGIN, "", "User and app password instead."),
            optional("base_url", TEXT, "\"https://api.bitbucket.org/2.0/repositories\"", "Address of the API."),
            optional(
                "oauth_url",
                TEXT,
                "\"https://bitbucket.org/site/oauth2/access_token\"",
                "Where tokens come from.",
            ),
            optional(
                "status_key",
                R_OPTIONAL_TEXT,
                "util.Interpolate(\"%(prop:buildername)s\")",
                "What tells the builders apart there.",
            ),
            optional(
                "status_name",
                R_OPTIONAL_TEXT,
                "util.Interpolate(\"%(prop:buildername)s\")",
                "How the status is called there.",
            ),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 2,
    doc: "Sets the status of commits on Bitbucket: when a build begins and when it is over.",
    example: "reporters.BitbucketStatusPush(auth = (\"ci\", util.Secret(\"bitbucket\")))",
};

const BASE_URL: Param = required("base_url", TEXT, "Address of Bitbucket Server.");
const USER: Param = required("user", SECRET, "The user.");
const PASSWORD: Param = required("password", SECRET, "The password, best a `util.Secret`.");
const KEY: Param = optional(
    "key",
    R_OPTIONAL_TEXT,
    "util.Interpolate(\"%(prop:buildername)s\")",
    "What tells the builders apart there.",
);
const STATUS_NAME: Param = optional("statusName", R_OPTIONAL_TEXT, "", "How the status is called there.");

static SERVER: Spec = Spec {
    name: "reporters.BitbucketServerStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[BASE_URL, USER, PASSWORD, KEY, STATUS_NAME, VERIFY, VERBOSE, DEBUG],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 3,
    doc: "Sets the status of commits on Bitbucket Server.",
    example: "reporters.BitbucketServerStatusPush(\"https://bitbucket.example.org\", \"ci\", util.Secret(\"bitbucket\"))",
};

static SERVER_CORE: Spec = Spec {
    name: "reporters.BitbucketServerCoreAPIStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            BASE_URL,
            optional("token", SECRET, "", "A token, best a `util.Secret`."),
            optional("auth", LOGIN, "", "User and password instead."),
            KEY,
            STATUS_NAME,
            optional("statusSuffix", R_OPTIONAL_TEXT, "", "Put behind the name that it has without `statusName`."),
            optional("parentName", R_OPTIONAL_TEXT, "", "The parent of the status; without it, the builder."),
            optional("buildNumber", R_OPTIONAL_TEXT, "", "The number; without it, the build's."),
            optional("ref", R_OPTIONAL_TEXT, "", "The ref; without it, the branch."),
            optional("duration", R_VALUE, "", "Milliseconds; without it, the build's time."),
            optional(
                "testResults",
                R_TEST_RESULTS,
                "",
                "Dict of `failed`, `skipped` and `successful`: counts, or placeholders for them. Without it, the properties `tests_failed`, `tests_skipped` and `tests_successful`.",
            ),
            VERIFY,
            VERBOSE,
            DEBUG,
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 2,
    doc: "Sets the status of commits by the core API of Bitbucket Server, which shows more of it.",
    example: "reporters.BitbucketServerCoreAPIStatusPush(\"https://bitbucket.example.org\", token = util.Secret(\"bitbucket\"))",
};

static SERVER_COMMENT: Spec = Spec {
    name: "reporters.BitbucketServerPRCommentPush",
    kind: Kind::Reporter,
    params: &[&[BASE_URL, USER, PASSWORD, VERIFY, VERBOSE, DEBUG], REPORTER, OLD, OLD_TAGS],
    positional: 3,
    doc: "Comments on pull requests of Bitbucket Server when their builds are over.",
    example: "reporters.BitbucketServerPRCommentPush(\"https://bitbucket.example.org\", \"ci\", util.Secret(\"bitbucket\"))",
};

pub(super) const SPECS: &[&Spec] =
    &[&GITHUB, &GITHUB_COMMENT, &GITLAB, &GITEA, &BITBUCKET, &SERVER, &SERVER_CORE, &SERVER_COMMENT];
