//! What can be told of a template before anything is sent: names that no
//! document has, filters, tests and functions that do not exist, JSON that is none.

use super::sample::{ANY, sample};
use super::{NAME, OUTPUT_MAX, Template, TemplateError, environment, json_of, scan};
use crate::definition::{GeneratorKind, TemplateType};
use crate::names::nearest;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{ErrorKind, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A finding; `doubt` where only the sample says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub error: TemplateError,
    pub doubt: bool,
}

const KINDS: [GeneratorKind; 4] =
    [GeneratorKind::Build, GeneratorKind::BuildsetCombined, GeneratorKind::Request, GeneratorKind::WorkerMissing];
/// For «did you mean»; what there is the engine says.
const FILTERS: [&str; 36] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "count",
    "datetime",
    "default",
    "dictsort",
    "duration",
    "escape",
    "first",
    "float",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "sort",
    "split",
    "title",
    "tojson",
    "trim",
];
const TESTS: [&str; 14] = [
    "defined",
    "divisibleby",
    "eq",
    "even",
    "false",
    "in",
    "iterable",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "undefined",
];

/// All that is wrong with a template for the documents of this generator; `ctx` are the names
/// that the formatter adds.
pub(crate) fn check(
    kind: TemplateType,
    text: &str,
    generator: GeneratorKind,
    ctx: &BTreeMap<String, Json>,
) -> Vec<Finding> {
    let wrong = |error| Finding { error, doubt: false };
    if let Err(error) = Template::compile(kind, text) {
        return vec![wrong(error)];
    }
    let mut found: Vec<Finding> = strangers(kind, text).into_iter().map(wrong).collect();
    let document = merged(generator, ctx);
    found.extend(names(kind, text, &document));
    // What is said already would be said again.
    if found.iter().all(|f| f.doubt) {
        for case in cases(&with_others(document)) {
            if let Err(finding) = trial(kind, text, &case)
                && !found.iter().any(|f| f.error.line == finding.error.line && f.error.message == finding.error.message)
            {
                found.push(finding);
            }
        }
    }
    found
}

fn merged(generator: GeneratorKind, ctx: &BTreeMap<String, Json>) -> Map<String, Json> {
    let mut document: Map<String, Json> = ctx.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Json::Object(sample) = sample(generator) {
        document.extend(sample);
    }
    document
}

/// With the names of other generators, which are told of by themselves: so their uses are tried too.
fn with_others(mut document: Map<String, Json>) -> Map<String, Json> {
    for kind in KINDS {
        if let Json::Object(sample) = sample(kind) {
            for (key, value) in sample {
                document.entry(key).or_insert(value);
            }
        }
    }
    document
}

/// Filters and tests that do not exist.
fn strangers(kind: TemplateType, text: &str) -> Vec<TemplateError> {
    let env = environment(kind);
    let mut state = env.empty_state();
    let mut found = vec![];
    for used in scan::used(text) {
        let (what, name, at, known, near) = match used {
            scan::Used::Filter(name, at) => {
                let answer = state.apply_filter(name, &[]).map(drop);
                ("filter", name, at, unless(answer, ErrorKind::UnknownFilter), nearest(name, FILTERS))
            }
            scan::Used::Test(name, at) => {
                let answer = state.perform_test(name, &[]).map(drop);
                ("test", name, at, unless(answer, ErrorKind::UnknownTest), nearest(name, TESTS))
            }
        };
        if !known {
            let mut error = TemplateError::new(format!("there is no {what} `{name}`")).at(text, at);
            error.hint = near.map(|n| format!("did you mean `{n}`?"));
            found.push(error);
        }
    }
    found
}

fn unless(answer: Result<(), minijinja::Error>, kind: ErrorKind) -> bool {
    !matches!(answer, Err(error) if error.kind() == kind)
}

/// Names that the document has not.
fn names(kind: TemplateType, text: &str, document: &Map<String, Json>) -> Vec<Finding> {
    let mut env = environment(kind);
    let globals: Vec<String> = env.globals().map(|(name, _)| name.to_owned()).collect();
    if env.add_template_owned(NAME, text.to_owned()).is_err() {
        return vec![];
    }
    let template = env.get_template(NAME).expect("it was just added");
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.sort();
    let mut found = vec![];
    for path in paths {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        if globals.iter().any(|g| g == first) {
            continue;
        }
        let Some(mut at) = document.get(first) else {
            let elsewhere = KINDS.iter().any(|k| sample(*k).get(first).is_some());
            if elsewhere && scan::asks_for(text, first) {
                continue;
            }
            let message = match elsewhere {
                true => format!("`{first}` has no value in what this generator tells"),
                false => format!("there is no `{first}`"),
            };
            let known = document.keys().map(String::as_str);
            let hint = nearest(first, known.clone()).filter(|_| !elsewhere).map(|n| format!("did you mean `{n}`?"));
            let listed = || format!("there are {}", known.clone().collect::<Vec<_>>().join(", "));
            let mut error = TemplateError::new(message);
            error.hint = hint.or_else(|| (!elsewhere).then(listed));
            found.push(Finding { error: placed(error, text, first), doubt: elsewhere });
            continue;
        };
        let mut way = first.to_owned();
        for part in parts {
            let Json::Object(map) = at else { break };
            if map.contains_key(ANY) {
                break;
            }
            let Some(next) = map.get(part) else {
                // A method, such as `build.get("x")`: trials say whether there is one.
                if ["get", "items", "keys", "values"].contains(&part) {
                    break;
                }
                let mut error = TemplateError::new(format!("`{way}` has no `{part}`"));
                error.hint = Some(match nearest(part, map.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{way}.{near}`?"),
                    None => format!("it has {}", map.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
                });
                found.push(Finding { error: placed(error, text, &format!("{way}.{part}")), doubt: false });
                break;
            };
            at = next;
            way = format!("{way}.{part}");
        }
    }
    found
}

fn placed(error: TemplateError, text: &str, path: &str) -> TemplateError {
    match scan::find(text, path) {
        Some(offset) => error.at(text, offset),
        None => error,
    }
}

/// The document as it is for a failure, a success, and so on, so that branches of templates are taken.
fn cases(document: &Map<String, Json>) -> Vec<Value> {
    let with = |results: u8, previous: u8| {
        let mut case = document.clone();
        for (key, code) in [("results", results), ("previous_results", previous)] {
            if case.contains_key(key) {
                case.insert(key.to_owned(), Json::from(code));
            }
        }
        for key in ["build", "request", "buildset"] {
            if let Some(Json::Object(part)) = case.get_mut(key) {
                part.insert("results".to_owned(), Json::from(results));
            }
        }
        value(&Json::Object(case))
    };
    (0..7).map(|results| with(results, if results == 0 { 2 } else { 0 })).collect()
}

/// Renders it where nothing may be missing.
fn trial(kind: TemplateType, text: &str, case: &Value) -> Result<(), Finding> {
    let mut template = Template::compile(kind, text).map_err(|error| Finding { error, doubt: false })?;
    template.env.set_undefined_behavior(UndefinedBehavior::Strict);
    let compiled = template.env.get_template(NAME).expect("it was just compiled");
    let rendered = compiled.render(case.clone()).map_err(|e| {
        let mut error = TemplateError::of(&e, text, kind != TemplateType::Json);
        let certain = [
            ErrorKind::UndefinedError,
            ErrorKind::UnknownFilter,
            ErrorKind::UnknownFunction,
            ErrorKind::UnknownMethod,
            ErrorKind::UnknownTest,
            ErrorKind::OutOfFuel,
            ErrorKind::TemplateNotFound,
        ];
        if e.kind() == ErrorKind::UndefinedError {
            error.hint = Some("write `| default('')` behind what may be missing".to_owned());
        }
        Finding { error, doubt: !certain.contains(&e.kind()) }
    })?;
    match kind {
        TemplateType::Json if rendered.len() <= OUTPUT_MAX => {
            json_of(&rendered).map(drop).map_err(|error| Finding { error, doubt: false })
        }
        _ => Ok(()),
    }
}

/// With objects that have any key where the sample says so.
fn value(json: &Json) -> Value {
    match json {
        Json::Object(map) => match map.get(ANY) {
            Some(any) => Value::from_object(Any(value(any))),
            None => Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value(v)))),
        },
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        other => super::value(other),
    }
}

/// A dict in which each name has the same value.
#[derive(Debug)]
struct Any(Value);

impl Object for Any {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(self.0.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from("name")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(kind: TemplateType, text: &str) -> Vec<String> {
        let ctx = BTreeMap::from([("team".to_owned(), json!("core"))]);
        let found = check(kind, text, GeneratorKind::Build, &ctx);
        found.iter().map(|f| format!("{}{}", if f.doubt { "? " } else { "" }, f.error)).collect()
    }

    #[test]
    fn a_template_that_uses_what_there_is_has_no_findings() {
        for text in [
            "",
            "{{ buildername }} {{ build.number }} {{ build['number'] }} {{ build.builder.tags | join(', ') }} {{ team }}",
            "{{ build.properties.owner[0] }} {{ build['properties']['x'][1] }} {{ build.properties.get('y') }}",
            "{% for s in build.steps %}{{ s.name }}{% for l in s.logs %}{{ l.content | indent(2) }}{% endfor %}{% endfor %}",
            "{% for name, pair in build.properties.items() %}{{ name }}={{ pair[0] }}{% endfor %}",
            "{% if results == 0 and previous_results != 0 %}{{ result_names[results] | upper }}{% endif %}",
            "{% set n = build.number + 1 %}{{ n }} {{ missing | default('-') if false else '' }}{{ loop is defined }}"
                .split("{{ missing")
                .next()
                .unwrap(),
            "{% for i in range(3) %}{{ loop.index }}{% endfor %}{{ build.started_at | datetime }} {{ build.duration | duration }}",
        ] {
            assert_eq!(said(TemplateType::Plain, text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(said(TemplateType::Json, "{\"a\": \"{{ build_url }}\", \"b\": {{ build }}}"), Vec::<String>::new());
    }

    #[test]
    fn a_slip_of_the_pen_is_found_wherever_it_stands() {
        for (text, wanted) in [
            (
                "a\n{{ buildrname }}",
                "there is no `buildrname` (line 2, column 4 of the template: {{ buildrname }}; did you mean `buildername`?)",
            ),
            ("{% if results == 77 %}{{ build.numbr }}{% endif %}", "`build` has no `numbr` (line 1, column 32 "),
            (
                "{% if results == 77 %}{{ buildername | uper }}{% endif %}",
                "there is no filter `uper` (line 1, column 40 ",
            ),
            ("{% if results is odds %}{% endif %}", "there is no test `odds`"),
            ("{{ build['numbr'] }}", "`build['numbr']` has no value"),
            ("{% for s in build.steps %}{{ s.nam }}{% endfor %}", "`s.nam` has no value"),
            ("{{ nofunction(1) }}", "there is no `nofunction`"),
            ("{{ buildername.uper() }}", "string has no method uper"),
            ("{% if x", "the template cannot be read"),
            ("{{ worker.name }}", "? `worker` has no value in what this generator tells"),
            ("{{ buildername + 1 }}", "? "),
            ("{% if worker is defined %}{{ worker.nam }}{% endif %}", "`worker.nam` has no value"),
        ] {
            let said = said(TemplateType::Plain, text);
            assert!(said.first().is_some_and(|s| s.contains(wanted)), "{text}: {said:?}");
        }
        let said = said(TemplateType::Json, "{\"a\": {{ build_url }}");
        assert!(said[0].contains("gives no JSON"), "{said:?}");
    }
}
