//! Secret values in a stream of bytes become `<secret NAME>`, also where a value
//! is split over two reads.
//!
//! Masked are the value itself, each longer line of one of several lines, and the
//! forms in which programs like to print it: base64, wherever in a text it
//! stands, also in lines of the usual lengths, percent-encoded, and as in JSON.
//!
//! Bytes that may be the beginning of a value are held back until the next ones
//! tell, so no part of a value ever passes.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Values to mask, with their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns {
    /// The longest first.
    values: Vec<(Vec<u8>, String)>,
    /// Which of them begin with a byte, in the same order.
    begin: Vec<Vec<usize>>,
}

impl Patterns {
    /// Empty values mask nothing.
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Patterns {
        let mut values: Vec<(Vec<u8>, String)> = secrets
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .flat_map(|(name, value)| forms(&value).into_iter().map(move |form| (form, name.clone())))
            .collect();
        // The longest match wins.
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let mut begin = vec![vec![]; 256];
        values.iter().enumerate().for_each(|(n, (value, _))| begin[value[0] as usize].push(n));
        Patterns { values, begin }
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Those that begin with this byte.
    fn of(&self, byte: u8) -> impl Iterator<Item = &(Vec<u8>, String)> {
        self.begin.get(byte as usize).into_iter().flatten().map(|n| &self.values[*n])
    }

    /// All of a text at once.
    pub fn text(self: &Arc<Self>, text: &str) -> String {
        let mut out = vec![];
        let mut masker = Masker::new(self.clone());
        masker.feed(text.as_bytes(), &mut out);
        masker.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Shortest form of a value, other than itself: a shorter one masks what is none.
const FORM_MIN: usize = 8;
/// Lengths of lines of base64, as `base64` and `openssl` write them.
const WRAPPED: [usize; 2] = [76, 64];

/// How a value may show.
fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    let mut add = |form: &[u8]| {
        if form.len() >= FORM_MIN {
            forms.insert(form.to_vec());
        }
    };
    let trimmed = value.trim_end();
    if value.contains('\n') {
        value.lines().for_each(|line| add(line.trim().as_bytes()));
    }
    for (alphabet, bytes) in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].into_iter().flat_map(|a| [(a, value), (a, trimmed)]) {
        for before in 0..3 {
            // What stands before it shifts the groups: the characters that only the value decides.
            let text = alphabet.encode([&[0; 3][..before], bytes.as_bytes()].concat());
            let first = [0, 2, 3][before];
            let sure = (before + bytes.len()) * 8 / 6;
            add(text.as_bytes().get(first..sure).unwrap_or_default());
            if before == 0 {
                let whole = &text.as_bytes()[..sure.min(text.len())];
                WRAPPED.iter().filter(|width| whole.len() > **width).for_each(|w| whole.chunks(*w).for_each(&mut add));
            }
        }
    }
    let json = serde_json::Value::from(value).to_string();
    add(&json.as_bytes()[1..json.len() - 1]);
    for upper in [true, false] {
        add(percent(value, upper).as_bytes());
    }
    forms.insert(value.as_bytes().to_vec());
    forms
}

fn percent(value: &str, upper: bool) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let coded = |b: u8| match (plain(b), upper) {
        (true, _) => char::from(b).to_string(),
        (false, true) => format!("%{b:02X}"),
        (false, false) => format!("%{b:02x}"),
    };
    value.bytes().map(coded).collect()
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Masker {
    patterns: Arc<Patterns>,
    held: Vec<u8>,
}

impl Masker {
    pub fn new(patterns: Arc<Patterns>) -> Masker {
        Masker { patterns, held: Vec::new() }
    }

    /// Adds what may pass to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let rest = self.pass(out, false);
        self.held.drain(..rest);
    }

    /// From now on these; what is held is looked at again with what follows.
    pub fn change(&mut self, patterns: Arc<Patterns>) {
        self.patterns = patterns;
    }

    /// No more will come.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.pass(out, true);
        self.held.clear();
    }

    /// Gives where what is to be held begins.
    fn pass(&self, out: &mut Vec<u8>, last: bool) -> usize {
        let bytes = &self.held;
        let (mut at, mut plain) = (0, 0);
        while at < bytes.len() {
            let here = &bytes[at..];
            // A longer value may still come of it.
            if !last && self.patterns.of(here[0]).any(|(v, _)| v.len() > here.len() && v.starts_with(here)) {
                break;
            }
            match self.patterns.of(here[0]).find(|(v, _)| here.starts_with(v)) {
                Some((value, name)) => {
                    out.extend_from_slice(&bytes[plain..at]);
                    out.extend_from_slice(format!("<secret {name}>").as_bytes());
                    at += value.len();
                    plain = at;
                }
                None => at += 1,
            }
        }
        out.extend_from_slice(&bytes[plain..at]);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[(&str, &str)], pieces: &[&str]) -> String {
        let secrets = secrets.iter().map(|(n, v)| (n.to_string(), v.to_string()));
        let mut masker = Masker::new(Arc::new(Patterns::new(secrets)));
        let mut out = vec![];
        pieces.iter().for_each(|p| masker.feed(p.as_bytes(), &mut out));
        masker.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_is_masked_wherever_the_reads_are_cut() {
        let text = "a hunter2 b hunterhunter2 hunter";
        for cut in 0..text.len() {
            let got = masked(&[("pw", "hunter2")], &[&text[..cut], &text[cut..]]);
            assert_eq!(got, "a <secret pw> b hunter<secret pw> hunter", "cut at {cut}");
        }
    }

    #[test]
    fn the_longest_value_wins_and_no_rest_of_it_passes() {
        let secrets = [("short", "abc"), ("long", "abcdef"), ("none", "")];
        assert_eq!(masked(&secrets, &["abc", "def", "abcx", "abc"]), "<secret long><secret short>x<secret short>");
        assert_eq!(masked(&secrets, &["abcde", "x"]), "<secret short>dex");
    }

    #[test]
    fn other_forms_of_a_value_are_masked_too() {
        use base64::prelude::BASE64_STANDARD;
        let value = "hunter2/secret?";
        for before in ["", "u", "us", "user:", "x user:"] {
            let text = BASE64_STANDARD.encode(format!("{before}{value}!!"));
            let got = masked(&[("pw", value)], &[&text]);
            assert!(got.contains("<secret pw>") && got.len() < text.len(), "{before}: {text} {got}");
        }
        assert_eq!(
            masked(&[("pw", value)], &["a=hunter2%2Fsecret%3F&", "b=hunter2%2fsecret%3f"]),
            "a=<secret pw>&b=<secret pw>"
        );
        assert_eq!(masked(&[("pw", "a\"quoted\\one")], &[r#"{"k":"a\"quoted\\one"}"#]), r#"{"k":"<secret pw>"}"#);
        let long: String = ('a'..='z').cycle().take(200).collect();
        for width in [64, 76] {
            let text = BASE64_STANDARD.encode(format!("{long}\n"));
            let lines: Vec<&str> = text.as_bytes().chunks(width).map(|l| std::str::from_utf8(l).unwrap()).collect();
            let got = masked(&[("key", &long)], &[&lines.join("\n")]);
            assert!(got.lines().all(|l| l.starts_with("<secret key>") && l.len() < 20), "{got}");
        }
        let key = "-----BEGIN KEY-----\nMIIBVgIBADANBg\n-----END KEY-----\n";
        assert_eq!(masked(&[("key", key)], &["x MIIBVgIBADANBg y"]), "x <secret key> y");
        assert_eq!(masked(&[("key", key)], &[&format!("[{key}]")]), "[<secret key>]");
    }

    #[test]
    fn without_a_value_nothing_is_held_back() {
        let mut masker = Masker::new(Arc::new(Patterns::new([("pw".into(), "xyz".into())])));
        let mut out = vec![];
        masker.feed(b"Password: ", &mut out);
        assert_eq!(out, b"Password: ");
    }

    #[test]
    fn a_value_that_is_split_where_another_becomes_known_is_masked() {
        let patterns =
            |all: &[(&str, &str)]| Arc::new(Patterns::new(all.iter().map(|(n, v)| (n.to_string(), v.to_string()))));
        let mut masker = Masker::new(patterns(&[("pw", "hunter2")]));
        let mut out = vec![];
        masker.feed(b"a hunt", &mut out);
        masker.change(patterns(&[("pw", "hunter2"), ("other", "secret")]));
        masker.feed(b"er2 secret", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a <secret pw> <secret other>");
    }
}
