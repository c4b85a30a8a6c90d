//! Text of strangers, made safe for a terminal (A6).
//!
//! A log may hold anything. Of escape sequences only colours and the like
//! (SGR) are kept; what moves the cursor, sets the title, writes the clipboard
//! or makes links is removed. A carriage return begins a new line instead of
//! overwriting one; other control characters become visible signs.

/// Longest colour sequence that is kept.
const SGR_MAX: usize = 32;

/// Makes a stream of bytes safe. Sequences and characters may be cut anywhere
/// between two pieces.
#[derive(Debug)]
pub struct Sanitizer {
    /// Whether SGR is kept or removed.
    colour: bool,
    state: State,
    /// Begin of a character that is not whole yet.
    partial: Vec<u8>,
    /// A colour is switched on.
    styled: bool,
}

#[derive(Debug, PartialEq)]
enum State {
    Text,
    /// After CR: LF may follow.
    Return,
    Escape,
    /// `ESC [` and what followed.
    Csi(String),
    /// OSC, DCS, SOS, PM, APC: until BEL, ST or the end of the line.
    String,
    /// ESC within such a string.
    StringEscape,
}

impl Sanitizer {
    pub fn new(colour: bool) -> Sanitizer {
        Sanitizer { colour, state: State::Text, partial: Vec::new(), styled: false }
    }

    /// The safe form of the next piece.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut input = std::mem::take(&mut self.partial);
        input.extend_from_slice(bytes);
        let mut out = String::with_capacity(input.len());
        let mut rest = &input[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    text.chars().for_each(|c| self.char(c, &mut out));
                    break;
                }
                Err(e) => {
                    let (valid, after) = rest.split_at(e.valid_up_to());
                    let valid = std::str::from_utf8(valid).expect("the error says that it is valid up to here");
                    valid.chars().for_each(|c| self.char(c, &mut out));
                    match e.error_len() {
                        Some(n) => {
                            self.char('\u{fffd}', &mut out);
                            rest = &after[n..];
                        }
                        // The end of the piece cuts a character.
                        None => {
                            self.partial = after.to_vec();
                            break;
                        }
                    }
                }
            }
        }
        out
    }

    /// What is still owed at the end: a cut character, and the end of a colour.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        if !std::mem::take(&mut self.partial).is_empty() {
            self.char('\u{fffd}', &mut out);
        }
        if self.state == State::Return {
            out.push('\n');
        }
        self.state = State::Text;
        if std::mem::take(&mut self.styled) {
            out.push_str("\x1b[0m");
        }
        out
    }

    fn char(&mut self, c: char, out: &mut String) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => self.text(c, out),
            State::Return => {
                out.push('\n');
                if c != '\n' {
                    self.text(c, out);
                }
            }
            State::Escape => match c {
                '[' => self.state = State::Csi(String::new()),
                ']' | 'P' | 'X' | '^' | '_' => self.state = State::String,
                // Intermediate bytes (character sets): one more follows.
                ' '..='/' => self.state = State::Escape,
                '\u{30}'..='\u{7e}' => {}
                _ => self.text(c, out),
            },
            State::Csi(mut parameters) => match c {
                'm' => {
                    let plain = parameters.chars().all(|c| c.is_ascii_digit() || c == ';' || c == ':');
                    if self.colour && plain && parameters.len() <= SGR_MAX {
                        out.push_str(&format!("\x1b[{parameters}m"));
                        self.styled = !matches!(parameters.as_str(), "" | "0");
                    }
                }
                ' '..='?' => {
                    // Beyond the bound only its end matters.
                    if parameters.len() <= SGR_MAX {
                        parameters.push(c);
                    }
                    self.state = State::Csi(parameters);
                }
                '@'..='~' => {}
                _ => self.text(c, out),
            },
            State::String => match c {
                '\x07' | '\u{9c}' => {}
                '\x1b' => self.state = State::StringEscape,
                // One that never ends must not swallow the log.
                '\n' | '\r' => self.text(c, out),
                _ => self.state = State::String,
            },
            State::StringEscape => match c {
                '\\' => {}
                _ => {
                    self.state = State::Escape;
                    self.char(c, out);
                }
            },
        }
    }

    fn text(&mut self, c: char, out: &mut String) {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => self.state = State::Return,
            '\x1b' => self.state = State::Escape,
            _ => out.push(visible(c)),
        }
    }
}

/// A character that does nothing to a terminal.
fn visible(c: char) -> char {
    match c {
        // The signs of U+2400 show the names of control characters.
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        // Changes of direction make a line read as another one.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => c,
    }
}

/// A name or message on one line: no escape sequence, no line end.
pub fn line(text: &str) -> String {
    let mut sanitizer = Sanitizer::new(false);
    let mut out = sanitizer.push(text.as_bytes());
    out.push_str(&sanitizer.finish());
    out.replace(['\n', '\t'], " ")
}

/// Text of several lines: no escape sequence.
pub fn text(text: &str) -> String {
    let mut sanitizer = Sanitizer::new(false);
    let mut out = sanitizer.push(text.as_bytes());
    out.push_str(&sanitizer.finish());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(colour: bool, bytes: &[u8]) -> String {
        let mut s = Sanitizer::new(colour);
        let whole = s.push(bytes) + &s.finish();
        // However it is cut, the outcome is the same.
        let mut s = Sanitizer::new(colour);
        let pieces: String = bytes.iter().map(|b| s.push(&[*b])).collect();
        assert_eq!(pieces + &s.finish(), whole);
        whole
    }

    #[test]
    fn colours_stay_and_are_ended() {
        assert_eq!(all(true, b"\x1b[1;31mred\n"), "\x1b[1;31mred\n\x1b[0m");
        assert_eq!(all(true, b"\x1b[32mok\x1b[0m\n"), "\x1b[32mok\x1b[0m\n");
        assert_eq!(all(false, b"\x1b[1;31mred\x1b[0m"), "red");
    }

    #[test]
    fn what_moves_the_cursor_or_talks_to_the_terminal_is_gone() {
        assert_eq!(all(true, b"a\x1b[2Jb\x1b[1;1Hc\x1b[?1049hd"), "abcd");
        assert_eq!(all(true, b"a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c"), "abc");
        assert_eq!(all(true, b"a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\"), "alink");
        assert_eq!(all(true, b"a\x1bP1$q\x1b\\b\x1b(Bc\x1bcd"), "abcd");
        assert_eq!(all(true, "a\u{9b}31mb\u{9d}0;x\u{9c}".as_bytes()), "a\u{fffd}31mb\u{fffd}0;x\u{fffd}");
    }

    #[test]
    fn an_endless_title_swallows_only_its_line() {
        assert_eq!(all(true, b"a\x1b]0;never ends\nnext"), "a\nnext");
    }

    #[test]
    fn a_carriage_return_and_a_backspace_overwrite_nothing() {
        assert_eq!(all(true, b"step failed\rstep passed\r\nnext\r"), "step failed\nstep passed\nnext\n");
        assert_eq!(all(true, b"bad\x08\x08\x08ok\x07"), "bad\u{2408}\u{2408}\u{2408}ok\u{2407}");
    }

    #[test]
    fn invalid_bytes_are_shown_as_such_and_nul_is_visible() {
        assert_eq!(all(true, b"a\xff\xfeb\0c"), "a\u{fffd}\u{fffd}b\u{2400}c");
        assert_eq!(all(true, "ü€😀".as_bytes()), "ü€😀");
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(line("main\n\x1b[31mok\u{202e}x"), "main ok\u{fffd}x");
    }
}
