//! Parameters of a report, and values for them: read here, bound by the driver.

use super::table::instant;
use tidemill_schema::read::report::Bound;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime};

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub kind: ParameterKind,
    /// As it is written in the head; none is null, which means: any.
    pub default: Option<String>,
    /// What it may be, for those that are one of a few words.
    pub choices: Vec<String>,
    pub doc: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    Time,
    Text,
    Int,
    Float,
    Bool,
}

/// A value that a parameter does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {detail}")]
pub struct Wrong {
    pub name: String,
    pub detail: String,
}

/// A value for each parameter of a report, in the order of its head.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    bound: Vec<Bound>,
}

const KINDS: [(&str, ParameterKind); 5] = [
    ("timestamptz", ParameterKind::Time),
    ("text", ParameterKind::Text),
    ("bigint", ParameterKind::Int),
    ("double precision", ParameterKind::Float),
    ("boolean", ParameterKind::Bool),
];
/// Longest value; names of builders are shorter.
const VALUE_MAX: usize = 2000;

impl Parameter {
    /// `since timestamptz = 28 days | How far back`,
    /// `every text = week (day, week, month) | One row for each`
    pub(super) fn parse(text: &str) -> Result<Parameter, String> {
        const FORM: &str = "a parameter is `name type = default | meaning`, or without a default `name type | meaning`";
        let (declared, doc) = text.split_once('|').ok_or(FORM)?;
        let (typed, default) = match declared.split_once('=') {
            Some((typed, default)) => (typed.trim(), Some(default.trim())),
            None => (declared.trim(), None),
        };
        let (name, of) = typed.split_once(char::is_whitespace).ok_or(FORM)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("`{name}` is no name of a parameter: a-z, 0-9 and _"));
        }
        if ["format"].contains(&name) {
            return Err(format!("`{name}` is taken: the REST API has a parameter of this name"));
        }
        let of = of.trim();
        let kind = KINDS.iter().find(|(name, _)| *name == of).map(|(_, kind)| *kind).ok_or_else(|| {
            format!("`{of}` is no type of a parameter; there are {}", KINDS.map(|(name, _)| name).join(", "))
        })?;
        let (default, choices) = match default {
            Some(text) if kind == ParameterKind::Text && text.ends_with(')') => {
                let (default, choices) = text[..text.len() - 1].split_once('(').ok_or(FORM)?;
                let choices: Vec<String> = choices.split(',').map(|c| c.trim().to_owned()).collect();
                (Some(default.trim()).filter(|d| !d.is_empty()), choices)
            }
            other => (other, Vec::new()),
        };
        let doc = doc.trim().to_owned();
        let parameter = Parameter { name: name.to_owned(), kind, default: default.map(str::to_owned), choices, doc };
        if let Some(default) = default {
            parameter.value(default, OffsetDateTime::UNIX_EPOCH).map_err(|e| format!("its default: {e}"))?;
        }
        Ok(parameter)
    }

    /// Reads a value.
    pub fn value(&self, text: &str, now: OffsetDateTime) -> Result<Bound, String> {
        let text = text.trim();
        if text.len() > VALUE_MAX || text.contains('\0') {
            return Err(format!("give at most {VALUE_MAX} bytes, none of them NUL"));
        }
        match self.kind {
            ParameterKind::Time => time_of(text, now).map(|at| Bound::Time(Some(at))),
            ParameterKind::Text if !self.choices.is_empty() && !self.choices.iter().any(|c| c == text) => {
                Err(format!("give one of {}", self.choices.join(", ")))
            }
            ParameterKind::Text => Ok(Bound::Text(Some(text.to_owned()))),
            ParameterKind::Int => match text.parse() {
                Ok(n) if self.name != "limit" || n >= 0 => Ok(Bound::Int(Some(n))),
                _ => Err("give a whole number".into()),
            },
            ParameterKind::Float => match text.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(Bound::Float(Some(n))),
                _ => Err("give a number".into()),
            },
            ParameterKind::Bool => match text {
                "true" | "yes" | "1" => Ok(Bound::Bool(Some(true))),
                "false" | "no" | "0" => Ok(Bound::Bool(Some(false))),
                _ => Err("give true or false".into()),
            },
        }
    }

    fn null(&self) -> Bound {
        match self.kind {
            ParameterKind::Time => Bound::Time(None),
            ParameterKind::Text => Bound::Text(None),
            ParameterKind::Int => Bound::Int(None),
            ParameterKind::Float => Bound::Float(None),
            ParameterKind::Bool => Bound::Bool(None),
        }
    }
}

impl Values {
    /// What was given, and defaults for the rest; an empty text is not given.
    pub fn read<'a>(
        parameters: &[Parameter],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: OffsetDateTime,
    ) -> Result<Values, Vec<Wrong>> {
        let mut texts: Vec<Option<&str>> = parameters.iter().map(|p| p.default.as_deref()).collect();
        let mut wrong = Vec::new();
        for (name, text) in given {
            match parameters.iter().position(|p| p.name == name) {
                Some(n) if !text.trim().is_empty() => texts[n] = Some(text),
                Some(_) => {}
                None => {
                    let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
                    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
                    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
                    wrong.push(Wrong { name, detail: format!("is no parameter of this report; there are {known}") });
                }
            }
        }
        let mut bound = Vec::with_capacity(parameters.len());
        for (parameter, text) in parameters.iter().zip(texts) {
            match text.map(|t| parameter.value(t, now)).transpose() {
                Ok(value) => bound.push(value.unwrap_or_else(|| parameter.null())),
                Err(detail) => wrong.push(Wrong { name: parameter.name.clone(), detail }),
            }
        }
        if wrong.is_empty() { Ok(Values { bound }) } else { Err(wrong) }
    }

    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    pub(super) fn get(&self, n: usize) -> &Bound {
        &self.bound[n]
    }

    /// As text, for answers: none is null.
    pub fn text(&self, n: usize) -> Option<String> {
        match &self.bound[n] {
            Bound::Time(v) => v.map(instant),
            Bound::Text(v) => v.clone(),
            Bound::Int(v) => v.map(|v| v.to_string()),
            Bound::Float(v) => v.map(|v| v.to_string()),
            Bound::Bool(v) => v.map(|v| v.to_string()),
        }
    }
}

/// A value as SQL, with its type.
pub(super) fn literal(value: &Bound, kind: ParameterKind) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let text = match value {
        Bound::Time(v) => v.map(|v| quoted(&instant(v))),
        // The one sign that means something within quotes, where the server's settings are old.
        Bound::Text(v) => v.as_ref().map(|v| match v.contains('\\') {
            true => format!("E{}", quoted(&v.replace('\\', "\\\\"))),
            false => quoted(v),
        }),
        Bound::Int(v) => v.map(|v| quoted(&v.to_string())),
        Bound::Float(v) => v.map(|v| quoted(&v.to_string())),
        Bound::Bool(v) => v.map(|v| v.to_string()),
    };
    format!("{}::{}", text.unwrap_or_else(|| "null".into()), kind.sql())
}

/// `now`, a span before now (`28 days`, `12h`), a day, a moment (UTC, if it says no
/// other), or seconds since 1970.
pub fn time_of(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    if text == "now" {
        return Ok(now);
    }
    let date = format_description!("[year]-[month]-[day]");
    let minutes = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let seconds = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    if let Ok(day) = Date::parse(text, date) {
        return Ok(day.midnight().assume_utc());
    }
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(at);
    }
    // A form of a browser writes a T between the two.
    let spaced = text.replacen('T', " ", 1);
    for form in [seconds, minutes] {
        if let Ok(at) = PrimitiveDateTime::parse(&spaced, form) {
            return Ok(at.assume_utc());
        }
    }
    if let Some(before) = span(text).and_then(|span| now.checked_sub(span)) {
        return Ok(before);
    }
    let since_1970 = text.parse().ok().and_then(|n| OffsetDateTime::from_unix_timestamp(n).ok());
    since_1970.ok_or_else(|| {
        "give how far back (28d, 12h, 2 weeks), a day (2026-01-31), a moment (2026-01-31 12:00), or now".into()
    })
}

/// `28 days`, `28d`
fn span(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().ok()?;
    let one: i64 = match unit.trim() {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        "month" | "months" => 30 * 86_400,
        "y" | "year" | "years" => 365 * 86_400,
        _ => return None,
    };
    number.checked_mul(one).map(Duration::seconds)
}
