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
}

/// Made once.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(words::all);
    &REFERENCE
}

impl Reference {
    /// By its name, with or without the namespace.
    pub fn find(&self, name: &str) -> Option<&Item> {
        let whole = self.items.iter().find(|i| i.name == name);
        whole.or_else(|| self.items.iter().find(|i| i.name.rsplit('.').next() == Some(name)))
    }

    /// The name that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let all = || self.items.iter().map(|i| i.name.as_str());
        names::nearest(name, all()).or_else(|| {
            let last = self.items.iter().map(|i| i.name.rsplit('.').next().unwrap_or_default());
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
