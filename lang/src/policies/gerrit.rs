//! Votes on Gerrit: what the functions of `reporters.GerritStatusPush` say.

use super::call::Function;
use super::host::NoHost;
use super::rendered::{limits, results};
use super::values::Master;
use super::{Policies, unknown};
use crate::definition::ReporterKind;
use crate::host::diagnostics::EvalError;
use crate::values::alloc::json;
use crate::values::tree::Tree;
use serde_json::Value as Json;
use starlark::values::Value;
use std::collections::BTreeMap;
use tidemill_model::Results;

/// Functions of `reporters.GerritStatusPush`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GerritCall {
    /// `reviewCB`: a build is over.
    Review,
    /// `startCB`: a build begins.
    Start,
    /// `summaryCB`: a buildset is over; the document is that of a combined buildset.
    Summary,
}

/// A vote on Gerrit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GerritReview {
    pub message: String,
    pub labels: BTreeMap<String, i64>,
}

impl Policies<'_> {
    /// What a function of a GerritStatusPush says, or where there is no `summaryCB`, the vote of all
    /// results. None: no vote.
    pub fn gerrit(&self, reporter: &str, call: GerritCall, context: &Json) -> Result<Option<GerritReview>, EvalError> {
        let (definition, rules) = self.reporter(reporter)?;
        let ReporterKind::Gerrit(gerrit) = &definition.kind else {
            return Err(unknown("reporters.GerritStatusPush", reporter));
        };
        let (function, argument) = match call {
            GerritCall::Review => (&rules.review, "reviewCB"),
            GerritCall::Start => (&rules.start, "startCB"),
            GerritCall::Summary => (&rules.summary, "summaryCB"),
        };
        let Some(function) = function else {
            return Ok((call == GerritCall::Summary).then(|| verdict(context)));
        };
        let given = gerrit.args.get(argument).unwrap_or(&Json::Null);
        function.call(
            &limits(),
            &NoHost,
            |eval| {
                let heap = eval.heap();
                let part = |name: &str| json(context.get(name).unwrap_or(&Json::Null), heap);
                let (arg, master) = (json(given, heap), heap.alloc(Master));
                match call {
                    GerritCall::Review => vec![part("buildername"), part("build"), part("results"), master, arg],
                    GerritCall::Start => vec![part("buildername"), part("build"), arg],
                    GerritCall::Summary => vec![json(&summaries(context), heap), part("results"), master, arg],
                }
            },
            |answer, _| review(function, answer),
        )
    }
}

/// A dict of `message` and `labels`, a text alone, or, as in old files, (message, verified, reviewed).
fn review(function: &Function, answer: Value<'_>) -> Result<Option<GerritReview>, String> {
    let wrong = || function.wrong("a dict of `message` and `labels`, or None", answer);
    let whole = |value: &Json| value.as_i64().ok_or_else(wrong);
    let mut found = GerritReview::default();
    match Tree::of(answer).to_json().ok_or_else(wrong)? {
        Json::Null => return Ok(None),
        Json::String(message) => found.message = message,
        Json::Array(parts) => {
            let mut parts = parts.into_iter();
            if let Some(Json::String(message)) = parts.next() {
                found.message = message;
            }
            for (name, value) in ["Verified", "Code-Review"].into_iter().zip(parts) {
                found.labels.insert(name.to_owned(), whole(&value)?);
            }
        }
        Json::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("message", Json::String(message)) => found.message = message,
                    ("labels", Json::Object(labels)) => {
                        for (label, vote) in labels {
                            found.labels.insert(label, whole(&vote)?);
                        }
                    }
                    ("message" | "labels", Json::Null) => {}
                    _ => return Err(wrong()),
                }
            }
        }
        _ => return Err(wrong()),
    }
    let empty = found.message.is_empty() && found.labels.is_empty();
    Ok((!empty).then_some(found))
}

/// The builds of a buildset as `summaryCB` gets them.
fn summaries(context: &Json) -> Json {
    let builds = context.get("builds").and_then(Json::as_array);
    let one = |build: &Json| {
        let result = results(build);
        let (name, text) = (&build["builder"]["name"], &build["state_string"]);
        serde_json::json!({
            "name": name, "result": build["results"], "resultText": result.map(|r| r.name()), "text": text,
            "url": build["url"], "build": build,
        })
    };
    builds.map(|b| b.iter().map(one).collect()).unwrap_or(Json::Array(vec![]))
}

/// Verified, and a line for each build.
fn verdict(context: &Json) -> GerritReview {
    let mut message = String::new();
    for build in summaries(context).as_array().into_iter().flatten() {
        let text = |key: &str| build[key].as_str().unwrap_or_default();
        let line = format!("{}: {} {}", text("name"), text("text"), text("url"));
        message.push_str(line.trim_end());
        message.push('\n');
    }
    let good = matches!(results(context), Some(Results::Success | Results::Warnings));
    GerritReview {
        message: message.trim_end().to_owned(),
        labels: BTreeMap::from([("Verified".to_owned(), if good { 1 } else { -1 })]),
    }
}
