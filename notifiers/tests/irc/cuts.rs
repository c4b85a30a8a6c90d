//! Servers die, freeze and come back.

use crate::people::{Person, Tide, from, network};
use std::time::Duration;
use tidemill_notifiers::Outcome;
use tidemill_notifiers::irc::{BotSettings, Network, Pace, State, Voice};
use tidemill_tests::irc::servers::Server;

/// Delivers as a sender does: again until it is sent. How often it was tried.
async fn delivered(tide: &Tide, to: &str, line: &str) -> usize {
    for tries in 1.. {
        match tide.client.deliver(to, vec![line.to_owned()], Voice::Talk).await {
            Outcome::Sent { .. } => return tries,
            Outcome::Refused { why } => panic!("{why}"),
            Outcome::Again { .. } | Outcome::Unsure { .. } | Outcome::Down { .. } => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
        }
    }
    unreachable!("it is tried for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_finds_the_bot_in_its_channel() {
    let Some(mut server) = Server::ngircd("") else { return };
    let tide = Tide::start(network(&server), BotSettings::default());
    for round in 0..3 {
        let mut ada = Person::connect(&server, "ada").await;
        ada.join("#ci").await;
        tide.is_in(&["#ci"]).await;
        assert_eq!(delivered(&tide, "#ci", &format!("before {round}")).await, 1);
        server.kill();
        let down = tide.state("to be cut", |s| matches!(s, State::Down { .. })).await;
        assert!(matches!(down, State::Down { .. }));
        let outcome = tide.client.deliver("#ci", vec!["lost".into()], Voice::Talk).await;
        assert!(matches!(outcome, Outcome::Down { .. }), "{outcome:?}");
        server.start();
    }
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    delivered(&tide, "#ci", "after").await;
    ada.until("the notice", |l| l.last() == "after").await;
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_on_their_way_when_the_server_dies_arrive_at_least_once() {
    let Some(mut server) = Server::ngircd("") else { return };
    let mut ada = Person::connect(&server, "ada").await;
    let tide = std::sync::Arc::new(Tide::start(network(&server), BotSettings::default()));
    tide.is_in(&["#ci"]).await;
    let mut all = tokio::task::JoinSet::new();
    for n in 0..60 {
        let tide = tide.clone();
        // To her alone: a server where she is not refuses it (401), and it is tried again.
        all.spawn(async move { delivered(&tide, "ada", &format!("notice {n}")).await });
    }
    ada.until("the sixth of some sixty notices", |l| from(l) == "tide" && l.last() == "notice 5").await;
    server.kill();
    ada.is_cut().await;
    let mut heard: Vec<String> = ada.raw();
    let first = heard.len();
    server.start();
    let ada = Person::connect(&server, "ada").await;
    let tries = all.join_all().await;
    delivered(&tide, "ada", "the end").await;
    ada.until("the end", |l| l.last() == "the end").await;
    heard.extend(ada.raw());
    for n in 0..60 {
        let end = format!(" :notice {n}");
        assert!(heard.iter().any(|l| l.ends_with(&end)), "notice {n} was sent but did not arrive");
    }
    let twice = (0..60).filter(|n| heard.iter().filter(|l| l.ends_with(&format!(" :notice {n}"))).count() > 1).count();
    let tried: usize = tries.iter().sum();
    println!("60 notices, {first} lines before the cut, {twice} arrived twice, {tried} tries");
    std::sync::Arc::into_inner(tide).expect("all are done").end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_more_is_left_and_its_notice_is_due_again() {
    let Some(server) = Server::ngircd("") else { return };
    let quick = Duration::from_millis(1500);
    let network = network(&server);
    let pace = Pace { keep_alive: quick, answer_within: quick, connect_within: quick * 5, ..network.pace.clone() };
    let tide = Tide::start(Network { pace, ..network }, BotSettings::default());
    tide.is_in(&["#ci"]).await;
    server.freeze();
    let outcome = tide.client.deliver("#ci", vec!["into the void".into()], Voice::Talk).await;
    // Down: the machine was so slow that it was seen before anything was said.
    assert!(
        matches!(&outcome, Outcome::Again { why, .. } if why.contains("before the server confirmed"))
            || matches!(&outcome, Outcome::Down { .. }),
        "{outcome:?}"
    );
    tide.state("to see it", |s| matches!(s, State::Down { .. })).await;
    server.thaw();
    tide.is_in(&["#ci"]).await;
    delivered(&tide, "#ci", "back").await;
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_is_no_harm_and_is_told() {
    let Some(mut server) = Server::ngircd("") else { return };
    server.kill();
    let tide = Tide::start(network(&server), BotSettings::default());
    let down = tide.state("to fail", |s| matches!(s, State::Down { .. })).await;
    assert!(matches!(&down, State::Down { why } if why.contains("cannot connect to 127.0.0.1:")), "{down:?}");
    // Wishes from meanwhile are kept.
    tide.client.join("#later", None);
    server.start();
    tide.is_in(&["#ci", "#later"]).await;
    tide.end().await;
}
