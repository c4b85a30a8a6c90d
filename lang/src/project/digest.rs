//! Whether a builder changed (C-102): its steps and the text of the functions
//! that they use, wherever these stand. Other edits of a file leave it as it was.

use crate::names::words;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_model::revision::Files;

/// The project's top-level definitions by name.
pub(super) struct Sources<'f> {
    blocks: BTreeMap<&'f str, Vec<&'f str>>,
}

impl<'f> Sources<'f> {
    pub fn of(files: &'f Files) -> Sources<'f> {
        let mut blocks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, text) in &files.0 {
            if name.ends_with(".star") {
                split(text, &mut blocks);
            }
        }
        Sources { blocks }
    }

    /// Hash of the texts and of the text of all definitions that they name, and
    /// that these name, and so on.
    pub fn digest(&self, texts: &[String]) -> String {
        let mut sha = Sha256::new();
        let mut open: Vec<&str> = vec![];
        let mut seen = BTreeSet::new();
        for text in texts {
            sha.update((text.len() as u64).to_le_bytes());
            sha.update(text.as_bytes());
            open.extend(functions(text));
        }
        while let Some(name) = open.pop() {
            if let Some(found) = self.blocks.get(name)
                && seen.insert(name)
            {
                open.extend(found.iter().flat_map(|block| words(block)));
            }
        }
        for name in seen {
            for block in &self.blocks[name] {
                sha.update((block.len() as u64).to_le_bytes());
                sha.update(block.as_bytes());
            }
        }
        hex::encode(&sha.finalize()[..16])
    }
}

/// Names of functions in a definition's JSON, and of a custom step.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let marked = text.split("\"$function\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let whole = (!text.starts_with(['{', '[', '"'])).then_some(text);
    marked.chain(whole)
}

/// Cuts a file into top-level statements that define a name: from a line that
/// begins one to the next line that begins anything.
fn split<'f>(text: &'f str, blocks: &mut BTreeMap<&'f str, Vec<&'f str>>) {
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begins = line.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if begins {
            if let Some((name, from)) = open.take() {
                blocks.entry(name).or_default().push(text[from..at].trim_end());
            }
            open = defined(line).map(|name| (name, at));
        }
        at += line.len();
    }
    if let Some((name, from)) = open {
        blocks.entry(name).or_default().push(text[from..].trim_end());
    }
}

fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("def ").unwrap_or(line);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let (name, after) = rest.split_at(end);
    let assigns = after.trim_start().starts_with('=') && !after.trim_start().starts_with("==");
    // The configuration itself names everything: it is what is compared, not a part of it.
    let own = !["c", "BuildmasterConfig"].contains(&name);
    (own && (rest.len() < line.len() || assigns)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_counts_with_all_that_it_calls_and_a_stranger_does_not() {
        let digest = |text: &str| Sources::of(&Files::single(text)).digest(&["{\"$function\":\"f\"}".to_owned()]);
        let base = "N = 1\ndef g():\n    return N\n\ndef f(step):\n    return g()\n\ndef other():\n    pass\nc = {}\n";
        assert_eq!(digest(base), digest(&base.replace("pass", "return 1")));
        assert_eq!(digest(base), digest(&format!("{base}c[\"x\"] = f\n")));
        assert_ne!(digest(base), digest(&base.replace("N = 1", "N = 2")));
        assert_ne!(digest(base), digest(&base.replace("return g()", "return not g()")));
    }
}
