//! `reporters.MailNotifier`.

use super::reading::Reading;
use crate::definition::{LdapDef, LookupDef, MailDef, MailMapLine, MailTls, SecretText};
use crate::host::diagnostics::Diagnostic;
use crate::names;
use crate::policies::Function;
use crate::values::convert::{count, optional_text, text, texts};
use crate::values::descriptor::Descriptor;
use crate::values::notices::port;
use crate::values::tree::Tree;
use starlark::values::Value;

const TLS: [(&str, MailTls); 4] = [
    ("none", MailTls::None),
    ("opportunistic", MailTls::Opportunistic),
    ("required", MailTls::Required),
    ("smtps", MailTls::Smtps),
];

pub(super) fn read(r: &mut Reading<'_, '_>) -> Option<MailDef> {
    let fromaddr = r.text("fromaddr")?;
    if LookupDef::address_in(&fromaddr).is_none() {
        let hint = "as in fromaddr = \"Builds <ci@example.org>\"".to_owned();
        r.error("fromaddr", format!("`fromaddr` of {} is no mail address: {fromaddr:?}", r.called()), Some(hint));
    }
    let relayhost = r.text("relayhost").unwrap_or_else(|| "localhost".to_owned());
    if relayhost.trim().is_empty() || relayhost.contains(|c: char| c.is_whitespace() || c == '/') {
        let hint = "name the host that takes the mails, as in relayhost = \"localhost\"".to_owned();
        let message = match relayhost.trim().is_empty() {
            true => format!("`relayhost` of {} is empty", r.called()),
            false => format!("`relayhost` of {} is no host: {relayhost:?}", r.called()),
        };
        r.error("relayhost", message, Some(hint));
    }
    let extra_recipients = r.get("extraRecipients", texts).unwrap_or_default();
    for recipient in extra_recipients.iter().filter(|a| LookupDef::address_in(a).is_none()) {
        r.error("extraRecipients", format!("{recipient:?} is no mail address"), None);
    }
    let password = r.secret("smtpPassword");
    let user = r.known("smtpUser");
    for (given, other, missing) in [(&user, &password, "smtpPassword"), (&password, &user, "smtpUser")] {
        if given.is_some() && other.is_none() && !r.trees.given(missing) {
            let argument = if missing == "smtpUser" { "smtpPassword" } else { "smtpUser" };
            let message = format!("`{argument}` of {} has no effect without `{missing}`", r.called());
            r.report(argument, Diagnostic::warning(message));
        }
    }
    Some(MailDef {
        fromaddr,
        relayhost,
        port: r.get("smtpPort", port).unwrap_or(25),
        tls: tls(r),
        verify: r.verify(),
        user,
        password,
        send_to_interested_users: r.flag("sendToInterestedUsers", true),
        extra_recipients,
        lookup: lookup(r),
        extra_headers: r.headers("extraHeaders", false),
        unsubscribe: r.flag("unsubscribe", true),
        excerpt_lines: number(r, "excerptLines").and_then(|n| u32::try_from(n).ok()).unwrap_or(40),
        attachments_max: number(r, "attachmentsMax").unwrap_or(1 << 20),
    })
}

fn number(r: &Reading<'_, '_>, name: &str) -> Option<u64> {
    r.get(name, count).flatten()
}

fn tls(r: &Reading<'_, '_>) -> MailTls {
    let (starttls, smtps) = (r.flag("useTls", false), r.flag("useSmtps", false));
    match r.get("tls", optional_text).flatten() {
        Some(name) => match TLS.iter().find(|(n, _)| *n == name) {
            Some((_, tls)) => *tls,
            None => {
                let hint = names::nearest(&name, TLS.map(|(n, _)| n)).map_or_else(
                    || format!("there are {}", TLS.map(|(n, _)| n).join(", ")),
                    |near| format!("did you mean \"{near}\"?"),
                );
                r.error("tls", format!("`tls` of {} cannot be {name:?}", r.called()), Some(hint));
                MailTls::default()
            }
        },
        None if smtps => MailTls::Smtps,
        None if starttls => MailTls::Required,
        None => MailTls::default(),
    }
}

fn lookup(r: &mut Reading<'_, '_>) -> Option<LookupDef> {
    let value = r.service.arg("lookup").filter(|_| r.trees.by_name.contains_key("lookup"))?;
    match Tree::of(value) {
        Tree::Text(domain) => Some(LookupDef::Domain(domain)),
        Tree::Dict(entries) => {
            let pairs = entries.iter().filter_map(|(k, v)| Some((text(k)?, text(v)?)));
            Some(LookupDef::Table(pairs.collect()))
        }
        Tree::Function => {
            let config = r.config;
            r.rules.lookup = Function::of(r.service, "lookup", &|value: Value<'_>| config.own(value));
            Some(LookupDef::Function)
        }
        _ => special(r, Descriptor::from_value(value)?),
    }
}

fn special(r: &Reading<'_, '_>, lookup: &Descriptor<'_>) -> Option<LookupDef> {
    let inner = Reading::new(r.config, lookup, r.collector);
    if lookup.spec.short() == "MailMap" {
        return match MailMapLine::read(&inner.text("text")?) {
            Ok(lines) => Some(LookupDef::MailMap(lines)),
            Err(line) => {
                let hint = "as in Ada <ada@example.org> <ada@laptop>".to_owned();
                inner.error("text", format!("line {line} of util.MailMap is none of a mail map"), Some(hint));
                None
            }
        };
    }
    let ldap = LdapDef {
        url: inner.text("url")?,
        bind_user: inner.get("bindUser", optional_text).flatten(),
        bind_password: inner.secret("bindPassword").filter(|p| *p != SecretText::Text(String::new())),
        base: inner.text("base")?,
        filter: inner.text("filter").unwrap_or_else(|| "(uid=%s)".to_owned()),
        attribute: inner.text("attribute").unwrap_or_else(|| "mail".to_owned()),
    };
    if !ldap.url.starts_with("ldap://") && !ldap.url.starts_with("ldaps://") {
        inner.error("url", "`url` of util.LdapLookup begins with ldap:// or ldaps://", None);
    }
    if !ldap.filter.contains("%s") {
        inner.error("filter", "`filter` of util.LdapLookup has no %s where the name belongs", None);
    }
    Some(LookupDef::Ldap(ldap))
}
