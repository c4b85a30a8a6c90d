//! Plainer words for the interpreter's errors, and what to write instead of
//! Python that Starlark lacks.

use super::brackets;
use starlark::codemap::FileSpan;

/// Message and hint for an error text. `parser` tells whether the file could not be read at all.
pub(crate) fn explain(text: &str, span: Option<&FileSpan>, parser: bool) -> (String, Option<String>) {
    let first = text.trim();
    if let Some((message, hint)) = limit(first) {
        return (message, Some(hint.to_owned()));
    }
    let line = span.map(|s| s.file.source_line(s.resolve_span().begin.line).to_owned()).unwrap_or_default();
    let mut message = first.strip_prefix("Parse error: ").unwrap_or(first).to_owned();
    if let Some((namespace, name)) = missing_attribute(first, span) {
        message = format!("`{namespace}` has no `{name}`{}", suggestion(first));
        return (message, base_class(&name).map(str::to_owned));
    }
    if let Some((name, near)) = undefined(first) {
        message = format!("`{name}` is not defined");
        let hint = match (runtime(first), near) {
            (Some(begin), _) => begin.to_owned(),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => "give it a value above this line, or load it from the file that has it".into(),
        };
        return (message, Some(hint));
    }
    let hint = if parser && first.contains("tabs are not allowed") {
        Some("write spaces instead".to_owned())
    } else if parser && first.contains("f-string expression end") {
        Some("f-strings take names only, without a format such as {n:02d}".to_owned())
    } else if parser {
        let inside = || brackets::hint(&message, span?.file.source(), span?.span.begin().get() as usize);
        syntax(&line).map(str::to_owned).or_else(inside)
    } else {
        runtime(first).map(str::to_owned)
    };
    (message, hint)
}

/// ``Variable `x` not found, did you mean `y`?``: the name, and what is near it.
fn undefined(text: &str) -> Option<(&str, Option<&str>)> {
    let (name, rest) = text.strip_prefix("Variable `")?.split_once("` not found")?;
    // Of two letters any other is near.
    Some((name, rest.split('`').nth(1).filter(|_| name.len() > 2)))
}

fn limit(text: &str) -> Option<(String, &'static str)> {
    const SMALLER: &str = "a project file computes little: look for a loop that does not end or grows";
    if text.contains("ticks has been exceeded") {
        Some(("evaluation took too many steps and was stopped".into(), SMALLER))
    } else if text.to_lowercase().contains("heap") && text.contains("exceeded") {
        Some(("evaluation used too much memory and was stopped".into(), SMALLER))
    } else if text == "Evaluation cancelled" {
        Some(("evaluation took too long and was stopped".into(), SMALLER))
    } else if text == "Starlark call stack overflow" {
        Some(("calls are nested too deep".into(), "look for a function that calls itself without an end"))
    } else {
        None
    }
}

/// `util.Nope`: the interpreter calls every namespace `namespace`.
fn missing_attribute(text: &str, span: Option<&FileSpan>) -> Option<(String, String)> {
    let name = text.strip_prefix("Object of type `namespace` has no attribute `")?.split('`').next()?.to_owned();
    let source = span?.source_span();
    let at = source.find(&format!(".{name}"))?;
    let namespace = source[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_owned();
    Some((namespace, name))
}

/// Classes of Buildbot's from which people derive, under the names that they have there.
fn base_class(name: &str) -> Option<&'static str> {
    match name {
        "AbstractLatentWorker" | "AbstractLatentBuildSlave" => Some(
            "there are no classes: give functions to worker.CustomLatentWorker(name, start_instance = …, stop_instance = …)",
        ),
        _ => None,
    }
}

fn suggestion(text: &str) -> String {
    match text.split_once(", did you mean `") {
        Some((_, rest)) => format!("; did you mean `{}`?", rest.trim_end_matches("`?")),
        None => String::new(),
    }
}

/// By the line at which reading stopped.
fn syntax(line: &str) -> Option<&'static str> {
    let words = line.trim();
    let starts = |word: &str| {
        words.strip_prefix(word).is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    if chained_assignment(words) {
        return Some("Starlark assigns one name at a time; write two lines:\nc = {}\nBuildmasterConfig = c");
    }
    let table = [
        (
            "from",
            "there is no import: `util`, `steps`, `schedulers`, `changes` and `worker` are ready in every file; \
                  use load(\"file.star\", \"name\") for files of your own",
        ),
        (
            "import",
            "there is no import: `util`, `steps`, `schedulers`, `changes` and `worker` are ready in every file; \
                    use load(\"file.star\", \"name\") for files of your own",
        ),
        ("class", "there are no classes: write a function that returns what you need, or a struct(...)"),
        ("while", "there is no while: use for over range(...)"),
        ("try", "there are no exceptions: test before, for example with dict.get()"),
        ("except", "there are no exceptions: test before, for example with dict.get()"),
        ("with", "there is no with: nothing here opens files"),
        ("raise", "write fail(\"message\")"),
        ("assert", "write: if not condition: fail(\"message\")"),
        ("del", "there is no del: use list.pop(i) or dict.pop(key)"),
        ("global", "there is no global: pass the value to the function, or use a dict"),
        ("@", "there are no decorators: call the function, as in f = util.renderer(f)"),
    ];
    if words.starts_with('@') {
        return table.iter().find(|(w, _)| *w == "@").map(|(_, h)| *h);
    }
    if let Some((_, hint)) = table.iter().find(|(word, _)| starts(word)) {
        return Some(hint);
    }
    if words.contains("**{") || words.contains("{**") || words.contains("[*") {
        return Some("Starlark has no unpacking inside [] and {}: use + for lists and | for dicts");
    }
    if words.contains(" is ") {
        return Some("Starlark has no `is`: use ==");
    }
    None
}

fn chained_assignment(line: &str) -> bool {
    let mut parts = line.splitn(3, '=');
    let name = |part: Option<&str>| {
        part.is_some_and(|p| !p.trim().is_empty() && p.trim().chars().all(|c| c.is_alphanumeric() || c == '_'))
    };
    name(parts.next()) && name(parts.next()) && parts.next().is_some_and(|rest| !rest.starts_with('='))
}

fn runtime(text: &str) -> Option<&'static str> {
    if text.starts_with("Variable `BuildmasterConfig` not found") {
        Some("begin with two lines:\nc = {}\nBuildmasterConfig = c")
    } else if text.starts_with("Variable `c` not found") {
        Some("begin with: c = {}")
    } else if text == "Immutable" || text.contains("Cannot mutate") || text.contains("frozen") {
        Some("what another file loads is read-only: let that file offer a function that returns a fresh value")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_that_starlark_lacks_gets_its_counterpart() {
        for (line, word) in [
            ("c = BuildmasterConfig = {}", "two lines"),
            ("from buildbot.plugins import *", "ready in every file"),
            ("import os", "ready in every file"),
            ("class A:", "function"),
            ("  while True:", "range"),
            ("@util.renderer", "decorators"),
            ("x = {**a}", "|"),
        ] {
            assert!(syntax(line).is_some_and(|h| h.contains(word)), "{line}");
        }
        for plain in ["classes = [1", "c[\"a\"] == b == c", "x = f(a=1, b=2"] {
            assert_eq!(syntax(plain), None, "{plain}");
        }
    }
}
