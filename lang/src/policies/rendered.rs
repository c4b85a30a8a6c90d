//! Placeholders of reporters, rendered with what a notice is about.

use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::host::site::Site;
use crate::plan::BuildContext;
use crate::render::Rendering;
use crate::values::tree::Tree;
use serde_json::Value as Json;
use starlark::values::OwnedFrozenValue;
use std::time::Duration;
use tidemill_model::{Properties, Results, SourceStamp};

/// A text, or what gives one for a build.
pub(crate) enum Argument {
    Text(Option<String>),
    Value { value: OwnedFrozenValue, site: Site, name: String },
}

/// More than for other policies: a document with logs is a value.
pub(super) fn limits() -> Limits {
    Limits { ticks: 5_000_000, heap_bytes: 256 << 20, time: Duration::from_secs(3), ..Limits::policy() }
}

impl Argument {
    /// Its text; without a mark it may hold no secret.
    pub(super) fn render(&self, context: &Json, secret_mark: &str) -> Result<Option<String>, EvalError> {
        let (value, site, name) = match self {
            Argument::Text(text) => return Ok(text.clone()),
            Argument::Value { value, site, name } => (value, site, name),
        };
        let context = build_context(context, secret_mark);
        limits().run(|eval| {
            let value = eval.heap().access_owned_frozen_value(value);
            let mut rendering = Rendering::new(eval, &context);
            if secret_mark.is_empty() {
                rendering.allow_secrets(Some(&[]));
            }
            let tree = rendering.render(value)?;
            match &tree {
                Tree::None => Ok(None),
                Tree::Text(_) | Tree::Int(_) | Tree::Float(_) => Ok(tree.interpolated()),
                other => {
                    let message = format!("`{name}` must be a text, got {} when it was rendered", other.describe());
                    Err(EvalError::new(site.place_argument(name, Diagnostic::error(message))))
                }
            }
        })
    }
}

/// A document as placeholders see it: properties, source stamps, facts.
pub(super) fn build_context(context: &Json, secret_mark: &str) -> BuildContext {
    let subject = [&context["build"], &context["request"]].into_iter().find(|v| v.is_object()).unwrap_or(&Json::Null);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let first = |a: &Json, b: &Json| if a.is_string() { text(a) } else { text(b) };
    let builder = first(&context["buildername"], &subject["builder"]["name"]);
    let worker = first(&context["workername"], &subject["workername"]);
    let mut properties: Properties = serde_json::from_value(subject["properties"].clone()).unwrap_or_default();
    for (name, value) in [("buildername", &builder), ("workername", &worker)] {
        if !value.is_empty() && properties.get(name).is_none() {
            properties.set(name, value.as_str(), "Builder");
        }
    }
    let number = subject["number"].as_i64().unwrap_or_default();
    if number > 0 && properties.get("buildnumber").is_none() {
        properties.set("buildnumber", number, "Build");
    }
    let stamps = [&subject["buildset"], &context["buildset"]].into_iter().find_map(|b| b["sourcestamps"].as_array());
    let stamp = |s: &Json| serde_json::from_value::<SourceStamp>(s.clone()).ok();
    BuildContext {
        builder,
        number,
        worker,
        reason: text(&context["reason"]),
        properties,
        sourcestamps: stamps.into_iter().flatten().filter_map(stamp).collect(),
        results: results(context),
        url: text(&context["build_url"]),
        secret_mark: secret_mark.to_owned(),
        ..BuildContext::default()
    }
}

pub(super) fn results(build: &Json) -> Option<Results> {
    Results::try_from(i16::try_from(build.get("results")?.as_i64()?).ok()?).ok()
}
