//! A project file for a repository that has none.
//!
//! The text is a normal `master.star`: `tidemill up` runs with it and
//! `tidemill init` writes it down, so that what was guessed can be read,
//! corrected and kept.

use super::recipes::{Folder, Recipe, recognise};

/// What a repository seems to be, and the text that follows from it.
#[derive(Clone, Debug)]
pub struct Guess {
    /// For people: `rust (Cargo.toml)`.
    pub found: Vec<String>,
    pub text: String,
}

struct Builder {
    name: String,
    /// Below the checkout; empty is its top.
    folder: String,
    recipe: Recipe,
}

/// Looks at the paths of a commit. Where nothing is known at the top, the
/// folders below it are looked at (a repository of several parts).
pub fn guess(title: &str, paths: &[String], read: &dyn Fn(&str) -> Option<String>) -> Guess {
    let mut builders: Vec<Builder> = look(paths, "", read);
    if builders.is_empty() {
        let mut folders: Vec<&str> = paths.iter().filter_map(|p| p.split_once('/').map(|(f, _)| f)).collect();
        folders.dedup();
        folders.retain(|f| !f.starts_with('.'));
        for folder in folders.into_iter().take(20) {
            builders.extend(look(paths, folder, read));
        }
    }
    let found = builders.iter().map(|b| format!("{} ({})", b.name, join(&b.folder, &b.recipe.because))).collect();
    Guess { found, text: render(title, &builders) }
}

fn look(paths: &[String], folder: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Builder> {
    let names = paths.iter().filter_map(|p| {
        let rest = if folder.is_empty() { Some(p.as_str()) } else { p.strip_prefix(folder)?.strip_prefix('/') };
        rest.filter(|r| !r.contains('/'))
    });
    let below = |name: &str| read(&join(folder, name));
    recognise(&Folder { names: names.collect(), read: &below })
        .into_iter()
        .map(|recipe| {
            let name = if folder.is_empty() { recipe.kind.to_owned() } else { format!("{folder}-{}", recipe.kind) };
            Builder { name: clean(&name), folder: folder.to_owned(), recipe }
        })
        .collect()
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Only what a builder's name may hold.
fn clean(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_alphanumeric() || "-_. ".contains(c) { c } else { '-' }).collect();
    name.trim_start_matches(['_', '.', ' ']).trim_end().to_owned()
}

/// A text as Starlark writes it. JSON's escapes are a part of Starlark's.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

fn render(title: &str, builders: &[Builder]) -> String {
    let mut out = String::from(
        "# What Tidemill builds here, and when. The language is Starlark (as in Bazel),\n\
         # the names are Buildbot's. Check a change with: tidemill checkconfig\n\n\
         c = {}\nBuildmasterConfig = c\n",
    );
    out.push_str(&format!("c[\"title\"] = {}\n\n", quoted(title)));
    out.push_str(
        "# The repository is the one that a change names, so that this file works in\n\
         # every clone. `tidemill up` watches it; for a master of your own, add:\n\
         #   c[\"change_source\"] = [changes.GitPoller(repourl = \"https://…\", branches = True)]\n\
         checkout = steps.Git(repourl = util.Interpolate(\"%(src::repository)s\"), mode = \"incremental\")\n\n",
    );
    out.push_str("c[\"builders\"] = [\n");
    if builders.is_empty() {
        out.push_str(
            "    # Nothing known was found in the repository: put the commands of its tests here.\n\
             \x20   util.BuilderConfig(name = \"checkout\", workernames = [\"*\"], factory = util.BuildFactory([\n\
             \x20       checkout,\n\
             \x20       steps.ShellCommand(name = \"show\", command = [\"git\", \"show\", \"--stat\", \"HEAD\"]),\n\
             \x20   ])),\n",
        );
    }
    for builder in builders {
        let name = quoted(&builder.name);
        out.push_str(&format!(
            "    # Because of {}.\n    util.BuilderConfig(name = {name}, workernames = [\"*\"], factory = util.BuildFactory([\n        checkout,\n",
            join(&builder.folder, &builder.recipe.because)
        ));
        for (i, step) in builder.recipe.steps.iter().enumerate() {
            let command: Vec<String> = step.command.iter().map(|c| quoted(c)).collect();
            let mut arguments = format!("name = {}, command = [{}]", quoted(&step.name), command.join(", "));
            if !builder.folder.is_empty() {
                arguments.push_str(&format!(", workdir = {}", quoted(&join("build", &builder.folder))));
            }
            // What follows a broken build or install only repeats its failure.
            if i + 1 < builder.recipe.steps.len() {
                arguments.push_str(", haltOnFailure = True");
            }
            out.push_str(&format!("        steps.ShellCommand({arguments}),\n"));
        }
        out.push_str("    ])),\n");
    }
    out.push_str("]\n\n");
    let names: Vec<String> = match builders.is_empty() {
        true => vec![quoted("checkout")],
        false => builders.iter().map(|b| quoted(&b.name)).collect(),
    };
    out.push_str(&format!(
        "# Every commit, on every branch, as soon as it is seen.\n\
         c[\"schedulers\"] = [\n    schedulers.SingleBranchScheduler(\n        name = \"commits\",\n        \
         change_filter = util.ChangeFilter(),\n        treeStableTimer = None,\n        \
         builderNames = [{}],\n    ),\n]\n",
        names.join(", ")
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Guess {
        let paths: Vec<String> = paths.iter().map(|p| (*p).to_owned()).collect();
        guess("a \"title\"", &paths, &|_| None)
    }

    #[test]
    fn parts_of_a_repository_are_found_one_folder_down() {
        let guess = of(&["README.md", "server/Cargo.toml", "server/src/main.rs", "web/package.json"]);
        assert_eq!(guess.found, ["server-rust (server/Cargo.toml)", "web-node (web/package.json)"]);
        assert!(guess.text.contains("workdir = \"build/server\""), "{}", guess.text);
        assert!(guess.text.contains(r#"c["title"] = "a \"title\"""#));
    }

    #[test]
    fn the_top_folder_decides_where_it_tells_something() {
        assert_eq!(of(&["Cargo.toml", "web/package.json"]).found, ["rust (Cargo.toml)"]);
        assert!(of(&["a.txt"]).found.is_empty());
    }
}
