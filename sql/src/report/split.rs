//! Finds the parameters of a query: `:name` outside of strings, quoted names,
//! comments and casts.

use super::parameters::{Parameter, ParameterKind, Values};
use crate::report::parameters::literal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// The parameter of this place in the head.
    Parameter(usize),
}

impl Piece {
    pub fn bound(&self, parameters: &[Parameter]) -> String {
        match self {
            Piece::Text(text) => text.clone(),
            Piece::Parameter(n) => format!("${}::{}", n + 1, parameters[*n].kind.sql()),
        }
    }

    pub fn literal(&self, parameters: &[Parameter], values: &Values) -> String {
        match self {
            Piece::Text(text) => text.clone(),
            Piece::Parameter(n) => literal(values.get(*n), parameters[*n].kind),
        }
    }
}

/// The pieces of a query, or the line (from 1) and what is wrong there.
pub fn split(sql: &str, parameters: &[Parameter]) -> Result<Vec<Piece>, (usize, String)> {
    let bytes = sql.as_bytes();
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        let skipped = match bytes[at] {
            b'\'' => {
                let escapes = at > 0
                    && matches!(bytes[at - 1], b'e' | b'E')
                    && !(at > 1 && (bytes[at - 2].is_ascii_alphanumeric() || bytes[at - 2] == b'_'));
                quoted(rest, b'\'', escapes)
            }
            b'"' => quoted(rest, b'"', false),
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => comment(rest),
            b'$' if at == 0 || !word(bytes[at - 1]) => dollar(rest),
            b':' if rest.starts_with("::") || rest.starts_with(":=") => 2,
            b':' if rest.len() > 1 && (bytes[at + 1].is_ascii_lowercase() || bytes[at + 1] == b'_') => {
                let name: &str = &rest[1..1 + rest[1..].bytes().take_while(|b| word(*b)).count()];
                let Some(n) = parameters.iter().position(|p| p.name == name) else {
                    let line = 1 + sql[..at].matches('\n').count();
                    return Err((line, format!("`:{name}` is no parameter of the head")));
                };
                pieces.push(Piece::Text(sql[from..at].to_owned()));
                pieces.push(Piece::Parameter(n));
                from = at + 1 + name.len();
                1 + name.len()
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += skipped;
    }
    pieces.push(Piece::Text(sql[from..].to_owned()));
    Ok(pieces)
}

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// Length of what is between quotes; a doubled quote is one of the text.
fn quoted(text: &str, quote: u8, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b if b == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Comments of this kind may hold others.
fn comment(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`; a lone `$` is one byte.
fn dollar(text: &str) -> usize {
    let Some(end) = text[1..].find('$').map(|n| n + 2) else { return 1 };
    let tag = &text[..end];
    if !tag[1..end - 1].bytes().all(word) || tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    text[end..].find(tag).map_or(text.len(), |n| end + n + end)
}

/// Whether a query uses a parameter.
pub fn uses(pieces: &[Piece], n: usize) -> bool {
    pieces.contains(&Piece::Parameter(n))
}

impl ParameterKind {
    /// The type that a value is cast to.
    pub fn sql(self) -> &'static str {
        match self {
            ParameterKind::Time => "timestamptz",
            ParameterKind::Text => "text",
            ParameterKind::Int => "bigint",
            ParameterKind::Float => "double precision",
            ParameterKind::Bool => "boolean",
        }
    }
}
