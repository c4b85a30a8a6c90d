//! Which level of the vocabulary a project needs: that of the newest word that
//! its files mention, wherever it stands, a comment included. Too much is
//! asked rather than too little: a worker that lacks the level is offered
//! nothing of the revision.

use std::collections::BTreeSet;
use tidemill_model::revision::Files;

/// What every worker knows that speaks the protocol.
const FIRST: u32 = 2;

/// All other words of the vocabulary: those of [`FIRST`], and those on which only
/// masters act.
#[cfg(test)]
const KNOWN: &str = include_str!("words.txt");

/// Words that came later, or mean something on the worker only since then: with
/// each level of `model::wire::VOCABULARY` those that are new in it. A new
/// constructor, argument, method or native is named here with its release. With
/// hooks come changes of outsiders, and with tries patches: a worker must know what
/// a claim of one means.
const NEWER: &[(u32, &[&str])] = &[(
    3,
    &[
        "LdapLookup",
        "MailMap",
        "Mercurial",
        "SVN",
        "Trigger",
        "Try_Jobdir",
        "Try_Userpass",
        "addTestResult",
        "change_hook_dialects",
        "locks",
        "public",
        "reporters",
        "secretsProviders",
        "share",
        "test_reports",
        "trigger",
        "trusted_only",
    ],
)];

/// The level that these files need.
pub(crate) fn needed(files: &Files) -> u32 {
    let words: BTreeSet<&str> = files.0.values().flat_map(|text| crate::names::words(text)).collect();
    let newest = NEWER.iter().filter(|(_, new)| new.iter().any(|word| words.contains(word))).map(|(level, _)| *level);
    newest.max().unwrap_or(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_model::wire::VOCABULARY;

    #[test]
    fn the_newest_word_that_is_mentioned_says_which_level_is_needed() {
        let of = |text: &str| needed(&Files::single(text));
        assert_eq!(of("c = {\"title\": \"nothing new\"}\n"), FIRST);
        assert_eq!(of("s = steps.Trigger(schedulerNames = [\"x\"])\n"), 3);
        assert_eq!(of("s = steps.ShellCommand(command = \"make\", locks = [l.access(\"exclusive\")])\n"), 3);
        assert_eq!(of("Triggers = 1\n"), FIRST);
    }

    /// The names that people write: constructors, natives, methods, keys and arguments.
    fn vocabulary() -> BTreeSet<&'static str> {
        let items = &crate::reference::reference().items;
        let names = items.iter().flat_map(|i| std::iter::once(&i.name).chain(i.args.iter().map(|a| &a.name)));
        names.flat_map(|name| crate::names::words(name)).collect()
    }

    #[test]
    fn every_word_of_the_vocabulary_has_a_level_or_needs_none() {
        let known: Vec<&str> = KNOWN.lines().collect();
        let newer: BTreeSet<&str> = NEWER.iter().flat_map(|(_, words)| words.iter().copied()).collect();
        let words = vocabulary();
        let without: Vec<&str> = words.iter().copied().filter(|w| !known.contains(w) && !newer.contains(w)).collect();
        assert!(
            without.is_empty(),
            "new words in the vocabulary: {}\n\
             Where a worker must know a word to build what mentions it, name the word in NEWER of \
             lang/src/vocabulary/levels.rs, with the level that no released worker has (model::wire::VOCABULARY says \
             the newest; raise it after a release). Where only masters act on it, add it to \
             lang/src/vocabulary/words.txt, a line of its own, sorted as `LC_ALL=C sort` does.",
            without.join(" ")
        );
        let gone: Vec<&str> = known.iter().copied().filter(|w| !words.contains(w) || newer.contains(w)).collect();
        assert!(gone.is_empty(), "take these out of lang/src/vocabulary/words.txt: {}", gone.join(" "));
        assert!(known.is_sorted(), "sort lang/src/vocabulary/words.txt as `LC_ALL=C sort` does");
    }

    #[test]
    fn this_release_has_every_level_that_it_may_ask_for() {
        assert_eq!(NEWER.iter().map(|(level, _)| *level).max(), Some(VOCABULARY));
        assert!(NEWER.is_sorted_by_key(|(level, _)| *level) && NEWER[0].0 > FIRST);
    }
}
