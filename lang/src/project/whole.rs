//! Keys of the configuration about the project as a whole: policies, links,
//! locks, projects, services, secrets.

use super::root::Config;
use super::{cancellers, engines, reporters};
use crate::definition::{Definition, LockDef, ProjectDef, RevlinkDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::natives;
use crate::policies::{CollapseRule, Function, Global, RevlinkRule};
use crate::values::convert::{self, boolean, optional_text, patterns, text};
use crate::values::declare;
use crate::values::descriptor::Descriptor;
use crate::values::spec::Kind;
use crate::values::tree::{self, Tree};
use starlark::values::Value;

/// Fills in the definition, and gives what is called later.
pub(super) fn read(
    config: &Config,
    definition: &mut Definition,
    locks: &mut Vec<LockDef>,
    collector: &Collector,
) -> (Global, Services) {
    let global = Global {
        collapse: collapse(config, collector),
        prioritize_builders: function(config, "prioritizeBuilders", collector),
        select_next_worker: function(config, "select_next_worker", collector),
        codebase_generator: function(config, "codebaseGenerator", collector),
        revlinks: revlinks(config, definition, collector),
        hooks: super::hooks::read(config, definition, collector),
    };
    for key in engines::PROJECT_KEYS.iter().filter(|k| config.get(k).is_some_and(|v| Tree::of(v).truth())) {
        config.report(key, engines::warning(&format!("c[\"{key}\"]")), collector);
    }
    definition.collapse = global.collapse.as_ref().map(CollapseRule::kind);
    definition.prioritize_builders = global.prioritize_builders.is_some();
    definition.select_next_worker = global.select_next_worker.is_some();
    definition.codebase_generator = global.codebase_generator.is_some();
    for item in config.get("locks").and_then(tree::items).unwrap_or_default() {
        match Descriptor::from_value(*item).filter(|d| d.kind() == Kind::Lock) {
            Some(_) => locks.extend(crate::values::lock::lock(*item)),
            None => {
                let message = format!("c[\"locks\"] must be a list of locks, got {}", Tree::of(*item).describe());
                config.report("locks", Diagnostic::error(message), collector);
            }
        }
    }
    for entry in config.descriptors("projects", |k| k == Kind::ProjectEntry, "util.Project", collector).iter() {
        let trees = entry.trees(collector);
        let optional = |name: &str| trees.get(name, optional_text).flatten();
        definition.projects.push(ProjectDef {
            name: trees.get("name", text).unwrap_or_default(),
            slug: optional("slug"),
            description: optional("description"),
            description_format: optional("description_format"),
            share: trees.get("share", convert::positive).flatten().map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            public: trees.get("public", convert::boolean),
            location: entry.site.location(),
        });
    }
    let mut found = Services::default();
    let service = |k: Kind| matches!(k, Kind::Reporter | Kind::Canceller);
    for service in config.descriptors("services", service, "reporters or cancellers", collector).iter() {
        if service.kind() == Kind::Canceller {
            found.cancellers.push(cancellers::read(config, service, collector));
            continue;
        }
        if engines::runs_reporter(service.spec.short()) {
            found.reporters.extend(reporters::read(config, service, collector));
            continue;
        }
        collector.report(service.site.place(engines::warning(service.spec.name)));
        definition.services.push(declare::declared(service, &["name"]));
    }
    let secrets = config.descriptors("secretsProviders", |k| k == Kind::SecretsProvider, "secrets", collector);
    for provider in secrets.iter() {
        if !engines::runs_provider(provider.spec.short()) {
            collector.report(provider.site.place(engines::warning(provider.spec.name)));
        }
        definition.secrets_providers.push(declare::declared(provider, &["name"]));
    }
    (global, found)
}

/// What runs of `c["services"]`.
#[derive(Default)]
pub(super) struct Services {
    pub cancellers: Vec<cancellers::Found>,
    pub reporters: Vec<reporters::Found>,
}

impl Services {
    pub fn check(&self, definition: &Definition, collector: &Collector) {
        cancellers::check(&self.cancellers, &definition.builders, collector);
        let declared = definition.services.iter().map(|s| s.name.as_str());
        let known = reporters::Known {
            builders: &definition.builders,
            schedulers: definition.schedulers.iter().map(|s| s.name.as_str()).collect(),
            workers: definition.workers.iter().map(|w| w.name.as_str()).collect(),
            services: self.cancellers.iter().map(|c| c.definition.name.as_str()).chain(declared).collect(),
        };
        reporters::check(&self.reporters, &known, collector);
    }
}

/// The site of a key.
fn site(config: &Config, key: &str) -> Site {
    Site { span: config.key_span(key), trace: vec![] }
}

fn function(config: &Config, key: &str, collector: &Collector) -> Option<Function> {
    let value = config.get(key).filter(|v| !v.is_none())?;
    match Tree::of(value) {
        Tree::Function => Some(Function::new(config.own(value)?, site(config, key), key)),
        Tree::Broken => None,
        other => {
            let message = format!("c[\"{key}\"] must be a function, got {}", other.describe());
            config.report(key, Diagnostic::error(message), collector);
            None
        }
    }
}

fn collapse(config: &Config, collector: &Collector) -> Option<CollapseRule> {
    let key = "collapseRequests";
    let value = config.get(key)?;
    let tree = Tree::of(value);
    if let Some(why) = convert::COLLAPSE.mismatch(&tree).filter(|_| !tree.has_broken()) {
        config.report(key, Diagnostic::error(format!("c[\"{key}\"] {why}")), collector);
        return None;
    }
    match (&tree, boolean(&tree)) {
        (_, Some(yes)) => Some(if yes { CollapseRule::Compatible } else { CollapseRule::Never }),
        (Tree::Function, _) => Some(CollapseRule::Predicate(Function::new(config.own(value)?, site(config, key), key))),
        _ => {
            let own = |v: Value<'_>| config.own(v);
            Function::of(Descriptor::from_value(value)?, "function", &own).map(CollapseRule::Key)
        }
    }
}

fn revlinks(config: &Config, definition: &mut Definition, collector: &Collector) -> Vec<RevlinkRule> {
    let key = "revlink";
    let Some(value) = config.get(key) else { return vec![] };
    if matches!(Tree::of(value), Tree::Function) {
        definition.revlinks.push(RevlinkDef::Function);
        let function = config.own(value).map(|f| RevlinkRule::Function(Function::new(f, site(config, key), key)));
        return function.into_iter().collect();
    }
    let mut rules = vec![];
    for entry in config.descriptors(key, |k| k == Kind::Revlink, "util.RevlinkMatch", collector).iter() {
        let trees = entry.trees(collector);
        let link = trees.get("revlink", text).unwrap_or_default();
        for pattern in trees.get("repo_urls", patterns).unwrap_or_default() {
            match natives::compile(&pattern) {
                Ok(repository) => {
                    definition.revlinks.push(RevlinkDef::Template { repository: pattern, link: link.clone() });
                    rules.push(RevlinkRule::Template { repository, link: link.clone() });
                }
                Err(why) => {
                    let message = format!("`repo_urls` is not a regular expression that can be used: {why}");
                    collector.report(entry.site.place_argument("repo_urls", Diagnostic::error(message)));
                }
            }
        }
    }
    rules
}

/// Each lock once; two of one name must be the same.
pub(super) fn unique_locks(locks: Vec<LockDef>, collector: &Collector) -> Vec<LockDef> {
    let mut unique: Vec<LockDef> = vec![];
    for lock in locks {
        match unique.iter().find(|l| l.name == lock.name) {
            None => unique.push(lock),
            Some(first)
                if LockDef { location: String::new(), ..first.clone() }
                    == LockDef { location: String::new(), ..lock.clone() } => {}
            Some(first) => {
                let message = format!(
                    "there are two different locks named `{}`, at {} and {}",
                    lock.name, first.location, lock.location
                );
                let hint = "make the lock once, and use that value everywhere";
                let mut diagnostic = Diagnostic::error(message).hint(hint);
                if let Some((file, line)) = lock.location.rsplit_once(':') {
                    diagnostic.file = file.to_owned();
                    diagnostic.line = line.parse().unwrap_or(1);
                }
                collector.report(diagnostic);
            }
        }
    }
    unique
}

/// Names of all secrets that a definition mentions.
pub(super) fn secrets(definition: &Definition) -> Vec<String> {
    let json = serde_json::to_value(definition).unwrap_or_default();
    let mut found = vec![];
    declare::secrets(&json, &mut found);
    found.sort();
    found.dedup();
    found
}
