//! A mail from a message and its facts. What strangers wrote (names, branches,
//! subjects) can add no line to its head; everything is UTF-8; the same delivery
//! gives the same Message-ID however often it is sent; mails of one story share
//! the root of their thread.

use super::addresses::mailbox;
use super::attachments::{Attachment, parts};
use super::headers::{TEXT_MAX, added, named, text, tokens};
use crate::line::{cut, harmful, one_line};
use crate::{Body, Message};
use lettre::message::{MultiPart, SinglePart, header};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::SystemTime;
use tidemill_model::Results;
use url::Url;

/// Longest text or markup of a mail itself.
const BODY_MAX: usize = 1 << 20;
/// What goes with it, unless the letter says otherwise.
pub const ATTACHMENTS_MAX: usize = 5 << 20;

/// All that makes one mail.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    pub message: &'a Message,
    /// Where the message has no subject.
    pub default_subject: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    /// As [`message_id`] makes them; kept with the delivery.
    pub message_id: &'a str,
    /// What the mail is about, such as cluster, builder and branch: mails of one
    /// key are one thread. The root is no mail: readers thread without it.
    pub thread: Option<&'a str>,
    pub date: SystemTime,
    /// The list that readers can filter by, such as `reporter.ci.example.org`.
    pub list_id: Option<&'a str>,
    pub builder: Option<&'a str>,
    pub results: Option<Results>,
    pub headers: &'a BTreeMap<String, String>,
    pub attachments: &'a [Attachment],
    /// Bytes of all attachments together.
    pub attachments_max: usize,
    /// Where this reader's mails are ended; one click suffices if it is https.
    pub unsubscribe: Option<&'a str>,
}

/// An identifier of a mail or thread, stable for its key: `<kind.HASH@domain>`.
pub fn message_id(kind: &str, key: &str, domain: &str) -> String {
    let hash = hex::encode(Sha256::digest(key.as_bytes()));
    format!("<{}.{}@{}>", safe(kind, "mail"), &hash[..32], safe(domain, "tidemill.invalid"))
}

/// What may stand in an identifier.
fn safe(word: &str, otherwise: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let kept: String = word.chars().filter(fits).take(100).collect();
    let kept = kept.trim_matches('.');
    if kept.is_empty() { otherwise.to_owned() } else { kept.to_owned() }
}

/// The mail with its envelope.
///
/// # Errors
/// If it can never be sent as it is: an address or an extra header is wrong.
pub fn compose(letter: &Letter<'_>) -> Result<lettre::Message, String> {
    let from = mailbox(letter.from).map_err(|why| format!("the sender, fromaddr: {why}"))?;
    let to = mailbox(letter.to)?;
    let domain = from.email.domain().to_owned();
    let subject = letter.message.subject.as_deref().unwrap_or(letter.default_subject);
    let id = one_line(letter.message_id, TEXT_MAX);
    let id = if id.starts_with('<') && id.ends_with('>') && tokens(named("Message-ID"), &[&id]).is_some() {
        id
    } else {
        message_id("mail", letter.message_id, &domain)
    };

    let mut mail = lettre::Message::builder()
        .date(letter.date)
        .message_id(Some(id))
        .from(from)
        .to(to)
        .raw_header(text(named("Subject"), subject))
        .raw_header(text(named("Auto-Submitted"), "auto-generated"))
        .raw_header(text(named("Precedence"), "bulk"));
    if let Some(key) = letter.thread {
        let root = message_id("thread", key, &domain);
        mail = mail.in_reply_to(root.clone()).references(root);
    }
    if let Some(list) = letter.list_id {
        mail = mail.raw_header(text(named("List-Id"), &format!("<{}>", safe(list, "tidemill.invalid"))));
    }
    if let Some(url) = letter.unsubscribe.and_then(|url| Url::parse(url).ok())
        && let Some(value) = tokens(named("List-Unsubscribe"), &[&format!("<{url}>")])
    {
        mail = mail.raw_header(value);
        if url.scheme() == "https" {
            mail = mail.raw_header(text(named("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click"));
        }
    }
    if let Some(builder) = letter.builder {
        mail = mail.raw_header(text(named("X-Tidemill-Builder"), builder));
    }
    if let Some(results) = letter.results {
        mail = mail.raw_header(text(named("X-Tidemill-Result"), results.name()));
    }
    for (name, value) in letter.headers {
        mail = mail.raw_header(text(added(name)?, value));
    }

    let (attached, notes) = parts(letter.attachments, letter.attachments_max);
    let body = body(&letter.message.body, &notes);
    let made = match (body, attached.is_empty()) {
        (Shape::Single(part), true) => mail.singlepart(part),
        (Shape::Single(part), false) => mail.multipart(mixed(MultiPart::mixed().singlepart(part), attached)),
        (Shape::Alternative(part), true) => mail.multipart(part),
        (Shape::Alternative(part), false) => mail.multipart(mixed(MultiPart::mixed().multipart(part), attached)),
    };
    made.map_err(|e| format!("the mail cannot be made: {e}"))
}

enum Shape {
    Single(SinglePart),
    Alternative(MultiPart),
}

fn mixed(start: MultiPart, attached: Vec<SinglePart>) -> MultiPart {
    attached.into_iter().fold(start, MultiPart::singlepart)
}

/// Text, or text and markup, with what is to be said of the attachments.
fn body(body: &Body, notes: &[String]) -> Shape {
    match body {
        Body::Plain(plain) => Shape::Single(plain_part(plain, notes)),
        Body::Json(value) => Shape::Single(plain_part(&serde_json::to_string_pretty(value).unwrap_or_default(), notes)),
        Body::Html { html, plain } => {
            let html = SinglePart::builder().header(header::ContentType::TEXT_HTML).body(with_notes_html(html, notes));
            Shape::Alternative(MultiPart::alternative().singlepart(plain_part(plain, notes)).singlepart(html))
        }
    }
}

fn plain_part(plain: &str, notes: &[String]) -> SinglePart {
    let mut whole = bounded(plain);
    if !notes.is_empty() {
        whole = format!("{}\n\n{}\n", whole.trim_end(), notes.join("\n"));
    }
    SinglePart::builder().header(header::ContentType::TEXT_PLAIN).body(whole)
}

fn with_notes_html(html: &str, notes: &[String]) -> String {
    let mut whole = bounded(html);
    let notes: String = notes.iter().map(|n| format!("<p>{}</p>\n", escaped(n))).collect();
    let end = whole.to_ascii_lowercase().rfind("</body").unwrap_or(whole.len());
    whole.insert_str(end, &notes);
    whole
}

/// Of bounded length, in lines that end alike, and without control characters: a
/// line end that only some programs take for one can make two mails of one.
fn bounded(text: &str) -> String {
    let kept = cut(text, BODY_MAX);
    let lines = kept.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    let mut clean: String = lines.chars().filter(|c| matches!(c, '\n' | '\t') || !harmful(*c)).collect();
    if kept.len() < text.len() {
        clean.push_str(&format!("\n[... the rest, {} bytes, is left out ...]\n", text.len() - kept.len()));
    }
    clean
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_stable_and_hold_nothing_that_strangers_wrote() {
        let id = message_id("mail", "17", "ci.example.org");
        assert_eq!(id, message_id("mail", "17", "ci.example.org"));
        assert_ne!(id, message_id("mail", "18", "ci.example.org"));
        assert!(id.starts_with("<mail.") && id.ends_with("@ci.example.org>") && id.len() < 80, "{id}");
        let hostile = message_id("a\r\nb", "x\r\nBcc: y", "e>\r\nvil.org");
        assert!(hostile.ends_with("@evil.org>") && !hostile.contains(['\r', '\n', ' ']), "{hostile}");
        assert!(message_id("", "", "").ends_with("@tidemill.invalid>"));
    }
}
