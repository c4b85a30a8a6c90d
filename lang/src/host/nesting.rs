//! Refuses text whose syntax tree would be too deep: the parser and compiler
//! recurse, and a file must not be able to end the process by their stack.

/// Deepest tree that is read. Real files stay below fifty.
const DEPTH_MAX: usize = 1500;

/// Line (from 1) at which the depth of an expression may exceed the bound. An
/// upper estimate: open brackets, and operators and calls since the last comma,
/// on each level of brackets; blocks and `elif` chains in lines.
pub(crate) fn too_deep(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    // Weight of each open bracket level; the sum is the estimate.
    let mut levels = vec![0usize];
    let mut sum = 0;
    let mut elifs = 0;
    let mut line = 1;
    let mut at = 0;
    while at < bytes.len() {
        let mut weigh = 0;
        match bytes[at] {
            b'\n' => {
                line += 1;
                let before = bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]);
                let continued = before.ends_with(b"\\");
                if levels.len() == 1 && !continued {
                    (levels[0], sum) = (0, 0);
                }
            }
            b'#' => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            quote @ (b'"' | b'\'') => {
                let end = super::site::string_end(bytes, at, quote).min(bytes.len() - 1);
                line += bytes[at..=end].iter().filter(|b| **b == b'\n').count() as u32;
                at = end;
            }
            b'(' | b'[' | b'{' => {
                // Counted by the number of levels: no comma takes it away.
                levels.push(0);
            }
            b')' | b']' | b'}' if levels.len() > 1 => {
                // A closed bracket still hangs on what is before it: f()()() nests.
                sum -= levels.pop().expect("more than one level is open");
                weigh = 1;
            }
            b',' => {
                let level = levels.last_mut().expect("the lowest level stays");
                sum -= std::mem::take(level);
            }
            b if word(b) => {
                let end = at + bytes[at..].iter().position(|b| !word(*b)).unwrap_or(bytes.len() - at);
                match &text[at..end] {
                    "elif" => elifs += 1,
                    "not" | "and" | "or" | "if" | "else" | "lambda" | "in" => weigh = 1,
                    _ => {}
                }
                at = end - 1;
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'~' | b'|' | b'&' | b'^' | b'<' | b'>' | b'=' | b'.' | b':' => {
                weigh = 1
            }
            _ => {}
        }
        *levels.last_mut().expect("the lowest level stays") += weigh;
        sum += weigh;
        let indent = if at == 0 || bytes[at - 1] == b'\n' {
            bytes[at..].iter().take_while(|b| b" \t".contains(b)).count()
        } else {
            0
        };
        if sum + levels.len() > DEPTH_MAX || elifs > DEPTH_MAX || indent > DEPTH_MAX {
            return Some(line);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_text_is_refused_and_long_text_is_not() {
        for deep in [
            "(".repeat(5000),
            "not ".repeat(5000),
            "1+".repeat(5000),
            "f".to_owned() + &"()".repeat(5000),
            "x = a".to_owned() + &".b".repeat(5000),
            "[0,".repeat(5000),
            "x = 1".to_owned() + &" +\\\r\n 1".repeat(5000),
        ] {
            assert!(too_deep(&deep).is_some(), "{}", &deep[..20]);
        }
        let table = format!("x = [\n{}]\n", "  (\"a\" + \"b\", -1, f(2)),\n".repeat(20_000));
        assert_eq!(too_deep(&table), None);
        assert_eq!(too_deep(&"x = 1 + 2 # (((\ny = '((('\n".repeat(10_000)), None);
        assert_eq!(too_deep(")))\n'"), None);
    }
}
