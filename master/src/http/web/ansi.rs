//! Log lines as HTML. Colours (SGR) become classes; every other control
//! sequence is dropped, every other control character and everything that
//! reorders text is made visible (A6). Text never becomes markup.

use std::fmt::Write;
use tidemill_model::log::Channel;
use tidemill_schema::read::text::{Line, Piece, gap_text, size};

/// Where the numbers of lines link to.
#[derive(Clone, Copy, Debug)]
pub enum Anchors {
    /// To the line on this page.
    Here,
    /// To the line on the page of this log.
    Log(i64),
}

/// Renders lines one after the other; colours last until they are reset.
#[derive(Debug)]
pub struct Renderer {
    anchors: Anchors,
    style: Style,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    /// 0 to 15.
    front: Option<u8>,
    back: Option<u8>,
    bold: bool,
    faint: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
    strike: bool,
}

impl Renderer {
    pub fn new(anchors: Anchors) -> Renderer {
        Renderer { anchors, style: Style::default() }
    }

    /// One row, into `out`.
    pub fn line(&mut self, line: &Line, out: &mut String) {
        let n = line.number + 1;
        let open = if line.ended { "" } else { " data-open" };
        // Writing to a String does not fail.
        let _ = match self.anchors {
            Anchors::Here => {
                write!(
                    out,
                    "<div class=\"l\" id=\"L{n}\"{open}><a href=\"?line={n}#L{n}\" data-n=\"{n}\" aria-label=\"line {n}\"></a><span>"
                )
            }
            Anchors::Log(log) => write!(
                out,
                "<div class=\"l\"{open}><a href=\"/logs/{log}?line={n}#L{n}\" data-n=\"{n}\" aria-label=\"line {n}\"></a><span>"
            ),
        };
        if line.head_cut {
            out.push_str("<span class=\"gap\">[the beginning of this line is left out]</span>");
        }
        let last = line.pieces.len();
        for (at, piece) in line.pieces.iter().enumerate() {
            match piece {
                Piece::Gap(n) => {
                    let _ = write!(out, "<span class=\"gap\">{}</span>", gap_text(*n));
                }
                Piece::Text(channel, bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    // The end of a line made on Windows is no sign worth showing.
                    let whole = at + 1 == last && line.cut == 0;
                    let text = if whole { text.strip_suffix('\r').unwrap_or(&text) } else { &text };
                    self.text(*channel, text, out);
                }
            }
        }
        if line.cut > 0 {
            let _ = write!(out, "<span class=\"gap\">[{} more in this line: see the raw log]</span>", size(line.cut));
        }
        out.push_str("</span></div>\n");
    }

    fn text(&mut self, channel: Channel, text: &str, out: &mut String) {
        let mut open = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\x1b' || c == '\u{9b}' {
                if let Some(codes) = sequence(c, &mut chars) {
                    let before = self.style;
                    self.style.apply(&codes);
                    if open && before != self.style {
                        out.push_str("</span>");
                        open = false;
                    }
                }
                continue;
            }
            if !open {
                open = self.open(channel, out);
            }
            push(c, out);
        }
        if open {
            out.push_str("</span>");
        }
    }

    /// Begins a span if there is anything to say.
    fn open(&self, channel: Channel, out: &mut String) -> bool {
        let mut classes = String::new();
        match channel {
            Channel::Stderr => classes.push_str("e "),
            Channel::Header => classes.push_str("h "),
            Channel::Stdout | Channel::Gap => {}
        }
        self.style.classes(&mut classes);
        if classes.is_empty() {
            return false;
        }
        let _ = write!(out, "<span class=\"{}\">", classes.trim_end());
        true
    }
}

fn push(c: char, out: &mut String) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&quot;"),
        '\t' => out.push('\t'),
        '\0'..='\x1f' => {
            // The pictures of control characters stand in the order of these.
            let picture = char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}');
            let _ = write!(out, "<span class=\"ctl\">{picture}</span>");
        }
        '\x7f' => out.push_str("<span class=\"ctl\">\u{2421}</span>"),
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => {
            let _ = write!(out, "<span class=\"ctl\">U+{:04X}</span>", c as u32);
        }
        _ => out.push(c),
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Takes a control sequence out of the text; its numbers if it is one of colours.
fn sequence(begin: char, chars: &mut Chars) -> Option<Vec<u16>> {
    let kind = if begin == '\u{9b}' { '[' } else { chars.next()? };
    match kind {
        '[' => {
            let mut parameters = String::new();
            for c in chars.by_ref() {
                match c {
                    '\x20'..='\x3f' if parameters.len() < 64 => parameters.push(c),
                    '\x20'..='\x3f' => {}
                    'm' => return numbers(&parameters),
                    _ => return None,
                }
            }
            None
        }
        // Titles, clipboards, hyperlinks and the like: up to their end, or the line's.
        ']' | 'P' | 'X' | '^' | '_' => {
            while let Some(c) = chars.next() {
                if c == '\x07' || c == '\u{9c}' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
            None
        }
        // A short one: perhaps a few more characters before its last.
        ' '..='/' => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next();
            None
        }
        _ => None,
    }
}

fn numbers(parameters: &str) -> Option<Vec<u16>> {
    if parameters.is_empty() {
        return Some(vec![0]);
    }
    parameters.split([';', ':']).map(|p| if p.is_empty() { Some(0) } else { p.parse().ok() }).collect()
}

impl Style {
    fn apply(&mut self, codes: &[u16]) {
        let mut rest = codes.iter().copied();
        while let Some(code) = rest.next() {
            match code {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.inverse = true,
                9 => self.strike = true,
                22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                30..=37 => self.front = Some((code - 30) as u8),
                38 => self.front = extended(&mut rest).or(self.front),
                39 => self.front = None,
                40..=47 => self.back = Some((code - 40) as u8),
                48 => self.back = extended(&mut rest).or(self.back),
                49 => self.back = None,
                90..=97 => self.front = Some((code - 90 + 8) as u8),
                100..=107 => self.back = Some((code - 100 + 8) as u8),
                // 8 hides text: a log hides nothing.
                _ => {}
            }
        }
    }

    fn classes(&self, out: &mut String) {
        // Text in its own colour could not be seen.
        let (front, back) = if self.front == self.back { (None, None) } else { (self.front, self.back) };
        if let Some(n) = front {
            let _ = write!(out, "f{n} ");
        }
        if let Some(n) = back {
            let _ = write!(out, "k{n} ");
        }
        for (on, class) in [
            (self.bold, "b "),
            (self.faint, "d "),
            (self.italic, "i "),
            (self.underline, "u "),
            (self.inverse, "v "),
            (self.strike, "s "),
        ] {
            if on {
                out.push_str(class);
            }
        }
    }
}

/// A colour of 256 or of 16 million: the nearest of 16, which each theme shows well.
fn extended(rest: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match rest.next()? {
        5 => {
            let n = rest.next()?;
            Some(match n {
                0..=15 => n as u8,
                16..=231 => {
                    let level = |v: u16| if v == 0 { 0 } else { 55 + 40 * v };
                    let n = n - 16;
                    nearest(level(n / 36), level(n / 6 % 6), level(n % 6))
                }
                232..=255 => {
                    let grey = 8 + 10 * (n - 232);
                    nearest(grey, grey, grey)
                }
                _ => return None,
            })
        }
        2 => Some(nearest(rest.next()?, rest.next()?, rest.next()?)),
        _ => None,
    }
}

fn nearest(r: u16, g: u16, b: u16) -> u8 {
    let most = r.max(g).max(b);
    let least = r.min(g).min(b);
    if most.saturating_sub(least) < 32 {
        return match most {
            0..=63 => 0,
            64..=143 => 8,
            144..=223 => 7,
            _ => 15,
        };
    }
    let half = least + (most - least) / 2;
    let bits = u8::from(r > half) | u8::from(g > half) << 1 | u8::from(b > half) << 2;
    if most > 200 && least > 60 { bits + 8 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_model::log::Run;
    use tidemill_schema::read::text::Lines;

    fn shown(bytes: &[u8]) -> String {
        let mut lines = Lines::new(0, 0, 0, 1000);
        lines.push(&Run { channel: Channel::Stdout, bytes: bytes.to_vec() });
        let mut renderer = Renderer::new(Anchors::Here);
        let mut out = String::new();
        for line in lines.done.iter().chain(lines.partial()) {
            renderer.line(line, &mut out);
        }
        out.split("<span>")
            .skip(1)
            .map(|l| l.split("</span></div>").next().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn markup_in_a_log_stays_text() {
        assert_eq!(shown(b"<script>alert('x')</script>&\n"), "&lt;script&gt;alert('x')&lt;/script&gt;&amp;");
    }

    #[test]
    fn colours_become_classes_and_last_over_lines_until_reset() {
        assert_eq!(
            shown(b"\x1b[1;31mred\nstill\x1b[0m plain\n"),
            "<span class=\"f1 b\">red</span>|<span class=\"f1 b\">still</span> plain"
        );
        assert_eq!(
            shown(b"\x1b[38;5;196mx\x1b[38;2;0;255;0my\n"),
            "<span class=\"f1\">x</span><span class=\"f2\">y</span>"
        );
    }

    #[test]
    fn every_other_sequence_is_gone_and_every_control_character_is_seen() {
        // Clear screen, a title, the clipboard, a hyperlink, a cursor move.
        let text = b"\x1b[2Ja\x1b]0;title\x07b\x1b]52;c;ZXZpbA==\x1b\\c\x1b]8;;http://x\x07d\x1b[5Ae\n";
        assert_eq!(shown(text), "abcde");
        assert_eq!(
            shown(b"a\x08b\x00\r\n"),
            "a<span class=\"ctl\">\u{2408}</span>b<span class=\"ctl\">\u{2400}</span>"
        );
        assert_eq!(
            shown("50%\r100%\u{202e}x\n".as_bytes()),
            "50%<span class=\"ctl\">\u{240d}</span>100%<span class=\"ctl\">U+202E</span>x"
        );
    }

    #[test]
    fn a_sequence_that_never_ends_ends_with_its_line() {
        assert_eq!(shown(b"a\x1b]0;never\nb\x1b[38\nc\x1b"), "a|b|c");
    }

    #[test]
    fn text_in_the_colour_of_its_ground_is_still_seen() {
        assert_eq!(shown(b"\x1b[30;40;8mhidden\n"), "hidden");
    }
}
