//! The reference: every word of the vocabulary with its arguments, types,
//! defaults and an example, made from the tables that evaluation itself uses.

mod markdown;
mod words;

use crate::names;
use serde::Serialize;
use std::sync::LazyLock;

pub use markdown::pages;

/// All items, by name within each namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reference {
    pub items: Vec<Item>,
}

/// A word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Item {
    /// As people write it: `steps.ShellCommand`, `util.re.match`, `c["builders"]`, `step.addURL`.
    pub name: String,
    /// `steps`, `util`, …; `c` for keys of the configuration, `step` and its like for methods.
    pub namespace: String,
    /// What is shown in lists: the first sentence.
    pub summary: String,
    pub doc: String,
    pub args: Vec<Arg>,
    /// Empty where there is nothing to show.
    pub example: String,
    /// Of a function: how it is called.
    pub signature: String,
    /// A project may say it, and this release runs nothing of it.
    pub accepted_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Arg {
    pub name: String,
    /// For people: «a string or None».
    pub r#type: String,
    /// As it is written; empty for none.
    pub default: String,
    pub required: bool,
    /// May hold placeholders.
    pub renderable: bool,
    pub doc: String,
    /// An older name of this argument: the newer one.
    pub alias_of: Option<String>,
    /// Accepted without an effect: why.
    pub ignored: Option<String>,
    /// Kept for the release that runs it.
    pub accepted_only: bool,
}

/// What is said beside a word or an argument that no part of this release runs.
pub const ACCEPTED_ONLY: &str = "accepted, not run yet";

impl Item {
    /// The summary, with what a list must not leave out.
    pub fn line(&self) -> String {
        match self.accepted_only {
            true => format!("{} ({ACCEPTED_ONLY})", self.summary),
            false => self.summary.clone(),
        }
    }

    /// The whole text: what it is, and whether it runs.
    pub fn text(&self) -> String {
        match self.accepted_only {
            true => format!(
                "{}\n\nAccepted, not run yet: it is kept with the project, and nothing of this release acts on it.",
                self.doc
            ),
            false => self.doc.clone(),
        }
    }
}

impl Arg {
    /// Its words, with whether it runs.
    pub fn text(&self) -> String {
        match self.accepted_only {
            true => format!("{} ({ACCEPTED_ONLY})", self.doc),
            false => self.doc.clone(),
        }
    }
}

/// Made once.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(words::all);
    &REFERENCE
}

impl Reference {
    /// By its name, with or without the namespace; a key of the configuration also without `c[…]`.
    pub fn find(&self, name: &str) -> Option<&Item> {
        let all = || self.items.iter();
        let key = || format!("c[\"{name}\"]");
        let last = |item: &&Item| item.name.rsplit('.').next() == Some(name);
        all().find(|i| i.name == name).or_else(|| all().find(last)).or_else(|| all().find(|i| i.name == key()))
    }

    /// The name that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let all = || self.items.iter().map(|i| i.name.as_str());
        names::nearest(name, all()).or_else(|| {
            let last = self.items.iter().map(|i| i.name.rsplit('.').next().unwrap_or_default());
            let last = last.map(|n| n.strip_prefix("c[\"").and_then(|n| n.strip_suffix("\"]")).unwrap_or(n));
            let near = names::nearest(name, last)?;
            self.find(near).map(|i| i.name.as_str())
        })
    }

    /// Namespaces in the order of the manual.
    pub fn namespaces(&self) -> Vec<&str> {
        let mut found: Vec<&str> = vec![];
        for item in &self.items {
            if !found.contains(&item.namespace.as_str()) {
                found.push(&item.namespace);
            }
        }
        found
    }
}
