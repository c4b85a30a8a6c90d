//! Talk over ngircd.

use crate::people::{Person, Tide, from, network};
use std::time::Duration;
use tidemill_notifiers::Outcome;
use tidemill_notifiers::irc::backend::Commit;
use tidemill_notifiers::irc::{BotSettings, Channel, Network, Pace, State, Voice};
use tidemill_tests::irc::servers::Server;

fn again(outcome: &Outcome, code: &str) -> bool {
    matches!(outcome, Outcome::Again { why, .. } if why.contains(code))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_in_a_channel_and_alone() {
    let Some(server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let tide = Tide::start(network(&server), BotSettings::default());
    tide.is_in(&["#ci"]).await;
    assert_eq!(ada.ask("#ci", "tide: hello").await, "hello, ada; «commands» lists what I can do");
    ada.say("#ci", "not for the bot").await;
    assert_eq!(ada.ask("#ci", "TIDE, list").await, "builders: linux (1 running, 2 waiting), my builder (offline)");
    assert_eq!(ada.ask("#ci", "tide: sing").await, "I do not know «sing»; «commands» lists what I know");
    assert_eq!(ada.ask("#ci", "tide: watch linux").await, "I shall tell when builds #12, #13 of linux end");
    assert_eq!(ada.ask("#ci", "tide: force build linux").await, "nobody may use «force» here");
    assert_eq!(ada.ask("tide", "list workers").await, "workers: w1, w2 (offline, paused)");
    let said = tide.client.deliver("#ci", vec!["build #12 of linux: success".into()], Voice::Notice).await;
    assert!(matches!(&said, Outcome::Sent { answer } if answer.contains("PONG")), "{said:?}");
    ada.until("the notice", |l| l.command == "NOTICE" && from(l) == "tide").await;
    assert_eq!(
        ada.heard_of("tide", "#ci"),
        [
            "hello, ada; «commands» lists what I can do",
            "builders: linux (1 running, 2 waiting), my builder (offline)",
            "I do not know «sing»; «commands» lists what I know",
            "I shall tell when builds #12, #13 of linux end",
            "nobody may use «force» here",
            "build #12 of linux: success",
        ]
    );
    assert_eq!(ada.heard_of("tide", "ada"), ["workers: w1, w2 (offline, paused)"]);
    assert!(ada.raw().iter().any(|l| l.ends_with("NOTICE #ci :build #12 of linux: success")));
    tide.end().await;
    ada.until("the goodbye", |l| l.command == "QUIT" && from(l) == "tide").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_messages_and_long_lines_are_lines_of_their_own_and_nothing_else() {
    let Some(server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let tide = Tide::start(network(&server), BotSettings::default());
    *tide.backend.commits.lock().unwrap() = vec![Commit {
        revision: Some("abc\r\nQUIT :by revision".into()),
        author: "Eve\r\nPRIVMSG #ci :I am root".into(),
        comments: "fix\r\nQUIT :by comment\r\n\u{1}DCC SEND x\u{1}\0\u{3}4\u{7}\u{1b}[31m".into(),
        ..Commit::default()
    }];
    tide.is_in(&["#ci"]).await;
    assert_eq!(
        ada.ask("#ci", "tide: commits").await,
        "abc QUIT :by by Eve PRIVMSG #ci :I am root, 0 s ago: fix QUIT :by comment DCC SEND x4[31m"
    );
    // A notice whose template let everything through.
    let raw = "one\r\nQUIT :x\n\u{1}ACTION\u{1}\0 two".to_owned();
    assert!(matches!(tide.client.deliver("#ci", vec![raw], Voice::Talk).await, Outcome::Sent { .. }));
    let long = format!("{}the end", "wörd🎉 ".repeat(833));
    assert_eq!(long.chars().count(), 5005);
    assert!(matches!(tide.client.deliver("#ci", vec![long.clone()], Voice::Talk).await, Outcome::Sent { .. }));
    ada.until("the end", |l| l.last().ends_with(" end")).await;
    let heard = ada.heard_of("tide", "#ci");
    assert_eq!(heard[1], "one  QUIT :x ACTION two");
    let pieces = &heard[2..];
    assert_eq!(pieces.join(" "), long.split_whitespace().collect::<Vec<_>>().join(" "), "nothing lost, no word cut");
    assert!(ada.longest() <= 512 && pieces.iter().all(|p| !p.contains('\u{fffd}')));
    let left = |l: &String| l.starts_with(":tide!") && l.split(' ').nth(1) == Some("QUIT");
    assert!(!ada.raw().iter().any(left), "it is still here");
    // Codes of people do no harm either.
    assert!(ada.ask("#ci", "tide: \u{1}x\u{2}\u{3}4 y").await.starts_with("I do not know"));
    for target in ["#ci,#other", "ada bob", "$*", "", "x\r\nQUIT"] {
        let outcome = tide.client.deliver(target, vec!["x".into()], Voice::Talk).await;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{target:?}: {outcome:?}");
    }
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nick_in_use_gets_a_tail_until_it_is_free() {
    let Some(server) = Server::ngircd("") else { return };
    let mut thief = Person::connect(&server, "tide").await;
    let tide = Tide::start(network(&server), BotSettings::default());
    let up = |nick: &'static str| move |s: &State| matches!(s, State::Up { nick: n, .. } if n == nick);
    tide.state("to have a tail", up("tide_")).await;
    tide.is_in(&["#ci"]).await;
    thief.join("#ci").await;
    assert!(thief.ask("#ci", "tide_: hello").await.starts_with("hello, tide"));
    thief.send("QUIT :gone").await;
    tide.state("to have its nick back", up("tide")).await;
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_it_comes_back_and_brings_what_is_due() {
    let Some(server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let tide = Tide::start(network(&server), BotSettings::default());
    for round in 0..3 {
        tide.is_in(&["#ci"]).await;
        let seen = ada.seen();
        ada.send("KICK #ci tide :go\u{7} away").await;
        ada.until_after(seen, "the kick", |l| l.command == "KICK").await;
        let said = tide.client.deliver("#ci", vec![format!("notice {round}")], Voice::Talk).await;
        // Said at the very moment of the kick it is refused, and due again.
        if again(&said, "404") {
            tide.is_in(&["#ci"]).await;
            let said = tide.client.deliver("#ci", vec![format!("notice {round}")], Voice::Talk).await;
            assert!(matches!(said, Outcome::Sent { .. }), "{said:?}");
        } else {
            assert!(matches!(said, Outcome::Sent { .. }), "{said:?}");
        }
    }
    ada.until("the last", |l| l.last() == "notice 2").await;
    assert_eq!(ada.heard_of("tide", "#ci"), ["notice 0", "notice 1", "notice 2"]);
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_said_says_why_in_the_servers_words() {
    let Some(server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    ada.join("#locked").await;
    ada.send("MODE #locked +k secret").await;
    ada.until("the key", |l| l.command == "MODE" && l.param(0) == "#locked").await;
    let tide = Tide::start(network(&server), BotSettings::default());
    tide.is_in(&["#ci"]).await;
    let deliver = async |target: &str| tide.client.deliver(target, vec!["x".into()], Voice::Talk).await;
    let nobody = deliver("nobody").await;
    assert!(again(&nobody, "401"), "{nobody:?}");
    let locked = deliver("#locked").await;
    assert!(again(&locked, "475"), "{locked:?}");
    ada.send("MODE #ci +m").await;
    ada.until("the mode", |l| l.command == "MODE" && l.param(0) == "#ci").await;
    let moderated = deliver("#ci").await;
    assert!(again(&moderated, "404"), "{moderated:?}");
    assert!(matches!(deliver("ada").await, Outcome::Sent { .. }));
    // With its key it gets in.
    tide.client.join("#locked", Some("secret".into()));
    tide.is_in(&["#ci", "#locked"]).await;
    assert!(matches!(deliver("#locked").await, Outcome::Sent { .. }));
    tide.client.leave("#locked");
    tide.is_in(&["#ci"]).await;
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_notices_goes_at_the_pace_of_the_flood_control_and_answers_come_between() {
    let Some(server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let network = network(&server);
    // Long enough for an answer on a slow machine, before all of it is said.
    let every = Duration::from_millis(250);
    let pace = Pace { burst: 5, every, ..network.pace.clone() };
    let tide = Tide::start(Network { pace, ..network }, BotSettings::default());
    tide.is_in(&["#ci"]).await;
    let begun = std::time::Instant::now();
    let mut storm = tokio::task::JoinSet::new();
    let mut order = Vec::new();
    for n in 0..40 {
        let client = tide.client.clone();
        order.push(format!("notice {n}"));
        let line = order[n].clone();
        storm.spawn(async move { client.deliver("#ci", vec![line], Voice::Talk).await });
        tokio::task::yield_now().await;
    }
    assert!(ada.ask("tide", "hello").await.starts_with("hello"));
    assert!(storm.len() == 40 && ada.heard_of("tide", "#ci").len() < 40, "the answer did not wait for the storm");
    let outcomes = storm.join_all().await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Sent { .. })), "{outcomes:?}");
    for line in &order {
        ada.until(line, |l| l.last() == line).await;
    }
    assert!(begun.elapsed() >= every * 34, "five at once, then one each span");
    let mut heard = ada.heard_of("tide", "#ci");
    heard.sort();
    order.sort();
    assert_eq!(heard, order);
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_password_is_said_and_a_wrong_one_is_told() {
    let Some(server) = Server::ngircd("Password = open sesame") else { return };
    let with = |password: &str| Network { server_password: Some(password.into()), ..network(&server) };
    let wrong = Tide::start(with("wrong"), BotSettings::default());
    let down = wrong.state("to be refused", |s| matches!(s, State::Down { .. })).await;
    assert!(matches!(&down, State::Down { why } if why.to_lowercase().contains("password")), "{down:?}");
    assert!(matches!(wrong.client.deliver("#ci", vec!["x".into()], Voice::Talk).await, Outcome::Down { .. }));
    wrong.end().await;
    let right = Tide::start(with("open sesame"), BotSettings::default());
    right.is_in(&["#ci"]).await;
    right.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_all_its_channels_with_their_keys() {
    let Some(server) = Server::ngircd("") else { return };
    let channel = |n: usize| Channel { name: format!("#c{n}"), key: n.is_multiple_of(2).then(|| "key".into()) };
    let network = Network { channels: (0..6).map(channel).collect(), ..network(&server) };
    let tide = Tide::start(network, BotSettings::default());
    tide.is_in(&["#c0", "#c1", "#c2", "#c3", "#c4", "#c5"]).await;
    tide.end().await;
}
