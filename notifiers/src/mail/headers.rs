//! Lines of a mail's head: whatever stands in them, a line stays that line and
//! is of ASCII, short enough for any relay.

use crate::line::one_line;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::message::header::{HeaderName, HeaderValue};

/// Longest text of a line in characters; readers show less.
pub const TEXT_MAX: usize = 250;
/// Bytes in one encoded word: with its frame they stay below the 75 characters of RFC 2047.
const WORD: usize = 45;
/// In the first one, which stands behind the header's name.
const FIRST_WORD: usize = 30;
/// Longest run without a space that is not encoded.
const RUN: usize = 60;

/// A line of free text.
pub fn text(name: HeaderName, value: &str) -> HeaderValue {
    let line = one_line(value, TEXT_MAX);
    let plain = line.is_ascii() && !line.contains("=?") && line.split(' ').all(|w| w.len() <= RUN);
    if plain {
        return HeaderValue::new(name, line);
    }
    let mut words: Vec<String> = vec![];
    let mut word = String::new();
    for c in line.chars() {
        let room = if words.is_empty() { FIRST_WORD } else { WORD };
        if word.len() + c.len_utf8() > room {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<String> = words.iter().map(|w| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(w))).collect();
    HeaderValue::dangerous_new_pre_encoded(name, line, encoded.join("\r\n "))
}

/// A line of ASCII tokens, each of which is kept whole and gets a line if need be.
/// None if one of them is not what it should be.
pub fn tokens(name: HeaderName, values: &[&str]) -> Option<HeaderValue> {
    let fits = |v: &&str| !v.is_empty() && v.len() < 900 && v.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    values
        .iter()
        .all(fits)
        .then(|| HeaderValue::dangerous_new_pre_encoded(name, values.join(" "), values.join("\r\n ")))
}

/// The name of a header that a project adds.
///
/// # Errors
/// If it is no name, or one that the mail itself decides.
pub fn added(name: &str) -> Result<HeaderName, String> {
    const OURS: [&str; 18] = [
        "auto-submitted",
        "bcc",
        "cc",
        "date",
        "from",
        "in-reply-to",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "message-id",
        "mime-version",
        "received",
        "references",
        "return-path",
        "sender",
        "subject",
        "to",
        "dkim-signature",
        "list-id",
    ];
    let lower = name.to_ascii_lowercase();
    let wrong = |why: &str| Err(format!("the extra header `{}` {why}", one_line(name, 40)));
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.is_empty() || name.len() > 70 || !name.bytes().all(letters) {
        return wrong("is no name of a header: letters, digits and `-`");
    }
    if OURS.contains(&lower.as_str()) || lower.starts_with("content-") || lower.starts_with("resent-") {
        return wrong("is one that the mail itself has; leave it out");
    }
    HeaderName::new_from_ascii(name.to_owned()).or_else(|_| wrong("is no name of a header"))
}

/// A name of ours.
pub const fn named(name: &'static str) -> HeaderName {
    HeaderName::new_from_ascii_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lettre::message::header::Headers;

    fn shown(value: HeaderValue) -> String {
        let mut headers = Headers::new();
        headers.insert_raw(value);
        headers.to_string()
    }

    #[test]
    fn a_line_stays_one_line_of_ascii_whatever_stands_in_it() {
        let hostile = ["a\r\nBcc: x@y", "a\nX: y", "é\r\n\r\nbody", "\0\u{2028}\u{85}x", "=?utf-8?q?=0AX:?="];
        for value in hostile {
            let line = shown(text(named("Subject"), value));
            assert!(line.is_ascii(), "{line:?}");
            for part in line.trim_end().split("\r\n").skip(1) {
                assert!(part.starts_with(' '), "{line:?}");
            }
            assert!(!line.trim_end().replace("\r\n ", "").contains(['\r', '\n']), "{line:?}");
        }
        assert!(!shown(text(named("Subject"), "=?utf-8?q?=41?=")).contains("=41"));
    }

    #[test]
    fn no_line_is_longer_than_relays_take() {
        for value in ["x".repeat(10_000), "é".repeat(10_000), "ab ".repeat(4_000), "\u{1f600}".repeat(10_000)] {
            let line = shown(text(named("Subject"), &value));
            assert!(line.split("\r\n").all(|l| l.len() <= 78), "{line}");
            assert!(line.len() < 2_000);
        }
    }

    #[test]
    fn headers_of_a_project_add_and_never_replace() {
        assert!(added("X-Team").is_ok() && added("Reply-To").is_ok());
        for name in ["", "X Team", "X:", "X\r\nBcc", "Bcc", "to", "Content-Type", "MESSAGE-ID", "é"] {
            assert!(added(name).is_err(), "{name}");
        }
        assert!(tokens(named("References"), &["<a@b>", "<c\r\n@d>"]).is_none());
        assert_eq!(shown(tokens(named("References"), &["<a@b>", "<c@d>"]).unwrap()), "References: <a@b>\r\n <c@d>\r\n");
    }
}
