//! Rust source taken apart as far as the rules need: what is code, and what
//! stands in string literals.

/// A source text without its comments.
#[derive(Debug, Default, PartialEq)]
pub struct Parts {
    /// Code with literals emptied and comments gone; newlines stay, so that
    /// lines can be counted.
    pub code: String,
    /// Contents of string literals with the line on which each begins.
    pub strings: Vec<(usize, String)>,
}

/// Takes a text apart. Text that is not Rust gives something, never a panic.
pub fn parts(text: &str) -> Parts {
    let mut out = Parts::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let line = || text[..text.len() - rest.len()].matches('\n').count() + 1;
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some((len, content)) = string(rest, &out.code) {
            out.strings.push((line(), content));
            out.code.push_str("\"\"");
            len
        } else if let Some(len) = char_literal(rest) {
            out.code.push_str("' '");
            len
        } else {
            out.code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.code.extend(rest[..len].chars().filter(|c| *c == '\n'));
        rest = &rest[len..];
    }
    out
}

/// The text up to its unit tests, which stand last in a file by convention.
pub fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length and content of a string literal that begins here.
fn string(text: &str, before: &str) -> Option<(usize, String)> {
    if let Some(plain) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = plain.find(|c| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        });
        let end = end.unwrap_or(plain.len());
        return Some(((end + 2).min(text.len()), plain[..end].to_owned()));
    }
    // `r` may also be the end of a name.
    if before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') && !before.ends_with('b') {
        return None;
    }
    let hashes = text.strip_prefix('r')?;
    let fence: String = hashes.chars().take_while(|c| *c == '#').collect();
    let raw = hashes[fence.len()..].strip_prefix('"')?;
    let end = raw.find(&format!("\"{fence}")).unwrap_or(raw.len());
    Some(((1 + fence.len() + 1 + end + 1 + fence.len()).min(text.len()), raw[..end].to_owned()))
}

/// Length of a character literal that begins here, in contrast to a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    if let Some(escape) = inner.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return Some(2 + first + escape[first..].find('\'')? + 1);
    }
    let c = inner.chars().next()?;
    inner[c.len_utf8()..].starts_with('\'').then(|| 1 + c.len_utf8() + 1)
}

#[test]
fn source_is_told_apart_into_code_and_literals() {
    let text = r##"
fn f<'a>(x: &'a str) -> char { // todo!() "not a string"
    /* dbg!() /* nested */ */
    let s = "say \"hi\" // here";
    let r = r#"raw "quoted" text"#;
    let b = b"bytes";
    if x == s { '"' } else { '\'' }
}"##;
    let parts = parts(text);
    let strings: Vec<&str> = parts.strings.iter().map(|(_, s)| s.as_str()).collect();
    assert_eq!(strings, [r#"say \"hi\" // here"#, "raw \"quoted\" text", "bytes"]);
    assert_eq!(parts.strings[1].0, 5);
    assert!(!parts.code.contains("todo!") && !parts.code.contains("dbg!") && parts.code.contains("fn f<'a>"));
    assert_eq!(parts.code.lines().count(), text.lines().count());
}
