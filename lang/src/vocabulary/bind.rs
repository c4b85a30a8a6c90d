//! Brings the arguments of a call together with what the constructor takes, and
//! reports all that do not fit.

use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::descriptor::mismatch;
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
    let mut binding = Binding { spec, site, eval, bound: Bound::default() };
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
    for param in spec.all() {
        if matches!(param.status, Status::Required(_)) && !binding.has(param.name) {
            let message = format!("{} needs `{}`", spec.name, param.name);
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
        _ => return None,
    };
    Some(text.to_owned())
}

struct Binding<'a, 'v, 'e1, 'e2> {
    spec: &'static Spec,
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
        let Spec { name, positional, .. } = self.spec;
        let message = match positional {
            0 => format!("{name} takes named arguments only"),
            1 => format!("{name} takes one argument without a name"),
            n => format!("{name} takes {n} arguments without a name"),
        };
        let names: Vec<_> = self.spec.names().take(6).collect();
        let hint = format!("write them with their names, as in {} = …; the first are {}", names[0], names.join(", "));
        report(self.eval, self.site.place(Diagnostic::error(message).hint(hint)))
    }

    fn take(&mut self, name: String, value: Value<'v>) -> starlark::Result<()> {
        let Some(param) = self.spec.param(&name) else { return self.unknown(&name) };
        match param.status {
            Status::Required(ty) | Status::Optional(ty) => {
                if self.bound.args.contains_key(&name) {
                    self.report(&name, Diagnostic::error(format!("{} got `{name}` twice", self.spec.name)))?;
                    return Ok(());
                }
                let tree = Tree::of(value);
                match ty.mismatch(&tree) {
                    _ if tree.has_broken() => self.bound.refused.push(name),
                    None => {
                        self.bound.args.insert(name, value);
                    }
                    Some(why) => {
                        self.report(&name, mismatch(self.spec, &name, &why))?;
                        self.bound.refused.push(name);
                    }
                }
                Ok(())
            }
            Status::Alias(to) => self.alias(&name, to, value),
            Status::Ignored(why) => {
                let message = format!("`{name}` of {} has no effect: {why}", self.spec.name);
                self.report(&name, Diagnostic::warning(message))
            }
            Status::Later => {
                let message =
                    format!("`{name}` of {} is not in this release; it comes with a later one", self.spec.name);
                self.report(&name, Diagnostic::error(message).hint("take it out to go on"))
            }
        }
    }

    fn alias(&mut self, name: &str, to: &'static str, value: Value<'v>) -> starlark::Result<()> {
        if name != "workername" {
            let message = format!("`{name}` of {} is an old name of `{to}`", self.spec.name);
            self.report(name, Diagnostic::warning(message).hint(format!("write {to} = …")))?;
        }
        if self.has(to) {
            let message = format!("{} got both `{name}` and `{to}`, which mean the same", self.spec.name);
            return self.report(name, Diagnostic::error(message));
        }
        // The singular names take one name where the plural takes a list.
        let single = name.ends_with("name") && to.ends_with("names");
        let value =
            if single && value.unpack_str().is_some() { self.eval.heap().alloc(AllocList([value])) } else { value };
        self.take(to.to_owned(), value)
    }

    fn unknown(&mut self, name: &str) -> starlark::Result<()> {
        let message = format!("{} has no argument `{name}`", self.spec.name);
        let hint = match names::nearest(name, self.spec.names()) {
            Some(near) => {
                // Else the same slip is told again as a missing argument.
                self.bound.refused.push(near.to_owned());
                format!("did you mean `{near}`?")
            }
            None => format!("it takes {}", self.spec.names().collect::<Vec<_>>().join(", ")),
        };
        self.report(name, Diagnostic::error(message).hint(hint))
    }
}
