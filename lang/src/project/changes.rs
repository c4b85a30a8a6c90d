//! `c["change_source"]`.

use super::root::{Config, Entry};
use super::{Source, engines};
use crate::definition::{
    Branches, ChangeSourceDef, ChangeSourceKind, CustomPollerDef, GitCredentials, GitPollerDef, Login, SecretText,
};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::policies::Function;
use crate::values::convert::{boolean, optional_text, properties, seconds, text, texts};
use crate::values::declare;
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::{Kind, SourceKind};
use crate::values::tree::Tree;
use starlark::values::Value;
use std::collections::BTreeMap;
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
    let said = |name: &str| trees.get(name, optional_text).flatten().unwrap_or_default();
    let name = trees.get("name", text).unwrap_or_else(|| match repourl.as_str() {
        "" => {
            // What tells two of a kind apart.
            let parts = ["owner", "repo", "slug", "maildir"].map(said).into_iter().filter(|p| !p.is_empty());
            match parts.collect::<Vec<_>>().join("/") {
                which if which.is_empty() => match said("baseURL") {
                    url if url.is_empty() => short.to_owned(),
                    url => format!("{short} {}", public_url(&url)),
                },
                which => format!("{short} {which}"),
            }
        }
        url => format!("{short} {}", public_url(url)),
    });
    let kind = match descriptor.kind() {
        Kind::ChangeSource(SourceKind::Git) => {
            ChangeSourceKind::GitPoller(git_poller(descriptor, &trees, repourl, collector))
        }
        Kind::ChangeSource(SourceKind::Custom) => ChangeSourceKind::Custom(custom(&trees)),
        _ => {
            secret_texts(descriptor, collector);
            ChangeSourceKind::Declared(declare::declared(descriptor, &["name"]))
        }
    };
    // Of Gerrit the log of events is read, not the stream.
    let streamed = kind.name() == "GerritChangeSource" && said("http_url").is_empty();
    if streamed || !engines::runs_source(kind.name()) {
        let what = if streamed { "changes.GerritChangeSource without `http_url`" } else { descriptor.spec.name };
        collector.report(descriptor.site.place(engines::warning(what)));
    }
    let own = |value: Value<'_>| config.own(value);
    let function = |name: &str| Function::of(descriptor, name, &own);
    let source = Source {
        split_file: function("split_file"),
        category: function("category"),
        project: function("project"),
        branches: function("branches"),
        pullrequest_filter: function("pullrequest_filter"),
        poll: function("poll"),
    };
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
    let function = |name: &str| matches!(trees.by_name.get(name), Some(Tree::Function));
    let delay = |name: &str| trees.get(name, seconds).flatten().unwrap_or(0);
    let (random_delay_min_us, random_delay_max_us) = (delay("pollRandomDelayMin"), delay("pollRandomDelayMax"));
    if random_delay_min_us > random_delay_max_us {
        let message = "`pollRandomDelayMin` of changes.GitPoller is above `pollRandomDelayMax`";
        collector.report(descriptor.site.place_argument("pollRandomDelayMin", Diagnostic::error(message)));
    }
    GitPollerDef {
        branches: branches(descriptor, trees, collector),
        poll_interval_us: trees.get("pollInterval", seconds).flatten().unwrap_or(POLL_INTERVAL_US),
        build_pushes_with_no_commits: trees.get("buildPushesWithNoCommits", boolean).unwrap_or(false),
        only_tags: trees.get("only_tags", boolean).unwrap_or(false),
        use_timestamps: trees.get("usetimestamps", boolean).unwrap_or(true),
        random_delay_min_us,
        random_delay_max_us,
        project: plain("project"),
        codebase: plain("codebase"),
        category: trees.get("category", optional_text).flatten(),
        project_function: function("project"),
        category_function: function("category"),
        credentials: git_credentials(descriptor, collector),
        repourl,
    }
}

/// What proves the poller to a server: texts, or secrets by name.
fn git_credentials(descriptor: &Descriptor<'_>, collector: &Collector) -> GitCredentials {
    let known = secret_texts(descriptor, collector);
    let get = |name: &str| known.get(name).filter(|v| !v.is_null()).cloned();
    let text = |name: &str| get(name).and_then(|v| serde_json::from_value(v).ok());
    let mut logins: Vec<Login> = Vec::new();
    if let Some((username, password)) =
        get("auth_credentials").and_then(|pair| serde_json::from_value::<(SecretText, SecretText)>(pair).ok())
    {
        logins.push(Login { url: None, username, password });
    }
    logins
        .extend(get("git_credentials").and_then(|l| serde_json::from_value::<Vec<Login>>(l).ok()).unwrap_or_default());
    GitCredentials {
        ssh_private_key: text("sshPrivateKey"),
        ssh_host_key: text("sshHostKey"),
        ssh_known_hosts: text("sshKnownHosts"),
        logins,
    }
}

/// Arguments that may be secret, as JSON. Of placeholders only secrets have a
/// value outside of a build.
fn secret_texts(descriptor: &Descriptor<'_>, collector: &Collector) -> BTreeMap<String, serde_json::Value> {
    fn other_placeholder(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(items) => items.iter().any(other_placeholder),
            serde_json::Value::Object(map) => {
                map.contains_key("$placeholder") || map.contains_key("$value") || map.values().any(other_placeholder)
            }
            _ => false,
        }
    }
    let names = descriptor.args.keys().filter(|name| descriptor.spec.type_of(name).is_some_and(|ty| ty.placeholder));
    let mut found = BTreeMap::new();
    for name in names {
        let Some(value) = descriptor.arg(name).map(declare::value) else { continue };
        if other_placeholder(&value) {
            let message = format!(
                "`{name}` of {} holds a placeholder that has no value outside of a build: use a string or a util.Secret",
                descriptor.spec.name
            );
            collector.report(descriptor.site.place_argument(name, Diagnostic::error(message)));
            continue;
        }
        found.insert(name.clone(), value);
    }
    found
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
        Some(Tree::Function) => Branches::Function,
        // Every tag, as in Buildbot, unless some are named.
        None | Some(Tree::None) if single.is_none() && trees.get("only_tags", boolean) == Some(true) => Branches::All,
        Some(Tree::None) => single.map_or(Branches::Default, |branch| Branches::Named(vec![branch])),
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
