//! From `reporters.IRC` of a project to what the connection and the bot need.

use super::authz::{Allowed, Authz};
use super::backend::Place;
use super::bot::BotSettings;
use super::client::Voice;
use super::events::{NotifyEvent, Style};
use super::settings::{Channel, Hidden, Network, Pace, Sasl};
use crate::verify::Verify;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tidemill_lang::definition::{self, IrcAllowed, IrcDef, SecretText};

/// The network of a reporter of this name. `secret` finds what proves us.
pub fn network<E>(
    reporter: &str,
    irc: &IrcDef,
    mut secret: impl FnMut(&SecretText) -> Result<String, E>,
) -> Result<Network, E> {
    let mut hidden = |text: &Option<SecretText>| text.as_ref().map(|t| secret(t).map(Hidden)).transpose();
    let (server_password, nickserv_password) = (hidden(&irc.server_password)?, hidden(&irc.password)?);
    let mut channels = Vec::new();
    for channel in &irc.channels {
        channels.push(Channel { name: channel.name.clone(), key: hidden(&channel.password)? });
    }
    let sasl = match &irc.sasl {
        Some(login) => Some(Sasl { user: secret(&login.username)?, password: Hidden(secret(&login.password)?) }),
        None => None,
    };
    let verify = match &irc.verify {
        definition::Verify::Yes => Verify::Yes,
        definition::Verify::No => Verify::No,
        definition::Verify::Authorities(file) => Verify::Authorities(PathBuf::from(file)),
    };
    let usual = Pace::default();
    let delay = |given: Option<u64>, usual| given.map_or(usual, Duration::from_micros);
    let pace = Pace {
        lost_delay: delay(irc.lost_delay_us, usual.lost_delay),
        failed_delay: delay(irc.failed_delay_us, usual.failed_delay),
        ..usual
    };
    Ok(Network {
        tls: irc.tls.then_some(verify),
        channels,
        server_password,
        nickserv_password,
        sasl,
        colours: irc.use_colors,
        pace,
        ..Network::new(reporter, &irc.host, irc.port, &irc.nick)
    })
}

pub fn bot(irc: &IrcDef) -> BotSettings {
    let allowed = |allowed: &IrcAllowed| match allowed {
        IrcAllowed::Everyone => Allowed::Everyone,
        IrcAllowed::Nobody => Allowed::Nobody,
        IrcAllowed::Accounts(names) => Allowed::Accounts(names.clone()),
    };
    BotSettings {
        authz: Authz::new(irc.authz.iter().map(|rule| (rule.commands.clone(), allowed(&rule.allowed)))),
        tags: irc.tags.clone().unwrap_or_default(),
        notify_events: events(irc),
        notices: irc.notice_on_channel,
        colours: irc.use_colors,
    }
}

/// What a place is told as long as nobody settled it there; nothing for strangers.
pub fn place(irc: &IrcDef, name: &str) -> Place {
    let told = irc.channels.iter().map(|c| &c.name).chain(&irc.pm_to_nicks).any(|n| n.eq_ignore_ascii_case(name));
    Place { events: if told { events(irc) } else { BTreeSet::new() }, ..Place::default() }
}

pub fn style(irc: &IrcDef) -> Style {
    Style { colours: irc.use_colors, blame: irc.show_blame_list, revisions: irc.use_revisions }
}

pub fn voice(irc: &IrcDef, target: &str) -> Voice {
    if irc.notice_on_channel && super::message::is_channel(target) { Voice::Notice } else { Voice::Talk }
}

fn events(irc: &IrcDef) -> BTreeSet<NotifyEvent> {
    // Their words are among ours: a test holds that.
    irc.notify_events.iter().filter_map(|e| e.name().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn irc() -> IrcDef {
        let text = serde_json::json!({
            "host": "irc.test", "port": 6697, "nick": "tide", "tls": true, "verify": {"authorities": "ca.pem"},
            "channels": [{"name": "#ci", "password": "key"}], "pm_to_nicks": ["ada"],
            "notify_events": ["problem", "worker"], "show_blame_list": true, "use_colors": false,
            "lost_delay_us": 3_000_000, "notice_on_channel": true,
            "authz": [{"commands": ["force", "stop"], "allowed": {"accounts": ["ada"]}}],
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_reporter_of_the_project_becomes_a_network_and_a_bot() {
        let irc = irc();
        let network = network("libera", &irc, |_| Ok::<_, ()>("value".to_owned())).unwrap();
        assert_eq!((&*network.name, network.port, &*network.nick), ("libera", 6697, "tide"));
        assert_eq!(network.channels, [Channel { name: "#ci".into(), key: Some("value".into()) }]);
        assert_eq!(network.tls, Some(Verify::Authorities("ca.pem".into())));
        assert_eq!((network.pace.lost_delay, network.pace.every), (Duration::from_secs(3), Duration::from_secs(2)));
        assert!(super::network("libera", &irc, |_| Err::<String, _>("no such secret")).is_err());

        let bot = bot(&irc);
        assert!(bot.authz.rule("force", true).refusal("force", Some("ada")).is_none());
        assert!(bot.authz.rule("join", true).refusal("join", Some("ada")).is_some());
        assert_eq!((voice(&irc, "#ci"), voice(&irc, "ada")), (Voice::Notice, Voice::Talk));
        let events = BTreeSet::from([NotifyEvent::Problem, NotifyEvent::Worker]);
        assert_eq!((place(&irc, "#CI").events, place(&irc, "ada").events), (events.clone(), events));
        assert!(place(&irc, "#elsewhere").events.is_empty());
    }

    #[test]
    fn every_word_of_the_project_file_is_an_event() {
        for event in definition::NotifyEvent::ALL {
            assert_eq!(event.name().parse::<NotifyEvent>().unwrap().to_string(), event.name());
        }
    }
}
