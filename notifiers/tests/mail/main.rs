//! Mail against real programs: Python's parser of mail, aiosmtpd and OpenSMTPD as
//! relays, and a relay of ours that breaks off wherever it is told to.

mod broken;
mod composed;
mod ldap;
mod opensmtpd;
mod relays;
mod tls;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidemill_notifiers::mail::{Letter, RelaySettings, compose::ATTACHMENTS_MAX};
use tidemill_notifiers::{Body, Message};
pub use tidemill_tests::smtp::{Sink, parsed};

/// A letter whose parts a test changes.
pub fn letter<'a>(message: &'a Message, headers: &'a BTreeMap<String, String>) -> Letter<'a> {
    Letter {
        message,
        default_subject: "a build ended",
        from: "Tidemill <ci@example.org>",
        to: "Ann <ann@example.org>",
        message_id: "<delivery.1@example.org>",
        thread: None,
        date: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        list_id: None,
        builder: None,
        results: None,
        headers,
        attachments: &[],
        attachments_max: ATTACHMENTS_MAX,
        unsubscribe: None,
    }
}

pub fn plain(subject: &str, text: &str) -> Message {
    Message { subject: Some(subject.into()), body: Body::Plain(text.into()), ..Message::default() }
}

/// A mail to this address, from `ci@example.org`.
pub fn mail(to: &str) -> lettre::Message {
    mail_from("ci@example.org", to)
}

pub fn mail_from(from: &str, to: &str) -> lettre::Message {
    let (message, headers) = (plain("s", "t"), BTreeMap::new());
    let letter = Letter { from, to, date: SystemTime::now(), ..letter(&message, &headers) };
    tidemill_notifiers::mail::compose(&letter).unwrap()
}

pub fn settings(port: u16) -> RelaySettings {
    RelaySettings::new("127.0.0.1", port)
}

/// Says loudly that a test could not run; what a passing test prints is not shown.
pub fn skipped(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED, NOT TESTED: {why}\n").as_bytes());
}
