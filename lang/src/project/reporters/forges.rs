//! Reporters to forges and to Gerrit.

use super::reading::Reading;
use crate::definition::{
    BitbucketDef, BitbucketServerDef, ForgeDef, GerritDef, GerritVerifyDef, Login, LogsWanted, Wants,
};
use crate::names;
use crate::policies::Function;
use crate::values::convert::optional_text;
use crate::values::notices::port;
use starlark::values::Value;
use std::collections::BTreeMap;

pub(super) fn forge(r: &mut Reading<'_, '_>, address: &str) -> Option<ForgeDef> {
    Some(ForgeDef {
        base_url: r.address("baseURL", address),
        token: r.secret("token")?,
        context: r.renderable("context"),
        context_pr: r.renderable("context_pr"),
        warning_as_success: r.flag("warningAsSuccess", false),
        verify: r.verify(),
    })
}

pub(super) fn bitbucket(r: &mut Reading<'_, '_>) -> Option<BitbucketDef> {
    let (key, secret) = (r.known("oauth_key"), r.secret("oauth_secret"));
    let oauth = key.zip(secret).map(|(username, password)| Login { url: None, username, password });
    let auth = r.login("auth");
    let given = ["oauth_key", "oauth_secret", "auth"].iter().any(|a| r.trees.given(a));
    if (oauth.is_none() && auth.is_none() && !given) || (oauth.is_some() && auth.is_some()) {
        let message = format!("{} needs `oauth_key` and `oauth_secret`, or `auth`", r.called());
        r.error("auth", message, Some("as in auth = (\"ci\", util.Secret(\"bitbucket\"))".into()));
    } else if oauth.is_none() && auth.is_none() {
        let message = format!("{} needs both `oauth_key` and `oauth_secret`", r.called());
        r.error("oauth_key", message, None);
    }
    Some(BitbucketDef {
        base_url: r.address("base_url", "https://api.bitbucket.org/2.0/repositories"),
        oauth_url: r.address("oauth_url", "https://bitbucket.org/site/oauth2/access_token"),
        oauth,
        auth,
        status_key: r.renderable("status_key"),
        status_name: r.renderable("status_name"),
        verify: r.verify(),
    })
}

pub(super) fn server(r: &mut Reading<'_, '_>) -> Option<BitbucketServerDef> {
    let user = r.known("user").zip(r.secret("password"));
    let auth = user.map(|(username, password)| Login { url: None, username, password }).or_else(|| r.login("auth"));
    let token = r.secret("token");
    let asked = ["user", "auth", "token"].iter().any(|a| r.trees.given(a));
    if auth.is_some() == token.is_some() && (auth.is_some() || !asked) {
        let message = format!("{} needs either `token` or `auth`", r.called());
        r.error("base_url", message, Some("as in token = util.Secret(\"bitbucket\")".into()));
    }
    let mut test_results = BTreeMap::new();
    for (name, (shown, argument)) in r.dict("testResults", false) {
        r.rules.arguments.insert(format!("testResults.{name}"), argument);
        test_results.insert(name, shown);
    }
    Some(BitbucketServerDef {
        base_url: r.address("base_url", ""),
        auth,
        token,
        key: r.renderable("key"),
        status_name: r.renderable("statusName"),
        status_suffix: r.renderable("statusSuffix"),
        parent_name: r.renderable("parentName"),
        build_number: r.renderable("buildNumber"),
        reference: r.renderable("ref"),
        duration: r.renderable("duration"),
        test_results,
        verify: r.verify(),
    })
}

const NOTIFY: [&str; 4] = ["NONE", "OWNER", "OWNER_REVIEWERS", "ALL"];

pub(super) fn gerrit(r: &mut Reading<'_, '_>) -> Option<GerritDef> {
    let config = r.config;
    let own = |value: Value<'_>| config.own(value);
    r.rules.review = Function::of(r.service, "reviewCB", &own);
    r.rules.start = Function::of(r.service, "startCB", &own);
    r.rules.summary = Function::of(r.service, "summaryCB", &own);
    let notify = r.get("notify", optional_text).flatten();
    if let Some(name) = notify.as_ref().filter(|n| !NOTIFY.contains(&n.as_str())) {
        let hint = names::nearest(name, NOTIFY)
            .map_or_else(|| format!("there are {}", NOTIFY.join(", ")), |near| format!("did you mean {near:?}?"));
        r.error("notify", format!("`notify` of {} cannot be {name:?}", r.called()), Some(hint));
    }
    let arguments = [("reviewCB", "reviewArg"), ("startCB", "startArg"), ("summaryCB", "summaryArg")];
    let args = arguments.iter().filter_map(|(function, argument)| {
        Some(((*function).to_owned(), r.get(argument, |t| t.to_json()).filter(|v| !v.is_null())?))
    });
    let args = args.collect();
    let logs = r.flag("wantLogs", false);
    Some(GerritDef {
        server: r.text("server")?,
        port: r.get("port", port).unwrap_or(29418),
        username: r.text("username")?,
        identity_file: r.get("identity_file", optional_text).flatten(),
        notify,
        review: r.rules.review.is_some(),
        start: r.rules.start.is_some(),
        summary: r.rules.summary.is_some(),
        args,
        wants: Wants {
            properties: true,
            steps: logs || r.flag("wantSteps", false),
            logs,
            logs_content: if logs { LogsWanted::All } else { LogsWanted::None },
        },
    })
}

pub(super) fn verify_status(r: &mut Reading<'_, '_>) -> Option<GerritVerifyDef> {
    Some(GerritVerifyDef {
        base_url: r.address("baseURL", ""),
        auth: r.login("auth")?,
        verification_name: r.renderable("verification_name"),
        abstain: r.flag("abstain", false),
        category: r.renderable("category"),
        reporter: r.renderable("reporter"),
        verify: r.verify(),
    })
}
