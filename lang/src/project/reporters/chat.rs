//! `reporters.IRC` and `reporters.ZulipStatusPush`.

use super::reading::Reading;
use crate::definition::{ChannelDef, IrcAllowed, IrcDef, IrcRule, NotifyEvent, ZulipDef};
use crate::names;
use crate::values::convert::{boolean, optional_text, seconds, text, texts};
use crate::values::notices::{one_or_more, port};
use crate::values::tree::{self, Tree};
use starlark::values::dict::DictRef;

pub(super) fn zulip(r: &mut Reading<'_, '_>) -> Option<ZulipDef> {
    Some(ZulipDef {
        endpoint: r.address("endpoint", ""),
        token: r.secret("token")?,
        stream: r.get("stream", optional_text).flatten(),
        verify: r.verify(),
    })
}

pub(super) fn irc(r: &mut Reading<'_, '_>) -> Option<IrcDef> {
    let (host, nick) = (r.text("host")?, r.text("nick")?);
    if host.trim().is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        r.error("host", format!("`host` of {} is no host: {host:?}", r.called()), None);
    }
    if !is_nick(&nick) {
        r.error("nick", format!("`nick` of {} is no nick: {nick:?}", r.called()), None);
    }
    let channels = channels(r);
    let pm_to_nicks = r.get("pm_to_nicks", texts).unwrap_or_default();
    for nick in pm_to_nicks.iter().filter(|n| !is_nick(n)) {
        r.error("pm_to_nicks", format!("{nick:?} is no nick"), None);
    }
    Some(IrcDef {
        host,
        port: r.get("port", port).unwrap_or(6667),
        nick,
        channels,
        pm_to_nicks,
        tls: r.flag("useSSL", false),
        verify: r.verify(),
        password: r.secret("password"),
        server_password: r.secret("serverPassword"),
        sasl: r.login("sasl"),
        notify_events: events(r),
        tags: r.get("tags", texts),
        show_blame_list: r.flag("showBlameList", true),
        use_revisions: r.flag("useRevisions", false),
        use_colors: r.flag("useColors", true),
        notice_on_channel: r.flag("noticeOnChannel", false),
        lost_delay_us: r.get("lostDelay", seconds).flatten(),
        failed_delay_us: r.get("failedDelay", seconds).flatten(),
        authz: rules(r),
    })
}

/// What stands in a line of the protocol as one word.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with(':')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',')
}

fn is_nick(text: &str) -> bool {
    is_word(text) && !text.starts_with(|c: char| c.is_ascii_digit() || "#&+!-".contains(c))
}

fn channels(r: &Reading<'_, '_>) -> Vec<ChannelDef> {
    let value = r.service.arg("channels").filter(|_| r.trees.by_name.contains_key("channels"));
    let mut found: Vec<ChannelDef> = vec![];
    for item in value.and_then(tree::items).unwrap_or_default() {
        let (name, password) = match DictRef::from_value(*item) {
            Some(dict) => (dict.get_str("channel"), dict.get_str("password").filter(|p| !p.is_none())),
            None => (Some(*item), None),
        };
        let Some(name) = name.and_then(|n| n.unpack_str()) else { continue };
        if !is_word(name) || !name.starts_with(['#', '&', '+', '!']) {
            let hint = is_word(name).then(|| format!("did you mean \"#{name}\"?"));
            r.error("channels", format!("{name:?} is no channel"), hint);
            continue;
        }
        if found.iter().any(|c| c.name.to_lowercase() == name.to_lowercase()) {
            r.error("channels", format!("the channel {name:?} is there twice"), None);
            continue;
        }
        let password = password.and_then(|p| r.secret_of("channels", p, true));
        found.push(ChannelDef { name: name.to_owned(), password });
    }
    found
}

fn events(r: &Reading<'_, '_>) -> Vec<NotifyEvent> {
    let names: Vec<String> = match r.trees.by_name.get("notify_events") {
        // As in old files: {"exception": 1}.
        Some(Tree::Dict(entries)) => {
            entries.iter().filter(|(_, v)| boolean(v) == Some(true)).filter_map(|(k, _)| text(k)).collect()
        }
        Some(list) => texts(list).unwrap_or_default(),
        None => vec![],
    };
    let mut found = vec![];
    for name in names {
        match NotifyEvent::ALL.iter().find(|e| e.name() == name) {
            Some(event) if found.contains(event) => {}
            Some(event) => found.push(*event),
            None => {
                let known = NotifyEvent::ALL.map(NotifyEvent::name);
                let hint = names::nearest(&name, known).map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                r.error("notify_events", format!("there is no event `{name}`"), Some(hint));
            }
        }
    }
    found
}

/// The narrowest first: commands by name, then all the dangerous or harmless ones, then all.
fn rules(r: &Reading<'_, '_>) -> Vec<IrcRule> {
    let Some(Tree::Dict(entries)) = r.trees.by_name.get("authz") else { return vec![] };
    let mut found: Vec<IrcRule> = vec![];
    for (commands, allowed) in entries {
        let commands = one_or_more(commands).unwrap_or_default();
        let allowed = match (boolean(allowed), one_or_more(allowed)) {
            (Some(true), _) => IrcAllowed::Everyone,
            (_, Some(accounts)) => IrcAllowed::Accounts(accounts),
            _ => IrcAllowed::Nobody,
        };
        for command in commands.iter().filter(|c| c.as_str() != "*" && c.as_str() != "!" && !c.is_empty()) {
            if let Some(near) = names::nearest(command, COMMANDS).filter(|near| near != command) {
                let message = format!("the bot has no command `{command}`");
                r.error("authz", message, Some(format!("did you mean `{near}`?")));
            } else if !COMMANDS.contains(&command.as_str()) {
                let hint = format!("there are {}", COMMANDS.join(", "));
                r.error("authz", format!("the bot has no command `{command}`"), Some(hint));
            }
        }
        found.push(IrcRule { commands, allowed });
    }
    let width = |rule: &IrcRule| {
        let of = |command: &String| match command.as_str() {
            "*" => 2,
            "!" | "" => 1,
            _ => 0,
        };
        rule.commands.iter().map(of).max().unwrap_or(0)
    };
    found.sort_by_key(width);
    found
}

/// What the bot understands.
const COMMANDS: [&str; 22] = [
    "commands", "commits", "dance", "force", "hello", "help", "hush", "join", "last", "leave", "list", "mute",
    "notify", "part", "shutdown", "source", "status", "stop", "unmute", "version", "watch", "excited",
];
