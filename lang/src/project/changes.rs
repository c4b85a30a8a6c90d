//! `c["change_source"]`.

use super::root::{Config, Entry};
use crate::definition::{Branches, ChangeSourceDef, ChangeSourceKind, GitPollerDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::values::convert::{boolean, optional_text, seconds, text, texts};
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::Kind;
use crate::values::tree::Tree;
use tidemill_model::repository::public_url;

/// Ten minutes, as in Buildbot.
const POLL_INTERVAL_US: u64 = 600_000_000;

pub(super) fn read(config: &Config, collector: &Collector) -> Vec<Entry<ChangeSourceDef>> {
    let found = config.descriptors("change_source", Kind::ChangeSource, "changes.GitPoller", collector);
    found.into_iter().map(|descriptor| git_poller(descriptor, collector)).collect()
}

fn git_poller(descriptor: &Descriptor<'_>, collector: &Collector) -> Entry<ChangeSourceDef> {
    let trees = descriptor.trees(collector);
    let plain = |name: &str| trees.get(name, text).unwrap_or_default();
    let repourl = plain("repourl");
    if repourl.trim().is_empty() && trees.by_name.contains_key("repourl") {
        let message = "`repourl` of changes.GitPoller is empty";
        collector.report(descriptor.site.place_argument("repourl", Diagnostic::error(message)));
    }
    let poller = GitPollerDef {
        branches: branches(descriptor, &trees, collector),
        poll_interval_us: trees.get("pollInterval", seconds).flatten().unwrap_or(POLL_INTERVAL_US),
        build_pushes_with_no_commits: trees.get("buildPushesWithNoCommits", boolean).unwrap_or(false),
        project: plain("project"),
        codebase: plain("codebase"),
        category: trees.get("category", optional_text).flatten(),
        repourl,
    };
    let definition = ChangeSourceDef {
        name: trees.get("name", text).unwrap_or_else(|| format!("GitPoller {}", public_url(&poller.repourl))),
        kind: ChangeSourceKind::GitPoller(poller),
        location: descriptor.site.location(),
    };
    Entry { definition, site: descriptor.site.clone(), trees }
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
