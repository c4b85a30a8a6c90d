//! The language's lint and static types, as warnings. Files that cannot be read
//! are told by evaluation and passed over here; so are vendored packages.
//!
//! A step's function that ends without `return` is a success (C-50): that one
//! returns a result early and nothing at its end is no mistake.

use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::dialect::{dialect, globals};
use crate::host::loader;
use crate::host::paths::{PACKAGES, resolve};
use regex::Regex;
use starlark::analysis::AstModuleLint;
use starlark::syntax::AstModule;
use starlark::typing::{AstModuleTypecheck, Interface};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use tidemill_model::revision::Files;

/// What is worth a word, and what to do about it.
const LINTS: [(&str, &str); 8] = [
    ("ident-as-statement", "a name alone does nothing: is it a call without its brackets?"),
    ("missing-return", "add a return to the end of the function"),
    ("missing-return-expression", "return a value here, as elsewhere in the function"),
    ("no-effect", "this does nothing: is a call or an assignment missing?"),
    ("unreachable", "nothing after this runs"),
    ("unused-load", "take the name out of the load"),
    ("using-unassigned", "it has no value here yet"),
    ("using-undefined", "it is defined nowhere"),
];

pub(super) fn lint(files: &Files, collector: &Collector) {
    let known: HashSet<String> = globals().names().map(|n| n.as_str().to_owned()).collect();
    let own = |name: &&String| name.ends_with(".star") && !name.starts_with(&format!("{PACKAGES}/"));
    // The types first: they know what an undefined name was probably meant to be.
    types(files, collector);
    let steps = implementations(files);
    for name in files.0.keys().filter(own) {
        one(name, files, &known, &steps, collector);
    }
}

/// Lints that a step's function need not mind.
const OF_RETURNS: [&str; 2] = ["missing-return", "missing-return-expression"];

/// Names of functions that do the work of steps, in whatever file they are defined.
pub(super) fn implementations(files: &Files) -> HashSet<&str> {
    static GIVEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\bimplementation\s*=\s*([A-Za-z_][A-Za-z0-9_]*)").expect("it is a constant"));
    let names = |text| GIVEN.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str()));
    files.0.values().flat_map(|text| names(text)).collect()
}

/// The lint of one file.
pub(super) fn one(name: &str, files: &Files, known: &HashSet<String>, steps: &HashSet<&str>, collector: &Collector) {
    let Some(ast) = parse(name, files) else { return };
    // The lint's text names the function.
    let of_step = |problem: &str| problem.split('`').skip(1).step_by(2).any(|word| steps.contains(word));
    for found in ast.lint(Some(known)) {
        if OF_RETURNS.contains(&found.short_name.as_str()) && of_step(&found.problem) {
            continue;
        }
        if let Some((_, hint)) = LINTS.iter().find(|(kind, _)| *kind == found.short_name) {
            let message = found.problem.trim_end_matches('.').to_owned();
            collector.report(Diagnostic::warning(message).at(Some(&found.location)).hint(*hint));
        }
    }
}

fn parse(name: &str, files: &Files) -> Option<AstModule> {
    let text = files.0.get(name)?;
    if !loader::readable(text) {
        return None;
    }
    AstModule::parse(name, text.clone(), &dialect()).ok()
}

/// Static types of all files, loaded before loading.
fn types(files: &Files, collector: &Collector) {
    let mut interfaces: HashMap<String, Interface> = HashMap::new();
    let own = |name: &&String| name.ends_with(".star") && !name.starts_with(&format!("{PACKAGES}/"));
    for name in files.0.keys().filter(own) {
        file_types(name, files, &mut interfaces, &mut vec![], collector);
    }
}

fn file_types(
    name: &str,
    files: &Files,
    interfaces: &mut HashMap<String, Interface>,
    open: &mut Vec<String>,
    collector: &Collector,
) {
    if interfaces.contains_key(name) || open.iter().any(|o| o == name) {
        return;
    }
    let Some(ast) = parse(name, files) else { return };
    open.push(name.to_owned());
    let mut loads = HashMap::new();
    for path in ast.loads().iter().map(|l| l.module_id.to_owned()) {
        if let Some(target) = resolve(name, &path).filter(|t| files.0.contains_key(t)) {
            file_types(&target, files, interfaces, open, collector);
            if let Some(interface) = interfaces.get(&target) {
                loads.insert(path, interface.clone());
            }
        }
    }
    open.pop();
    let (errors, _, interface, _) = ast.typecheck(globals(), &loads);
    for error in errors {
        let told = Diagnostic::from_starlark(&error);
        collector.report(Diagnostic { severity: crate::host::diagnostics::Severity::Warning, ..told });
    }
    interfaces.insert(name.to_owned(), interface);
}
