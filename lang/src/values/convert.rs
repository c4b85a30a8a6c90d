//! Reads typed arguments from plain values. Each function says `None` where the
//! value is of another type, so that checking a file and rendering a step
//! cannot disagree about what is allowed.

use super::spec::{Kind, Param, Status, Type};
use super::tree::Tree;
use crate::plan::{Command, LogFile};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tidemill_model::Results;

/// A name or text without NUL bytes, which no argument or variable can hold.
pub(crate) fn text(t: &Tree) -> Option<String> {
    match t {
        Tree::Text(s) if !s.contains('\0') => Some(s.clone()),
        Tree::Placeholder => Some("placeholder".into()),
        _ => None,
    }
}

pub(crate) fn optional_text(t: &Tree) -> Option<Option<String>> {
    if matches!(t, Tree::None) { Some(None) } else { text(t).map(Some) }
}

pub(crate) fn boolean(t: &Tree) -> Option<bool> {
    match t {
        Tree::Bool(b) => Some(*b),
        // Buildbot's own files write 0 and 1.
        Tree::Int(0) => Some(false),
        Tree::Int(1) => Some(true),
        _ => None,
    }
}

/// A count from 0, or none.
pub(crate) fn count(t: &Tree) -> Option<Option<u64>> {
    match t {
        Tree::None => Some(None),
        Tree::Int(i) => u64::try_from(*i).ok().map(Some),
        _ => None,
    }
}

/// A count from 1, or none.
pub(crate) fn positive(t: &Tree) -> Option<Option<u64>> {
    count(t).filter(|n| *n != Some(0))
}

pub(crate) fn int32(t: &Tree) -> Option<i32> {
    match t {
        Tree::Int(i) => i32::try_from(*i).ok(),
        _ => None,
    }
}

/// Seconds as microseconds; at most a hundred years.
pub(crate) fn seconds(t: &Tree) -> Option<Option<u64>> {
    const MOST: f64 = 100.0 * 366.0 * 86_400.0;
    let value = match t {
        Tree::None => return Some(None),
        Tree::Int(i) => *i as f64,
        Tree::Float(f) => *f,
        _ => return None,
    };
    (0.0..=MOST).contains(&value).then(|| Some((value * 1e6).round() as u64))
}

pub(crate) fn texts(t: &Tree) -> Option<Vec<String>> {
    match t {
        Tree::List(items) => items.iter().map(text).collect(),
        _ => None,
    }
}

/// Text, a list of texts (which may hold `None`), or `None`: a filter's values.
pub(crate) fn values(t: &Tree) -> Option<Vec<Option<String>>> {
    match t {
        Tree::List(items) => items.iter().map(optional_text).collect(),
        other => optional_text(other).map(|v| vec![v]),
    }
}

/// One regular expression or several.
pub(crate) fn patterns(t: &Tree) -> Option<Vec<String>> {
    match t {
        Tree::None => Some(vec![]),
        Tree::List(_) => texts(t),
        other => text(other).map(|s| vec![s]),
    }
}

/// A description: text, or words that are joined by spaces.
pub(crate) fn words(t: &Tree) -> Option<String> {
    match t {
        Tree::None => Some(String::new()),
        Tree::List(_) => flat(t).map(|w| w.join(" ")),
        other => text(other),
    }
}

/// A list of lists of texts and numbers, as one list.
fn flat(t: &Tree) -> Option<Vec<String>> {
    match t {
        Tree::List(items) => Some(items.iter().map(flat).collect::<Option<Vec<_>>>()?.concat()),
        Tree::Int(i) => Some(vec![i.to_string()]),
        other => text(other).map(|s| vec![s]),
    }
}

/// A command: a line for the shell, or arguments, in lists nested as one likes (SH-01).
pub(crate) fn command(t: &Tree) -> Option<Command> {
    match t {
        Tree::List(_) => flat(t).filter(|a| a.first().is_some_and(|p| !p.is_empty())).map(Command::Argv),
        other => text(other).filter(|l| !l.trim().is_empty()).map(Command::Line),
    }
}

/// Variables: a text, a list that is joined by `:`, or `None` to remove one (SH-03).
pub(crate) fn env(t: &Tree) -> Option<BTreeMap<String, Option<String>>> {
    let name = |t: &Tree| text(t).filter(|n| !n.is_empty() && !n.contains('='));
    let value = |t: &Tree| match t {
        Tree::None => Some(None),
        Tree::Int(i) => Some(Some(i.to_string())),
        Tree::List(_) => flat(t).map(|l| Some(l.join(":"))),
        other => text(other).map(Some),
    };
    match t {
        Tree::None => Some(BTreeMap::new()),
        Tree::Dict(entries) => entries.iter().map(|(k, v)| Some((name(k)?, value(v)?))).collect(),
        _ => None,
    }
}

/// Exit codes and what they mean (RF-08).
pub(crate) fn decode_rc(t: &Tree) -> Option<BTreeMap<i32, Results>> {
    let entry = |(k, v): &(Tree, Tree)| Some((int32(k)?, results(v)?));
    match t {
        Tree::Dict(entries) => entries.iter().map(entry).collect(),
        _ => None,
    }
}

pub(crate) fn results(t: &Tree) -> Option<Results> {
    Results::try_from(i16::try_from(int32(t)?).ok()?).ok()
}

/// Property values by name.
pub(crate) fn properties(t: &Tree) -> Option<BTreeMap<String, Json>> {
    match t {
        Tree::None => Some(BTreeMap::new()),
        Tree::Dict(_) => match t.to_json()? {
            Json::Object(map) => Some(map.into_iter().collect()),
            _ => None,
        },
        _ => None,
    }
}

/// A folder below the builder's.
pub(crate) fn folder(t: &Tree) -> Option<String> {
    let path = text(t)?;
    let below = !path.is_empty() && !path.starts_with('/') && !path.split('/').any(|part| part == "..");
    below.then_some(path)
}

/// Patterns of files below a folder: one, or a list of them.
pub(crate) fn reports(t: &Tree) -> Option<Vec<String>> {
    match t {
        Tree::None => Some(vec![]),
        Tree::List(items) => items.iter().map(folder).collect(),
        other => folder(other).map(|pattern| vec![pattern]),
    }
}

/// Names of watched files, and where they are (SH-10).
pub(crate) fn logfiles(t: &Tree) -> Option<BTreeMap<String, LogFile>> {
    let file = |t: &Tree| match t {
        Tree::Dict(entries) => {
            let get = |key: &str| entries.iter().find(|(k, _)| text(k).as_deref() == Some(key)).map(|(_, v)| v);
            let known = entries.iter().all(|(k, _)| matches!(text(k).as_deref(), Some("filename" | "follow")));
            let follow = get("follow").map_or(Some(false), boolean)?;
            known.then_some(LogFile { path: get("filename").and_then(text)?, follow })
        }
        other => text(other).map(|path| LogFile { path, follow: false }),
    };
    match t {
        Tree::None => Some(BTreeMap::new()),
        Tree::Dict(entries) => entries.iter().map(|(k, v)| Some((text(k)?, file(v)?))).collect(),
        _ => None,
    }
}

/// Counts by name.
pub(crate) fn counts(t: &Tree) -> Option<BTreeMap<String, u32>> {
    let count = |t: &Tree| count(t).flatten().and_then(|n| u32::try_from(n).ok());
    match t {
        Tree::Dict(entries) => entries.iter().map(|(k, v)| Some((text(k)?, count(v)?))).collect(),
        _ => None,
    }
}

pub(crate) fn patterns_by_name(t: &Tree) -> Option<BTreeMap<String, Vec<String>>> {
    match t {
        Tree::Dict(entries) => entries.iter().map(|(k, v)| Some((text(k)?, patterns(v)?))).collect(),
        _ => None,
    }
}

/// A field of a time table as one text: numbers, names, ranges, steps, `L` and `5#2`.
pub(crate) fn cron_field(t: &Tree) -> Option<String> {
    match t {
        Tree::List(items) => {
            let parts: Option<Vec<String>> = items.iter().map(cron_field).collect();
            parts.filter(|p| !p.is_empty()).map(|p| p.join(","))
        }
        Tree::Int(i) => Some(i.to_string()),
        Tree::Text(s) => s.chars().all(|c| c.is_ascii_alphanumeric() || "*,-/# ".contains(c)).then(|| s.clone()),
        _ => None,
    }
}

pub(crate) fn identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

fn is(t: &Tree, kind: Kind) -> bool {
    matches!(t, Tree::Descriptor(s) if s.kind == kind)
}

const fn plain(expected: &'static str, fits: fn(&Tree) -> bool) -> Type {
    Type { expected, placeholder: false, fits }
}

const fn rendered(expected: &'static str, fits: fn(&Tree) -> bool) -> Type {
    Type { expected, placeholder: true, fits }
}

// Known before any build.
pub(crate) const TEXT: Type = plain("a string", |t| text(t).is_some());
pub(crate) const OPTIONAL_TEXT: Type = plain("a string or None", |t| optional_text(t).is_some());
pub(crate) const BOOL: Type = plain("True or False", |t| boolean(t).is_some());
pub(crate) const POSITIVE: Type = plain("an int from 1 on, or None", |t| positive(t).is_some_and(small));
pub(crate) const SECONDS: Type = plain("a number of seconds, or None", |t| seconds(t).is_some());
pub(crate) const WAIT: Type = plain("a number of seconds; below 0 it is for ever", |t| match t {
    Tree::None => false,
    Tree::Int(i) if *i < 0 => true,
    Tree::Float(f) if *f < 0.0 => f.is_finite(),
    other => seconds(other).is_some(),
});
pub(crate) const INTERVAL: Type = plain("a number of seconds above 0", |t| matches!(seconds(t), Some(Some(1..))));
pub(crate) const TEXTS: Type = plain("a list of strings", |t| texts(t).is_some());
pub(crate) const VALUES: Type = plain("a string, a list of strings, or None", |t| values(t).is_some());
pub(crate) const PATTERNS: Type = plain("a regular expression, a list of them, or None", |t| patterns(t).is_some());
pub(crate) const PROPERTIES: Type = plain("a dict of property names and values", |t| properties(t).is_some());
pub(crate) const FUNCTION: Type = plain("a function or None", |t| matches!(t, Tree::Function | Tree::None));
pub(crate) const CALLABLE: Type = plain("a function", |t| matches!(t, Tree::Function));
pub(crate) const CALLABLE_OR_PLACEHOLDER: Type = rendered("a function", |t| matches!(t, Tree::Function));
pub(crate) const COUNT: Type = plain("an int from 0 on, or None", |t| count(t).is_some());
pub(crate) const PRIORITY: Type = plain("an int or a function", |t| matches!(t, Tree::Function) || int32(t).is_some());
pub(crate) const BUILDER_NAMES: Type =
    plain("a list of strings", |t| matches!(t, Tree::Function) || texts(t).is_some());
pub(crate) const CATEGORY: Type =
    plain("a string, a function or None", |t| matches!(t, Tree::Function) || optional_text(t).is_some());
pub(crate) const CRON_FIELD: Type = plain("a number, a list of numbers, or a text such as \"*/15\"", |t| {
    matches!(t, Tree::None) || cron_field(t).is_some()
});
pub(crate) const COUNTS: Type = plain("a dict of names to ints", |t| counts(t).is_some());
pub(crate) const PATTERNS_BY_NAME: Type =
    plain("a dict of names to regular expressions", |t| patterns_by_name(t).is_some());
pub(crate) const RESULTS: Type = plain("a list of results such as util.SUCCESS, or True or False", |t| match t {
    Tree::Bool(_) | Tree::None => true,
    Tree::List(items) => items.iter().all(|i| results(i).is_some()),
    _ => false,
});
pub(crate) const COLLAPSE: Type = plain("True, False, a function, a util.CollapseKey or None", |t| {
    matches!(t, Tree::None | Tree::Function) || boolean(t).is_some() || is(t, Kind::CollapseKey)
});
pub(crate) const FACTORY: Type = plain("a util.BuildFactory", |t| matches!(t, Tree::Factory));
/// Each step is checked where it is added, so here any list will do.
pub(crate) const STEPS: Type = rendered("a list of steps", |t| matches!(t, Tree::List(_)));
pub(crate) const STEP: Type = plain("a step", |t| matches!(t, Tree::Descriptor(s) if matches!(s.kind, Kind::Step(_))));
pub(crate) const FACTORY_FOLDER: Type =
    rendered("a relative folder without `..`, or a function", |t| matches!(t, Tree::Function) || folder(t).is_some());
pub(crate) const CHANGE_FILTER_OR_NONE: Type =
    plain("a util.ChangeFilter or None", |t| matches!(t, Tree::None) || is(t, Kind::ChangeFilter));
pub(crate) const SCHEDULER: Type = plain("a scheduler or its name", |t| {
    text(t).is_some() || matches!(t, Tree::Descriptor(s) if matches!(s.kind, Kind::Scheduler(_)))
});
pub(crate) const PARAMETER: Type =
    plain("a parameter such as util.StringParameter(…), or None", |t| matches!(t, Tree::None) || is(t, Kind::Part));
pub(crate) const PARAMETERS: Type = plain("a list of parameters", |t| match t {
    Tree::List(items) => items.iter().all(|i| text(i).is_some() || is(i, Kind::Part)),
    _ => false,
});
/// A name or a list of them, or none.
fn some_names(t: &Tree) -> bool {
    matches!(t, Tree::None) || text(t).is_some() || texts(t).is_some()
}

fn rules(t: &Tree, parts: usize) -> bool {
    let rule = |t: &Tree| match t {
        Tree::List(items) => {
            let filter = |t: &Tree| matches!(t, Tree::Descriptor(s) if s.short() == "SourceStampFilter");
            items.len() == parts
                && !matches!(items[0], Tree::None)
                && items[..parts - 1].iter().all(some_names)
                && filter(&items[parts - 1])
        }
        _ => false,
    };
    matches!(t, Tree::List(items) if items.iter().all(rule))
}
pub(crate) const PAIRS: Type = plain("a list of pairs, each of builders and a util.SourceStampFilter", |t| rules(t, 2));
pub(crate) const TRIPLES: Type =
    plain("a list of triples, each of builders, builders to cancel (or None) and a util.SourceStampFilter", |t| {
        rules(t, 3)
    });
pub(crate) const LOCKS: Type =
    plain("a list of locks with their access, as in [lock.access(\"exclusive\")]", |t| match t {
        Tree::List(items) => items.iter().all(|i| is(i, Kind::LockAccess) || is(i, Kind::Lock)),
        other => matches!(other, Tree::None),
    });
pub(crate) const LOCKS_OR_FUNCTION: Type =
    Type { expected: LOCKS.expected, placeholder: true, fits: |t| matches!(t, Tree::Function) || (LOCKS.fits)(t) };
pub(crate) const SHELL_ARGS: Type = rendered("a list of util.ShellArg", |t| match t {
    Tree::List(items) => items.iter().all(|i| is(i, Kind::ShellArg) || matches!(i, Tree::Placeholder)),
    _ => false,
});
pub(crate) const R_LOGFILES: Type = rendered("a dict of log names to paths", |t| logfiles(t).is_some());
pub(crate) const ATTRS: Type = rendered("a dict of names to util.attr(…) or default values", |t| match t {
    Tree::Dict(entries) => entries.iter().all(|(k, _)| text(k).is_some_and(|n| identifier(&n))),
    _ => false,
});
pub(crate) const DEFAULTS: Type = rendered("a dict of argument names to values", |t| match t {
    Tree::Dict(entries) => entries.iter().all(|(k, _)| text(k).is_some()),
    _ => false,
});
pub(crate) const OBSERVERS: Type = plain("a dict of log names to util.LogLineObserver(…) or functions", |t| match t {
    Tree::Dict(entries) => {
        entries.iter().all(|(k, v)| text(k).is_some() && (is(v, Kind::Observer) || matches!(v, Tree::Function)))
    }
    _ => false,
});
pub(crate) const BASE: Type =
    plain("a kind of step, such as steps.ShellCommand without brackets, or what util.BuildStep returned", |t| {
        matches!(t, Tree::StepKind)
    });
/// Takes every argument that the spec does not name.
pub(crate) const OPEN: Param = Param {
    name: "*",
    status: Status::Optional(ANY),
    default: "",
    doc: "More arguments under Buildbot's names: they are kept for the release that uses them.",
};
pub(crate) const CODEBASES: Type = plain("a list of names, or a dict by name", |t| match t {
    Tree::Dict(entries) => entries.iter().all(|(k, _)| text(k).is_some()),
    other => texts(other).is_some(),
});
pub(crate) const BRANCHES: Type = plain("True (all branches), a list of names, or a function of a ref's name", |t| {
    matches!(t, Tree::Bool(true) | Tree::Function | Tree::None) || texts(t).is_some()
});
pub(crate) const TEXT_OR_FUNCTION: Type =
    plain("a string or a function", |t| matches!(t, Tree::Function) || text(t).is_some());
pub(crate) const BOOL_OR_FUNCTION: Type =
    plain("True, False or a function", |t| matches!(t, Tree::Function) || boolean(t).is_some());
/// What may be secret: a string or a util.Secret, which a master looks up when it needs it.
pub(crate) const SECRET: Type = rendered("a string, a util.Secret or None", |t| optional_text(t).is_some());
pub(crate) const LOGIN: Type =
    rendered("a pair (user, password), each a string or a util.Secret, or None", |t| match t {
        Tree::None => true,
        Tree::List(pair) => pair.len() == 2 && pair.iter().all(|p| text(p).is_some()),
        _ => false,
    });
pub(crate) const LOGINS: Type =
    rendered("a list of dicts with `url`, `username` and `password`, or None", |t| match t {
        Tree::None => true,
        Tree::List(items) => items.iter().all(|i| match i {
            Tree::Dict(entries) => entries
                .iter()
                .all(|(k, v)| matches!(text(k).as_deref(), Some("url" | "username" | "password")) && text(v).is_some()),
            _ => false,
        }),
        _ => false,
    });
pub(crate) const ANY: Type = rendered("a value", |_| true);

// Rendered when the step starts.
pub(crate) const R_TEXT: Type = rendered("a string", |t| text(t).is_some());
pub(crate) const R_OPTIONAL_TEXT: Type = rendered("a string or None", |t| optional_text(t).is_some());
pub(crate) const R_BOOL: Type = rendered("True or False", |t| boolean(t).is_some());
pub(crate) const R_SECONDS: Type = rendered("a number of seconds, or None", |t| seconds(t).is_some());
pub(crate) const R_COUNT: Type = rendered("an int from 0 on, or None", |t| count(t).is_some());
pub(crate) const R_WORDS: Type = rendered("a string or a list of strings", |t| words(t).is_some());
pub(crate) const R_COMMAND: Type =
    rendered("a command line, or a list of a program and its arguments", |t| command(t).is_some());
pub(crate) const R_ENV: Type = rendered("a dict of names to strings, lists of strings or None", |t| env(t).is_some());
pub(crate) const R_DECODE_RC: Type =
    rendered("a dict of exit codes to results such as util.SUCCESS", |t| decode_rc(t).is_some());
pub(crate) const R_FOLDER: Type =
    rendered("a relative folder without `..`: it is below the builder's", |t| folder(t).is_some());
pub(crate) const R_REPORTS: Type =
    rendered("a list of patterns of files, relative and without `..`", |t| reports(t).is_some());
pub(crate) const R_SHALLOW: Type = rendered("True, False or a depth", |t| {
    matches!(t, Tree::None) || boolean(t).is_some() || positive(t).is_some_and(small)
});
pub(crate) const R_RETRY: Type = rendered("a pair (seconds to wait, number of tries), or None", |t| retry(t).is_some());
pub(crate) const R_VALUE: Type =
    rendered("a property value: text, number, bool, None, or lists and dicts of them", |t| {
        t.has_placeholder() || t.to_json().is_some()
    });
pub(crate) const R_BOOL_OR_FUNCTION: Type =
    rendered("True, False or a function", |t| matches!(t, Tree::Function) || boolean(t).is_some());

fn small(n: Option<u64>) -> bool {
    n.is_none_or(|n| u32::try_from(n).is_ok())
}

/// Buildbot's order: pause, then tries. Comes out as tries and pause in microseconds.
pub(crate) fn retry(t: &Tree) -> Option<Option<(u32, u64)>> {
    match t {
        Tree::None => Some(None),
        Tree::List(pair) => match pair.as_slice() {
            [pause, tries] => Some(Some((u32::try_from(count(tries)??).ok()?, seconds(pause)??))),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(s: &str) -> Tree {
        Tree::Text(s.into())
    }

    #[test]
    fn nested_lists_of_a_command_become_one_list() {
        let tree = Tree::List(vec![t("make"), Tree::List(vec![t("-j"), Tree::Int(4)]), Tree::List(vec![])]);
        assert_eq!(command(&tree), Some(Command::Argv(vec!["make".into(), "-j".into(), "4".into()])));
        assert_eq!(command(&Tree::List(vec![])), None);
        assert_eq!(command(&t(" ")), None);
        assert_eq!(command(&t("a\0b")), None);
        assert_eq!(command(&Tree::List(vec![t("a"), Tree::None])), None);
    }

    #[test]
    fn a_folder_stays_below_the_builders() {
        for bad in ["/etc", "..", "a/../../b", ""] {
            assert_eq!(folder(&t(bad)), None, "{bad}");
        }
        assert_eq!(folder(&t("build/src")), Some("build/src".into()));
        assert_eq!(reports(&t("out/**/*.xml")), Some(vec!["out/**/*.xml".to_owned()]));
        assert_eq!(reports(&Tree::List(vec![t("a.xml"), t("../b.xml")])), None);
    }

    #[test]
    fn seconds_are_never_negative_or_endless() {
        assert_eq!(seconds(&Tree::Float(1.5)), Some(Some(1_500_000)));
        assert_eq!(seconds(&Tree::None), Some(None));
        for bad in [Tree::Int(-1), Tree::Int(i64::MAX), Tree::Float(f64::NAN), Tree::Bool(true)] {
            assert_eq!(seconds(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_list_in_the_environment_is_joined_and_none_removes() {
        let tree = Tree::Dict(vec![(t("PATH"), Tree::List(vec![t("/a"), t("/b")])), (t("X"), Tree::None)]);
        let env = env(&tree).unwrap();
        assert_eq!(env["PATH"].as_deref(), Some("/a:/b"));
        assert_eq!(env["X"], None);
        assert_eq!(super::env(&Tree::Dict(vec![(t("A=B"), t("x"))])), None);
    }
}
