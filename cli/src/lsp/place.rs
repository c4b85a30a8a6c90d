//! Where in a text the cursor stands, as far as completion needs to know: also
//! in a text that cannot be parsed yet.

/// What surrounds an offset.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost call around it and the arguments that it names so far.
    pub call: Option<Call>,
    /// Begin of the string that it stands in, behind the quote.
    pub string: Option<usize>,
    pub comment: bool,
    /// The word that ends here, with its dots: `steps.Shell`. Empty inside strings.
    pub word: String,
    /// What stands before the bracket of `c["`, where the string is an index.
    pub indexed: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    pub callee: String,
    pub given: Vec<String>,
}

struct Open {
    bracket: char,
    call: Call,
}

/// Reads the text up to the offset.
pub fn at(text: &str, offset: usize) -> Place {
    let text = &text[..offset.min(text.len())];
    let mut open: Vec<Open> = vec![];
    let mut rest = 0;
    while let Some(c) = text[rest..].chars().next() {
        match c {
            '#' => match text[rest..].find('\n') {
                Some(end) => rest += end,
                None => return Place { comment: true, ..Place::default() },
            },
            '"' | '\'' => match string_end(text, rest, c) {
                Ok(end) => {
                    rest = end;
                    continue;
                }
                Err(start) => return in_string(text, rest, start, open),
            },
            '(' | '[' | '{' => {
                let call = Call { callee: word_before(text, rest).to_owned(), given: vec![] };
                open.push(Open { bracket: c, call });
            }
            ')' | ']' | '}' => {
                open.pop();
            }
            '=' if !text[rest + 1..].starts_with('=') && !text[..rest].ends_with(['=', '!', '<', '>']) => {
                if let Some(top) = open.last_mut().filter(|o| o.bracket == '(') {
                    let name = word_before(text, text[..rest].trim_end().len());
                    top.call.given.extend((!name.is_empty()).then(|| name.to_owned()));
                }
            }
            _ => {}
        }
        rest += c.len_utf8();
    }
    Place { call: innermost(open), word: word_before(text, text.len()).to_owned(), ..Place::default() }
}

fn in_string(text: &str, quote: usize, start: usize, open: Vec<Open>) -> Place {
    let index = open.last().filter(|o| o.bracket == '[' && text[..quote].trim_end().ends_with('['));
    let indexed = index.map(|o| o.call.callee.clone()).filter(|c| !c.is_empty());
    Place { call: innermost(open), string: Some(start), indexed, ..Place::default() }
}

/// Only where the cursor is directly among the arguments.
fn innermost(open: Vec<Open>) -> Option<Call> {
    open.into_iter().last().filter(|o| o.bracket == '(' && !o.call.callee.is_empty()).map(|o| o.call)
}

/// Behind the closing quote, or where the open string's text begins.
fn string_end(text: &str, at: usize, quote: char) -> Result<usize, usize> {
    let triple = quote.to_string().repeat(3);
    let long = text[at..].starts_with(&triple);
    let start = at + if long { 3 } else { 1 };
    let mut escaped = false;
    for (i, c) in text[start..].char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if long && text[start + i..].starts_with(&triple) {
            return Ok(start + i + 3);
        } else if !long && c == quote {
            return Ok(start + i + 1);
        } else if !long && c == '\n' {
            // Never closed: the line's end closes it for us.
            return Ok(start + i);
        }
    }
    Err(start)
}

/// Letters, digits, underscores and dots before an offset.
fn word_before(text: &str, offset: usize) -> &str {
    let text = &text[..offset];
    let start = text.rfind(|c: char| !is_part(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    &text[start..]
}

/// The word around an offset, without what follows a later dot, and where its last part begins.
pub fn word_around(text: &str, offset: usize) -> &str {
    let offset = offset.min(text.len());
    let after = text[offset..].find(|c: char| !is_part(c) || c == '.').unwrap_or(text.len() - offset);
    word_before(text, offset + after)
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Place {
        at(text, text.len())
    }

    #[test]
    fn the_call_and_its_arguments_are_found_in_unfinished_text() {
        let place = end("f.addStep(steps.ShellCommand(name = \"a)\", command = [\"x\"], # (\n  ha");
        let call = place.call.unwrap();
        assert_eq!((call.callee.as_str(), place.word.as_str()), ("steps.ShellCommand", "ha"));
        assert_eq!(call.given, ["name", "command"]);
        assert_eq!(end("x = steps.Sh").word, "steps.Sh");
        assert_eq!(end("f(a == b, [").call, None);
    }

    #[test]
    fn strings_and_comments_are_known_as_such() {
        assert_eq!(end("c[\"buil").indexed.as_deref(), Some("c"));
        assert_eq!(end("load(\"li").call.unwrap().callee, "load");
        assert_eq!(end("load(\"li").string, Some(6));
        assert!(end("x = 1 # steps.").comment);
        assert_eq!(end("'''a\n'b' \"").string, Some(3));
        assert_eq!(end("x = \"open\ny = util.").word, "util.");
    }

    #[test]
    fn the_word_around_the_cursor_ends_with_its_part() {
        let text = "x = steps.ShellCommand.y(";
        assert_eq!(word_around(text, 12), "steps.ShellCommand");
        assert_eq!(word_around(text, 6), "steps");
        assert_eq!(word_around("ü", 2), "ü");
    }
}
