//! What templates call beside what the engine has: Python's methods, for those
//! who brought their templates along, and filters of times.

use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use time::OffsetDateTime;

/// A method that the value does not have by itself.
pub(super) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let found = match value.kind() {
        ValueKind::String => text(state, value, method, args)?,
        ValueKind::Map => dict(state, value, method, args)?,
        ValueKind::Seq | ValueKind::Iterable => list(value, method, args)?,
        // What has no value has none of anything else.
        ValueKind::Undefined | ValueKind::None => Some(Value::UNDEFINED),
        _ => None,
    };
    found.ok_or_else(|| Error::new(ErrorKind::UnknownMethod, format!("{} has no method {method}", value.kind())))
}

fn text(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let text = value.as_str().unwrap_or_default();
    let chars = |set: Option<&str>| {
        let set = set.map(str::to_owned);
        move |c: char| set.as_ref().map_or(c.is_whitespace(), |s| s.contains(c))
    };
    Ok(Some(match method {
        "upper" | "lower" | "title" | "capitalize" if args.is_empty() => {
            state.apply_filter(method, std::slice::from_ref(value))?
        }
        "strip" | "lstrip" | "rstrip" => {
            let (set,): (Option<&str>,) = from_args(args)?;
            let trimmed = match method {
                "strip" => text.trim_matches(chars(set)),
                "lstrip" => text.trim_start_matches(chars(set)),
                _ => text.trim_end_matches(chars(set)),
            };
            Value::from(trimmed)
        }
        "startswith" | "endswith" => {
            let (part,): (&str,) = from_args(args)?;
            Value::from(if method == "startswith" { text.starts_with(part) } else { text.ends_with(part) })
        }
        "replace" => {
            let mut all = vec![value.clone()];
            all.extend_from_slice(args);
            state.apply_filter("replace", &all)?
        }
        "split" | "rsplit" => {
            let (by, most): (Option<&str>, Option<usize>) = from_args(args)?;
            let most = most.unwrap_or(usize::MAX);
            state.consume_fuel(text.len() as u64 / 16)?;
            let parts: Vec<&str> = match (by.filter(|b| !b.is_empty()), method) {
                (None, _) => text.split_whitespace().collect(),
                (Some(by), "split") => text.splitn(most.saturating_add(1), by).collect(),
                (Some(by), _) => {
                    let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), by).collect();
                    parts.reverse();
                    parts
                }
            };
            Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
        }
        "splitlines" => {
            state.consume_fuel(text.len() as u64 / 16)?;
            Value::from(text.lines().map(Value::from).collect::<Vec<_>>())
        }
        "join" => {
            let (items,): (Value,) = from_args(args)?;
            state.apply_filter("join", &[items, value.clone()])?
        }
        "find" => {
            let (part,): (&str,) = from_args(args)?;
            Value::from(text.find(part).map_or(-1, |at| text[..at].chars().count() as i64))
        }
        "count" => {
            let (part,): (&str,) = from_args(args)?;
            Value::from(if part.is_empty() { 0 } else { text.matches(part).count() })
        }
        _ => return Ok(None),
    }))
}

fn dict(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(args)?;
            let found = value.get_item(&key).ok().filter(|v| !v.is_undefined());
            found.or(default).unwrap_or(Value::from(()))
        }
        "items" => state.apply_filter("items", std::slice::from_ref(value))?,
        "keys" => Value::from(value.try_iter()?.collect::<Vec<_>>()),
        "values" => {
            let keys: Vec<Value> = value.try_iter()?.collect();
            Value::from(keys.iter().filter_map(|k| value.get_item(k).ok()).collect::<Vec<_>>())
        }
        _ => return Ok(None),
    }))
}

fn list(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(match method {
        "count" => {
            let (wanted,): (Value,) = from_args(args)?;
            Some(Value::from(value.try_iter()?.filter(|v| *v == wanted).count()))
        }
        "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            Some(Value::from(value.try_iter()?.position(|v| v == wanted).map_or(-1, |at| at as i64)))
        }
        _ => None,
    })
}

/// A value within the quotes of a JSON text.
pub(super) fn in_text(value: &Value) -> Value {
    if value.is_undefined() || value.is_none() {
        return Value::from_safe_string(String::new());
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let quoted = serde_json::Value::String(text).to_string();
    Value::from_safe_string(quoted[1..quoted.len() - 1].to_owned())
}

fn seconds(value: &Value) -> Option<f64> {
    f64::try_from(value.clone()).ok().filter(|s| s.is_finite())
}

/// Seconds since 1970 as a date and time of UTC, or as `strftime` would write them.
pub(super) fn datetime(value: &Value, format: Option<&str>, kwargs: Kwargs) -> Result<Value, Error> {
    kwargs.assert_all_used()?;
    let Some(at) = seconds(value).and_then(|s| OffsetDateTime::from_unix_timestamp(s as i64).ok()) else {
        return Ok(Value::UNDEFINED);
    };
    let mut out = String::new();
    let mut chars = format.unwrap_or("%Y-%m-%d %H:%M:%S UTC").chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        out += &match chars.next() {
            Some('Y') => format!("{:04}", at.year()),
            Some('m') => format!("{:02}", u8::from(at.month())),
            Some('d') => format!("{:02}", at.day()),
            Some('H') => format!("{:02}", at.hour()),
            Some('M') => format!("{:02}", at.minute()),
            Some('S') => format!("{:02}", at.second()),
            Some('j') => format!("{:03}", at.ordinal()),
            Some('b') => at.month().to_string().chars().take(3).collect(),
            Some('B') => at.month().to_string(),
            Some('a') => at.weekday().to_string().chars().take(3).collect(),
            Some('A') => at.weekday().to_string(),
            Some('s') => at.unix_timestamp().to_string(),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('F') => format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
            Some('T') => format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()),
            Some('%') => "%".to_owned(),
            other => {
                let sign = other.map_or_else(String::new, |c| c.to_string());
                return Err(Error::new(ErrorKind::InvalidOperation, format!("datetime knows no `%{sign}`")));
            }
        };
    }
    Ok(Value::from(out))
}

/// Seconds in words, the two largest units.
pub(super) fn duration(value: &Value) -> Value {
    let Some(seconds) = seconds(value).filter(|s| *s >= 0.0) else { return Value::UNDEFINED };
    let whole = seconds as u64;
    let (d, h, m, s) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    Value::from(match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{m} min {s} s"),
        (0, _, _) => format!("{h} h {m} min"),
        _ => format!("{d} d {h} h"),
    })
}
