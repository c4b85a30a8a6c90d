//! Lines of the protocol (RFC 2812, with the tags of IRCv3): parsed and written.
//!
//! Written lines are at most 510 bytes before CR LF, their middle parameters
//! hold no space and no line has a break in it, whatever was given.

use std::fmt::Write as _;

/// Bytes of a line without tags, CR LF included.
pub const LINE: usize = 512;
/// Bytes of a line that a server may send: tags are counted apart.
pub const LINE_WITH_TAGS: usize = 8191 + LINE;

/// One line as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub tags: Vec<(String, String)>,
    pub prefix: Option<Prefix>,
    /// Upper case, or three digits.
    pub command: String,
    pub params: Vec<String>,
}

/// Who a line is from: a server has a name only, here `nick`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    pub nick: String,
    pub user: String,
    pub host: String,
}

impl Line {
    /// None for what is no line of the protocol. Bytes that are not UTF-8 are replaced.
    pub fn parse(bytes: &[u8]) -> Option<Line> {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = text.trim_end_matches(['\r', '\n']);
        let mut line = Line::default();
        if let Some(after) = rest.strip_prefix('@') {
            let (tags, after) = after.split_once(' ')?;
            line.tags = tags.split(';').filter(|t| !t.is_empty()).map(tag).collect();
            rest = after.trim_start_matches(' ');
        }
        if let Some(after) = rest.strip_prefix(':') {
            let (prefix, after) = after.split_once(' ')?;
            line.prefix = Some(Prefix::parse(prefix));
            rest = after.trim_start_matches(' ');
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() || !command.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        line.command = command.to_ascii_uppercase();
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(last) = rest.strip_prefix(':') {
                line.params.push(last.to_owned());
                break;
            }
            if rest.is_empty() {
                break;
            }
            let (param, after) = rest.split_once(' ').unwrap_or((rest, ""));
            line.params.push(param.to_owned());
            rest = after;
        }
        Some(line)
    }

    /// The parameter at this place, or nothing.
    pub fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    /// The last parameter: the words of a numeric.
    pub fn last(&self) -> &str {
        self.params.last().map_or("", String::as_str)
    }

    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The number of a numeric reply.
    pub fn numeric(&self) -> Option<u16> {
        (self.command.len() == 3).then(|| self.command.parse().ok()).flatten()
    }
}

impl Prefix {
    fn parse(text: &str) -> Prefix {
        let (rest, host) = text.split_once('@').unwrap_or((text, ""));
        let (nick, user) = rest.split_once('!').unwrap_or((rest, ""));
        Prefix { nick: nick.to_owned(), user: user.to_owned(), host: host.to_owned() }
    }
}

fn tag(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(':') => out.push(';'),
                Some('s') => out.push(' '),
                Some('r') => out.push('\r'),
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    (name.to_owned(), out)
}

/// A line to send, without CR LF. Middle parameters lose what would end them;
/// the last may hold anything but breaks. Cut at 510 bytes.
pub fn write(command: &str, middle: &[&str], last: Option<&str>) -> String {
    let mut out = command.to_owned();
    for param in middle {
        let param: String = param.chars().filter(|c| *c > ' ' && *c != '\u{7f}').collect();
        let param = param.trim_start_matches(':');
        // An empty one would move those behind it; a star is IRC's «none».
        let _ = write!(out, " {}", if param.is_empty() { "*" } else { param });
    }
    if let Some(last) = last {
        out.push_str(" :");
        out.extend(last.chars().map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }));
    }
    let mut end = out.len().min(LINE - 2);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

/// How many bytes of text one `verb target :text` may hold, if the server
/// relays it with a prefix of this length (`nick!user@host`).
pub fn room_for_text(prefix: usize, verb: &str, target: &str) -> usize {
    (LINE - 2).saturating_sub(1 + prefix + 1 + verb.len() + 1 + target.len() + 2)
}

pub fn is_channel(name: &str) -> bool {
    name.starts_with(['#', '&', '+', '!'])
}

/// Whether a notice can be sent to this: one channel or one nick, not a list
/// or a mask of servers.
pub fn is_target(name: &str) -> bool {
    if name.is_empty() || name.len() > 200 || name.starts_with([':', '$', '@', '-']) {
        return false;
    }
    let splits = |c: char| c <= ' ' || matches!(c, ',' | '\u{7f}');
    !name.contains(splits) && (is_channel(name) || !name.contains(['*', '?', '!', '@']))
}

/// How a network compares names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folding {
    Ascii,
    /// `{}|^` are the small letters of `[]\~`.
    #[default]
    Rfc1459,
}

impl Folding {
    pub fn fold(self, name: &str) -> String {
        let small = name.chars().map(|c| c.to_ascii_lowercase());
        match self {
            Folding::Ascii => small.collect(),
            Folding::Rfc1459 => small
                .map(|c| match c {
                    '[' => '{',
                    ']' => '}',
                    '\\' => '|',
                    '~' => '^',
                    other => other,
                })
                .collect(),
        }
    }

    pub fn same(self, a: &str, b: &str) -> bool {
        self.fold(a) == self.fold(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_tags_a_prefix_a_command_and_parameters() {
        let line =
            Line::parse(b"@account=ada;+x=a\\:b\\sc\\\\;flag :ada!~a@host PRIVMSG #ci :tide: hello \r\n").unwrap();
        assert_eq!(line.tag("account"), Some("ada"));
        assert_eq!(line.tag("+x"), Some("a;b c\\"));
        assert_eq!(line.tag("flag"), Some(""));
        assert_eq!(line.tag("none"), None);
        let prefix = line.prefix.as_ref().unwrap();
        assert_eq!((&*prefix.nick, &*prefix.user, &*prefix.host), ("ada", "~a", "host"));
        assert_eq!((&*line.command, line.param(0), line.last()), ("PRIVMSG", "#ci", "tide: hello "));

        let line = Line::parse(b":irc.test 433 * tide :Nickname already in use").unwrap();
        assert_eq!((line.numeric(), line.param(1)), (Some(433), "tide"));
        assert_eq!(Line::parse(b"ping x").unwrap().command, "PING");
        assert_eq!(Line::parse(b"JOIN  #a   key").unwrap().params, ["#a", "key"]);
    }

    #[test]
    fn what_is_no_line_is_nothing() {
        for bytes in [&b""[..], b"\r\n", b":prefix", b"@tags", b"@a :b", b" x", b":p  ", b"$! a"] {
            assert_eq!(Line::parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(Line::parse(b"PRIVMSG #a :caf\xe9").unwrap().last(), "caf\u{fffd}");
    }

    #[test]
    fn parameters_cannot_become_commands() {
        assert_eq!(write("JOIN", &["#a\r\nQUIT", " :k"], None), "JOIN #aQUIT k");
        assert_eq!(write("PRIVMSG", &["#a"], Some("x\r\nQUIT\0")), "PRIVMSG #a :x  QUIT ");
        assert_eq!(write("JOIN", &["", "key"], None), "JOIN * key");
        assert_eq!(write("PRIVMSG", &["#a"], Some(&"é".repeat(400))).len(), 510);
    }

    #[test]
    fn a_target_is_one_channel_or_one_nick() {
        assert!(["#ci", "&local", "ada", "a[b]", "#a!b"].iter().all(|t| is_target(t)));
        assert!(!["", "#a,#b", "a b", ":x", "$*", "a!b@c", "ada\n", "@#ci", "a*"].iter().any(|t| is_target(t)));
    }

    #[test]
    fn names_compare_as_the_network_says() {
        assert!(Folding::Rfc1459.same("#A[x]~", "#a{X}^"));
        assert!(!Folding::Ascii.same("#a[x]", "#a{x}"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_that_parses_back(target in "[#a-z]{1,20}", text in any::<String>()) {
            let line = write("PRIVMSG", &[&target], Some(&text));
            prop_assert!(line.len() <= LINE - 2);
            let ends = ['\r', '\n'];
            prop_assert!(!line.contains(ends));
            let read = Line::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(read.param(0), target);
            prop_assert_eq!(read.params.len(), 2);
        }

        #[test]
        fn no_bytes_make_the_parser_fall(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Line::parse(&bytes);
        }
    }
}
