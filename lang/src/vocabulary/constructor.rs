//! The callable behind each name: checks its arguments and makes the value.

use super::bind::{Bound, bind};
use super::later::Broken;
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::descriptor::DescriptorGen;
use crate::values::factory::{Factory, accept_step};
use crate::values::interpolate;
use crate::values::placeholder::{Form, PlaceholderGen};
use crate::values::spec::{Kind, Spec};
use crate::values::{convert, tree};
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::{NoSerialize, StarlarkValue, Value, starlark_value};
use std::fmt;

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(super) struct Constructor(#[allocative(skip)] pub &'static Spec);

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
            Kind::Factory => factory(self.0, &site, args, eval),
            Kind::Interpolate => template(site, args, eval),
            Kind::Property => property(self.0, site, args, eval),
            Kind::Renderer => renderer(self.0, site, args, eval),
            _ => {
                let Bound { args, refused } = bind(self.0, &site, args, eval)?;
                Ok(eval.heap().alloc(DescriptorGen { spec: self.0, site, args, refused }))
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
    Ok(eval.heap().alloc(Factory::new(steps)))
}

/// `util.Interpolate(template, *positional, **keywords)`.
fn template<'v>(site: Site, args: &Arguments<'v, '_>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    let mut positions = args.positions(eval.heap())?;
    let Some(source) = positions.next().and_then(|v| v.unpack_str()) else {
        let message = "util.Interpolate takes a template first, as in util.Interpolate(\"%(prop:branch)s\")";
        report(eval, site.place(Diagnostic::error(message)))?;
        return Ok(eval.heap().alloc(Broken));
    };
    let mut values: SmallMap<String, Value<'v>> = positions.enumerate().map(|(i, v)| (i.to_string(), v)).collect();
    values.extend(args.names_map()?.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)));
    let template = match interpolate::parse(source) {
        Ok(template) => template,
        Err(why) => {
            report(eval, site.place(Diagnostic::error(why)))?;
            return Ok(eval.heap().alloc(Broken));
        }
    };
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
    for name in values.keys().filter(|k| !used.iter().any(|(u, _)| u == k)) {
        let message = format!("the template does not use the argument `{name}`");
        report(eval, site.place_argument(name, Diagnostic::warning(message)))?;
    }
    Ok(eval.heap().alloc(PlaceholderGen { form: Form::Interpolate(template), site, values }))
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

fn renderer<'v>(
    spec: &'static Spec,
    site: Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let bound = bind(spec, &site, args, eval)?;
    if !bound.refused.is_empty() {
        return Ok(eval.heap().alloc(Broken));
    }
    Ok(eval.heap().alloc(PlaceholderGen { form: Form::Renderer, site, values: bound.args }))
}
