//! Where a value was made: the call, its arguments, and the calls around it.

use super::diagnostics::Diagnostic;
use starlark::codemap::{FileSpan, Pos, Span};
use starlark::eval::Evaluator;

/// Frames around a place that are shown.
const FRAMES: usize = 4;

/// Place of a constructor call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    pub span: Option<FileSpan>,
    /// Calls around it, innermost first, for people.
    pub trace: Vec<String>,
}

impl Site {
    /// The place of the native call that runs now.
    pub fn of(eval: &Evaluator<'_, '_, '_>) -> Site {
        Site { span: eval.call_stack_top_location(), trace: outer(&eval.call_stack().frames) }
    }

    /// `file:line`, as definitions record it.
    pub fn location(&self) -> String {
        match &self.span {
            Some(span) => format!("{}:{}", span.filename(), span.resolve_span().begin.line + 1),
            None => String::new(),
        }
    }

    /// A finding about the whole call.
    pub fn place(&self, diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.at(self.span.as_ref()).notes(self.trace.clone())
    }

    /// A finding about one argument: points at its keyword where it is written there.
    pub fn place_argument(&self, argument: &str, diagnostic: Diagnostic) -> Diagnostic {
        let span = self.span.as_ref().and_then(|span| keyword(span, argument));
        diagnostic.at(span.as_ref().or(self.span.as_ref())).notes(self.trace.clone())
    }
}

/// The frames around the innermost one.
fn outer(frames: &[starlark::errors::Frame]) -> Vec<String> {
    // A frame's location is where it was called, so the function around the
    // innermost call is the name of the frame before it.
    let last = frames.len().saturating_sub(1);
    trace(&frames[..last])
}

/// `in NAME, called at PLACE` for the frames of a stack, innermost first.
pub(crate) fn trace(frames: &[starlark::errors::Frame]) -> Vec<String> {
    let called = frames.iter().rev().filter(|f| !super::guards::is_guard(&f.name)).filter_map(|f| {
        let at = f.location.as_ref()?;
        let begin = at.resolve_span().begin;
        Some(format!("in `{}`, called at {}:{}:{}", f.name, at.filename(), begin.line + 1, begin.column + 1))
    });
    called.take(FRAMES).collect()
}

/// The span of `name` in `…(…, name=…)`, read from the call's text.
fn keyword(call: &FileSpan, name: &str) -> Option<FileSpan> {
    let at = keyword_offset(call.source_span(), name)?;
    let begin = call.span.begin().get() + at as u32;
    let span = Span::new(Pos::new(begin), Pos::new(begin + name.len() as u32));
    Some(FileSpan { file: call.file.clone(), span })
}

/// Skips strings, comments and inner brackets.
fn keyword_offset(source: &str, name: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'#' => at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at - 1),
            quote @ (b'"' | b'\'') => at = string_end(bytes, at, quote),
            b if word(b) => {
                let end = at + bytes[at..].iter().position(|b| !word(*b)).unwrap_or(bytes.len() - at);
                let rest = source[end..].trim_start();
                if depth == 1 && &source[at..end] == name && rest.starts_with('=') && !rest.starts_with("==") {
                    return Some(at);
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Index of the last byte of the string literal that begins at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let mut i = at + if triple { 3 } else { 1 };
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            b if b == quote && (!triple || bytes[i..].starts_with(&[quote; 3])) => {
                return i + if triple { 2 } else { 0 };
            }
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::keyword_offset;

    #[test]
    fn a_keyword_is_found_at_its_own_level_only() {
        let call = "f(a='x=1', # name=0\n g(name=1), \"\"\"name=\"\"\", name = 2)";
        let at = keyword_offset(call, "name").unwrap();
        assert_eq!(&call[at..], "name = 2)");
        assert_eq!(keyword_offset("f(name == 1)", "name"), None);
        assert_eq!(keyword_offset("f(surname=1)", "name"), None);
        assert_eq!(keyword_offset("f('", "name"), None);
        assert_eq!(keyword_offset("f(# x", "name"), None);
    }
}
