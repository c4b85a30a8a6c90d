//! aiosmtpd as the relay.

use super::{Sink, mail, mail_from, settings};
use std::time::Duration;
use tidemill_notifiers::Outcome;
use tidemill_notifiers::mail::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn mails_go_over_kept_connections_each_with_an_envelope_of_its_own() {
    let Some(sink) = Sink::start() else { return };
    let relay = Relay::new(settings(sink.port)).unwrap();
    for i in 0..30 {
        let outcome = relay.send(&mail(&format!("r{i}@example.org"))).await;
        let Outcome::Sent { answer } = outcome else { panic!("{outcome:?}") };
        assert!(answer.starts_with("250 2.0.0 Ok: kept as"), "{answer}");
    }
    let mails = sink.wait_for(30).await;
    let last = mails.last().unwrap().connections;
    assert_eq!(last, 1, "one after another uses one connection");
    for (i, kept) in mails.iter().enumerate() {
        assert_eq!((kept.from.as_str(), &kept.to), ("ci@example.org", &vec![format!("r{i}@example.org")]));
    }
    let sent = futures_util::future::join_all((0..100).map(|i| {
        let (relay, mail) = (&relay, mail(&format!("p{i}@example.org")));
        async move { relay.send(&mail).await }
    }));
    assert!(sent.await.iter().all(|o| matches!(o, Outcome::Sent { .. })));
    assert_eq!(sink.wait_for(130).await.len(), 130);
    relay.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_relay_has_its_meaning_and_concerns_no_other_mail() {
    let Some(sink) = Sink::start() else { return };
    let relay = Relay::new(settings(sink.port)).unwrap();
    let ask = async |to: &str| {
        let outcome = relay.send(&mail(to)).await;
        // Whatever it said, the next mail goes.
        assert!(matches!(relay.send(&mail("fine@example.org")).await, Outcome::Sent { .. }), "after {to}");
        outcome
    };
    let said = |outcome: &Outcome| match outcome {
        Outcome::Again { why, .. } | Outcome::Unsure { why } | Outcome::Refused { why } | Outcome::Down { why } => {
            why.clone()
        }
        Outcome::Sent { answer } => panic!("{answer}"),
    };
    let refused = ask("nobody@example.org").await;
    assert!(
        matches!(refused, Outcome::Refused { .. }) && said(&refused).contains("550 5.1.1 no such user"),
        "{refused:?}"
    );
    let spam = ask("spam@example.org").await;
    assert!(matches!(spam, Outcome::Refused { .. }) && said(&spam).contains("554 5.7.1 looks like spam"), "{spam:?}");
    for (to, words) in
        [("later@example.org", "451 4.7.1 greylisted"), ("full@example.org", "452 4.2.2 mailbox is full")]
    {
        let again = ask(to).await;
        assert!(matches!(again, Outcome::Again { .. }) && said(&again).contains(words), "{again:?}");
    }
    let closing = ask("closing@example.org").await;
    assert!(matches!(closing, Outcome::Down { .. }) && said(&closing).contains("421"), "{closing:?}");
    let sender = relay.send(&mail_from("unwanted@example.org", "fine@example.org")).await;
    assert!(matches!(sender, Outcome::Again { .. }) && said(&sender).contains("`fromaddr`"), "{sender:?}");
    // An address beyond ASCII goes where the relay takes such.
    assert!(matches!(ask("jörg@bücher.example").await, Outcome::Sent { .. }));
    let mails = sink.wait_for(1).await;
    assert!(mails.iter().any(|kept| kept.to == ["jörg@xn--bcher-kva.example"]), "{mails:?}");
}

#[tokio::test]
async fn nobody_there_is_down_at_once() {
    let port = tidemill_tests::cluster::free_port();
    let relay = Relay::new(settings(port)).unwrap();
    let outcome = relay.send(&mail("a@example.org")).await;
    assert!(matches!(&outcome, Outcome::Down { why } if why.contains("refused")), "{outcome:?}");
    let mut nowhere = settings(25);
    nowhere.host = "relay.invalid".into();
    nowhere.within = Duration::from_secs(20);
    let outcome = Relay::new(nowhere).unwrap().send(&mail("a@example.org")).await;
    assert!(matches!(outcome, Outcome::Down { .. }), "{outcome:?}");
}
