//! The reference as pages of Markdown.

use super::{Arg, Item, reference};
use std::fmt::Write;

/// Where a page says how it came to be.
const HEAD: &str =
    "<!-- Made from the vocabulary by `cargo test -p tidemill-lang --test reference`; edit lang/src/vocabulary. -->\n";

/// While no provider runs.
const SECRETS_TODAY: &str = "No provider runs yet: the values of secrets are files on the worker, see [the project file](../project-file.md#placeholders) and [security](../security.md).";

/// Titles and first words of pages, by namespace.
const PAGES: [(&str, &str, &str); 16] = [
    ("c", "The configuration", "Keys of the dict `c`, also named `BuildmasterConfig`."),
    ("util", "util", "Builders, factories, placeholders, locks, custom steps, form fields and helpers."),
    ("steps", "steps", "What a build does, one after the other."),
    ("schedulers", "schedulers", "When builds start."),
    ("changes", "changes", "Where changes come from."),
    ("worker", "worker", "Who builds."),
    ("reporters", "reporters", "Who is told."),
    ("secrets", "secrets", "Where secrets come from."),
    ("step", "A running step", "What the function of a `util.BuildStep` gets, by custom named `self`."),
    ("build", "A running build", "`self.build` of a running step."),
    ("command", "A command", "What `self.makeRemoteShellCommand` and `util.RemoteCommand` give."),
    ("log", "A log", "What `self.addLog` and `self.getLog` give."),
    (
        "request",
        "A waiting request",
        "What policies get. Attributes: `id`, `buildset`, `builder`, `priority`, `reason`, `submittedAt`, `waitedFor`, `attempts`, `properties`, `source` (the first source stamp), `sources` (by codebase).",
    ),
    ("master", "The master", "What policies may ask: bounded questions about what is stored."),
    (
        "ctx",
        "The context",
        "What rules of custom schedulers, polls of custom pollers and functions of custom latent workers get.",
    ),
    ("factory", "A factory", "What `util.BuildFactory` gives."),
];

/// Names of files and their texts, for docs/reference.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = vec![];
    let mut index = format!(
        "{HEAD}\n# Reference\n\nEverything that a [project file](../project-file.md) may say, made from the vocabulary itself. `tidemill doc NAME` shows the same in a terminal.\n\n| page | |\n| --- | --- |\n"
    );
    for (namespace, title, words) in PAGES.iter() {
        let items: Vec<&Item> = reference().items.iter().filter(|i| i.namespace == *namespace).collect();
        let file = if *namespace == "c" { "configuration.md".to_owned() } else { format!("{namespace}.md") };
        let _ = writeln!(index, "| [{title}]({file}) | {words} |");
        let mut text = format!("{HEAD}\n# {title}\n\n{words}\n");
        if !items.is_empty() && *namespace == "secrets" && items.iter().all(|i| i.accepted_only) {
            let _ = writeln!(text, "\n{SECRETS_TODAY}");
        }
        for item in items {
            let _ = write!(text, "\n{}", item.markdown());
        }
        pages.push((file, text));
    }
    pages.push(("README.md".to_owned(), index));
    pages
}

impl Item {
    /// A heading, words, a table of arguments, an example.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.name);
        if !self.signature.is_empty() {
            let _ = writeln!(out, "`{}`\n", self.signature);
        }
        let _ = writeln!(out, "{}", self.text());
        let live: Vec<&Arg> = self.args.iter().filter(|a| a.alias_of.is_none() && a.ignored.is_none()).collect();
        if !live.is_empty() {
            out.push_str("\n| argument | type | default | |\n| --- | --- | --- | --- |\n");
            for arg in live {
                let default = match (arg.required, arg.default.as_str()) {
                    (true, _) => "required".to_owned(),
                    (false, "") => String::new(),
                    (false, default) => format!("`{}`", cell(default)),
                };
                let _ = writeln!(out, "| `{}` | {} | {default} | {} |", arg.name, cell(&arg.r#type), cell(&arg.text()));
            }
        }
        let old: Vec<String> =
            self.args.iter().filter_map(|a| Some(format!("`{}` for `{}`", a.name, a.alias_of.as_ref()?))).collect();
        if !old.is_empty() {
            let _ = writeln!(out, "\nOld names: {}.", old.join(", "));
        }
        let ignored: Vec<String> =
            self.args.iter().filter_map(|a| Some(format!("`{}` ({})", a.name, a.ignored.as_ref()?))).collect();
        if !ignored.is_empty() {
            let _ = writeln!(out, "\nWithout an effect: {}.", ignored.join(", "));
        }
        if !self.example.is_empty() {
            let _ = writeln!(out, "\n```python\n{}\n```", self.example);
        }
        out
    }
}

/// Inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
