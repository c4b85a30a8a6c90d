//! Brings the arguments of a call together with what the constructor takes, and
//! reports all that do not fit.

use super::remedy::remedy;
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::convert::OPEN;
use crate::values::descriptor::mismatch;
use crate::values::rule::{Attribute, Rule};
use crate::values::spec::{Param, Spec, Status};
use crate::values::tree::Tree;
use starlark::collections::SmallMap;
use starlark::eval::{Arguments, Evaluator};
use starlark::values::Value;
use starlark::values::list::AllocList;

/// Arguments that fit, and the names of those that do not.
#[derive(Default)]
pub(super) struct Bound<'v> {
    pub args: SmallMap<String, Value<'v>>,
    pub refused: Vec<String>,
}

pub(super) fn bind<'v>(
    spec: &'static Spec,
    site: &Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Bound<'v>> {
    bind_for(spec, None, site, args, eval)
}

/// The same for a custom step: its own arguments first, then those of its base,
/// with its defaults for what is not given.
pub(super) fn bind_for<'v>(
    spec: &'static Spec,
    rule: Option<&'v Rule<'v>>,
    site: &Site,
    args: &Arguments<'v, '_>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Bound<'v>> {
    let called = rule.map_or_else(|| spec.name.to_owned(), |r| r.called());
    let mut binding = Binding { spec, rule, called, site, eval, bound: Bound::default() };
    let mut given = vec![];
    for (i, value) in args.positions(eval.heap())?.enumerate() {
        match spec.all().nth(i).filter(|_| i < spec.positional) {
            Some(param) => given.push((param.name.to_owned(), value)),
            None => {
                binding.too_many()?;
                break;
            }
        }
    }
    given.extend(args.names_map()?.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)));
    for (name, value) in given {
        binding.take(name, value)?;
    }
    if let Some(rule) = rule {
        for (name, value) in &rule.defaults {
            if !binding.has(name) {
                binding.bound.args.insert(name.clone(), *value);
            }
        }
        for (name, attribute) in rule.attrs.iter().map(|(n, v)| (n, Attribute::of(*v))) {
            match attribute.default {
                _ if binding.has(name) => {}
                Some(value) => {
                    binding.bound.args.insert(name.clone(), value);
                }
                None if attribute.required => {
                    let message = format!("{} needs `{name}`", binding.called);
                    let doc = Some(attribute.doc).filter(|d| !d.is_empty());
                    report(eval, site.place(Diagnostic::error(message).maybe_hint(doc)))?;
                    binding.bound.refused.push(name.clone());
                }
                None => {
                    binding.bound.args.insert(name.clone(), Value::new_none());
                }
            }
        }
    }
    // A function runs the commands that it likes.
    let own_work = rule.is_some_and(Rule::has_function);
    for param in spec.all().filter(|p| !(own_work && p.name == "command")) {
        if matches!(param.status, Status::Required(_)) && !binding.has(param.name) {
            let message = format!("{} needs `{}`", binding.called, param.name);
            report(eval, site.place(Diagnostic::error(message).maybe_hint(example(spec, param))))?;
            binding.bound.refused.push(param.name.to_owned());
        }
    }
    Ok(binding.bound)
}

/// What a missing argument looks like, where that is not plain.
fn example(spec: &Spec, param: &Param) -> Option<String> {
    let text = match (spec.name, param.name) {
        ("util.BuilderConfig", "factory") => "factory = util.BuildFactory([steps.ShellCommand(command = \"make\")])",
        ("util.BuilderConfig", "workernames") => "workernames = [\"*\"] lets every worker build it",
        (_, "builderNames") => "builderNames = [\"linux\"] names the builders that it starts",
        (_, "start_instance") => "start_instance = lambda ctx: …, or the name of a function, starts the machine",
        (_, "stop_instance") => "stop_instance = lambda ctx, fast: …, or the name of a function, stops the machine",
        _ => return None,
    };
    Some(text.to_owned())
}

struct Binding<'a, 'v, 'e1, 'e2> {
    spec: &'static Spec,
    rule: Option<&'v Rule<'v>>,
    /// As people know it.
    called: String,
    site: &'a Site,
    eval: &'a Evaluator<'v, 'e1, 'e2>,
    bound: Bound<'v>,
}

impl<'v> Binding<'_, 'v, '_, '_> {
    fn has(&self, name: &str) -> bool {
        self.bound.args.contains_key(name) || self.bound.refused.iter().any(|r| r == name)
    }

    fn report(&self, argument: &str, diagnostic: Diagnostic) -> starlark::Result<()> {
        report(self.eval, self.site.place_argument(argument, diagnostic))
    }

    fn too_many(&self) -> starlark::Result<()> {
        let Spec { positional, .. } = self.spec;
        let name = &self.called;
        let message = match positional {
            0 => format!("{name} takes named arguments only"),
            1 => format!("{name} takes one argument without a name"),
            n => format!("{name} takes {n} arguments without a name"),
        };
        let names: Vec<_> = self.names().into_iter().take(6).collect();
        let hint = match names.first() {
            _ if self.spec.param(OPEN.name).is_some() => {
                Some("write each as argument = value, under Buildbot's name for the argument".to_owned())
            }
            Some(first) => Some(format!(
                "write each with its name, as in {first} = …; its first arguments are {}",
                names.join(", ")
            )),
            None => None,
        };
        report(self.eval, self.site.place(Diagnostic::error(message).maybe_hint(hint)))
    }

    /// Names to offer to people.
    fn names(&self) -> Vec<String> {
        match self.rule {
            Some(rule) => rule.names(),
            None => self.spec.names().filter(|n| *n != OPEN.name).map(str::to_owned).collect(),
        }
    }

    /// An argument that the custom step declares itself.
    fn attribute(&mut self, name: String, attribute: &Attribute<'v>, value: Value<'v>) -> starlark::Result<()> {
        let tree = Tree::of(value);
        match attribute.mismatch(&tree) {
            _ if tree.has_broken() => self.bound.refused.push(name),
            None => {
                self.bound.args.insert(name, value);
            }
            Some(why) => {
                self.report(&name, mismatch(&self.called, &name, &why))?;
                self.bound.refused.push(name);
            }
        }
        Ok(())
    }

    fn take(&mut self, name: String, value: Value<'v>) -> starlark::Result<()> {
        if let Some(rule) = self.rule {
            if let Some(attribute) = rule.attribute(&name) {
                return self.attribute(name, &attribute, value);
            }
            if rule.prohibited.contains(&name) {
                let message = format!("{} does not take `{name}`", self.called);
                self.bound.refused.push(name.clone());
                return self.report(&name, Diagnostic::error(message).hint("the kind of step says itself what it is"));
            }
        }
        let open = || self.spec.param(OPEN.name);
        let Some(param) = self.spec.param(&name).or_else(open) else { return self.unknown(&name) };
        match param.status {
            Status::Required(ty) | Status::Optional(ty) => {
                if self.bound.args.contains_key(&name) {
                    self.report(&name, Diagnostic::error(format!("{} got `{name}` twice", self.called)))?;
                    return Ok(());
                }
                let tree = Tree::of(value);
                match ty.mismatch(&tree) {
                    _ if tree.has_broken() => self.bound.refused.push(name),
                    None => {
                        self.bound.args.insert(name, value);
                    }
                    Some(why) => {
                        let right = remedy(&name, ty, &tree);
                        self.report(&name, mismatch(&self.called, &name, &why).maybe_hint(right))?;
                        self.bound.refused.push(name);
                    }
                }
                Ok(())
            }
            Status::Alias(to) => self.alias(&name, to, value),
            Status::Ignored(why) => {
                let message = format!("`{name}` of {} has no effect: {why}", self.called);
                self.report(&name, Diagnostic::warning(message))
            }
            Status::Moved(to) => {
                let message = format!("`{name}` is no argument of {}", self.called);
                self.report(&name, Diagnostic::error(message).hint(format!("write {to}")))
            }
            Status::Later => {
                let message = format!("`{name}` of {} is not in this release; it comes with a later one", self.called);
                self.report(&name, Diagnostic::error(message).hint("take it out to go on"))
            }
        }
    }

    fn alias(&mut self, name: &str, to: &'static str, value: Value<'v>) -> starlark::Result<()> {
        if name != "workername" {
            let message = format!("`{name}` of {} is an old name of `{to}`", self.called);
            self.report(name, Diagnostic::warning(message).hint(format!("write {to} = …")))?;
        }
        if self.has(to) {
            let message = format!("{} got both `{name}` and `{to}`, which mean the same", self.called);
            return self.report(name, Diagnostic::error(message));
        }
        // The singular names take one name where the plural takes a list.
        let single = name.ends_with("name") && to.ends_with("names");
        let value =
            if single && value.unpack_str().is_some() { self.eval.heap().alloc(AllocList([value])) } else { value };
        self.take(to.to_owned(), value)
    }

    fn unknown(&mut self, name: &str) -> starlark::Result<()> {
        let message = format!("{} has no argument `{name}`", self.called);
        let known = self.names();
        let hint = match names::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => {
                // Else the same slip is told again as a missing argument.
                self.bound.refused.push(near.to_owned());
                format!("did you mean `{near}`?")
            }
            None => format!("it takes {}", known.join(", ")),
        };
        self.report(name, Diagnostic::error(message).hint(hint))
    }
}
