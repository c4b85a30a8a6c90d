//! What is told to people: a message with file, line, column, the source line
//! and what would be right.

use super::hints;
use serde::{Deserialize, Serialize};
use starlark::ErrorKind;
use starlark::codemap::FileSpan;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The files cannot be used.
    Error,
    /// They can, but something is probably not as meant.
    Warning,
    /// What the files print.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// Relative path within the project's files.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// How many characters of the line are meant; 0 is unknown.
    #[serde(default)]
    pub length: u32,
    /// The line itself, without its end; control characters are replaced.
    pub source_line: String,
    /// What would be right.
    pub hint: Option<String>,
    /// Through which calls the place was reached, innermost first.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Longest source line that is shown, in characters.
const LINE_MAX: usize = 240;
/// Longest message, in characters: it may quote a user's value.
const MESSAGE_MAX: usize = 4000;

impl Diagnostic {
    pub(crate) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            message: printable(&message.into(), MESSAGE_MAX),
            file: tidemill_model::revision::ROOT_FILE.to_owned(),
            line: 1,
            column: 1,
            length: 0,
            source_line: String::new(),
            hint: None,
            notes: vec![],
        }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Diagnostic::new(Severity::Error, message)
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Diagnostic::new(Severity::Warning, message)
    }

    /// Sets the place; none leaves it as it is.
    pub(crate) fn at(mut self, span: Option<&FileSpan>) -> Self {
        let Some(span) = span else { return self };
        let resolved = span.resolve_span();
        let line = span.file.source_line(resolved.begin.line);
        self.file = span.filename().to_owned();
        self.line = resolved.begin.line as u32 + 1;
        self.column = resolved.begin.column as u32 + 1;
        self.source_line = printable(line, LINE_MAX);
        let end = if resolved.end.line == resolved.begin.line {
            resolved.end.column
        } else {
            line.trim_end().chars().count()
        };
        self.length = end.saturating_sub(resolved.begin.column) as u32;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(printable(&hint.into(), MESSAGE_MAX));
        self
    }

    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    pub(crate) fn notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// `file:line:column`.
    pub fn location(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }

    /// From an error of the interpreter or of one of our natives.
    pub(crate) fn from_starlark(error: &starlark::Error) -> Self {
        let text = match error.kind() {
            ErrorKind::Fail(inner) => inner.to_string(),
            _ => error.without_diagnostic().to_string(),
        };
        let frames = &error.call_stack().frames;
        let fallback = frames.iter().rev().find_map(|f| f.location.as_ref());
        let span = error.span().or(fallback);
        let parser = matches!(error.kind(), ErrorKind::Parser(_));
        let (message, hint) = hints::explain(&text, span, parser);
        Diagnostic::error(message).at(span).maybe_hint(hint).notes(super::site::trace(frames))
    }
}

/// One line each; no control characters, so that nothing a file holds can act on a terminal.
fn printable(text: &str, max: usize) -> String {
    let mut out: String = text
        .trim_end()
        .chars()
        .take(max)
        .map(|c| if c.is_control() && !"\t\n".contains(c) { '\u{fffd}' } else { c })
        .collect();
    if text.trim_end().chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        write!(f, "\n{gutter}--> {}", self.location())?;
        if !self.source_line.is_empty() {
            // Tabs stay tabs, so that the carets stand below what they mean.
            let before = self.source_line.chars().take(self.column as usize - 1);
            let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let room = self.source_line.chars().count().saturating_sub(self.column as usize - 1).max(1);
            let carets = "^".repeat((self.length as usize).clamp(1, room));
            write!(f, "\n{gutter} |\n{number} | {}\n{gutter} | {pad}{carets}", self.source_line)?;
        }
        for (label, text) in self.hint.iter().map(|h| ("help", h)).chain(self.notes.iter().map(|n| ("note", n))) {
            write!(f, "\n{gutter} = {label}: {}", text.replace('\n', &format!("\n{gutter}         ")))?;
        }
        Ok(())
    }
}

/// All that was found wrong (and, after it, what was only doubtful).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|d| d.severity == Severity::Error)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            write!(f, "{}{diagnostic}", if i > 0 { "\n\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A call into an evaluated project failed: a function of the user, a
/// placeholder, or a value that is of the wrong type only now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError(Box<Diagnostic>);

impl EvalError {
    pub(crate) fn new(diagnostic: Diagnostic) -> Self {
        EvalError(Box::new(diagnostic))
    }

    /// Gives a place to an error that has none: a limit is hit nowhere in particular.
    pub(crate) fn or_placed(self, place: impl FnOnce(Diagnostic) -> Diagnostic) -> Self {
        if self.0.source_line.is_empty() { EvalError::new(place(*self.0)) } else { self }
    }

    pub fn diagnostic(&self) -> &Diagnostic {
        &self.0
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for EvalError {}

impl From<starlark::Error> for EvalError {
    fn from(error: starlark::Error) -> Self {
        EvalError::new(Diagnostic::from_starlark(&error))
    }
}
