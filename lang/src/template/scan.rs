//! Reads a template as text and tags, without understanding the tags: enough to
//! find the names of filters and tests wherever they stand, and which values of
//! a JSON template stand between quotes.

/// The filter that writes a value into a JSON text.
pub(super) const IN_TEXT: &str = "__in_text";

/// A part of a template, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Text {
        from: usize,
        to: usize,
    },
    /// `{{ … }}` and `{% … %}`: without the brackets and the signs of white space.
    Tag {
        from: usize,
        to: usize,
        value: bool,
    },
    Comment,
}

fn pieces(text: &str) -> Vec<Piece> {
    let bytes = text.as_bytes();
    let (mut found, mut at, mut begin) = (vec![], 0, 0);
    // Inside of {% raw %}: text up to {% endraw %}.
    let mut raw = false;
    while at + 1 < bytes.len() {
        let opening = &bytes[at..at + 2];
        if !matches!(opening, b"{{" | b"{%" | b"{#") || (raw && opening != b"{%") {
            at += 1;
            continue;
        }
        let (close, end) = match opening {
            b"{#" => ("#}", text[at..].find("#}").map(|i| at + i)),
            b"{{" => ("}}", closing(bytes, at + 2, b"}}")),
            _ => ("%}", closing(bytes, at + 2, b"%}")),
        };
        let Some(end) = end else { break };
        let (from, to) = within(text, at + 2, end);
        let word = text[from..to].trim();
        if raw && word != "endraw" {
            at += 1;
            continue;
        }
        if begin < at {
            found.push(Piece::Text { from: begin, to: at });
        }
        found.push(match opening {
            b"{#" => Piece::Comment,
            b"{%" if matches!(word, "raw" | "endraw") => {
                raw = word == "raw";
                Piece::Comment
            }
            kind => Piece::Tag { from, to, value: kind == b"{{" },
        });
        at = end + close.len();
        begin = at;
    }
    if begin < text.len() {
        found.push(Piece::Text { from: begin, to: text.len() });
    }
    found
}

/// Without `-` and `+` at the ends.
fn within(text: &str, from: usize, to: usize) -> (usize, usize) {
    let sign = |b: Option<&u8>| matches!(b, Some(b'-' | b'+'));
    let from = if sign(text.as_bytes().get(from)) && from < to { from + 1 } else { from };
    let to = if to > from && text.as_bytes().get(to - 1) == Some(&b'-') { to - 1 } else { to };
    (from, to)
}

/// Where a tag ends; strings in it are passed over. Brackets are counted, for `{{ {"a": {}} }}`.
fn closing(bytes: &[u8], from: usize, close: &[u8; 2]) -> Option<usize> {
    let (mut at, mut depth) = (from, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => at = string_end(bytes, at),
            _ if depth == 0 && bytes[at..].starts_with(close) => return Some(at),
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = (depth - 1).max(0),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The last byte of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < bytes.len() && bytes[i] != bytes[at] {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i
}

/// A name of a filter or a test, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used<'t> {
    Filter(&'t str, usize),
    Test(&'t str, usize),
}

/// All filters and tests that a template names.
pub(super) fn used(text: &str) -> Vec<Used<'_>> {
    let mut found = vec![];
    for piece in pieces(text) {
        let Piece::Tag { from, to, value } = piece else { continue };
        let words = words(text, from, to);
        for (i, (at, word)) in words.iter().enumerate() {
            let before = |n: usize| i.checked_sub(n).map(|j| words[j].1);
            let name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
            match (before(1), before(2)) {
                _ if !name => {}
                (Some("|"), _) => found.push(Used::Filter(word, *at)),
                (Some("filter"), None) if !value => found.push(Used::Filter(word, *at)),
                (Some("is"), _) if *word != "not" => found.push(Used::Test(word, *at)),
                (Some("not"), Some("is")) => found.push(Used::Test(word, *at)),
                _ => {}
            }
        }
    }
    found
}

/// Where a dotted name stands in the tags.
pub(super) fn find(text: &str, path: &str) -> Option<usize> {
    let parts: Vec<&str> = path.split('.').collect();
    for piece in pieces(text) {
        let Piece::Tag { from, to, .. } = piece else { continue };
        let words = words(text, from, to);
        for i in 0..words.len() {
            // An attribute of something else is not it.
            if i > 0 && words[i - 1].1 == "." {
                continue;
            }
            let same = parts.iter().enumerate().all(|(n, part)| {
                words.get(i + 2 * n).is_some_and(|w| w.1 == *part)
                    && (n == 0 || words.get(i + 2 * n - 1).is_some_and(|w| w.1 == "."))
            });
            if same {
                return words.get(i + 2 * (parts.len() - 1)).map(|w| w.0);
            }
        }
    }
    None
}

/// Whether a template asks if the name is there: `NAME is defined`.
pub(super) fn asks_for(text: &str, name: &str) -> bool {
    pieces(text).into_iter().any(|piece| match piece {
        Piece::Tag { from, to, .. } => {
            let words: Vec<&str> = words(text, from, to).into_iter().map(|(_, word)| word).collect();
            let asked = |rest: &[&str]| {
                matches!(rest, ["is", "defined" | "undefined", ..] | ["is", "not", "defined" | "undefined", ..])
            };
            (0..words.len()).any(|i| words[i] == name && (i == 0 || words[i - 1] != ".") && asked(&words[i + 1..]))
        }
        _ => false,
    })
}

/// Names, numbers and signs of a tag; a string is `"`.
fn words(text: &str, from: usize, to: usize) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    let (mut found, mut at) = (vec![], from);
    while at < to {
        match bytes[at] {
            b'"' | b'\'' => {
                found.push((at, "\""));
                at = string_end(bytes, at) + 1;
            }
            b if b.is_ascii_whitespace() => at += 1,
            b if word(b) => {
                let end = (at..to).find(|i| !word(bytes[*i])).unwrap_or(to);
                found.push((at, &text[at..end]));
                at = end;
            }
            _ => {
                found.push((at, &text[at..at + 1]));
                at += 1;
            }
        }
    }
    found
}

/// The same template; values between the quotes of a JSON text are written as part of it.
pub(super) fn with_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut copied) = (false, 0);
    for piece in pieces(text) {
        match piece {
            Piece::Text { from, to } => {
                let mut escaped = false;
                for b in &text.as_bytes()[from..to] {
                    match b {
                        _ if escaped => escaped = false,
                        b'\\' if quoted => escaped = true,
                        b'"' => quoted = !quoted,
                        _ => {}
                    }
                }
            }
            Piece::Tag { from, to, value: true } if quoted && !text[from..to].trim().is_empty() => {
                out.push_str(&text[copied..from]);
                out.push_str(&format!(" ({})|{IN_TEXT} ", &text[from..to]));
                copied = to;
            }
            _ => {}
        }
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_tests_are_found_wherever_they_stand() {
        let text = "a | b {{ x|upper }}{% if y is not odd and '|z' is even %}{% filter lower %}{# |no #}\n{%- raw %}{{ x|no }}{% endraw -%}{% for i in l|sort(attribute='a|b')|first %}";
        let names: Vec<&str> = used(text)
            .into_iter()
            .map(|u| match u {
                Used::Filter(n, _) | Used::Test(n, _) => n,
            })
            .collect();
        assert_eq!(names, ["upper", "odd", "even", "lower", "sort", "first"]);
        assert_eq!(find("{{ a.build }}{{ build.x }} build.y {{ build . y }}", "build.y"), Some(46));
    }

    #[test]
    fn a_tag_that_never_ends_is_text() {
        assert!(used("{{ x | '").is_empty());
        assert!(used("{").is_empty());
        assert_eq!(with_texts("\"{{ x\""), "\"{{ x\"");
    }
}
