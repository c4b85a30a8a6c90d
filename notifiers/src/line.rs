//! Strangers' text where one line is due: headers, rows, chat, the words of an error.

/// One line of at most `max` characters; what was cut shows as `…`. Control
/// characters, line separators and what turns the direction of writing become
/// spaces, and spaces in a row one.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    let mut space = false;
    for c in text.chars() {
        if c.is_whitespace() || harmful(c) {
            space = !line.is_empty();
            continue;
        }
        if length + usize::from(space) >= max {
            line.pop();
            line.push('…');
            break;
        }
        if space {
            line.push(' ');
            length += 1;
            space = false;
        }
        line.push(c);
        length += 1;
    }
    line
}

/// Control characters of both tables, separators of lines, marks that reverse
/// what a reader sees, and the mark of a byte order.
pub fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// At most `max` bytes, cut at a character's boundary.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_control_characters_become_one_line_of_bounded_length() {
        assert_eq!(one_line("  a\r\nBcc: x@y\0\u{1b}[31m \u{202e}b  ", 100), "a Bcc: x@y [31m b");
        assert_eq!(one_line("ünïcödé", 4), "ünï…");
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(one_line("abc d", 4), "ab…");
        assert_eq!(one_line("\r\n", 4), "");
        assert_eq!(one_line(&"é".repeat(10_000), 200).chars().count(), 200);
        assert_eq!((cut("éa", 1), cut("éa", 2), cut("éa", 9)), ("", "é", "éa"));
    }
}
