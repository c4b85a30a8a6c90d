//! `c["change_source"]`.

use super::root::{Config, Entry};
use super::{Source, engines};
use crate::definition::{Branches, ChangeSourceDef, ChangeSourceKind, CustomPollerDef, GitPollerDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::policies::Function;
use crate::values::convert::{boolean, optional_text, properties, seconds, text, texts};
use crate::values::declare;
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::{Kind, SourceKind};
use crate::values::tree::Tree;
use starlark::values::Value;
use tidemill_model::repository::public_url;

/// Ten minutes, as in Buildbot.
const POLL_INTERVAL_US: u64 = 600_000_000;

pub(super) fn read(config: &Config, collector: &Collector) -> Vec<(Entry<ChangeSourceDef>, Source)> {
    let found = config.descriptors(
        "change_source",
        |k| matches!(k, Kind::ChangeSource(_)),
        "changes.GitPoller and its like",
        collector,
    );
    found.iter().map(|descriptor| source(config, descriptor, collector)).collect()
}

fn source(config: &Config, descriptor: &Descriptor<'_>, collector: &Collector) -> (Entry<ChangeSourceDef>, Source) {
    let trees = descriptor.trees(collector);
    let repourl = trees.get("repourl", text).unwrap_or_default();
    if repourl.trim().is_empty() && trees.by_name.contains_key("repourl") {
        let message = format!("`repourl` of {} is empty", descriptor.spec.name);
        collector.report(descriptor.site.place_argument("repourl", Diagnostic::error(message)));
    }
    let short = descriptor.spec.short();
    let name = trees.get("name", text).unwrap_or_else(|| match repourl.as_str() {
        "" => short.to_owned(),
        url => format!("{short} {}", public_url(url)),
    });
    let kind = match descriptor.kind() {
        Kind::ChangeSource(SourceKind::Git) => {
            ChangeSourceKind::GitPoller(git_poller(descriptor, &trees, repourl, collector))
        }
        Kind::ChangeSource(SourceKind::Custom) => ChangeSourceKind::Custom(custom(&trees)),
        _ => ChangeSourceKind::Declared(declare::declared(descriptor, &["name"])),
    };
    if !engines::runs_source(kind.name()) {
        collector.report(descriptor.site.place(engines::warning(descriptor.spec.name)));
    }
    let own = |value: Value<'_>| config.own(value);
    let function = |name: &str| Function::of(descriptor, name, &own);
    let source = Source { split_file: function("split_file"), category: function("category"), poll: function("poll") };
    let definition = ChangeSourceDef { name, kind, location: descriptor.site.location() };
    (Entry { definition, site: descriptor.site.clone(), trees }, source)
}

fn custom(trees: &Trees) -> CustomPollerDef {
    let plain = |name: &str| trees.get(name, text).unwrap_or_default();
    CustomPollerDef {
        poll_interval_us: trees.get("pollInterval", seconds).flatten().unwrap_or(POLL_INTERVAL_US),
        poll_at_launch: trees.get("pollAtLaunch", boolean).unwrap_or(false),
        project: plain("project"),
        codebase: plain("codebase"),
        category: trees.get("category", optional_text).flatten(),
        attrs: trees.get("attrs", properties).unwrap_or_default(),
    }
}

fn git_poller(descriptor: &Descriptor<'_>, trees: &Trees, repourl: String, collector: &Collector) -> GitPollerDef {
    let plain = |name: &str| trees.get(name, text).unwrap_or_default();
    GitPollerDef {
        branches: branches(descriptor, trees, collector),
        poll_interval_us: trees.get("pollInterval", seconds).flatten().unwrap_or(POLL_INTERVAL_US),
        build_pushes_with_no_commits: trees.get("buildPushesWithNoCommits", boolean).unwrap_or(false),
        project: plain("project"),
        codebase: plain("codebase"),
        category: trees.get("category", optional_text).flatten(),
        repourl,
    }
}

fn branches(descriptor: &Descriptor<'_>, trees: &Trees, collector: &Collector) -> Branches {
    let single = trees.get("branch", optional_text).flatten();
    let report = |argument: &str, message: &str| {
        collector.report(descriptor.site.place_argument(argument, Diagnostic::error(message)));
    };
    match trees.by_name.get("branches") {
        Some(_) if single.is_some() => {
            report("branch", "changes.GitPoller has both `branch` and `branches`");
            Branches::Default
        }
        Some(Tree::Bool(true)) => Branches::All,
        Some(list) => {
            let names = texts(list).unwrap_or_default();
            if names.is_empty() || names.iter().any(|n| n.trim().is_empty()) {
                report("branches", "`branches` of changes.GitPoller names no branch, or an empty one");
            }
            Branches::Named(names)
        }
        None => single.map_or(Branches::Default, |branch| Branches::Named(vec![branch])),
    }
}
