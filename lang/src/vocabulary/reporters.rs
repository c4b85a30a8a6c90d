//! `reporters.…` and `secrets.…`: declarations that are carried as they are.

use crate::values::convert::*;
use crate::values::spec::{Kind, Param, Spec, optional};

const PARAMS: &[&[Param]] = &[&[optional("name", TEXT, "", "Tells several of one kind apart."), OPEN]];

const fn spec(name: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec { name, kind, params: PARAMS, positional: 0, doc, example: "" }
}

macro_rules! declare {
    ($list:ident, $kind:expr, $($id:ident $name:literal $doc:literal;)*) => {
        $(static $id: Spec = spec($name, $kind, $doc);)*
        pub(super) const $list: &[&Spec] = &[$(&$id),*];
    };
}

declare! { REPORTERS, Kind::Reporter,
    MAIL "reporters.MailNotifier" "Mails the results of builds.";
    GITHUB "reporters.GitHubStatusPush" "Sets the status of commits on GitHub.";
    GITHUB_COMMENT "reporters.GitHubCommentPush" "Comments on pull requests of GitHub.";
    GITLAB "reporters.GitLabStatusPush" "Sets the status of commits on GitLab.";
    GERRIT "reporters.GerritStatusPush" "Votes on Gerrit.";
    GERRIT_VERIFY "reporters.GerritVerifyStatusPush" "Reports to Gerrit's verify-status.";
    BITBUCKET "reporters.BitbucketStatusPush" "Sets the status of commits on Bitbucket.";
    BITBUCKET_SERVER "reporters.BitbucketServerStatusPush" "Sets the status of commits on Bitbucket Server.";
    BITBUCKET_CORE "reporters.BitbucketServerCoreAPIStatusPush" "Sets the status of commits by Bitbucket Server's core API.";
    BITBUCKET_COMMENT "reporters.BitbucketServerPRCommentPush" "Comments on pull requests of Bitbucket Server.";
    HTTP "reporters.HttpStatusPush" "Posts results as JSON.";
    ZULIP "reporters.ZulipStatusPush" "Reports to Zulip.";
    PUSHOVER "reporters.PushoverNotifier" "Reports to Pushover.";
    PUSHJET "reporters.PushjetNotifier" "Reports to Pushjet.";
    IRC "reporters.IRC" "A bot on IRC.";
    TELEGRAM "reporters.TelegramBot" "A bot on Telegram.";
}

declare! { PARTS, Kind::Part,
    GENERATOR "reporters.BuildStatusGenerator" "A report for each build.";
    START_END "reporters.BuildStartEndStatusGenerator" "Reports at the start and end of each build.";
    SET "reporters.BuildSetStatusGenerator" "A report for each build of a buildset.";
    SET_COMBINED "reporters.BuildSetCombinedStatusGenerator" "One report for a buildset.";
    REQUEST "reporters.BuildRequestGenerator" "A report for each request.";
    MISSING "reporters.WorkerMissingGenerator" "A report when a worker stays away.";
    FORMATTER "reporters.MessageFormatter" "A text made from a template.";
    FORMATTER_FUNCTION "reporters.MessageFormatterFunction" "A text made by a function.";
    FORMATTER_RENDERABLE "reporters.MessageFormatterRenderable" "A text made from a placeholder.";
    FORMATTER_EMPTY "reporters.MessageFormatterEmpty" "No text.";
    FORMATTER_MISSING "reporters.MessageFormatterMissingWorker" "A text about a missing worker.";
}

declare! { SECRETS, Kind::SecretsProvider,
    IN_A_FILE "secrets.SecretInAFile" "Secrets are files of the masters' folder `master.secrets_dir`, or of the folder `dirname` below it, named as the secrets are; `suffixes` lists endings of files, `strip = False` keeps the last line's end.";
    PASS "secrets.SecretInPass" "Secrets are in the password store `pass`.";
    ENVIRONMENT "secrets.SecretInEnvironment" "Secrets are variables of the masters' environment: `TIDEMILL_SECRET_` and the name in capitals.";
}

pub(super) const REPORTER_SPECS: &[&[&Spec]] = &[REPORTERS, PARTS];
