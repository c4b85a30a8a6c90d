//! Mails as Python's parser reads them.

use super::{letter, parsed, plain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidemill_model::Results;
use tidemill_notifiers::mail::{Attachment, Letter, compose, message_id};
use tidemill_notifiers::{Body, Message};

fn read(letter: &Letter<'_>) -> Value {
    let mail = parsed(&compose(letter).unwrap().formatted());
    assert_eq!(mail["defects"], json!([]), "{mail}");
    assert_eq!(mail["bare_line_ends"], json!(0), "{mail}");
    assert_eq!(mail["ascii_head"], json!(true), "{mail}");
    assert!(mail["longest_line"].as_u64().unwrap() <= 998, "{mail}");
    mail
}

fn headers<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let all = mail["headers"].as_array().unwrap().iter();
    all.filter(|h| h[0].as_str().unwrap().eq_ignore_ascii_case(name)).map(|h| h[1].as_str().unwrap()).collect()
}

fn types(mail: &Value) -> Vec<&str> {
    mail["parts"].as_array().unwrap().iter().map(|p| p["type"].as_str().unwrap()).collect()
}

#[test]
fn a_mail_reads_the_same_in_an_independent_parser() {
    let message = Message {
        subject: Some("✗ Größe: «linux» failed".into()),
        body: Body::Html {
            html: "<html><body><p>Größe</p></body></html>".into(),
            plain: "Größe\n.\nFrom here\n.. end\n".into(),
        },
        ..Message::default()
    };
    let extra =
        BTreeMap::from([("X-Team".to_owned(), "Ümläute".to_owned()), ("Reply-To".into(), "team@example.org".into())]);
    let attachments = [
        Attachment::log("compile.stdio", "grün\r\n\0\u{1b}[31m\n".into()),
        Attachment::patch("try", b"--- a\n+++ b\n@@\n-x\n+y \n".to_vec()),
    ];
    let mail = read(&Letter {
        to: "\"Lee, Ann (CI)\" <ann@example.org>",
        from: "Mühle <ci@example.org>",
        list_id: Some("mail.ci.example.org"),
        builder: Some("linux größe"),
        results: Some(Results::Failure),
        attachments: &attachments,
        unsubscribe: Some("https://ci.example.org/unsubscribe?t=abc"),
        ..letter(&message, &extra)
    });
    assert_eq!(
        types(&mail),
        ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/plain", "text/x-patch"]
    );
    let part = |n: usize| &mail["parts"][n];
    for n in 2..=5 {
        assert_eq!(part(n)["charset"], json!("utf-8"), "{n}");
    }
    assert_eq!(part(2)["content"], json!("Größe\n.\nFrom here\n.. end\n"));
    assert!(part(3)["content"].as_str().unwrap().contains("<p>Größe</p>"));
    assert_eq!((&part(4)["filename"], &part(4)["disposition"]), (&json!("compile.stdio.txt"), &json!("attachment")));
    assert!(part(4)["content"].as_str().unwrap().starts_with("grün\r\n\0\u{1b}[31m\n"));
    assert_eq!(
        (&part(5)["filename"], &part(5)["content"]),
        (&json!("try.patch"), &json!("--- a\n+++ b\n@@\n-x\n+y \n"))
    );
    assert_eq!(mail["to"], json!([["Lee, Ann (CI)", "ann@example.org"]]));
    assert_eq!(mail["from"], json!([["Mühle", "ci@example.org"]]));
    assert_eq!(mail["date"], json!(1_700_000_000.0));
    for (name, value) in [
        ("Subject", "✗ Größe: «linux» failed"),
        ("Message-ID", "<delivery.1@example.org>"),
        ("List-Id", "<mail.ci.example.org>"),
        ("List-Unsubscribe", "<https://ci.example.org/unsubscribe?t=abc>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("Auto-Submitted", "auto-generated"),
        ("Precedence", "bulk"),
        ("X-Tidemill-Builder", "linux größe"),
        ("X-Tidemill-Result", "failure"),
        ("X-Team", "Ümläute"),
        ("Reply-To", "team@example.org"),
        ("MIME-Version", "1.0"),
    ] {
        assert_eq!(headers(&mail, name), [value], "{name}");
    }
}

#[test]
fn what_strangers_wrote_adds_no_header_and_no_reader() {
    let injections = [
        "x\r\nBcc: eve@example.org",
        "x\nBcc: eve@example.org\n\nbody",
        "x\rBcc: eve@example.org",
        "x\u{2028}Bcc: eve@example.org\u{85}y",
        "x\0\u{1b}]0;y\u{7}",
        "=?utf-8?q?x=0D=0ABcc:_eve=40example.org?=",
        "x> <eve@example.org",
        "\"x\" , eve",
        "é\r\n\r\nbody",
        "x\\",
        "(",
        "",
    ];
    let none = BTreeMap::new();
    let expected = {
        let message = plain("s", "t");
        let mail = read(&Letter { builder: Some("b"), thread: Some("k"), ..letter(&message, &none) });
        mail["headers"].as_array().unwrap().len()
    };
    for hostile in injections {
        let (message, address) = (plain(hostile, hostile), format!("{hostile} <ann@example.org>"));
        let letter = Letter {
            builder: Some(hostile),
            thread: Some(hostile),
            to: &address,
            message_id: hostile,
            ..letter(&message, &none)
        };
        match compose(&letter) {
            // Two addresses in one are refused, with a word that says so.
            Err(why) => assert!(why.contains("no mail address") && hostile.contains("<eve"), "{hostile:?}: {why}"),
            Ok(_) => {
                let mail = read(&letter);
                assert_eq!(mail["headers"].as_array().unwrap().len(), expected, "{hostile:?}: {mail}");
                assert!(headers(&mail, "Bcc").is_empty(), "{hostile:?}");
                let to: Vec<&str> = mail["to"].as_array().unwrap().iter().map(|a| a[1].as_str().unwrap()).collect();
                assert_eq!(to, ["ann@example.org"], "{hostile:?}: {mail}");
                assert_eq!(headers(&mail, "Message-ID").len(), 1);
                let text = mail["parts"][0]["content"].as_str().unwrap();
                assert!(!text.contains(['\r', '\0', '\u{1b}']), "{text:?}");
            }
        }
    }
    // As it stood there, for people: an encoded word in a subject is not decoded.
    let message = plain("=?utf-8?q?=41?=", "t");
    assert_eq!(headers(&read(&letter(&message, &none)), "Subject"), ["=?utf-8?q?=41?="]);
    let extra = BTreeMap::from([("X-A\r\nBcc".to_owned(), "x".to_owned())]);
    assert!(compose(&letter(&plain("s", "t"), &extra)).unwrap_err().contains("extra header"));
    let extra = BTreeMap::from([("X-A".to_owned(), "x\r\nBcc: eve@example.org".to_owned())]);
    assert_eq!(headers(&read(&letter(&plain("s", "t"), &extra)), "X-A"), ["x Bcc: eve@example.org"]);
}

#[test]
fn subjects_and_names_of_ten_thousand_characters_are_cut_at_a_character() {
    let none = BTreeMap::new();
    for text in ["x".repeat(10_000), "é".repeat(10_000), "\u{1f600}".repeat(10_000), "ab ".repeat(3_334)] {
        let address = format!("{text} <ann@example.org>");
        let message = plain(&text, "t");
        let mail = read(&Letter { builder: Some(&text), to: &address, ..letter(&message, &none) });
        let subject = headers(&mail, "Subject")[0].to_owned();
        let kept = subject.strip_suffix('…').unwrap();
        assert!(text.starts_with(kept) && kept.chars().count() >= 248, "{subject}");
        assert_eq!(mail["to"][0][1], json!("ann@example.org"));
    }
}

#[test]
fn mails_of_one_story_are_one_thread_and_a_repeated_one_is_the_same_mail() {
    let (message, none) = (plain("s", "t"), BTreeMap::new());
    let id = message_id("mail", "delivery 7", "example.org");
    let of = |thread, id| read(&Letter { thread: Some(thread), message_id: id, ..letter(&message, &none) });
    let (one, other) = (of("c1/linux/main", &id), of("c1/linux/main", "<x.8@example.org>"));
    assert_eq!(headers(&one, "References"), headers(&other, "References"));
    assert_eq!(headers(&one, "References"), headers(&one, "In-Reply-To"));
    assert_ne!(headers(&one, "References"), headers(&of("c1/linux/next", &id), "References"));
    assert_eq!(headers(&one, "Message-ID"), [id.as_str()]);
    assert_eq!(headers(&of("k", &id), "Message-ID"), headers(&one, "Message-ID"));
    assert!(headers(&read(&letter(&message, &none)), "References").is_empty());
}

#[test]
fn what_does_not_fit_is_cut_and_the_mail_says_so_in_both_its_texts() {
    let none = BTreeMap::new();
    let message = Message {
        subject: None,
        body: Body::Html { html: "<body>short</body>".into(), plain: "short".into() },
        ..Message::default()
    };
    let log = Attachment::log("a<b>", (0..200_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect());
    let part_of_one = Attachment { whole: 50 << 20, ..Attachment::log("tail", b"the end\n".to_vec()) };
    let attachments = [log, part_of_one, Attachment::patch("try", vec![b'x'; 2 << 20])];
    let mail = read(&Letter { attachments: &attachments, attachments_max: 100_000, ..letter(&message, &none) });
    assert_eq!(headers(&mail, "Subject"), ["a build ended"]);
    let (text, html) = (mail["parts"][2]["content"].as_str().unwrap(), mail["parts"][3]["content"].as_str().unwrap());
    for words in [
        "a_b_.txt is attached in part",
        "tail.txt is attached in part: 8 bytes of 50.0 MiB",
        "try.patch (2.0 MiB) is too long",
    ] {
        assert!(text.contains(words) && html.contains(words), "{words}: {text}{html}");
    }
    assert!(html.trim_end().ends_with("</body>"), "{html}");
    assert_eq!(mail["parts"].as_array().unwrap().len(), 6);
    let log = mail["parts"][4]["content"].as_str().unwrap();
    assert!(log.len() <= 100_000 && log.starts_with("line 0\n") && log.ends_with("line 199999\n"));

    let endless = plain("s", &"é".repeat(2 << 20));
    let mail = read(&letter(&endless, &none));
    assert!(mail["parts"][0]["content"].as_str().unwrap().contains("is left out"));
}

#[test]
fn an_unsubscribe_link_is_one_click_only_where_it_is_https() {
    let (message, none) = (plain("s", "t"), BTreeMap::new());
    let of = |url: &str| {
        let mail = read(&Letter { unsubscribe: Some(url), ..letter(&message, &none) });
        (headers(&mail, "List-Unsubscribe").len(), headers(&mail, "List-Unsubscribe-Post").len())
    };
    assert_eq!(of("https://x.org/u?t=1"), (1, 1));
    assert_eq!(of("http://x.org/u?t=1"), (1, 0));
    assert_eq!(of("https://x.org/u?t=1>\r\nBcc: x"), (1, 1));
    assert_eq!(of(&format!("https://x.org/{}", "x".repeat(2000))), (0, 0));
    assert_eq!(of("not a url"), (0, 0));
}
