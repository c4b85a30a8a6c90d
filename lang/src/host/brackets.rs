//! What the reader of a file meant where a bracket's inside stops making sense:
//! a comma, a closing bracket, or a quote that is not there.

/// A bracket that was not closed before a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    bracket: char,
    /// From 1.
    line: usize,
    /// Blanks at the beginning of that line.
    indent: usize,
}

/// What stands before a place.
#[derive(Debug, Default)]
struct Before<'a> {
    open: Vec<Open>,
    /// The last token, and its line from 1.
    last: Option<(&'a str, usize)>,
}

/// A hint for the parser's `message` about the token at the byte `at` of `source`.
pub(super) fn hint(message: &str, source: &str, at: usize) -> Option<String> {
    let (head, tail) = source.split_at_checked(at)?;
    if message.contains("unfinished string literal") {
        return Some("close it with the same quote; a text of several lines stands between \"\"\" and \"\"\"".into());
    }
    if message.contains("new indentation block") {
        return Some("take out the blanks at the beginning of the line".into());
    }
    let rest = message.strip_prefix("unexpected ")?;
    let before = Before::of(head);
    let ended = Before::of(tail).last.is_none();
    let Some(open) = before.open.last() else {
        let closing =
            rest.starts_with("symbol ')'") || rest.starts_with("symbol ']'") || rest.starts_with("symbol '}'");
        return match rest {
            _ if closing => Some("no bracket is open here: take it out".into()),
            _ if rest.starts_with("new line, expected symbol ':'") => Some("end the line with a colon".into()),
            _ => None,
        };
    };
    let unclosed = format!("the `{}` of line {} is not closed", open.bracket, open.line);
    if ended {
        return Some(unclosed);
    }
    if rest.starts_with("symbol ')'") || rest.starts_with("symbol ']'") || rest.starts_with("symbol '}'") {
        return Some(format!("{unclosed}: it needs a `{}` before this", closing(open.bracket)));
    }
    let expected = rest.split_once(", expected ").map_or("", |(_, e)| e);
    let value = ["identifier", "string literal", "integer literal", "float literal", "symbol '('", "symbol '['"]
        .into_iter()
        .chain(["symbol '{'", "keyword", "f-string"])
        .any(|kind| rest.starts_with(kind));
    if !value || expected.contains("f-string") {
        return None;
    }
    if open.bracket == '{' && expected.contains("':'") {
        return Some("an entry of a dict is written key: value".into());
    }
    let (last, line) = before.last?;
    let here = head.matches('\n').count() + 1;
    let column = head.len() - head.rfind('\n').map_or(0, |i| i + 1);
    let quoted = |text: &str| text.ends_with(['"', '\'']);
    Some(if line < here && column <= open.indent {
        format!("{unclosed}, or a comma is missing at the end of line {line}")
    } else if quoted(last) && rest.starts_with("string literal") {
        "put a comma between the two texts, or + to join them".into()
    } else if line < here {
        format!("put a comma at the end of line {line}")
    } else if open.bracket == '(' && last.starts_with(|c: char| c.is_alphabetic() || c == '_') && !quoted(last) {
        format!("put a comma after `{last}`; a named argument is written {last} = value")
    } else {
        format!("put a comma after `{}`", short(last))
    })
}

fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

fn short(token: &str) -> String {
    match token.char_indices().nth(30) {
        Some((end, _)) => format!("{}…", &token[..end]),
        None => token.to_owned(),
    }
}

impl<'a> Before<'a> {
    fn of(text: &'a str) -> Before<'a> {
        let mut before = Before::default();
        let bytes = text.as_bytes();
        let (mut at, mut line, mut begin) = (0, 1, 0);
        while let Some(byte) = bytes.get(at) {
            let from = at;
            at = match byte {
                b'\n' => {
                    line += 1;
                    begin = at + 1;
                    at + 1
                }
                b' ' | b'\t' | b'\r' => at + 1,
                b'#' => text[at..].find('\n').map_or(text.len(), |i| at + i),
                b'"' | b'\'' => string(bytes, at),
                _ => text[at..].char_indices().find(|(_, c)| !word(*c)).map_or(text.len(), |(i, _)| at + i.max(1)),
            };
            // A character of several bytes that is no word's is skipped whole.
            while !text.is_char_boundary(at) {
                at += 1;
            }
            let token = &text[from..at];
            if token.trim().is_empty() || token.starts_with('#') {
                continue;
            }
            before.last = Some((token, line));
            match token.chars().next() {
                Some(bracket @ ('(' | '[' | '{')) => {
                    let indent = text[begin..].chars().take_while(|c| *c == ' ').count();
                    before.open.push(Open { bracket, line, indent });
                }
                Some(')' | ']' | '}') => {
                    before.open.pop();
                }
                _ => {}
            }
            line += token.matches('\n').count();
        }
        before
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// Where the text that begins at `at` ends.
fn string(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let triple = bytes.get(at + 1) == Some(&quote) && bytes.get(at + 2) == Some(&quote);
    let width = if triple { 3 } else { 1 };
    let mut i = at + width;
    while i < bytes.len() {
        if bytes[i] == b'\\' {
            i += 2;
        } else if bytes[i] == quote && (!triple || bytes[i..].starts_with(&[quote; 3])) {
            return i + width;
        } else if bytes[i] == b'\n' && !triple {
            return i;
        } else {
            i += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hint for the token that begins at `§`.
    fn told(message: &str, marked: &str) -> String {
        let at = marked.find('§').unwrap();
        hint(message, &marked.replace('§', ""), at).unwrap_or_default()
    }

    #[test]
    fn what_is_missing_in_a_bracket_is_named_with_its_line() {
        let word = "unexpected identifier 'b', expected symbol ')'";
        let text = "unexpected string literal \"b\", expected symbol ']'";
        for (message, marked, wanted) in [
            (word, "f(\n    a = 1\n    §b = 2,\n)\n", "put a comma at the end of line 2"),
            (word, "f(a = \"x\" §b = 1)\n", "put a comma after `\"x\"`"),
            (word, "f(a §b)\n", "a named argument is written a = value"),
            (text, "[\"a\" §\"b\"]\n", "or + to join them"),
            (text, "x = [1, 2\n§\"b\"\n", "the `[` of line 1 is not closed"),
            (text, "x = [1, '[' # (\n §3]\n", "put a comma"),
            ("unexpected new line, expected symbol ']'", "x = f(1)\ny = [1,\n§", "the `[` of line 2 is not closed"),
            ("unexpected symbol ')', expected symbol ']'", "x = [1§)\n", "it needs a `]`"),
            ("unexpected symbol ')', expected new line", "x = (1)§)\n", "no bracket is open"),
            ("unexpected integer literal '1', expected symbol ':'", "{\"a\" §1}", "key: value"),
            ("unexpected new line, expected symbol ':'", "def f(a)§\n", "colon"),
        ] {
            let got = told(message, marked);
            assert!(got.contains(wanted), "{marked}: {got:?}");
        }
    }

    #[test]
    fn texts_and_comments_hold_no_brackets_and_nothing_panics() {
        let before = Before::of("a = \"\"\"(\n[\"\"\" # {\nb = ['\\'(', \"ü€(\"");
        assert_eq!(before.open, [Open { bracket: '[', line: 3, indent: 0 }]);
        for text in ["\"", "'\\", "\"\"\"", "é(", "§", "€€", "", "\\"] {
            let _ = Before::of(text);
            let _ = hint("unexpected identifier 'x', expected symbol ')'", text, text.len());
        }
    }
}
