//! `util.re`: regular expressions that take linear time, whatever the text.

use super::error;
use regex::{Captures, Regex, RegexBuilder};
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::list::AllocList;
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, Value};
use std::cell::RefCell;
use std::collections::HashMap;

/// Largest compiled expression, in bytes: repetition counts multiply.
const COMPILED_MAX: usize = 1 << 20;
/// Expressions that a thread keeps compiled.
const KEPT: usize = 64;
/// Longest result of a replacement.
const TEXT_MAX: usize = 64 << 20;

/// Compiles, or says why not, for people.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(COMPILED_MAX).build().map_err(|e| {
        let text = e.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// From the thread's own, because an observer asks once a line.
fn compiled<R>(pattern: &str, use_it: impl FnOnce(&Regex) -> R) -> starlark::Result<R> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|kept| {
        if !kept.contains_key(pattern) {
            let regex =
                compile(pattern).map_err(|why| error(format!("{pattern:?} is not a regular expression: {why}")))?;
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(pattern.to_owned(), regex);
        }
        Ok(use_it(&kept[pattern]))
    })
}

/// `groups` (the whole first), `named`, `start` and `end` in bytes.
fn found<'v>(regex: &Regex, captures: &Captures<'_>, heap: Heap<'v>) -> Value<'v> {
    let text = |m: Option<regex::Match<'_>>| m.map_or(Value::new_none(), |m| heap.alloc(m.as_str()));
    let whole = captures.get(0).expect("the whole match is always there");
    let names = regex.capture_names().flatten().map(|name| (name, text(captures.name(name))));
    heap.alloc(AllocStruct([
        ("groups", heap.alloc(AllocList(captures.iter().map(text)))),
        ("named", heap.alloc(starlark::values::dict::AllocDict(names))),
        ("start", heap.alloc(whole.start() as i64)),
        ("end", heap.alloc(whole.end() as i64)),
    ]))
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// The match at the start of the text: a struct with `groups` (the whole first), `named`, `start`
    /// and `end`; or `None`.
    fn r#match<'v>(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        compiled(pattern, |regex| {
            // The leftmost match begins at 0 exactly if any does.
            match regex.captures(text).filter(|c| c.get(0).is_some_and(|m| m.start() == 0)) {
                Some(captures) => found(regex, &captures, heap),
                None => Value::new_none(),
            }
        })
    }

    /// The first match anywhere in the text, as from `match`; or `None`.
    fn search<'v>(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        compiled(pattern, |regex| match regex.captures(text) {
            Some(captures) => found(regex, &captures, heap),
            None => Value::new_none(),
        })
    }

    /// Whether the text matches from its start. Quicker than `match`.
    fn matches(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
    ) -> starlark::Result<bool> {
        compiled(pattern, |regex| regex.find(text).is_some_and(|m| m.start() == 0))
    }

    /// Whether the text has a match anywhere.
    fn contains(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
    ) -> starlark::Result<bool> {
        compiled(pattern, |regex| regex.is_match(text))
    }

    /// All matches: texts, or lists of groups where the expression has more than one.
    fn findall<'v>(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        compiled(pattern, |regex| {
            let groups = regex.captures_len() - 1;
            let one = |c: Captures<'_>| {
                let group = |i: usize| heap.alloc(c.get(i).map_or("", |m| m.as_str()));
                match groups {
                    0 => group(0),
                    1 => group(1),
                    n => heap.alloc(AllocList((1..=n).map(group))),
                }
            };
            heap.alloc(AllocList(regex.captures_iter(text).map(one).collect::<Vec<_>>()))
        })
    }

    /// The text with each match replaced; `\\1` in the replacement is a group.
    fn sub(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] replacement: &str,
        #[starlark(require = pos)] text: &str,
    ) -> starlark::Result<String> {
        // Dollar signs are plain, and \1 is a group, as in Python.
        let mut template = replacement.replace('$', "$$");
        for group in (1..=9).rev() {
            template = template.replace(&format!("\\{group}"), &format!("${{{group}}}"));
        }
        let out = compiled(pattern, |regex| {
            let mut out = String::new();
            let mut from = 0;
            for captures in regex.captures_iter(text) {
                let whole = captures.get(0).expect("the whole match is always there");
                out.push_str(&text[from..whole.start()]);
                captures.expand(&template, &mut out);
                from = whole.end();
                if out.len() > TEXT_MAX {
                    return None;
                }
            }
            out.push_str(&text[from..]);
            Some(out)
        })?;
        out.ok_or_else(|| error("the text would be too large".into()))
    }

    /// The parts of the text between matches.
    fn split<'v>(
        #[starlark(require = pos)] pattern: &str,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let heap = eval.heap();
        compiled(pattern, |regex| heap.alloc(AllocList(regex.split(text).collect::<Vec<_>>())))
    }

    /// The text with every character that means something in an expression escaped.
    fn escape(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(regex::escape(text))
    }
}
