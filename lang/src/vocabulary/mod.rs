//! The words that are ready in every file, as tables: what there is, what it
//! takes, and what Buildbot has that comes later. [`constructor`] makes values
//! of them.

mod bind;
mod changes;
mod constructor;
pub(crate) mod later;
mod schedulers;
mod steps;
mod util;
mod worker;

use crate::values::spec::Spec;
use constructor::Constructor;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::none::NoneType;
use starlark::values::tuple::UnpackTuple;
use tidemill_model::Results;

use crate::host::collector::report;
use crate::host::diagnostics::{Diagnostic, Severity};
use crate::host::site::Site;
use later::{Later, LaterNamespace};

pub(crate) fn register(builder: &mut GlobalsBuilder) {
    namespace(builder, "changes", changes::SPECS, changes::LATER);
    namespace(builder, "schedulers", schedulers::SPECS, schedulers::LATER);
    namespace(builder, "steps", steps::SPECS, steps::LATER);
    namespace(builder, "worker", worker::SPECS, worker::LATER);
    builder.namespace("util", |b| {
        fill(b, "util", util::SPECS, util::LATER);
        results(b);
    });
    results(builder);
    for name in ["reporters", "secrets"] {
        builder.set(name, LaterNamespace(name));
    }
    functions(builder);
}

fn namespace(builder: &mut GlobalsBuilder, name: &str, specs: &[&'static Spec], later: &[&str]) {
    builder.namespace(name, |b| fill(b, name, specs, later));
}

fn fill(builder: &mut GlobalsBuilder, namespace: &str, specs: &[&'static Spec], later: &[&str]) {
    for spec in specs {
        let (_, short) = spec.name.split_once('.').expect("names of constructors have a namespace");
        builder.set(short, Constructor(spec));
    }
    for name in later {
        builder.set(name, Later(format!("{namespace}.{name}")));
    }
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

    const DOC: &str = include_str!("../../../docs/project-file.md");

    fn namespaces() -> [(&'static [&'static Spec], &'static [&'static str]); 5] {
        [
            (changes::SPECS, changes::LATER),
            (schedulers::SPECS, schedulers::LATER),
            (steps::SPECS, steps::LATER),
            (util::SPECS, util::LATER),
            (worker::SPECS, worker::LATER),
        ]
    }

    #[test]
    fn the_manual_names_every_constructor_and_argument() {
        let words: BTreeSet<&str> = DOC.split(|c: char| !c.is_alphanumeric() && !"_.".contains(c)).collect();
        for spec in namespaces().iter().flat_map(|(specs, _)| *specs) {
            assert!(words.contains(spec.name), "{}", spec.name);
            let filter = spec.name == "util.ChangeFilter";
            for name in spec.names() {
                // The filter's five attributes share one table.
                let attribute = name.split_once('_').filter(|_| filter && name != "filter_fn");
                let shown = attribute.map_or(name.to_owned(), |(_, condition)| format!("branch_{condition}"));
                assert!(words.contains(shown.as_str()), "{name} of {}", spec.name);
            }
        }
    }

    #[test]
    fn no_name_is_both_there_and_later_and_none_is_twice() {
        for (specs, later) in namespaces() {
            let mut seen = BTreeSet::new();
            let short = specs.iter().map(|s| s.name.split_once('.').expect("a namespace").1);
            for name in short.chain(later.iter().copied()) {
                assert!(seen.insert(name), "{name}");
            }
            for spec in specs {
                let mut seen = BTreeSet::new();
                assert!(spec.all().all(|p| seen.insert(p.name)), "{}", spec.name);
            }
        }
    }
}
