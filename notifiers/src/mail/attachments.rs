//! What goes with a mail: logs and the patch of a try build, within a size, with
//! words for what was cut.

use crate::line::harmful;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment as Part, Body, SinglePart};

/// A file to go with a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// For people, such as `compile.stdio`; made safe as a file's name.
    pub name: String,
    pub kind: Kind,
    pub content: Vec<u8>,
    /// Its whole length, where `content` is only its end.
    pub whole: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Useful in part: its beginning and its end are kept.
    Log,
    /// Useful as a whole or not at all.
    Patch,
}

impl Attachment {
    pub fn log(name: impl Into<String>, content: Vec<u8>) -> Attachment {
        let whole = content.len() as u64;
        Attachment { name: name.into(), kind: Kind::Log, content, whole }
    }

    pub fn patch(name: impl Into<String>, content: Vec<u8>) -> Attachment {
        let whole = content.len() as u64;
        Attachment { name: name.into(), kind: Kind::Patch, content, whole }
    }
}

/// Parts of a mail of at most `bytes` together (before they are encoded), and a
/// sentence for each that is not whole.
pub fn parts(attachments: &[Attachment], bytes: usize) -> (Vec<SinglePart>, Vec<String>) {
    let sizes: Vec<usize> = attachments.iter().map(|a| a.content.len()).collect();
    let share = share(&sizes, bytes);
    let mut parts = vec![];
    let mut notes = vec![];
    for attachment in attachments {
        let name = file_name(attachment);
        let fits = attachment.content.len() <= share;
        let whole = size(attachment.whole.max(attachment.content.len() as u64));
        let content = match attachment.kind {
            Kind::Patch if !fits => {
                notes.push(format!("{name} ({whole}) is too long to be attached."));
                continue;
            }
            _ if fits => attachment.content.clone(),
            _ => ends(&attachment.content, share),
        };
        if !fits || attachment.whole > attachment.content.len() as u64 {
            notes.push(format!("{name} is attached in part: {} of {whole}.", size(content.len() as u64)));
        }
        let kind = match attachment.kind {
            Kind::Log => "text/plain; charset=utf-8",
            Kind::Patch => "text/x-patch; charset=utf-8",
        };
        let kind = ContentType::parse(kind).expect("a constant type parses");
        // As base64, so that not one byte is another there, and no line end of theirs is one of the mail's.
        let encoded = Body::new_with_encoding(content, ContentTransferEncoding::Base64);
        parts.push(Part::new(name).body(encoded.expect("base64 takes all bytes"), kind));
    }
    (parts, notes)
}

/// What the longest may have, so that all together have `bytes`: the short ones
/// are whole and the long ones share the rest.
fn share(sizes: &[usize], bytes: usize) -> usize {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let mut rest = bytes;
    for (i, size) in sorted.iter().enumerate() {
        let each = rest / (sorted.len() - i);
        if *size > each {
            return each;
        }
        rest -= size;
    }
    usize::MAX
}

/// The beginning and the longer end of a log, in whole lines where there are such.
fn ends(content: &[u8], bytes: usize) -> Vec<u8> {
    let between = |left: usize| format!("\n[... {left} bytes are left out here ...]\n").into_bytes();
    let room = bytes.saturating_sub(between(content.len()).len());
    let (mut head, tail) = (room / 4, room - room / 4);
    let mut from = content.len() - tail;
    if let Some(end) = content[..head].iter().rposition(|b| *b == b'\n') {
        head = end;
    }
    if let Some(start) = content[from..].iter().take(tail / 2).position(|b| *b == b'\n') {
        from += start + 1;
    }
    [&content[..head], &between(from - head), &content[from..]].concat()
}

/// A file's name that is one on every system, with an ending that no system runs.
fn file_name(attachment: &Attachment) -> String {
    let safe = |c: char| (c.is_alphanumeric() && !harmful(c)) || matches!(c, '.' | '_' | '-' | '+');
    let name: String = attachment.name.chars().take(80).map(|c| if safe(c) { c } else { '_' }).collect();
    let name = name.trim_start_matches('.');
    let name = if name.is_empty() { "unnamed" } else { name };
    let ending = match attachment.kind {
        Kind::Log => ".txt",
        Kind::Patch => ".patch",
    };
    if name.ends_with(ending) { name.to_owned() } else { format!("{name}{ending}") }
}

/// For people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_files_are_whole_and_long_ones_share_what_is_left() {
        assert_eq!(share(&[10, 10], 100), usize::MAX);
        assert_eq!(share(&[10, 1000, 1000], 100), 45);
        assert_eq!(share(&[1000], 100), 100);
        assert_eq!(share(&[], 0), usize::MAX);
    }

    #[test]
    fn a_long_log_keeps_its_ends_and_a_long_patch_is_left_out() {
        let long: Vec<u8> = (0..10_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let kept = String::from_utf8(ends(&long, 1000)).unwrap();
        assert!(kept.len() <= 1000 && kept.starts_with("line 0\n") && kept.ends_with("line 9999\n"), "{kept}");
        assert!(kept.contains("bytes are left out here"));
        assert!(kept.lines().all(|l| l.is_empty() || l.starts_with("line ") || l.starts_with('[')), "{kept}");

        let (parts, notes) =
            super::parts(&[Attachment::log("a", long.clone()), Attachment::patch("b", long.clone())], 2000);
        assert_eq!((parts.len(), notes.len()), (1, 2));
        assert!(notes[0].starts_with("a.txt is attached in part: "), "{notes:?}");
        assert!(notes[1].contains("b.patch (96.6 KiB) is too long"), "{notes:?}");
        // One endless line is cut too.
        assert!(ends(&vec![b'x'; 100_000], 1000).len() <= 1000);
        assert!(ends(&vec![b'x'; 100_000], 1).len() <= 60);
    }

    #[test]
    fn names_of_files_are_safe_everywhere() {
        let name = |n: &str| file_name(&Attachment::log(n, vec![]));
        assert_eq!(name("compile.stdio"), "compile.stdio.txt");
        assert_eq!(name("../../etc/passwd\r\nX: y"), "_.._etc_passwd__X__y.txt");
        assert_eq!(name("übersicht.txt"), "übersicht.txt");
        assert_eq!((name(""), name("run.exe")), ("unnamed.txt".into(), "run.exe.txt".into()));
        assert_eq!(name(&"x".repeat(500)).len(), 84);
    }
}
