//! Types of the arguments of reporters, see [`super::convert`].

use super::convert::{boolean, int32, optional_text, text, texts};
use super::spec::{Kind, Type};
use super::tree::Tree;

fn is(t: &Tree, kind: Kind) -> bool {
    matches!(t, Tree::Descriptor(s) if s.kind == kind)
}

const fn plain(expected: &'static str, fits: fn(&Tree) -> bool) -> Type {
    Type { expected, placeholder: false, fits }
}

const fn rendered(expected: &'static str, fits: fn(&Tree) -> bool) -> Type {
    Type { expected, placeholder: true, fits }
}

/// A port of TCP.
pub(crate) fn port(t: &Tree) -> Option<u16> {
    int32(t).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
}

/// One text, or several.
pub(crate) fn one_or_more(t: &Tree) -> Option<Vec<String>> {
    text(t).map(|one| vec![one]).or_else(|| texts(t))
}

fn by_name(t: &Tree, fits: fn(&Tree) -> bool) -> bool {
    matches!(t, Tree::Dict(entries) if entries.iter().all(|(k, v)| text(k).is_some() && fits(v)))
}

fn channel(t: &Tree) -> bool {
    match t {
        Tree::Dict(entries) => {
            let known = |k: &Tree| matches!(text(k).as_deref(), Some("channel" | "password"));
            entries.iter().any(|(k, _)| text(k).as_deref() == Some("channel"))
                && entries.iter().all(|(k, v)| known(k) && optional_text(v).is_some())
        }
        other => text(other).is_some(),
    }
}

pub(crate) const PORT: Type = plain("a port, an int from 1 to 65535", |t| port(t).is_some());
pub(crate) const TEXTS_OR_NONE: Type =
    plain("a list of strings, or None", |t| matches!(t, Tree::None) || texts(t).is_some());
pub(crate) const TEXT_OR_TEXTS: Type = plain("a name, or a list of names", |t| one_or_more(t).is_some());
pub(crate) const VALUE: Type = plain("a value of texts, numbers, lists and dicts", |t| t.to_json().is_some());
pub(crate) const VERIFICATION: Type =
    plain("True, False or the path of a file", |t| boolean(t).is_some() || text(t).is_some());
pub(crate) const CERTIFICATE: Type = plain("a file, or a pair of files, or None", |t| {
    optional_text(t).is_some() || texts(t).is_some_and(|files| files.len() == 2)
});
pub(crate) const LOGS: Type = plain("True, False or a list of names of logs", |t| {
    matches!(t, Tree::None) || boolean(t).is_some() || texts(t).is_some()
});
pub(crate) const EVENTS: Type = plain("a list of names of events", |t| {
    matches!(t, Tree::None) || texts(t).is_some() || by_name(t, |v| boolean(v).is_some())
});
pub(crate) const GENERATORS: Type = plain("a list of generators", |t| match t {
    Tree::List(items) => items.iter().all(|i| is(i, Kind::Generator)),
    other => matches!(other, Tree::None),
});
pub(crate) const FORMATTER: Type = plain("a formatter or None", |t| matches!(t, Tree::None) || is(t, Kind::Formatter));
pub(crate) const LOOKUP: Type = plain("a domain, a dict, a function, util.MailMap, util.LdapLookup or None", |t| {
    matches!(t, Tree::Function)
        || optional_text(t).is_some()
        || is(t, Kind::Lookup)
        || by_name(t, |v| text(v).is_some())
});
pub(crate) const AUTHZ: Type = plain("a dict of commands to True, False or lists of accounts", |t| match t {
    Tree::Dict(entries) => {
        entries.iter().all(|(k, v)| one_or_more(k).is_some() && (boolean(v).is_some() || one_or_more(v).is_some()))
    }
    other => matches!(other, Tree::None),
});

// What a notifier looks up or renders.
pub(crate) const HEADERS: Type = rendered("a dict of names to strings, placeholders or secrets", |t| {
    matches!(t, Tree::None) || by_name(t, |v| text(v).is_some())
});
pub(crate) const CHANNELS: Type = rendered(
    "a list of channels, each a string or a dict of `channel` and `password`",
    |t| matches!(t, Tree::List(items) if items.iter().all(channel)),
);
pub(crate) const SECRETS: Type = rendered("a string, a util.Secret, a list of them, or None", |t| {
    matches!(t, Tree::None) || one_or_more(t).is_some()
});
pub(crate) const R_TEST_RESULTS: Type = rendered("a dict of `failed`, `skipped` and `successful`, or None", |t| {
    let known = |k: &Tree| matches!(text(k).as_deref(), Some("failed" | "skipped" | "successful"));
    let count = |v: &Tree| matches!(v, Tree::None | Tree::Placeholder) || int32(v).is_some();
    match t {
        Tree::Dict(entries) => entries.iter().all(|(k, v)| known(k) && count(v)),
        other => matches!(other, Tree::None),
    }
});
