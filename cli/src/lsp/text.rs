//! Positions: the protocol counts lines from 0 and UTF-16 units, diagnostics
//! count from 1 and characters.

use serde_json::{Value, json};

/// Byte offset of a position of the protocol; the nearest one where it lies outside.
pub fn offset(text: &str, position: &Value) -> usize {
    let line = position["line"].as_u64().unwrap_or_default() as usize;
    let units = position["character"].as_u64().unwrap_or_default() as usize;
    let start = match line {
        0 => 0,
        n => match text.match_indices('\n').nth(n - 1) {
            Some((at, _)) => at + 1,
            None => return text.len(),
        },
    };
    let rest = text[start..].split('\n').next().unwrap_or_default();
    let mut seen = 0;
    for (at, c) in rest.char_indices() {
        if seen >= units {
            return start + at;
        }
        seen += c.len_utf16();
    }
    start + rest.len()
}

/// A range within a line: line from 1, column from 1 and length in characters.
pub fn range(text: &str, line: u32, column: u32, length: u32) -> Value {
    let source = text.lines().nth(line.max(1) as usize - 1).unwrap_or_default();
    let units = |chars: u32| source.chars().take(chars as usize).map(char::len_utf16).sum::<usize>();
    let line = line.max(1) - 1;
    let from = column.max(1) - 1;
    json!({
        "start": { "line": line, "character": units(from) },
        "end": { "line": line, "character": units(from.saturating_add(length.max(1))) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_utf16_units_and_stay_inside() {
        let text = "ab\n😀x = 1\n";
        let at = |line: u64, character: u64| offset(text, &json!({ "line": line, "character": character }));
        assert_eq!((at(0, 0), at(0, 2), at(0, 99)), (0, 2, 2));
        assert_eq!((at(1, 0), at(1, 2), at(1, 3)), (3, 7, 8));
        assert_eq!(at(9, 9), text.len());
        assert_eq!(range(text, 2, 2, 1)["start"]["character"], 2);
        assert_eq!(range(text, 99, 5, 1)["end"]["character"], 0);
    }
}
