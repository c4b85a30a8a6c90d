//! Accounts, SASL and TLS over InspIRCd with Atheme's services.

use crate::people::{Person, Tide, from, network};
use tidemill_notifiers::irc::{Allowed, Authz, BotSettings, Channel, Network, Sasl, State};
use tidemill_notifiers::verify::Verify;
use tidemill_tests::irc::servers::Server;

fn settings() -> BotSettings {
    let ada = Allowed::Accounts(vec!["ada".into()]);
    BotSettings { authz: Authz::new([(vec!["!".to_owned()], ada)]), ..BotSettings::default() }
}

async fn register(person: &mut Person, account_password: &str) {
    person.say("NickServ", &format!("REGISTER {account_password} {}@irc.test", person.nick)).await;
    person.until("to be registered", |l| l.command == "900").await;
}

/// A server with services, where the bot and Ada have accounts.
async fn with_accounts(more: &str) -> Option<(Server, Person)> {
    let server = Server::inspircd(more)?.with_services()?;
    let mut bot = Person::connect(&server, "tide").await;
    register(&mut bot, "tide's-secret").await;
    bot.send("QUIT").await;
    bot.until("the end", |l| l.command == "ERROR").await;
    let mut ada = Person::connect(&server, "ada").await;
    register(&mut ada, "ada-secret").await;
    ada.join("#ci").await;
    Some((server, ada))
}

fn sasl(password: &str) -> Option<Sasl> {
    Some(Sasl { user: "tide".into(), password: password.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn force_is_for_an_account_and_not_for_its_nick() {
    // Once with accounts in messages, once where WHOIS has to be asked.
    for tags in [r#"<module name="ircv3_accounttag">"#, ""] {
        let Some((server, mut ada)) = with_accounts(tags).await else { return };
        let tide = Tide::start(network(&server), settings());
        tide.is_in(&["#ci"]).await;
        let made = ada.ask("#ci", "tide: force build --branch=b linux we need it").await;
        assert_eq!(made, "asked for a build of linux: request 7");
        assert_eq!(ada.ask("tide", "stop build linux enough").await, "build #12 of linux is told to stop");
        let forced = tide.backend.forced.lock().unwrap().clone();
        assert_eq!((&*forced[0].who, &*forced[0].reason, forced.len()), ("ada", "we need it", 1));
        ada.rename("ada_away").await;

        let mut eve = Person::connect(&server, "ada").await;
        eve.join("#ci").await;
        let not_in = "«force» is for some accounts only, and you are not logged in to services";
        assert_eq!(eve.ask("#ci", "tide: force build linux").await, not_in);
        eve.rename("eve").await;
        register(&mut eve, "eve-secret").await;
        assert_eq!(eve.ask("tide", "force build linux").await, "«force» is not for the account eve");
        assert_eq!(eve.ask("#ci", "tide: hello").await, "hello, eve; «commands» lists what I can do");
        // The account, whatever the nick.
        assert_eq!(ada.ask("#ci", "tide: force build linux").await, "asked for a build of linux: request 7");
        assert_eq!(tide.backend.forced.lock().unwrap().len(), 2);
        tide.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sasl_it_is_somebody_before_it_joins() {
    let Some((server, mut ada)) = with_accounts("").await else { return };
    ada.send("MODE #ci +R").await;
    ada.until("registered people only", |l| l.command == "MODE" && l.params.iter().any(|p| p == "+R")).await;
    let tide = Tide::start(Network { sasl: sasl("tide's-secret"), ..network(&server) }, settings());
    tide.is_in(&["#ci"]).await;
    ada.send("WHOIS tide").await;
    let whois = ada.until("its account", |l| l.command == "330").await;
    assert_eq!((whois.param(1), whois.param(2)), ("tide", "tide"));
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_sasl_password_it_does_not_come_at_all() {
    let Some((server, ada)) = with_accounts("").await else { return };
    let tide = Tide::start(Network { sasl: sasl("wrong"), ..network(&server) }, settings());
    let down = tide.state("to be refused", |s| matches!(s, State::Down { .. })).await;
    assert!(matches!(&down, State::Down { why } if why.contains("SASL login refused (904")), "{down:?}");
    assert!(!ada.raw().iter().any(|l| l.contains("JOIN") && l.starts_with(":tide")));
    tide.end().await;
    // Nor where nobody can check it.
    let Some(server) = Server::inspircd("") else { return };
    let tide = Tide::start(Network { sasl: sasl("x"), ..network(&server) }, settings());
    let down = tide.state("to be refused", |s| matches!(s, State::Down { .. })).await;
    assert!(matches!(&down, State::Down { why } if why.contains("offers no SASL")), "{down:?}");
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nickserv_lets_it_into_a_channel_of_the_registered() {
    let Some((server, mut ada)) = with_accounts("").await else { return };
    ada.send("MODE #ci +R").await;
    ada.until("registered people only", |l| l.command == "MODE" && l.params.iter().any(|p| p == "+R")).await;
    let stranger = Network { nick: "tide2".into(), ..network(&server) };
    let stranger = Tide::start(stranger, settings());
    let outcome = loop {
        // Until its JOIN was answered.
        match stranger.client.deliver("#ci", vec!["x".into()], tidemill_notifiers::irc::Voice::Talk).await {
            tidemill_notifiers::Outcome::Down { .. } => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => break other,
        }
    };
    let tidemill_notifiers::Outcome::Again { why, .. } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("the server said 4"), "{why}");
    stranger.end().await;
    let network = Network { nickserv_password: Some("tide's-secret".into()), ..network(&server) };
    let tide = Tide::start(network, settings());
    tide.is_in(&["#ci"]).await;
    ada.until("its JOIN", |l| l.command == "JOIN" && from(l) == "tide").await;
    tide.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_authority_that_is_named_and_no_other() {
    let Some(server) = Server::inspircd("") else { return };
    let tls = |verify| Network { tls: Some(verify), port: server.tls_port, ..network(&server) };
    let named = || Verify::Authorities(server.authority.clone());
    let wary = Tide::start(tls(Verify::Yes), settings());
    let down = wary.state("to refuse", |s| matches!(s, State::Down { .. })).await;
    assert!(matches!(&down, State::Down { why } if why.contains("certificate")), "{down:?}");
    wary.end().await;
    let channels = vec![Channel { name: "#secure".into(), key: None }];
    let tide = Tide::start(Network { channels, ..tls(named()) }, settings());
    tide.is_in(&["#secure"]).await;
    let elsewhere = Network { host: "localhost".into(), ..tls(named()) };
    let other = Tide::start(Network { nick: "tide2".into(), ..elsewhere }, settings());
    other.is_in(&["#ci"]).await;
    other.end().await;
    // `verify = False`: whoever answers is believed.
    let trusting = Tide::start(Network { nick: "tide3".into(), ..tls(Verify::No) }, settings());
    trusting.is_in(&["#ci"]).await;
    trusting.end().await;
    tide.end().await;
}
