//! The words that are ready in every file, as tables: what there is, what it
//! takes, and what Buildbot has that comes later. [`constructor`] makes values
//! of them.

mod bind;
mod changes;
mod constructor;
mod custom;
pub(crate) mod later;
pub(crate) mod levels;
pub(crate) mod remedy;
mod reporters;
mod schedulers;
mod secrets;
mod steps;
mod util;
mod worker;

use crate::host::guards;
use crate::natives;
use crate::values::placeholder::{Form, PlaceholderGen};
use crate::values::spec::{Kind, Spec};
use constructor::Constructor;
use starlark::collections::SmallMap;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::none::NoneType;
use starlark::values::tuple::UnpackTuple;
use starlark::values::{Value, ValueLike};
use tidemill_model::Results;

use crate::host::collector::report;
use crate::host::diagnostics::{Diagnostic, Severity};
use crate::host::site::Site;
use later::Later;

pub(crate) use custom::custom_step;
pub(crate) use steps::bare as bare_step;

/// A namespace: its name, what is in it, and what comes later.
type Namespace = (&'static str, &'static [&'static [&'static Spec]], &'static [&'static str]);

const NAMESPACES: [Namespace; 7] = [
    ("changes", changes::SPECS, changes::LATER),
    ("reporters", reporters::REPORTER_SPECS, &[]),
    ("schedulers", schedulers::SPECS, schedulers::LATER),
    ("secrets", secrets::SPECS, &[]),
    ("steps", steps::SPECS, steps::LATER),
    ("util", util::SPECS, util::LATER),
    ("worker", worker::SPECS, worker::LATER),
];

/// Every constructor, by namespace.
pub(crate) fn specs() -> impl Iterator<Item = &'static Spec> {
    NAMESPACES.iter().flat_map(|(_, groups, _)| groups.iter().flat_map(|group| group.iter().copied()))
}

pub(crate) fn register(builder: &mut GlobalsBuilder) {
    for (name, groups, later) in NAMESPACES {
        builder.namespace(name, |b| {
            fill(b, name, groups, later);
            match name {
                "util" => {
                    results(b);
                    natives::register(b);
                    b.set("URLForBuild", url_for_build());
                }
                // The name of SingleBranchScheduler before it was so named.
                "schedulers" => {
                    let single = specs().find(|s| s.name == "schedulers.SingleBranchScheduler");
                    b.set("Scheduler", Constructor(single.expect("it is in the table")));
                }
                _ => {}
            }
        });
    }
    results(builder);
    functions(builder);
    guards::register(builder);
}

fn fill(builder: &mut GlobalsBuilder, namespace: &str, groups: &[&[&'static Spec]], later: &[&str]) {
    for spec in groups.iter().flat_map(|group| group.iter()).filter(|s| s.kind != Kind::UrlForBuild) {
        builder.set(spec.short(), Constructor(spec));
    }
    for name in later {
        builder.set(name, Later(format!("{namespace}.{name}")));
    }
}

/// A value that also may be called.
fn url_for_build() -> crate::values::placeholder::FrozenPlaceholder {
    PlaceholderGen { form: Form::UrlForBuild, site: Site::default(), values: SmallMap::new() }
}

/// A constructor of steps, without its brackets.
pub(crate) fn is_step_kind(value: Value<'_>) -> bool {
    value.downcast_ref::<Constructor>().is_some_and(|c| matches!(c.0.kind, Kind::Step(_)))
}

/// Whether every step takes the argument.
pub(crate) fn common_argument(name: &str) -> bool {
    steps::common::COMMON.iter().any(|p| p.name == name)
}

/// The table behind a constructor.
pub(crate) fn spec_of(value: Value<'_>) -> Option<&'static Spec> {
    value.downcast_ref::<Constructor>().map(|c| c.0)
}

/// SUCCESS … CANCELLED, the codes of RF-01.
fn results(builder: &mut GlobalsBuilder) {
    for result in Results::ALL {
        builder.set(&result.name().to_uppercase(), i32::from(result.code()));
    }
}

#[starlark_module]
fn functions(builder: &mut GlobalsBuilder) {
    /// Shows values when the files are checked; in a running build it does nothing.
    fn print<'v>(
        #[starlark(args)] values: UnpackTuple<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let text = values.items.iter().map(|v| crate::values::tree::Tree::of(*v).printed()).collect::<Vec<_>>();
        report(eval, Site::of(eval).place(Diagnostic::new(Severity::Note, text.join(" "))))?;
        Ok(NoneType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_both_there_and_later_and_none_is_twice() {
        for (_, groups, later) in NAMESPACES {
            let mut seen = BTreeSet::new();
            let specs = || groups.iter().flat_map(|group| group.iter());
            for name in specs().map(|s| s.short()).chain(later.iter().copied()) {
                assert!(seen.insert(name), "{name}");
            }
            for spec in specs() {
                let mut seen = BTreeSet::new();
                assert!(spec.all().all(|p| seen.insert(p.name)), "{}", spec.name);
            }
        }
    }
}
