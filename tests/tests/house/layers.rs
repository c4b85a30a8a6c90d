//! The order of crates, and what each must not reach.

use crate::none;
use crate::repository::{read, root};
use std::collections::BTreeSet;
use std::process::Command;
use toml::Table;

/// Crates that a member must not have among its normal dependencies, not even
/// through others, and why.
const FORBIDDEN: [(&str, &[&str], &str); 6] = [
    ("model", &["tokio", "reqwest", "hyper", "axum", "sqlx", "sqlx-core", "mio", "socket2"], "words do no IO"),
    (
        "lang",
        &["tokio", "reqwest", "hyper", "axum", "sqlx", "sqlx-core", "mio", "socket2"],
        "the same files must give the same project everywhere, so nothing there reaches outside",
    ),
    ("service", &["axum", "sqlx", "sqlx-core"], "what every daemon needs knows neither routes nor SQL"),
    ("schema", &["axum", "reqwest"], "SQL knows no routes"),
    ("sql", &["axum", "reqwest"], "reports know no routes"),
    (
        "worker",
        &["sqlx", "sqlx-core", "sqlx-postgres", "postgres-types", "axum", "tidemill-schema", "tidemill-master"],
        "a worker's machine gets no database client and opens no port",
    ),
];

/// Crates that nobody may bring in, and why. deny.toml says the same to cargo-deny.
const BANNED: [(&str, &str); 7] = [
    ("aws-lc-sys", "a second TLS provider and minutes of C to build; ring is the one (service::install_tls)"),
    ("aws-lc-rs", "the same"),
    ("openssl-sys", "TLS is rustls; no system library decides what we can speak"),
    ("openssl", "the same"),
    ("native-tls", "the same"),
    ("chrono", "`time` for columns, `jiff` for zones; a third kind of time is one too many"),
    ("rustls-pemfile", "archived"),
];

struct Member {
    folder: String,
    manifest: Table,
}

fn members() -> Vec<Member> {
    let workspace: Table = read("Cargo.toml").parse().expect("the root manifest is TOML");
    let folders = workspace["workspace"]["members"].as_array().expect("members is a list").clone();
    let folders = folders.iter().map(|m| m.as_str().expect("a member is a path").to_owned());
    folders
        .map(|folder| {
            let manifest = read(&format!("{folder}/Cargo.toml")).parse().expect("a member's manifest is TOML");
            Member { folder, manifest }
        })
        .collect()
}

#[test]
fn a_folder_is_the_crate_of_its_name() {
    none(
        "folder = crate tidemill-<folder>",
        members().iter().filter_map(|m| {
            let name = m.manifest["package"]["name"].as_str().unwrap_or_default();
            (name != format!("tidemill-{}", m.folder)).then(|| format!("{}: {name}", m.folder))
        }),
    );
}

#[test]
fn a_crate_depends_only_on_crates_above_it() {
    let members = members();
    let mut wrong = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let above: BTreeSet<String> = members[..at].iter().map(|m| format!("tidemill-{}", m.folder)).collect();
        // Dev-dependencies are exempt: a test may use what stands below.
        for name in dependencies(&member.manifest).into_iter().filter(|d| d.starts_with("tidemill-")) {
            if !above.contains(&name) {
                wrong.push(format!("{} depends on {name}, which does not stand above it in Cargo.toml", member.folder));
            }
        }
    }
    none("members stand in the order of layers", wrong);
}

/// Names of normal and build dependencies, also those of targets.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut tables = vec![manifest];
    let targets = manifest.get("target").and_then(|t| t.as_table());
    tables.extend(targets.into_iter().flatten().filter_map(|(_, t)| t.as_table()));
    let kinds = ["dependencies", "build-dependencies"];
    let lists = tables.iter().flat_map(|t| kinds.iter().filter_map(|k| t.get(*k)?.as_table()));
    lists.flat_map(|t| t.keys().cloned()).collect()
}

#[test]
fn no_crate_reaches_what_its_layer_must_not_know() {
    let mut wrong = Vec::new();
    for (member, forbidden, why) in FORBIDDEN {
        let tree = tree(member);
        wrong.extend(forbidden.iter().filter(|f| tree.contains(**f)).map(|f| {
            format!("{member} reaches {f} ({why}); `cargo tree -p tidemill-{member} -e normal -i {f}` shows how")
        }));
    }
    none("forbidden dependencies", wrong);
}

/// Every crate that a member links, by `cargo tree`, which follows features.
fn tree(member: &str) -> BTreeSet<String> {
    let package = format!("tidemill-{member}");
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", &package])
        .output()
        .expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let names: BTreeSet<String> = text.lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(&package), "cargo tree of {package} lacks the crate itself");
    names
}

#[test]
fn no_banned_crate_is_in_the_lock_file() {
    let lock: Table = read("Cargo.lock").parse().expect("the lock file is TOML");
    let packages = lock["package"].as_array().expect("the lock file lists packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    none(
        "banned crates (deny.toml)",
        BANNED.iter().filter(|(name, _)| names.contains(name)).map(|(name, why)| format!("{name}: {why}")),
    );
}

#[test]
fn deny_toml_bans_what_this_test_bans() {
    let deny: Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let listed = deny["bans"]["deny"].as_array().expect("a list of bans");
    let listed: BTreeSet<&str> = listed.iter().filter_map(|d| d["crate"].as_str()).collect();
    none("missing in deny.toml", BANNED.iter().map(|(name, _)| *name).filter(|name| !listed.contains(name)));
}

#[test]
fn every_member_takes_its_lints_and_versions_from_the_workspace() {
    let mut wrong = Vec::new();
    for member in members() {
        let lints = member.manifest.get("lints").and_then(|l| l.get("workspace")).and_then(|w| w.as_bool());
        if lints != Some(true) {
            wrong.push(format!("{}: `[lints] workspace = true` is missing", member.folder));
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in member.manifest.get(kind).and_then(|d| d.as_table()).into_iter().flatten() {
                let own = value.get("path").and_then(|p| p.as_str()) == Some(".");
                if !own && value.get("workspace").and_then(|w| w.as_bool()) != Some(true) {
                    wrong.push(format!("{}: {name} has a version of its own", member.folder));
                }
            }
        }
    }
    none("one table of versions, in the root manifest", wrong);
}
