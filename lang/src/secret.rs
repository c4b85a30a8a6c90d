//! Secrets by reference. Rendered text holds a mark where a secret belongs; only
//! the worker puts the value there, as late as it can, so no value enters a
//! revision, a plan, a page or a log.
//!
//! A mark is `U+10FFFE MARK : NAME U+10FFFF`. MARK is drawn at random for each
//! build ([`crate::BuildContext::secret_mark`]): text from outside cannot forge one.

use crate::plan::RenderedStep;
use std::borrow::Cow;
use std::collections::BTreeSet;

const OPEN: char = '\u{10FFFE}';
const CLOSE: char = '\u{10FFFF}';

/// Text, or a secret by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    Text(&'t str),
    Secret(&'t str),
}

/// What stands in rendered text for the secret.
pub fn mark(mark: &str, name: &str) -> String {
    format!("{OPEN}{mark}:{name}{CLOSE}")
}

/// Splits a rendered text into text and secrets. With an empty mark it is all text.
pub fn parts<'t>(text: &'t str, mark: &str) -> Vec<Part<'t>> {
    let mut parts = vec![];
    let mut rest = text;
    let (mut from, opening) = (0, format!("{OPEN}{mark}:"));
    while let Some(found) = rest[from..].find(&opening).filter(|_| !mark.is_empty()) {
        let at = from + found;
        let inside = &rest[at + opening.len()..];
        match inside.find(CLOSE) {
            Some(end) => {
                if at > 0 {
                    parts.push(Part::Text(&rest[..at]));
                }
                parts.push(Part::Secret(&inside[..end]));
                (rest, from) = (&inside[end + CLOSE.len_utf8()..], 0);
            }
            None => from = at + opening.len(),
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The text with each secret replaced; the error of `value` ends it.
pub fn resolve<'t, E>(
    text: &'t str,
    mark: &str,
    mut value: impl FnMut(&str) -> Result<String, E>,
) -> Result<Cow<'t, str>, E> {
    if mark.is_empty() || !text.contains(OPEN) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    for part in parts(text, mark) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Secret(name) => out.push_str(&value(name)?),
        }
    }
    Ok(Cow::Owned(out))
}

/// For people: `<secret NAME>` in place of each mark.
pub fn masked<'t>(text: &'t str, mark: &str) -> Cow<'t, str> {
    match resolve(text, mark, |name| Ok::<_, std::convert::Infallible>(format!("<secret {name}>"))) {
        Ok(text) => text,
        Err(never) => match never {},
    }
}

/// Names of all secrets whose marks stand in a value.
pub fn names(json: &serde_json::Value, mark: &str, found: &mut BTreeSet<String>) {
    walk(json, &mut |text| {
        for part in parts(text, mark) {
            if let Part::Secret(name) = part {
                found.insert(name.to_owned());
            }
        }
    });
}

fn walk(json: &serde_json::Value, visit: &mut impl FnMut(&str)) {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => visit(text),
        Json::Array(items) => items.iter().for_each(|v| walk(v, visit)),
        Json::Object(map) => map.iter().for_each(|(k, v)| {
            visit(k);
            walk(v, visit);
        }),
        _ => {}
    }
}

/// The step as people may see it.
pub fn shown(step: &RenderedStep, mark: &str) -> RenderedStep {
    let json = serde_json::to_value(step).unwrap_or_default();
    serde_json::from_value(mask(&json, mark)).unwrap_or_else(|_| step.clone())
}

fn mask(json: &serde_json::Value, mark: &str) -> serde_json::Value {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => Json::String(masked(text, mark).into_owned()),
        Json::Array(items) => items.iter().map(|v| mask(v, mark)).collect(),
        Json::Object(map) => map
            .iter()
            .map(|(k, v)| (masked(k, mark).into_owned(), mask(v, mark)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_and_a_forged_one_is_text() {
        let text = format!("a{}b", mark("n", "key"));
        assert_eq!(parts(&text, "n"), [Part::Text("a"), Part::Secret("key"), Part::Text("b")]);
        assert_eq!(parts(&text, "other"), [Part::Text(text.as_str())]);
        assert_eq!(parts(&text, ""), [Part::Text(text.as_str())]);
        assert_eq!(masked(&text, "n"), "a<secret key>b");
        let open = format!("x{OPEN}n:never closed");
        assert_eq!(parts(&open, "n"), [Part::Text(open.as_str())]);
    }
}
