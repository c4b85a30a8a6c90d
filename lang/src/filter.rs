//! `util.ChangeFilter`: which changes a scheduler takes.

use crate::host::collector::Collector;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::host::site::Site;
use crate::values::convert::{patterns, patterns_by_name, properties, values};
use crate::values::descriptor::Descriptor;
use crate::values::tree::Tree;
use crate::values::views;
use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;
use starlark::values::{Heap, OwnedFrozenValue, Value};
use std::fmt;
use tidemill_model::{Change, NewChange, SourceStamp};

const ATTRIBUTES: [&str; 5] = ["project", "repository", "branch", "category", "codebase"];
/// Largest compiled expression, in bytes: repetition counts multiply.
const REGEX_MAX: usize = 1 << 20;

/// Conditions, all of which must hold (FI-01).
#[derive(Default)]
pub(crate) struct Filter {
    conditions: Vec<(&'static str, Condition)>,
    /// Of properties, by name (FI-03).
    properties: Vec<(String, PropertyCondition)>,
    /// A predicate over the whole change (FI-04).
    function: Option<Predicate>,
}

enum Condition {
    /// One of these. `None` is a change without the attribute (FI-02).
    In(Vec<Option<String>>),
    NotIn(Vec<Option<String>>),
    /// One of these matches from the start of the value (FI-07). Never for a missing value.
    Matches(Vec<Regex>),
    NotMatches(Vec<Regex>),
    Function(Predicate),
}

/// The value as text, as a template would put it in.
enum PropertyCondition {
    Equal(Json),
    NotEqual(Json),
    Matches(Vec<Regex>),
    NotMatches(Vec<Regex>),
}

impl PropertyCondition {
    fn holds(&self, value: Option<&Json>) -> bool {
        let text = value.map(|v| Tree::from_json(v).printed());
        let any = |all: &[Regex]| text.as_ref().is_some_and(|t| all.iter().any(|r| matches_start(r, t)));
        match self {
            PropertyCondition::Equal(wanted) => value == Some(wanted),
            PropertyCondition::NotEqual(unwanted) => value != Some(unwanted),
            PropertyCondition::Matches(all) => any(all),
            PropertyCondition::NotMatches(all) => !any(all),
        }
    }
}

/// A function of the project that says yes or no.
pub(crate) struct Predicate {
    function: OwnedFrozenValue,
    /// Where, and as which argument, it was given.
    site: Site,
    argument: String,
}

impl Predicate {
    /// From an argument of a descriptor; none if it is not given or `None`.
    pub fn of(descriptor: &Descriptor<'_>, argument: &str, own: &Own<'_>) -> Option<Predicate> {
        let function = descriptor.arg(argument).filter(|v| !v.is_none()).and_then(own)?;
        Some(Predicate { function, site: descriptor.site.clone(), argument: argument.to_owned() })
    }

    fn ask(&self, limits: &Limits, argument: impl for<'v> FnOnce(Heap<'v>) -> Value<'v>) -> Result<bool, EvalError> {
        let answer = limits.run(|eval| {
            let argument = argument(eval.heap());
            let function = eval.heap().access_owned_frozen_value(&self.function);
            eval.eval_function(function, &[argument], &[]).map(|v| v.to_bool()).map_err(EvalError::from)
        });
        answer.map_err(|e| e.or_placed(|d| self.site.place_argument(&self.argument, d)))
    }

    /// Asks about a change.
    pub fn ask_change(&self, change: &Change, limits: &Limits) -> Result<bool, EvalError> {
        self.ask(limits, |heap| views::change(change, heap))
    }
}

/// Holds on to a value of the evaluated files.
pub(crate) type Own<'a> = dyn Fn(Value<'_>) -> Option<OwnedFrozenValue> + 'a;

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({} conditions)", self.conditions.len() + usize::from(self.function.is_some()))
    }
}

/// Whether the expression matches at the start of the text.
fn matches_start(regex: &Regex, text: &str) -> bool {
    // The leftmost match begins at 0 exactly if any does.
    regex.find(text).is_some_and(|m| m.start() == 0)
}

impl Filter {
    /// From a checked descriptor.
    pub fn new(descriptor: &Descriptor<'_>, own: &Own<'_>, collector: &Collector) -> Filter {
        let trees = descriptor.trees(collector);
        let function = |name: &str| Predicate::of(descriptor, name, own);
        let mut conditions = vec![];
        for attribute in ATTRIBUTES {
            // Only a branch may be missing by nature; elsewhere None is no condition.
            let wanted = |name: &str| {
                let given = trees.by_name.get(name).filter(|t| attribute == "branch" || !matches!(t, Tree::None));
                given.and_then(values)
            };
            let compiled = |name: &str| {
                let patterns = trees.get(name, patterns).filter(|p| !p.is_empty())?;
                Some(patterns.iter().filter_map(|p| compile(p, name, &descriptor.site, collector)).collect())
            };
            conditions.extend(wanted(attribute).map(|v| (attribute, Condition::In(v))));
            conditions.extend(wanted(&format!("{attribute}_not_eq")).map(|v| (attribute, Condition::NotIn(v))));
            conditions.extend(compiled(&format!("{attribute}_re")).map(|r| (attribute, Condition::Matches(r))));
            conditions.extend(compiled(&format!("{attribute}_not_re")).map(|r| (attribute, Condition::NotMatches(r))));
            conditions.extend(function(&format!("{attribute}_fn")).map(|f| (attribute, Condition::Function(f))));
        }
        let mut by_property = vec![];
        for (name, make) in [
            ("property_eq", PropertyCondition::Equal as fn(Json) -> PropertyCondition),
            ("property_not_eq", PropertyCondition::NotEqual),
        ] {
            by_property.extend(trees.get(name, properties).unwrap_or_default().into_iter().map(|(n, v)| (n, make(v))));
        }
        for (name, make) in [
            ("property_re", PropertyCondition::Matches as fn(Vec<Regex>) -> PropertyCondition),
            ("property_not_re", PropertyCondition::NotMatches),
        ] {
            for (property, patterns) in trees.get(name, patterns_by_name).unwrap_or_default() {
                let all = patterns.iter().filter_map(|p| compile(p, name, &descriptor.site, collector)).collect();
                by_property.push((property, make(all)));
            }
        }
        Filter { conditions, properties: by_property, function: function("filter_fn") }
    }

    /// A scheduler's own `branch` or `branches`.
    pub fn of_branches(branches: Vec<Option<String>>) -> Filter {
        Filter { conditions: vec![("branch", Condition::In(branches))], ..Filter::default() }
    }

    /// The same of a source stamp (FI-06), which has no category and no properties.
    pub fn matches_stamp(&self, stamp: &SourceStamp, limits: &Limits) -> Result<bool, EvalError> {
        let new = NewChange {
            branch: stamp.branch.clone(),
            revision: stamp.revision.clone(),
            repository: stamp.repository.clone(),
            project: stamp.project.clone(),
            codebase: stamp.codebase.clone(),
            ..NewChange::default()
        };
        if !self.conditions_hold(&new, limits)? {
            return Ok(false);
        }
        let ask = |f: &Predicate| f.ask(limits, |heap| views::sourcestamp(stamp, heap));
        self.function.as_ref().map_or(Ok(true), ask)
    }

    pub fn matches(&self, change: &Change, limits: &Limits) -> Result<bool, EvalError> {
        if !self.conditions_hold(&change.new, limits)? {
            return Ok(false);
        }
        let values = &change.new.properties;
        if !self.properties.iter().all(|(name, condition)| condition.holds(values.get(name))) {
            return Ok(false);
        }
        self.function.as_ref().map_or(Ok(true), |f| f.ask_change(change, limits))
    }

    fn conditions_hold(&self, change: &NewChange, limits: &Limits) -> Result<bool, EvalError> {
        for (attribute, condition) in &self.conditions {
            let value = attribute_of(change, attribute);
            let holds = match condition {
                Condition::In(wanted) => wanted.iter().any(|w| w.as_deref() == value),
                Condition::NotIn(unwanted) => !unwanted.iter().any(|w| w.as_deref() == value),
                Condition::Matches(all) => value.is_some_and(|v| all.iter().any(|r| matches_start(r, v))),
                Condition::NotMatches(all) => !value.is_some_and(|v| all.iter().any(|r| matches_start(r, v))),
                Condition::Function(function) => {
                    function.ask(limits, |heap| value.map_or(Value::new_none(), |v| heap.alloc(v)))?
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn attribute_of<'c>(new: &'c NewChange, name: &str) -> Option<&'c str> {
    match name {
        "project" => Some(&new.project),
        "repository" => Some(&new.repository),
        "branch" => new.branch.as_deref(),
        "category" => new.category.as_deref(),
        _ => Some(&new.codebase),
    }
}

fn compile(pattern: &str, argument: &str, site: &Site, collector: &Collector) -> Option<Regex> {
    match RegexBuilder::new(pattern).size_limit(REGEX_MAX).build() {
        Ok(regex) => Some(regex),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("`{argument}` is not a regular expression that can be used: {reason}");
            let look = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|l| pattern.contains(l));
            let hint = look.then(|| {
                "there is no looking around here: combine it with a *_not_re condition, or use a *_fn function".into()
            });
            collector.report(site.place_argument(argument, Diagnostic::error(message).maybe_hint(hint)));
            None
        }
    }
}
