//! `base`: one change as a form or as JSON, in the fields that Buildbot's hook
//! of that name takes (WH-02).

use super::common::header;
use super::{Refused, Said, Sent};
use serde_json::{Map, Value};
use tidemill_model::{NewChange, Properties};

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let is_json = header(sent, "content-type").is_some_and(|t| t.starts_with("application/json"));
    let fields = match is_json {
        true => serde_json::from_slice::<Map<String, Value>>(sent.body)
            .map_err(|e| Refused(format!("the body is not a JSON object: {e}")))?,
        false => url::form_urlencoded::parse(sent.body)
            .map(|(k, v)| (k.into_owned(), Value::String(v.into_owned())))
            .collect(),
    };
    if fields.is_empty() {
        return Err(Refused("there are no fields: give at least `author` or `comments`".into()));
    }
    Ok(Said::Changes(vec![change_of(fields)?]))
}

/// The fields of the hook: texts, and JSON inside a text for lists and objects.
fn change_of(fields: Map<String, Value>) -> Result<NewChange, Refused> {
    let mut change = NewChange::default();
    for (name, value) in fields {
        let wrong = |what: &str| Refused(format!("`{name}`: give {what}"));
        let text = || match &value {
            Value::Null => Ok(None),
            Value::String(s) => Ok(Some(s.clone())),
            Value::Number(n) => Ok(Some(n.to_string())),
            _ => Err(wrong("a text")),
        };
        let filled = || text().map(|t| t.filter(|t| !t.is_empty()));
        match name.as_str() {
            "author" | "who" => change.author = text()?.unwrap_or_default(),
            "committer" => change.committer = filled()?,
            "comments" => change.comments = text()?.unwrap_or_default(),
            "branch" => change.branch = filled()?,
            "revision" => change.revision = filled()?,
            "repository" => change.repository = text()?.unwrap_or_default(),
            "project" => change.project = text()?.unwrap_or_default(),
            "codebase" => change.codebase = text()?.unwrap_or_default(),
            "category" => change.category = filled()?,
            "revlink" => change.revlink = filled()?,
            "files" => change.files = files(inner(&value)).ok_or_else(|| wrong("a JSON list of paths"))?,
            "properties" => change.properties = properties(inner(&value)).ok_or_else(|| wrong("a JSON object"))?,
            "when" | "when_timestamp" => {
                // Seconds, in words of a form or as a number, perhaps with a fraction.
                change.when = match filled()? {
                    None => None,
                    Some(t) => Some(
                        t.parse::<f64>()
                            .ok()
                            .filter(|s| s.is_finite() && s.abs() < 1e11)
                            .and_then(|s| time::OffsetDateTime::from_unix_timestamp(s as i64).ok())
                            .ok_or_else(|| wrong("seconds since 1970"))?,
                    ),
                }
            }
            _ => {
                let short: String = name.chars().take(100).collect();
                return Err(Refused(format!("`{short}` is no field of a change")));
            }
        }
    }
    Ok(change)
}

/// A value that may come as JSON inside a text.
fn inner(value: &Value) -> Option<Value> {
    match value {
        Value::String(s) if s.trim().is_empty() => Some(Value::Null),
        Value::String(s) => serde_json::from_str(s).ok(),
        other => Some(other.clone()),
    }
}

fn files(value: Option<Value>) -> Option<Vec<String>> {
    match value? {
        Value::Null => Some(Vec::new()),
        Value::Array(list) => list.into_iter().map(|f| f.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn properties(value: Option<Value>) -> Option<Properties> {
    let mut properties = Properties::new();
    match value? {
        Value::Null => {}
        Value::Object(fields) => fields.into_iter().for_each(|(k, v)| properties.set(k, v, "Change")),
        _ => return None,
    }
    Some(properties)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form(text: &str) -> Result<NewChange, Refused> {
        change_of(
            url::form_urlencoded::parse(text.as_bytes())
                .map(|(k, v)| (k.into_owned(), Value::String(v.into_owned())))
                .collect(),
        )
    }

    #[test]
    fn a_form_carries_lists_as_json() {
        let change =
            form("author=A+%3Ca%40x%3E&files=%5B%22a.c%22%2C%22b.c%22%5D&when=1700000000.5&properties=%7B%22x%22%3A1%7D&branch=")
                .unwrap();
        assert_eq!(change.author, "A <a@x>");
        assert_eq!(change.files, ["a.c", "b.c"]);
        assert_eq!(change.when.unwrap().unix_timestamp(), 1_700_000_000);
        assert_eq!(change.properties.get("x"), Some(&json!(1)));
        assert_eq!(change.branch, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bad, field) in
            [("files=x", "files"), ("when=soon", "when"), ("autor=me", "autor"), ("properties=[]", "properties")]
        {
            assert!(form(bad).unwrap_err().0.starts_with(&format!("`{field}`")));
        }
    }
}
