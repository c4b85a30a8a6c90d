//! `reporters.HttpStatusPush` and `reporters.Webhook`.

use super::reading::Reading;
use crate::definition::{ClientCert, HttpAccess, HttpDef, SecretText, WebhookDef};
use crate::host::diagnostics::Diagnostic;
use crate::values::convert::{text, texts};
use crate::values::tree;

pub(super) fn push(r: &mut Reading<'_, '_>) -> Option<HttpDef> {
    Some(HttpDef { url: url(r, "serverUrl")?, access: access(r), headers: r.headers("headers", true) })
}

pub(super) fn webhook(r: &mut Reading<'_, '_>) -> Option<WebhookDef> {
    let value = r.service.arg("secret").filter(|v| !v.is_none() && r.trees.by_name.contains_key("secret"));
    let secrets: Vec<SecretText> = match value {
        Some(value) => {
            let single = [value];
            let all = tree::items(value).unwrap_or(&single);
            all.iter().filter_map(|v| r.secret_of("secret", *v, true)).collect()
        }
        None => vec![],
    };
    if secrets.is_empty() && !r.trees.given("secret") {
        let message = format!("{} has no `secret`: its receiver cannot tell who sends", r.called());
        r.report("url", Diagnostic::warning(message).hint("as in secret = util.Secret(\"webhook\")"));
    }
    Some(WebhookDef { url: url(r, "url")?, secrets, access: access(r), headers: r.headers("headers", true) })
}

fn url(r: &Reading<'_, '_>, name: &str) -> Option<SecretText> {
    let found = r.known(name)?;
    if let SecretText::Text(_) = &found {
        r.address(name, "");
    }
    Some(found)
}

fn access(r: &Reading<'_, '_>) -> HttpAccess {
    let pair = || {
        r.get("cert", texts).and_then(|files| match <[String; 2]>::try_from(files) {
            Ok([cert, key]) => Some(ClientCert { cert, key: Some(key) }),
            Err(_) => None,
        })
    };
    let cert = r.get("cert", text).map(|cert| ClientCert { cert, key: None }).or_else(pair);
    HttpAccess { auth: r.login("auth"), verify: r.verify(), cert }
}
