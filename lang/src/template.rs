//! Templates of notices, in the language of Jinja.
//!
//! A template is rendered over one document (see [`sample`]). Rendering ends: it
//! has fuel, which bounds its time and memory, and its text a largest size. It
//! reaches nothing but the document. What has no value, `None` included, is left
//! out (in JSON, `None` is `null`), so that a notice is never lost over a missing
//! name; [`check`] finds those before anything is sent. In `html` values are
//! escaped. In `json` a value is written as JSON, or, between quotes, as part of
//! that text. Beside Jinja's filters there are `datetime` and `duration`, both
//! of seconds, and the usual methods of Python's texts, dicts and lists.

pub(crate) mod check;
mod methods;
pub mod sample;
mod scan;

use crate::definition::TemplateType;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, escape_formatter};
use serde_json::Value as Json;
use std::fmt;

/// Steps of one rendering; each also pays for 64 bytes.
const FUEL: u64 = 500_000;
/// Longest text that may come out, in bytes.
const OUTPUT_MAX: usize = 8 << 20;
/// Deepest nesting while it renders.
const RECURSION_MAX: usize = 100;
const NAME: &str = "template";

/// A compiled template. Immutable; any number of threads may render it at once.
pub struct Template {
    kind: TemplateType,
    env: Environment<'static>,
}

/// Why a template cannot be used, or gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    pub message: String,
    /// Line of the template, from 1.
    pub line: Option<u32>,
    /// Column there, from 1, in characters.
    pub column: Option<u32>,
    /// The line itself.
    pub source_line: String,
    pub hint: Option<String>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.place(), &self.hint) {
            (Some(place), Some(hint)) => write!(f, " ({place}; {hint})"),
            (Some(place), None) => write!(f, " ({place})"),
            (None, Some(hint)) => write!(f, " ({hint})"),
            (None, None) => Ok(()),
        }
    }
}

impl TemplateError {
    fn new(message: impl Into<String>) -> TemplateError {
        TemplateError { message: message.into(), line: None, column: None, source_line: String::new(), hint: None }
    }

    /// Where in the template: «line 2, column 5 of the template: …».
    pub fn place(&self) -> Option<String> {
        let line = self.line?;
        let column = self.column.map_or_else(String::new, |c| format!(", column {c}"));
        Some(format!("line {line}{column} of the template: {}", self.source_line.trim()))
    }

    /// Sets the place by the offset in bytes.
    fn at(mut self, text: &str, offset: usize) -> TemplateError {
        let before = text.get(..offset).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        self.line = u32::try_from(before.matches('\n').count() + 1).ok();
        self.column = u32::try_from(before[start..].chars().count() + 1).ok();
        self.with_line(text)
    }

    fn with_line(mut self, text: &str) -> TemplateError {
        let line = self.line.and_then(|l| text.lines().nth(l as usize - 1)).unwrap_or_default();
        self.source_line = line.chars().take(200).collect();
        self
    }

    /// From the engine's; offsets are those of `text`, if it is what was compiled.
    fn of(error: &minijinja::Error, text: &str, offsets: bool) -> TemplateError {
        let range = error.range().filter(|_| offsets);
        let part = range.clone().and_then(|r| text.get(r)).unwrap_or_default().trim().to_owned();
        let detail = error.detail().unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::UndefinedError if !part.is_empty() => format!("`{part}` has no value"),
            ErrorKind::OutOfFuel => "the template does not end, or makes too much of it".to_owned(),
            kind if detail.is_empty() => kind.to_string(),
            ErrorKind::SyntaxError => format!("the template cannot be read: {detail}"),
            kind => format!("{kind}: {detail}"),
        };
        let mut found = TemplateError::new(message);
        found.line = error.line().and_then(|l| u32::try_from(l).ok());
        match range {
            Some(range) if found.line.is_some() => {
                let placed = found.clone().at(text, range.start);
                // An engine that is not sure of the range is sure of the line.
                if placed.line == found.line { placed } else { found.with_line(text) }
            }
            _ => found.with_line(text),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It breaks the language's rules. Names, filters and functions that do not exist show
    /// only when it is rendered.
    pub fn compile(kind: TemplateType, text: &str) -> Result<Template, TemplateError> {
        let mut env = environment(kind);
        env.add_template_owned(NAME, text.to_owned()).map_err(|e| TemplateError::of(&e, text, true))?;
        if kind == TemplateType::Json {
            let written = scan::with_texts(text);
            env.add_template_owned(NAME, written).map_err(|e| TemplateError::of(&e, text, false))?;
        }
        Ok(Template { kind, env })
    }

    pub fn kind(&self) -> TemplateType {
        self.kind
    }

    /// The text that it gives for a document.
    pub fn render(&self, context: &Json) -> Result<String, TemplateError> {
        self.render_value(&value(context))
    }

    /// The value that a template of JSON gives.
    pub fn render_json(&self, context: &Json) -> Result<Json, TemplateError> {
        let text = self.render(context)?;
        json_of(&text)
    }

    fn render_value(&self, context: &Value) -> Result<String, TemplateError> {
        let template = self.env.get_template(NAME).expect("it was added when it was compiled");
        let error = |e: minijinja::Error| TemplateError::of(&e, template.source(), self.kind != TemplateType::Json);
        let text = template.render(context.clone()).map_err(error)?;
        if text.len() > OUTPUT_MAX {
            return Err(TemplateError::new(format!("the text grows beyond {} MiB", OUTPUT_MAX >> 20)));
        }
        Ok(text)
    }
}

/// The value of a text that is to be JSON.
fn json_of(text: &str) -> Result<Json, TemplateError> {
    serde_json::from_str(text).map_err(|e| {
        let line = text.lines().nth(e.line().saturating_sub(1)).unwrap_or_default();
        let shown: String = line.chars().take(200).collect();
        TemplateError::new(format!("the template gives no JSON: {e}; its line is {shown:?}"))
    })
}

/// A value of the engine.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (None, Some(u)) => Value::from(u),
            (None, None) => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value(v)))),
    }
}

fn environment(kind: TemplateType) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_debug(true);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(RECURSION_MAX);
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(move |_| match kind {
        TemplateType::Plain => AutoEscape::None,
        TemplateType::Html => AutoEscape::Html,
        TemplateType::Json => AutoEscape::Json,
    });
    env.set_formatter(|out, state, value| {
        let json = matches!(state.auto_escape(), AutoEscape::Json);
        match value.kind() {
            ValueKind::None if !json => Ok(()),
            ValueKind::Undefined if json => escape_formatter(out, state, &Value::from(())),
            _ => escape_formatter(out, state, value),
        }
    });
    env.set_unknown_method_callback(methods::call);
    env.add_filter(scan::IN_TEXT, methods::in_text);
    env.add_filter("datetime", methods::datetime);
    env.add_filter("duration", methods::duration);
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(kind: TemplateType, text: &str, context: Json) -> String {
        Template::compile(kind, text).unwrap().render(&context).unwrap()
    }

    #[test]
    fn what_has_no_value_is_left_out_and_the_rest_is_told() {
        let text = "{{ a }}{{ b.c.d }}{{ n }}{% for x in nothing %}x{% endfor %}.";
        assert_eq!(render(TemplateType::Plain, text, json!({"a": "A", "n": null})), "A.");
    }

    #[test]
    fn markup_in_values_is_text_in_html_and_only_there() {
        let context = json!({"a": "<b>&'\""});
        assert_eq!(render(TemplateType::Plain, "{{ a }}", context.clone()), "<b>&'\"");
        let html = render(TemplateType::Html, "<i>{{ a }}</i>", context);
        assert!(html.starts_with("<i>&lt;b&gt;&amp;") && html.ends_with("</i>"), "{html}");
    }

    #[test]
    fn a_value_in_json_is_json_by_itself_and_text_between_quotes() {
        let text =
            r#"{"a": {{ a }}, "b": "x {{ a }} {{- ' \" ' -}} y", "c": {{ none }}, "d": {{ list }}, "e": "{{ n }}"}"#;
        let template = Template::compile(TemplateType::Json, text).unwrap();
        let context = json!({"a": "q\" \\ \n", "list": [1, null], "n": 5});
        assert_eq!(
            template.render_json(&context).unwrap(),
            json!({"a": "q\" \\ \n", "b": "x q\" \\ \n \" y", "c": null, "d": [1, null], "e": "5"})
        );
        let broken = Template::compile(TemplateType::Json, "{\"a\": {{ a }}").unwrap();
        assert!(broken.render_json(&context).unwrap_err().message.contains("gives no JSON"));
    }

    #[test]
    fn an_error_names_the_line_and_column_of_the_template() {
        let error = Template::compile(TemplateType::Plain, "one\n  {% if %}").err().unwrap();
        assert_eq!(error.line, Some(2), "{error}");
        let template = Template::compile(TemplateType::Plain, "one\n two {{ 1 // 0 }}").unwrap();
        let error = template.render(&json!({})).unwrap_err();
        assert_eq!((error.line, error.source_line.as_str()), (Some(2), " two {{ 1 // 0 }}"), "{error}");
    }

    #[test]
    fn a_template_that_does_not_end_or_grows_without_bound_is_an_error() {
        for text in [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{{ 'x' * 99999999999 }}",
        ] {
            let error = Template::compile(TemplateType::Plain, text).unwrap().render(&json!({})).unwrap_err();
            assert!(!error.message.is_empty(), "{text}");
        }
    }

    #[test]
    fn pythons_methods_and_the_filters_of_times_are_there() {
        let context = json!({"d": {"k": ["v", "s"]}, "t": " Ab c ", "at": 0, "l": ["a", "b"]});
        for (text, wanted) in [
            ("{{ d.get('k')[0] }}{{ d.get('x', 'y') }}", "vy"),
            ("{% for k, v in d.items() %}{{ k }}={{ v[1] }}{% endfor %}{{ d.keys() | list | length }}", "k=s1"),
            ("{{ t.strip().upper() }}|{{ t.split()|join('-') }}|{{ ', '.join(l) }}", "AB C|Ab-c|a, b"),
            ("{{ t.strip().startswith('Ab') and not t.endswith('c') }}", "True"),
            ("{{ 'a-b'.replace('-', '+') }}{{ 'aXb'.lower() }}", "a+baxb"),
            ("{{ at | datetime }}", "1970-01-01 00:00:00 UTC"),
            ("{{ at | datetime('%Y/%m') }}", "1970/01"),
            ("{{ 3725 | duration }}, {{ 0.4 | duration }}", "1 h 2 min, 0 s"),
            ("{{ nothing | datetime }}{{ nothing | duration }}", ""),
        ] {
            assert_eq!(render(TemplateType::Plain, text, context.clone()), wanted, "{text}");
        }
    }
}
