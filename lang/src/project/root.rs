//! The configuration itself: the dict `c` (or `BuildmasterConfig`) and its keys.

use crate::definition::Definition;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::loader::Root;
use crate::host::site::Site;
use crate::names;
use crate::values::convert;
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::{Kind, Type};
use crate::values::tree::{self, Tree};
use crate::vocabulary::remedy::remedy;
use starlark::codemap::{FileSpan, Pos, Span};
use starlark::values::dict::DictRef;
use starlark::values::{OwnedFrozenValue, Value};

/// Keys, and what they hold.
pub(crate) const KEYS: [(&str, &str); 22] = [
    (
        "workers",
        "List of `worker.Worker`. If it has any, builders may name only these; without it, every enrolled worker.",
    ),
    ("builders", "List of `util.BuilderConfig`."),
    ("schedulers", "List of schedulers."),
    ("change_source", "A change source, or a list of them."),
    ("title", "The project's name, in notices."),
    ("titleURL", "Its address."),
    ("buildbotURL", "The address of the pages, for links in notices."),
    (
        "timezone",
        "The time zone of `schedulers.Nightly` where it names none, such as `\"Europe/Berlin\"`; the default is UTC.",
    ),
    ("properties", "Dict of properties that every build has."),
    (
        "collapseRequests",
        "`True`, `False`, a function or a `util.CollapseKey`: whether older waiting requests of a builder are merged into newer ones; for builders that do not say.",
    ),
    (
        "prioritizeBuilders",
        "Function of the master and a list of builders that returns them in the order in which they get workers; those left out get none.",
    ),
    (
        "select_next_worker",
        "Function of the builder, the free workers and the request that returns the worker; for builders without `nextWorker`.",
    ),
    (
        "codebaseGenerator",
        "Function of a change, as a dict, that returns the name of its codebase, for changes that name none.",
    ),
    (
        "revlink",
        "`util.RevlinkMatch`, a list of them, or a function of revision and repository: how revisions become links.",
    ),
    ("locks", "List of locks that only functions name; others are found where they are used."),
    ("projects", "List of `util.Project`."),
    ("services", "List of reporters, which tell people and other systems what happens, and of cancellers."),
    ("secretsProviders", "List of `secrets.…`: where secrets come from."),
    ("logMaxSize", "Bytes of a log that are kept at its head, for commands that do not say."),
    ("logMaxTailSize", "Bytes of a log that are kept at its tail, for commands that do not say."),
    (
        "www",
        "Dict of `change_hook_dialects`, the hooks that may announce changes, and `change_hook_auth`, who may use them; see docs/hooks.md.",
    ),
    ("machines", "No effect: workers are started as their own definitions say."),
];
const OLD_KEYS: [(&str, &str); 4] = [
    ("slaves", "workers"),
    ("sources", "change_source"),
    ("mergeRequests", "collapseRequests"),
    ("status", "services"),
];
/// Buildbot's keys that come later.
const LATER_KEYS: [&str; 4] = ["changeHorizon", "codebases", "configurators", "validation"];
/// Buildbot's keys that are no matter of the project file here: they may stay, without an effect.
const FOREIGN_KEYS: [(&str, &str); 13] = [
    ("multiMaster", "masters are always many"),
    ("user_managers", "people are managed by `tidemill user`"),
    ("buildbotNetUsageData", "Tidemill reports to nobody"),
    ("caches", "Tidemill sizes its caches itself"),
    ("db", "the master's own settings name the database"),
    ("db_url", "the master's own settings name the database"),
    ("logCompressionLimit", "logs are always compressed"),
    ("logCompressionMethod", "logs are always compressed"),
    ("logEncoding", "logs keep their bytes"),
    ("manhole", "there is no prompt inside the master"),
    ("metrics", "there is nothing of it to set"),
    ("mq", "masters meet in the database alone"),
    ("protocols", "workers connect to the master's own address"),
];

/// The configuration's dict, frozen.
pub(super) struct Config {
    dict: OwnedFrozenValue,
    /// The variable's name.
    variable: &'static str,
    statements: Vec<FileSpan>,
}

impl Config {
    /// Finds the dict; otherwise says what a file needs.
    pub fn find(root: Root, collector: &Collector) -> Option<Config> {
        let variables = ["BuildmasterConfig", "c"];
        let values = variables.map(|name| root.module.get_any_visibility(name).ok().map(|(value, _)| (name, value)));
        let [named, short] = values;
        if let (Some((_, a)), Some((_, b))) = (&named, &short) {
            let both = DictRef::from_value(a.value()).is_some() && DictRef::from_value(b.value()).is_some();
            if both && !a.value().ptr_eq(b.value()) {
                let message = "`c` and `BuildmasterConfig` are two different dicts";
                let span = statement_of(&root.statements, "BuildmasterConfig");
                let hint = "write BuildmasterConfig = c, or use only one of them";
                collector.report(Diagnostic::error(message).at(span.as_ref()).hint(hint));
            }
        }
        let Some((variable, dict)) = named.or(short) else {
            let hint = "begin with: c = {}\nthen set c[\"builders\"], c[\"schedulers\"] and so on";
            collector.report(Diagnostic::error("the file does not define `c`, the configuration").hint(hint));
            return None;
        };
        if DictRef::from_value(dict.value()).is_none() {
            let got = Tree::of(dict.value()).describe();
            let message = format!("`{variable}` must be a dict, got {got}");
            let span = statement_of(&root.statements, variable);
            collector.report(Diagnostic::error(message).at(span.as_ref()).hint("begin with: c = {}"));
            return None;
        }
        Some(Config { dict, variable, statements: root.statements })
    }

    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let dict = DictRef::from_value(self.dict.value())?;
        let old = OLD_KEYS.iter().filter(|(_, new)| *new == key).map(|(old, _)| *old);
        std::iter::once(key).chain(old).find_map(|k| dict.get_str(k))
    }

    /// Holds on to a value of the configuration.
    pub fn own(&self, value: Value<'_>) -> Option<OwnedFrozenValue> {
        let frozen = value.unpack_frozen()?;
        Some(self.dict.map(|_| frozen))
    }

    /// Where `c["key"]` is set, as well as it can be told.
    pub fn key_span(&self, key: &str) -> Option<FileSpan> {
        let names = ["c", "BuildmasterConfig", self.variable];
        let quoted = [format!("\"{key}\""), format!("'{key}'")];
        let sets = |text: &str, name: &str| {
            let rest = text.strip_prefix(name).and_then(|r| r.trim_start().strip_prefix('['));
            rest.is_some_and(|r| quoted.iter().any(|q| r.trim_start().starts_with(q)))
        };
        let by_key = self.statements.iter().find(|s| names.iter().any(|n| sets(s.source_span(), n)));
        if let Some(span) = by_key {
            let length = span.source_span().find(']').map_or(1, |i| i + 1);
            return Some(part(span, 0, length));
        }
        // In a literal: c = {"key": …}.
        let literal = |s: &&FileSpan| names.iter().any(|n| assigns(s.source_span(), n));
        let span = self.statements.iter().find(literal)?;
        let at = quoted.iter().find_map(|q| span.source_span().find(q.as_str()))?;
        Some(part(span, at, key.len() + 2))
    }

    pub fn report(&self, key: &str, diagnostic: Diagnostic, collector: &Collector) {
        collector.report(diagnostic.at(self.key_span(key).as_ref()));
    }

    /// The values under `key`, each of which must be one of `kind`.
    pub fn descriptors(&self, key: &str, wanted: fn(Kind) -> bool, what: &str, collector: &Collector) -> Vec<Item<'_>> {
        let Some(value) = self.get(key) else { return vec![] };
        let single = [value];
        let items = match tree::items(value) {
            Some(items) => items,
            None if ["change_source", "revlink"].contains(&key) && !value.is_none() => &single,
            None => {
                if !matches!(Tree::of(value), Tree::None | Tree::Broken) {
                    let message = format!("c[\"{key}\"] must be a list of {what}, got {}", Tree::of(value).describe());
                    let one = Descriptor::from_value(value).is_some_and(|d| wanted(d.kind()));
                    let hint =
                        if one { Some(format!("put it in brackets: c[\"{key}\"] = […]")) } else { example(key) };
                    self.report(key, Diagnostic::error(message).maybe_hint(hint), collector);
                }
                return vec![];
            }
        };
        let mut found = vec![];
        for (i, item) in items.iter().enumerate() {
            match Descriptor::from_value(*item) {
                Some(descriptor) if wanted(descriptor.kind()) => found.push(Item::Made(descriptor)),
                // C-42: a builder may be a dict.
                None if key == "builders" && DictRef::from_value(*item).is_some() => {
                    found.extend(super::dicts::builder(self, i, *item, collector).map(|d| Item::Dict(Box::new(d))));
                }
                other => {
                    let tree = Tree::of(*item);
                    if matches!(tree, Tree::Broken) {
                        continue;
                    }
                    let place = if tree::items(value).is_some() {
                        format!("c[\"{key}\"][{i}]")
                    } else {
                        format!("c[\"{key}\"]")
                    };
                    let message = format!("{place} must be one of {what}, got {}", tree.describe());
                    let mut diagnostic = Diagnostic::error(message).maybe_hint(example(key));
                    if let Some(descriptor) = other {
                        diagnostic = diagnostic.notes([format!("it was made at {}", descriptor.site.location())]);
                    }
                    self.report(key, diagnostic, collector);
                }
            }
        }
        found
    }
}

/// A descriptor of the configuration, made by a constructor or read from a dict.
pub(super) enum Item<'a> {
    Made(&'a Descriptor<'a>),
    Dict(Box<Descriptor<'a>>),
}

impl<'a> std::ops::Deref for Item<'a> {
    type Target = Descriptor<'a>;

    fn deref(&self) -> &Descriptor<'a> {
        match self {
            Item::Made(descriptor) => descriptor,
            Item::Dict(descriptor) => descriptor,
        }
    }
}

/// A definition, the place that it was made at, and the arguments it was read from.
pub(super) struct Entry<D> {
    pub definition: D,
    pub site: Site,
    pub trees: Trees,
}

fn part(span: &FileSpan, at: usize, length: usize) -> FileSpan {
    let begin = span.span.begin().get() + at as u32;
    FileSpan { file: span.file.clone(), span: Span::new(Pos::new(begin), Pos::new(begin + length as u32)) }
}

fn assigns(statement: &str, name: &str) -> bool {
    statement.strip_prefix(name).is_some_and(|r| r.trim_start().starts_with('='))
}

fn statement_of(statements: &[FileSpan], variable: &str) -> Option<FileSpan> {
    statements.iter().find(|s| assigns(s.source_span(), variable)).map(|s| part(s, 0, variable.len()))
}

/// Reads the plain keys and reports the unknown ones.
pub(super) fn read(config: &Config, collector: &Collector) -> Definition {
    let dict = DictRef::from_value(config.dict.value()).expect("it was a dict when it was found");
    for (key, _) in dict.iter() {
        match key.unpack_str() {
            Some(key) => check_key(config, key, collector),
            None => {
                let message = format!("keys of `{}` are strings, got {}", config.variable, Tree::of(key).describe());
                let span = statement_of(&config.statements, config.variable);
                collector.report(Diagnostic::error(message).at(span.as_ref()));
            }
        }
    }
    let text = |key: &str| plain(config, key, convert::TEXT, collector).and_then(|t| convert::text(&t));
    let properties = plain(config, "properties", convert::PROPERTIES, collector);
    let collapse = config.get("collapseRequests").map(Tree::of).and_then(|t| convert::boolean(&t));
    let count = |key: &str| plain(config, key, convert::COUNT, collector).and_then(|t| convert::count(&t)).flatten();
    Definition {
        title: text("title").unwrap_or_default(),
        title_url: text("titleURL").unwrap_or_default(),
        buildbot_url: text("buildbotURL").unwrap_or_default(),
        properties: properties.and_then(|t| convert::properties(&t)).unwrap_or_default(),
        collapse_requests: collapse,
        log_max_size: count("logMaxSize"),
        log_max_tail_size: count("logMaxTailSize"),
        ..Definition::default()
    }
}

/// A key with a plain value of the type.
pub(super) fn plain(config: &Config, key: &str, ty: Type, collector: &Collector) -> Option<Tree> {
    let tree = Tree::of(config.get(key)?);
    if tree.has_broken() {
        return None;
    }
    match ty.mismatch(&tree) {
        None => Some(tree),
        Some(why) => {
            let right = remedy(&format!("c[\"{key}\"]"), ty, &tree);
            config.report(key, Diagnostic::error(format!("c[\"{key}\"] {why}")).maybe_hint(right), collector);
            None
        }
    }
}

fn check_key(config: &Config, key: &str, collector: &Collector) {
    if KEYS.iter().any(|(k, _)| *k == key) {
        return;
    }
    if let Some((_, new)) = OLD_KEYS.iter().find(|(old, _)| *old == key) {
        let message = format!("c[\"{key}\"] is an old name of c[\"{new}\"]");
        return config.report(key, Diagnostic::warning(message), collector);
    }
    if let Some((_, why)) = FOREIGN_KEYS.iter().find(|(name, _)| *name == key) {
        let message = format!("c[\"{key}\"] has no effect: {why}");
        return config.report(key, Diagnostic::warning(message), collector);
    }
    if LATER_KEYS.contains(&key) {
        let message = format!("c[\"{key}\"] is not in this release; it comes with a later one");
        return config.report(key, Diagnostic::error(message).hint("take it out to go on"), collector);
    }
    let hint = match names::nearest(key, KEYS.iter().map(|(k, _)| *k)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys are {}", KEYS.map(|(k, _)| k).join(", ")),
    };
    let message = format!("c has no key `{key}`");
    config.report(key, Diagnostic::error(message).hint(hint), collector);
}

/// What the list under a key looks like.
fn example(key: &str) -> Option<String> {
    let item = match key {
        "builders" => "util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = factory)",
        "change_source" => "changes.GitPoller(\"https://example.org/r.git\", branches = [\"main\"])",
        "projects" => "util.Project(name = \"example\")",
        "schedulers" => "schedulers.SingleBranchScheduler(name = \"main\", builderNames = [\"linux\"])",
        "workers" => "worker.Worker(\"w1\")",
        _ => return None,
    };
    Some(format!("as in c[\"{key}\"] = [{item}]"))
}
