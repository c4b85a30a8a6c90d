//! The callable behind each name: checks its arguments and makes the value.

use super::bind::{Bound, bind};
use super::custom;
use super::later::Broken;
use super::remedy::remedy;
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::library;
use crate::names;
use crate::values::descriptor::DescriptorGen;
use crate::values::descriptor::mismatch;
use crate::values::factory::{Factory, accept_step};
use crate::values::interpolate;
use crate::values::placeholder::{FUNCTION, Form, PlaceholderGen};
use crate::values::spec::{Kind, Spec, StepKind};
use crate::values::tree::Tree;
use crate::values::{convert, tree};
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::{NoSerialize, StarlarkValue, Value, starlark_value};
use std::fmt;

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct Constructor(#[allocative(skip)] pub &'static Spec);

starlark_simple_value!(Constructor);

impl fmt::Display for Constructor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

#[starlark_value(type = "constructor")]
impl<'v> StarlarkValue<'v> for Constructor {
    fn name_for_call_stack(&self, _me: Value<'v>) -> String {
        self.0.name.to_owned()
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let site = Site::of(eval);
        match self.0.kind {
            Kind::Factory if self.0.name == "util.BuildFactory" => factory(self.0, &site, args, eval),
            Kind::Factory => ready_factory(self.0, &site, args, eval),
            Kind::Interpolate | Kind::WithProperties => template(self.0, site, args, eval),
            Kind::Property => property(self.0, site, args, eval),
            Kind::Renderer => function(self.0, Form::Renderer, site, args, eval),
            Kind::Transform => function(self.0, Form::Transform, site, args, eval),
            Kind::FlattenList => flatten(self.0, site, args, eval),
            Kind::Secret => secret(self.0, site, args, eval),
            Kind::RemoteCommand => {
                let bound = bind(self.0, &site, args, eval)?;
                crate::custom::remote_command(&bound.args, eval)
            }
            Kind::StepMaker => custom::step_maker(self.0, &site, args, eval),
            Kind::Step(StepKind::Bare) => {
                let message = "steps.BuildStep is only a base: make a kind of step with util.BuildStep";
                report(eval, site.place(Diagnostic::error(message)))?;
                Ok(eval.heap().alloc(Broken))
            }
            _ => {
                let Bound { args, refused } = bind(self.0, &site, args, eval)?;
                Ok(eval.heap().alloc(DescriptorGen { spec: self.0, site, rule: vec![], args, refused }))
            }
        }
    }
}

fn factory<'v>(
    spec: &'static Spec,
    site: &Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, site, args, eval)?;
    let mut steps = vec![];
    for step in bound.args.get("steps").copied().and_then(tree::items).unwrap_or_default() {
        if accept_step(*step, spec.name, eval)? {
            steps.push(*step);
        }
    }
    Ok(eval.heap().alloc(Factory::new(steps, bound.args.get("workdir").copied())))
}

/// `util.GNUAutoconf` and its like: made by a function of the built-in library.
fn ready_factory<'v>(
    spec: &'static Spec,
    site: &Site,
    args: &Arguments<'v, '_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, site, args, eval)?;
    if !bound.refused.is_empty() {
        return Ok(eval.heap().alloc(Broken));
    }
    let function = library::function("factories.star", spec.short())?;
    let function = eval.heap().access_owned_frozen_value(&function);
    let named: Vec<(&str, Value<'v>)> = bound.args.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    eval.eval_function(function, &[], &named)
}

/// `util.Interpolate(template, *positional, **keywords)`.
fn template<'v>(
    spec: &'static Spec,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let old = spec.kind == Kind::WithProperties;
    let parse = if old { interpolate::parse_old } else { interpolate::parse };
    let mut positions = args.positions(eval.heap())?;
    let Some(source) = positions.next().and_then(|v| v.unpack_str()) else {
        let message = format!("{} takes a template first, as in {}(\"%(prop:branch)s\")", spec.name, spec.name);
        report(eval, site.place(Diagnostic::error(message)))?;
        return Ok(eval.heap().alloc(Broken));
    };
    let mut values: SmallMap<String, Value<'v>> = positions.enumerate().map(|(i, v)| (i.to_string(), v)).collect();
    values.extend(args.names_map()?.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)));
    if old {
        // The arguments of `%s` are names of properties.
        for (name, value) in values.iter_mut().filter(|(n, _)| n.parse::<usize>().is_ok()) {
            let Some(property) = value.unpack_str() else {
                let message = format!("argument {name} of util.WithProperties must be the name of a property");
                report(eval, site.place(Diagnostic::error(message)))?;
                return Ok(eval.heap().alloc(Broken));
            };
            let form = Form::Property { name: property.to_owned(), default_when_false: true };
            *value = eval.heap().alloc(PlaceholderGen { form, site: site.clone(), values: SmallMap::new() });
        }
    }
    let template = match parse(source) {
        Ok(template) => template,
        Err(why) => {
            report(eval, site.place(Diagnostic::error(why)))?;
            return Ok(eval.heap().alloc(Broken));
        }
    };
    // A keyword of the template may have this name too.
    let uses_strict = template.keywords().iter().any(|(n, _)| *n == "strict");
    let strict = if uses_strict { None } else { values.shift_remove("strict") };
    let strict = strict.is_some_and(|v| v.to_bool());
    let used = template.keywords();
    for (name, needed) in &used {
        if *needed && !values.contains_key(*name) {
            let message = match name.parse::<usize>() {
                Ok(i) => format!("the template has more %s than arguments: number {} is missing", i + 1),
                Err(_) => format!("the template uses %(kw:{name})s, but there is no argument `{name}`"),
            };
            let words = values.keys().map(String::as_str).filter(|k| k.parse::<usize>().is_err());
            let near = names::nearest(name, words).filter(|_| name.parse::<usize>().is_err());
            let hint = near.map(|n| format!("did you mean `{n}`?"));
            report(eval, site.place(Diagnostic::error(message).maybe_hint(hint)))?;
        }
    }
    for name in values.keys().filter(|k| !old && !used.iter().any(|(u, _)| u == k)) {
        let open = used.iter().map(|(u, _)| *u).filter(|u| !values.contains_key(*u));
        if names::nearest(name, open).is_some() {
            // The slip is told where the template needs it.
            continue;
        }
        let (message, hint) = match (name.parse::<usize>(), names::nearest(name, ["strict"])) {
            (Ok(_), _) => ("the template has fewer %s than there are arguments without a name".to_owned(), None),
            (_, Some(_)) => (not_used(name), Some("did you mean `strict`?".to_owned())),
            _ => (not_used(name), Some(format!("take it out, or put %(kw:{name})s into the template"))),
        };
        report(eval, site.place_argument(name, Diagnostic::warning(message).maybe_hint(hint)))?;
    }
    Ok(eval.heap().alloc(PlaceholderGen { form: Form::Interpolate { template, strict }, site, values }))
}

fn not_used(name: &str) -> String {
    format!("the template does not use the argument `{name}`")
}

fn property<'v>(
    spec: &'static Spec,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, &site, args, eval)?;
    let Some(name) = bound.args.get("key").and_then(|v| v.unpack_str()) else {
        return Ok(eval.heap().alloc(Broken));
    };
    let when_false = bound.args.get("defaultWhenFalse").map(|v| tree::Tree::of(*v));
    let default_when_false = when_false.and_then(|t| convert::boolean(&t)).unwrap_or(true);
    let values = bound.args.iter().filter(|(k, _)| *k == "default").map(|(k, v)| (k.clone(), *v)).collect();
    let form = Form::Property { name: name.to_owned(), default_when_false };
    Ok(eval.heap().alloc(PlaceholderGen { form, site, values }))
}

/// `util.renderer(function, *args, **kwargs)` and `util.Transform`.
fn function<'v>(
    spec: &'static Spec,
    form: Form,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let mut positions = args.positions(eval.heap())?;
    let named = args.names_map()?;
    let by_name = named.iter().find(|(n, _)| n.as_str() == "function").map(|(_, v)| *v);
    let Some(function) = positions.next().or(by_name) else {
        let message = format!("{} needs `function`", spec.name);
        report(eval, site.place(Diagnostic::error(message)))?;
        return Ok(eval.heap().alloc(Broken));
    };
    let tree = Tree::of(function);
    let ty = spec.type_of("function").expect("it is in the table");
    if let Some(why) = ty.mismatch(&tree) {
        if !tree.has_broken() {
            let right = remedy("function", ty, &tree);
            report(eval, site.place(mismatch(spec.name, "function", &why).maybe_hint(right)))?;
        }
        return Ok(eval.heap().alloc(Broken));
    }
    let mut values: SmallMap<String, Value<'v>> = positions.enumerate().map(|(i, v)| (i.to_string(), v)).collect();
    values.extend(named.into_iter().filter(|(n, _)| n.as_str() != "function").map(|(n, v)| (n.as_str().to_owned(), v)));
    values.insert(FUNCTION.to_owned(), function);
    Ok(eval.heap().alloc(PlaceholderGen { form, site, values }))
}

fn flatten<'v>(
    spec: &'static Spec,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, &site, args, eval)?;
    let Some(list) = bound.args.get("nestedlist") else { return Ok(eval.heap().alloc(Broken)) };
    let values = [("0".to_owned(), *list)].into_iter().collect();
    Ok(eval.heap().alloc(PlaceholderGen { form: Form::FlattenList, site, values }))
}

fn secret<'v>(
    spec: &'static Spec,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, &site, args, eval)?;
    let Some(name) = bound.args.get("key").and_then(|v| v.unpack_str()) else {
        return Ok(eval.heap().alloc(Broken));
    };
    let form = Form::Secret { name: name.to_owned() };
    Ok(eval.heap().alloc(PlaceholderGen { form, site, values: SmallMap::new() }))
}
