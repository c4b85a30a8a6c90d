//! Reads the root file and all that it loads, and evaluates them in order.
//!
//! First every reachable file is parsed, so that mistakes of writing in several
//! files, missing files and circles are all told at once; then files are
//! evaluated, what is loaded before what loads it, each once. A path names a
//! file of the given set and never anything outside.

use super::collector::Collector;
use super::diagnostics::Diagnostic;
use super::dialect::{dialect, globals};
use super::guards;
use super::limits::Limits;
use super::packages;
use super::paths::resolve;
use super::stack;
use crate::library;
use crate::names;
use starlark::codemap::FileSpan;
use starlark::environment::{FrozenModule, Module};
use starlark::eval::{Evaluator, FileLoader};
use starlark::syntax::AstModule;
use starlark::values::FrozenHeapName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tidemill_model::revision::{Files, ROOT_FILE};

/// Largest file that is read. Bounds the parser's work and depth.
const FILE_MAX: usize = 1 << 20;

/// The evaluated root file, and where its statements stand.
pub(crate) struct Root {
    pub module: FrozenModule,
    pub statements: Vec<FileSpan>,
}

/// Evaluates the root file. `None` means that `collector` holds errors.
pub(crate) fn evaluate(files: &Files, limits: &Limits, collector: &Collector) -> Option<Root> {
    let mut parsing = Parsing { files, collector, parsed: BTreeMap::new(), order: vec![], open: vec![] };
    if !files.0.contains_key(ROOT_FILE) {
        let hint = "every project has one; `tidemill init` writes a first version";
        collector.report(Diagnostic::error(format!("there is no {ROOT_FILE}")).hint(hint));
        return None;
    }
    packages::check(files, collector);
    parsing.visit(ROOT_FILE);
    let Parsing { mut parsed, order, .. } = parsing;
    if collector.has_errors() {
        return None;
    }
    let statements = parsed.get(ROOT_FILE).map(|ast| ast.stmt_locations()).unwrap_or_default();
    let deadline = limits.deadline();
    let mut left = limits.clone();
    let mut modules = BTreeMap::new();
    for name in order {
        let ast = parsed.remove(&name).expect("the order names parsed files, each once");
        if let Some(module) = evaluate_file(&name, ast, &modules, &mut left, deadline, collector) {
            modules.insert(name, module);
        }
    }
    // Also with errors left by natives: the checks find more to tell.
    let module = modules.remove(ROOT_FILE)?;
    Some(Root { module, statements })
}

/// Whether a text may be given to the parser.
pub(crate) fn readable(text: &str) -> bool {
    text.len() <= FILE_MAX && super::nesting::too_deep(text).is_none()
}

/// Reads a text. On a thread of [`stack::deep`].
#[expect(clippy::result_large_err, reason = "a file is read once, and what is wrong with it is kept as it is")]
pub(crate) fn parse(name: &str, text: &str) -> Result<AstModule, Diagnostic> {
    if text.len() > FILE_MAX {
        let message = format!("{name} is larger than {} KiB", FILE_MAX >> 10);
        return Err(Diagnostic { file: name.to_owned(), ..Diagnostic::error(message) });
    }
    if let Some(line) = super::nesting::too_deep(text) {
        let message = "this is nested too deep to be read";
        return Err(Diagnostic { file: name.to_owned(), line, ..Diagnostic::error(message) });
    }
    AstModule::parse(name, text.to_owned(), &dialect()).map_err(|error| Diagnostic::from_starlark(&error))
}

/// Files of the project that a text loads, as far as it can be read.
pub(crate) fn loaded_paths(name: &str, text: &str) -> Vec<String> {
    if !readable(text) {
        return vec![];
    }
    let paths = || {
        let Ok(ast) = AstModule::parse(name, text.to_owned(), &dialect()) else { return vec![] };
        let own = ast.loads().into_iter().filter(|l| !l.module_id.starts_with(library::PREFIX));
        own.filter_map(|l| resolve(name, l.module_id)).collect()
    };
    stack::deep(paths).unwrap_or_default()
}

struct Parsing<'a> {
    files: &'a Files,
    collector: &'a Collector,
    parsed: BTreeMap<String, AstModule>,
    /// Loaded before loading.
    order: Vec<String>,
    /// The chain of files that led here.
    open: Vec<String>,
}

impl Parsing<'_> {
    fn visit(&mut self, name: &str) {
        let mut ast = match parse(name, &self.files.0[name]) {
            Ok(ast) => ast,
            Err(found) => return self.collector.report(found),
        };
        if let Some((span, hint)) = guards::unguarded(&ast) {
            let message = "an assignment with this operator is not possible here: its result could not be bounded";
            self.collector.report(Diagnostic::error(message).at(Some(&span)).hint(hint));
        }
        guards::install(&mut ast);
        let loads: Vec<_> = ast.loads().iter().map(|l| (l.module_id.to_owned(), l.span.clone())).collect();
        self.parsed.insert(name.to_owned(), ast);
        self.open.push(name.to_owned());
        let mut seen = BTreeSet::new();
        for (path, span) in loads {
            if let Some(built_in) = path.strip_prefix(library::PREFIX) {
                if library::text(built_in).is_none() {
                    let near = names::nearest(built_in, library::names())
                        .map(|n| format!("did you mean \"{}{n}\"?", library::PREFIX));
                    let message = format!("the built-in library has no file {built_in:?}");
                    self.collector.report(Diagnostic::error(message).at(Some(&span)).maybe_hint(near));
                }
                continue;
            }
            match resolve(name, &path).filter(|target| self.files.0.contains_key(target)) {
                None => self.collector.report(self.missing(name, &path).at(Some(&span))),
                Some(target) if self.open.contains(&target) => {
                    let chain = self.open.iter().skip_while(|f| **f != target).cloned().chain([target.clone()]);
                    let chain: Vec<_> = chain.collect();
                    let message = format!("files load each other in a circle: {}", chain.join(" → "));
                    let hint = "move what both need into a third file";
                    self.collector.report(Diagnostic::error(message).at(Some(&span)).hint(hint));
                }
                Some(target) if self.parsed.contains_key(&target) || !seen.insert(target.clone()) => {}
                Some(target) => self.visit(&target),
            }
        }
        self.open.pop();
        self.order.push(name.to_owned());
    }

    fn missing(&self, from: &str, path: &str) -> Diagnostic {
        if let Some(package) = path.strip_prefix('@').and_then(|p| p.split_once("//")).map(|(p, _)| p) {
            let message = format!("there is no file {path:?}");
            let hint = format!(
                "{:?} is a vendored package: its files are in the folder {}/{package} of the project",
                format!("@{package}"),
                super::paths::PACKAGES
            );
            return Diagnostic::error(message).hint(hint);
        }
        let known = self.files.0.keys().map(String::as_str).filter(|f| *f != from && *f != ROOT_FILE);
        let beside = resolve(from, &format!("./{path}")).filter(|f| self.files.0.contains_key(f));
        let hint = match (beside, names::nearest(path, known.clone())) {
            (Some(_), _) => format!("to load the file beside this one, write \"./{path}\""),
            (None, Some(near)) => format!("did you mean {near:?}?"),
            (None, None) => {
                let list = known.take(10).collect::<Vec<_>>().join(", ");
                let list = if list.is_empty() { "none".to_owned() } else { list };
                format!("paths begin at the project's folder, or with ./ at this file's; other files: {list}")
            }
        };
        Diagnostic::error(format!("the project has no file {path:?}")).hint(hint)
    }
}

fn evaluate_file(
    name: &str,
    ast: AstModule,
    modules: &BTreeMap<String, FrozenModule>,
    left: &mut Limits,
    deadline: Instant,
    collector: &Collector,
) -> Option<FrozenModule> {
    let loader = Loaded { from: name, modules };
    // A file that needs a broken one would only tell the same again.
    if ast.loads().iter().any(|l| loader.find(l.module_id).is_none()) {
        return None;
    }
    let result = Module::with_temp_heap(|module| {
        {
            let mut eval = Evaluator::new(&module);
            left.apply(&mut eval, deadline);
            // It would go as deep as values hold each other, and before they are looked at.
            eval.disable_gc();
            eval.set_loader(&loader);
            eval.extra = Some(collector);
            let result = eval.eval_module(ast, globals()).map(|_| ());
            left.ticks = left.ticks.saturating_sub(eval.get_total_tick_count()).max(1);
            result?;
        }
        stack::may_be_kept(module.heap())?;
        let frozen = module.freeze_named(FrozenHeapName::User(Box::new(name.to_owned())));
        frozen.map_err(|e| starlark::Error::new_other(anyhow::anyhow!("{name} cannot be kept: {e:?}")))
    });
    let tell = |error: starlark::Error| {
        let diagnostic = Diagnostic::from_starlark(&error);
        // A limit is hit nowhere in particular, but in this file.
        let placed = !diagnostic.source_line.is_empty();
        collector.report(if placed { diagnostic } else { Diagnostic { file: name.to_owned(), ..diagnostic } });
    };
    result.map_err(tell).ok()
}

/// Answers `load` with files that are already evaluated.
struct Loaded<'a> {
    from: &'a str,
    modules: &'a BTreeMap<String, FrozenModule>,
}

impl Loaded<'_> {
    fn find(&self, path: &str) -> Option<FrozenModule> {
        match path.strip_prefix(library::PREFIX) {
            Some(built_in) => library::module(built_in).ok(),
            None => self.modules.get(&resolve(self.from, path)?).cloned(),
        }
    }
}

impl FileLoader for Loaded<'_> {
    fn load(&self, path: &str) -> starlark::Result<FrozenModule> {
        let missing = || starlark::Error::new_other(anyhow::anyhow!("the project has no file {path:?}"));
        self.find(path).ok_or_else(missing)
    }
}
