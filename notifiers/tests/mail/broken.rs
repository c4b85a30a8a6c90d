//! A relay that breaks off wherever it is told to.

use super::{mail, settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidemill_notifiers::Outcome;
use tidemill_notifiers::mail::{Relay, RelaySettings, RelayTls};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

enum Reply {
    Say(&'static str),
    Close,
    Hang,
}

use Reply::{Close, Hang, Say};

/// Answers as `says` decides, by the number of the connection and what came:
/// `connect`, the first word of a command, or `content` for a mail's end.
async fn relay(says: fn(usize, &str) -> Option<Reply>) -> (RelaySettings, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let mails = taken.clone();
    tokio::spawn(async move {
        let mut connection = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connection += 1;
            tokio::spawn(serve(stream, connection, says, mails.clone()));
        }
    });
    let mut settings = settings(port);
    settings.within = Duration::from_secs(2);
    (settings, taken)
}

async fn serve(
    stream: tokio::net::TcpStream,
    connection: usize,
    says: fn(usize, &str) -> Option<Reply>,
    mails: Arc<AtomicUsize>,
) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut came = "connect".to_owned();
    loop {
        let reply = says(connection, &came);
        let usual = match came.as_str() {
            "connect" => "220 broken.example.org ESMTP",
            "EHLO" => "250-broken.example.org\r\n250 AUTH PLAIN",
            "AUTH" => "235 2.7.0 fine",
            "DATA" => "354 go on",
            "content" => "250 2.0.0 taken",
            "QUIT" => "221 bye",
            _ => "250 2.1.0 ok",
        };
        let said = match reply {
            Some(Close) => return,
            Some(Hang) => return std::future::pending().await,
            Some(Say(words)) => words,
            None => usual,
        };
        if came == "content" && said.starts_with("250") {
            mails.fetch_add(1, Ordering::SeqCst);
        }
        if write.write_all(format!("{said}\r\n").as_bytes()).await.is_err() {
            return;
        }
        if said.starts_with("354") {
            if let Some(Close) = says(connection, "text") {
                return;
            }
            loop {
                match lines.next_line().await {
                    Ok(Some(line)) if line == "." => break,
                    Ok(Some(_)) => {}
                    _ => return,
                }
            }
            came = "content".into();
            continue;
        }
        came = match lines.next_line().await {
            Ok(Some(line)) => line.split(' ').next().unwrap_or_default().to_owned(),
            _ => return,
        };
    }
}

async fn outcome(says: fn(usize, &str) -> Option<Reply>) -> Outcome {
    let (settings, _) = relay(says).await;
    Relay::new(settings).unwrap().send(&mail("ann@example.org")).await
}

#[tokio::test]
async fn a_relay_that_takes_nothing_from_anybody_is_down() {
    for says in [
        |_: usize, came: &str| (came == "connect").then_some(Close),
        |_, came: &str| (came == "connect").then_some(Hang),
        |_, came: &str| (came == "connect").then_some(Say("554 5.3.2 not accepting")),
        |_, came: &str| (came == "connect").then_some(Say("421 4.3.2 overloaded")),
        |_, came: &str| (came == "connect").then_some(Say("SSH-2.0-OpenSSH")),
        |_, came: &str| (came == "EHLO").then_some(Close),
        |_, came: &str| (came == "EHLO").then_some(Hang),
        |_, came: &str| (came == "MAIL").then_some(Say("530 5.7.0 authenticate first")),
        |_, came: &str| (came == "MAIL").then_some(Say("421 4.7.0 too many connections")),
        |_, came: &str| (came == "content").then_some(Say("421 4.3.2 shutting down")),
    ] {
        let outcome = outcome(says).await;
        assert!(matches!(&outcome, Outcome::Down { why } if !why.contains(['\r', '\n'])), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_connection_lost_within_a_mail_is_tried_again() {
    for says in [
        |_: usize, came: &str| (came == "MAIL").then_some(Close),
        |_, came: &str| (came == "RCPT").then_some(Close),
        |_, came: &str| (came == "RCPT").then_some(Hang),
        |_, came: &str| (came == "DATA").then_some(Close),
        |_, came: &str| (came == "text").then_some(Close),
        |_, came: &str| (came == "content").then_some(Close),
        |_, came: &str| (came == "content").then_some(Hang),
        |_, came: &str| (came == "content").then_some(Say("451 4.3.0 disk")),
        |_, came: &str| (came == "content").then_some(Say("garbage")),
    ] {
        let outcome = outcome(says).await;
        assert!(matches!(outcome, Outcome::Again { .. } | Outcome::Unsure { .. }), "{outcome:?}");
    }
    for says in [
        |_: usize, came: &str| (came == "RCPT").then_some(Say("550-5.1.1 no\r\n550 5.1.1 such user")),
        |_, came: &str| (came == "DATA").then_some(Say("554 5.5.1 no valid recipients")),
        |_, came: &str| (came == "content").then_some(Say("552 5.3.4 too long")),
    ] {
        let outcome = outcome(says).await;
        assert!(matches!(&outcome, Outcome::Refused { why } if why.contains(": 55")), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_replaced_and_no_mail_goes_twice() {
    // The first connection ends after a mail: silently, or with a word.
    for says in [
        |n: usize, came: &str| (n == 1 && came == "MAIL2").then_some(Close),
        |n: usize, came: &str| (n == 1 && came == "RSET").then_some(Close),
    ] {
        let (settings, taken) = relay(says).await;
        let relay = Relay::new(settings).unwrap();
        for _ in 0..3 {
            assert!(matches!(relay.send(&mail("ann@example.org")).await, Outcome::Sent { .. }));
        }
        assert_eq!(taken.load(Ordering::SeqCst), 3);
    }
    static MAILS: AtomicUsize = AtomicUsize::new(0);
    let (settings, taken) =
        relay(|_, came| (came == "MAIL" && MAILS.fetch_add(1, Ordering::SeqCst) == 1).then_some(Close)).await;
    let relay = Relay::new(settings).unwrap();
    for _ in 0..2 {
        assert!(matches!(relay.send(&mail("ann@example.org")).await, Outcome::Sent { .. }));
    }
    assert_eq!((taken.load(Ordering::SeqCst), MAILS.load(Ordering::SeqCst)), (2, 3));
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_starttls_are_down_with_their_remedy() {
    let send = async |says: fn(usize, &str) -> Option<Reply>, tls: RelayTls, credentials: bool| {
        let (mut settings, taken) = relay(says).await;
        settings.tls = tls;
        settings.credentials = credentials.then(|| ("ci".to_owned(), "geheim".to_owned()));
        assert!(!format!("{settings:?}").contains("geheim"));
        let outcome = Relay::new(settings).unwrap().send(&mail("ann@example.org")).await;
        (outcome, taken.load(Ordering::SeqCst))
    };
    let (outcome, _) = send(|_, came| (came == "AUTH").then_some(Say("535 5.7.8 wrong")), RelayTls::None, true).await;
    assert!(
        matches!(&outcome, Outcome::Down { why } if why.contains("535 5.7.8 wrong; check the user")),
        "{outcome:?}"
    );
    let (outcome, _) =
        send(|_, came| (came == "EHLO").then_some(Say("250 plain.example.org")), RelayTls::None, true).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("no way of AUTH")), "{outcome:?}");
    // Neither a mail nor a password goes in the clear where TLS is asked for.
    for (tls, credentials) in [(RelayTls::Required, false), (RelayTls::Opportunistic, true)] {
        let (outcome, taken) = send(|_, _| None, tls, credentials).await;
        assert!(matches!(&outcome, Outcome::Down { why } if why.contains("does not offer STARTTLS")), "{outcome:?}");
        assert_eq!(taken, 0);
    }
    let (outcome, taken) = send(|_, _| None, RelayTls::Opportunistic, false).await;
    assert!(matches!(outcome, Outcome::Sent { .. }) && taken == 1, "{outcome:?}");
    let (outcome, _) = send(|_, _| None, RelayTls::Wrapped, false).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("setting of TLS")), "{outcome:?}");
}

#[tokio::test]
async fn a_mail_given_up_in_its_midst_leaves_nothing_for_the_next() {
    // The first content is never answered; its connection must not carry the second mail.
    let (settings, taken) = relay(|n, came| (n == 1 && came == "content").then_some(Hang)).await;
    let relay = Relay::new(settings).unwrap();
    assert!(matches!(relay.send(&mail("a@example.org")).await, Outcome::Unsure { .. }));
    assert!(matches!(relay.send(&mail("b@example.org")).await, Outcome::Sent { .. }));
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}
