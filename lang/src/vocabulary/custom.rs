//! `util.BuildStep`, and the steps that its results make.

use super::bind::{bind, bind_for};
use super::later::Broken;
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::convert;
use crate::values::descriptor::{DescriptorGen, mismatch};
use crate::values::rule::{Rule, RuleGen};
use crate::values::spec::{Kind, Spec, StepKind};
use crate::values::tree::Tree;
use starlark::collections::SmallMap;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::Value;
use starlark::values::dict::DictRef;
use std::sync::OnceLock;

/// Names that a step has for itself; an argument so named could not be read.
const OWN_NAMES: [&str; 5] = ["build", "step", "attrs", "name", "stopped"];

/// `util.BuildStep(…)`.
pub(super) fn step_maker<'v>(
    spec: &'static Spec,
    site: &Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, site, args, eval)?;
    let get = |name: &str| bound.args.get(name).copied().filter(|v| !v.is_none());
    let base = get("base").and_then(Rule::from_value);
    let base_spec = get("base").and_then(super::spec_of).or(base.map(|b| b.spec)).unwrap_or_else(super::bare_step);
    if !bound.refused.is_empty() {
        return Ok(eval.heap().alloc(Broken));
    }
    let implementation = get("implementation");
    if implementation.is_none() && get("base").is_none() {
        let message = "util.BuildStep needs an `implementation`, or a `base` whose work it does";
        report(eval, site.place(Diagnostic::error(message)))?;
        return Ok(eval.heap().alloc(Broken));
    }
    if let Kind::Step(StepKind::Git | StepKind::Svn | StepKind::Mercurial) = base_spec.kind {
        let hint = format!("let a function return a list of {} and your own step", base_spec.name);
        let message = format!("{} cannot be a base", base_spec.name);
        report(eval, site.place_argument("base", Diagnostic::error(message).hint(hint)))?;
        return Ok(eval.heap().alloc(Broken));
    }
    let mut rule = RuleGen {
        spec: base_spec,
        name: OnceLock::new(),
        parts: SmallMap::new(),
        attrs: base.map(|b| b.attrs.clone()).unwrap_or_default(),
        defaults: base.map(|b| b.defaults.clone()).unwrap_or_default(),
        observers: base.map(|b| b.observers.clone()).unwrap_or_default(),
        prohibited: base.map(|b| b.prohibited.clone()).unwrap_or_default(),
        metrics: base.map(|b| b.metrics.clone()).unwrap_or_default(),
        doc: get("doc").and_then(|v| v.unpack_str()).unwrap_or_default().to_owned(),
    };
    let inherited = |name: &str| base.and_then(|b| b.part(name));
    let parts = [
        ("implementation", implementation),
        ("base", base.and_then(|_| get("base"))),
        ("getCurrentSummary", get("getCurrentSummary").or_else(|| inherited("getCurrentSummary"))),
        ("getResultSummary", get("getResultSummary").or_else(|| inherited("getResultSummary"))),
    ];
    rule.parts = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?))).collect();
    if let Some(name) = get("name").and_then(|v| v.unpack_str()) {
        let _ = rule.name.set(name.to_owned());
    }
    let texts = |name: &str| get(name).and_then(|v| convert::texts(&Tree::of(v))).unwrap_or_default();
    rule.prohibited.extend(texts("prohibitArgs"));
    rule.metrics.extend(texts("progressMetrics"));
    rule.attrs.extend(entries(get("attrs")));
    rule.observers.extend(entries(get("logObservers")));
    for name in rule.attrs.keys() {
        let taken = OWN_NAMES.contains(&name.as_str()) || rule.spec.param(name).is_some();
        if taken {
            let message = format!("`{name}` cannot be an argument of a custom step: every step has it already");
            report(eval, site.place_argument("attrs", Diagnostic::error(message)))?;
        }
    }
    for (name, value) in entries(get("defaults")) {
        if let Some(attribute) = rule.attrs.get(&name) {
            let tree = Tree::of(value);
            if let Some(why) = crate::values::rule::Attribute::of(*attribute).mismatch(&tree) {
                report(eval, site.place_argument("defaults", mismatch("util.BuildStep", &name, &why)))?;
            }
            rule.attrs.insert(name, value);
            continue;
        }
        match rule.spec.type_of(&name).map(|ty| ty.mismatch(&Tree::of(value))) {
            Some(None) => {
                rule.defaults.insert(name, value);
            }
            Some(Some(why)) => {
                report(eval, site.place_argument("defaults", mismatch(rule.spec.name, &name, &why)))?;
            }
            None => {
                let message = format!("{} has no argument `{name}`", rule.spec.name);
                let hint = names::nearest(&name, rule.spec.names()).map(|n| format!("did you mean `{n}`?"));
                report(eval, site.place_argument("defaults", Diagnostic::error(message).maybe_hint(hint)))?;
            }
        }
    }
    Ok(eval.heap().alloc(rule))
}

fn entries<'v>(dict: Option<Value<'v>>) -> SmallMap<String, Value<'v>> {
    let Some(dict) = dict.and_then(DictRef::from_value) else { return SmallMap::new() };
    dict.iter().filter_map(|(k, v)| Some((k.unpack_str()?.to_owned(), v))).collect()
}

/// A call of what `util.BuildStep` returned.
pub(crate) fn custom_step<'v>(
    me: Value<'v>,
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let Some(rule) = Rule::from_value(me) else { return Ok(eval.heap().alloc(Broken)) };
    let site = Site::of(eval);
    let bound = bind_for(rule.spec, Some(rule), &site, args, eval)?;
    Ok(eval.heap().alloc(DescriptorGen {
        spec: rule.spec,
        site,
        rule: vec![me],
        args: bound.args,
        refused: bound.refused,
    }))
}
