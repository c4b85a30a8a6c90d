//! Any text made fit for one line of IRC (A7).
//!
//! What strangers wrote (commit messages, names, reasons) passes [`clean`]
//! where it enters a sentence; the outbox passes every line through [`line`]
//! again, so that nothing that forgot can begin a second command.

/// The codes by which clients format: bold, colour, hex colour, reset, fixed, reverse, italic, strike, underline.
const FORMATTING: [char; 9] = ['\u{2}', '\u{3}', '\u{4}', '\u{f}', '\u{11}', '\u{16}', '\u{1d}', '\u{1e}', '\u{1f}'];

/// The colours of mIRC that a build's results get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Green,
    Red,
    Purple,
    Orange,
    Pink,
    Blue,
    Grey,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Colour::Green => "03",
            Colour::Red => "04",
            Colour::Purple => "06",
            Colour::Orange => "07",
            Colour::Blue => "12",
            Colour::Pink => "13",
            Colour::Grey => "14",
        }
    }
}

/// The text in a colour, if colours are wanted. Two digits always: the text may begin with one.
pub fn paint(text: &str, colour: Colour, wanted: bool) -> String {
    if wanted { format!("\u{3}{}{text}\u{f}", colour.code()) } else { text.to_owned() }
}

/// A stranger's words as a piece of one line: breaks and tabs are a space,
/// control codes (formatting too) and what reorders text are gone.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_break(c) {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !is_unseen(c) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// A whole line as it goes out: no break, NUL or control code; of formatting
/// only what is `formatted`.
pub fn line(text: &str, formatted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if is_break(c) => out.push(' '),
            _ if FORMATTING.contains(&c) => {
                if formatted {
                    out.push(c);
                }
            }
            _ if is_unseen(c) => {}
            _ => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// The lines of a longer text, such as a template's product; empty ones left out.
pub fn lines(text: &str) -> Vec<String> {
    text.split(['\n', '\r']).map(|l| line(l, true)).filter(|l| !l.is_empty()).collect()
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control codes, and marks that turn the direction of what follows or hide in it.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// At most this many characters; a cut shows.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

/// Pieces of at most `most` bytes, cut at spaces where one is in the second
/// half of a piece, else between characters. Never empty pieces.
pub fn split(text: &str, most: usize) -> Vec<String> {
    // A character takes up to four bytes; less room than that would never end.
    let most = most.max(4);
    let mut rest = text.trim_end();
    let mut pieces = Vec::new();
    while rest.len() > most {
        let mut end = most;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        // A space just behind the cut is one too.
        let until = if rest[end..].starts_with(' ') { end } else { rest[..end].rfind(' ').unwrap_or(0) };
        let cut = if until > end / 2 { until } else { end };
        let piece = rest[..cut].trim_end();
        if !piece.is_empty() {
            pieces.push(piece.to_owned());
        }
        rest = rest[cut..].trim_start_matches(' ');
    }
    if !rest.is_empty() {
        pieces.push(rest.to_owned());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_commit_message_with_breaks_and_codes_becomes_one_harmless_piece() {
        let hostile = "fix\r\nQUIT :bye\0\u{1}DCC SEND x\u{1}\n\n\u{3}4red\u{202e}txet\u{7}\u{9b}31m";
        assert_eq!(clean(hostile), "fix QUIT :byeDCC SEND x 4redtxet31m");
        assert_eq!(clean("\r\n\t"), "");
    }

    #[test]
    fn formatting_stays_in_a_line_only_if_wanted() {
        let painted = paint("1 failed", Colour::Red, true);
        assert_eq!(painted, "\u{3}041 failed\u{f}");
        assert_eq!(line(&painted, true), painted);
        assert_eq!(line(&painted, false), "041 failed");
        assert_eq!(paint("1 failed", Colour::Red, false), "1 failed");
    }

    #[test]
    fn long_lines_are_cut_at_words_and_never_inside_a_character() {
        assert_eq!(split("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(split("aaaaaaaaaaaa", 5), ["aaaaa", "aaaaa", "aa"]);
        assert_eq!(split("ééééé", 5), ["éé", "éé", "é"]);
        assert_eq!(split("   ", 5), Vec::<String>::new());
    }

    #[test]
    fn what_was_cut_shows() {
        assert_eq!(shorten("a long story", 7), "a long…");
        assert_eq!(shorten("short", 7), "short");
    }

    proptest! {
        #[test]
        fn pieces_fit_and_lose_nothing_but_spaces(text in "\\PC{0,300}", most in 4usize..60) {
            let pieces = split(&text, most);
            prop_assert!(pieces.iter().all(|p| !p.is_empty() && p.len() <= most));
            let dense = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(dense(&pieces.concat()), dense(&text));
        }

        #[test]
        fn no_text_makes_a_second_line(text in any::<String>(), formatted in any::<bool>()) {
            let out = line(&text, formatted);
            let ends = ['\r', '\n', '\0', '\u{1}'];
            prop_assert!(!out.contains(ends));
            prop_assert!(!clean(&text).chars().any(char::is_control));
        }
    }
}
