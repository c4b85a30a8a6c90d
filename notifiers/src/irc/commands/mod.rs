//! What people can tell the bot: one table, one function a command.

mod builds;
mod force;
mod lists;
mod notify;
mod places;
mod talk;

use super::backend::Backend;
use super::bot::{Answer, Asked, Bot, Complaint, Presence};

/// A command for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: &'static str,
    pub usage: &'static str,
    pub about: &'static str,
    danger: Danger,
}

#[derive(Debug, PartialEq, Eq)]
enum Danger {
    None,
    Always,
    /// If it is about another place than the one it is said in.
    Elsewhere,
}

const fn entry(name: &'static str, usage: &'static str, about: &'static str, danger: Danger) -> Entry {
    Entry { name, usage, about, danger }
}

pub const COMMANDS: [Entry; 19] = [
    entry("commands", "commands", "lists the commands", Danger::None),
    entry(
        "commits",
        "commits [BUILDER] [COUNT]",
        "shows the newest changes, of a builder's last build or of all",
        Danger::None,
    ),
    entry(
        "force",
        "force build [--branch=B] [--revision=R] [--codebase=C] [--project=P] [--props=NAME=VALUE,…] BUILDER [REASON]",
        "asks for a build",
        Danger::Always,
    ),
    entry("hello", "hello", "greets", Danger::None),
    entry("help", "help [COMMAND]", "explains a command", Danger::None),
    entry("join", "join CHANNEL [KEY]", "goes to a channel and stays there", Danger::Always),
    entry("last", "last [BUILDER|all] [COUNT]", "shows the newest finished builds", Danger::None),
    entry("leave", "leave [CHANNEL]", "leaves a channel, this one if none is named", Danger::Always),
    entry("list", "list [builders|workers|changes]", "lists builders, workers or changes", Danger::None),
    entry("mute", "mute [CHANNEL]", "makes me silent here, or there", Danger::Elsewhere),
    entry(
        "notify",
        "notify on|off|list [EVENT…]",
        "says here what becomes of builds, or does not any more",
        Danger::None,
    ),
    entry("shutdown", "shutdown", "is not done from here", Danger::Always),
    entry("source", "source", "says where my source is", Danger::None),
    entry("status", "status [BUILDER|all]", "tells what is running and waiting", Danger::None),
    entry("stop", "stop build BUILDER [REASON]", "stops all running builds of a builder", Danger::Always),
    entry("unmute", "unmute [CHANNEL]", "lets me speak again", Danger::Elsewhere),
    entry("version", "version", "says which Tidemill this is", Danger::None),
    entry("watch", "watch BUILDER", "tells here when the running builds of a builder end", Danger::None),
    entry("workers", "workers", "lists the workers", Danger::None),
];

pub fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|e| e.name == name)
}

impl Entry {
    pub fn is_dangerous(&self, asked: &Asked<'_>) -> bool {
        match self.danger {
            Danger::None => false,
            Danger::Always => true,
            Danger::Elsewhere => !asked.rest.is_empty() && !asked.rest.eq_ignore_ascii_case(asked.place),
        }
    }
}

pub async fn run<B: Backend, P: Presence>(bot: &Bot<B, P>, entry: &Entry, asked: &Asked<'_>) -> Answer {
    match entry.name {
        "commands" => Ok(talk::commands()),
        "commits" => lists::commits(bot, asked).await,
        "force" => force::force(bot, asked).await,
        "hello" => Ok(talk::hello(asked)),
        "help" => talk::help(asked),
        "join" => places::join(bot, asked).await,
        "last" => builds::last(bot, asked).await,
        "leave" => places::leave(bot, asked).await,
        "list" => lists::list(bot, asked).await,
        "mute" => places::mute(bot, asked, true).await,
        "notify" => notify::notify(bot, asked).await,
        "shutdown" => talk::shutdown(),
        "source" => Ok(talk::source()),
        "status" => builds::status(bot, asked).await,
        "stop" => force::stop(bot, asked).await,
        "unmute" => places::mute(bot, asked, false).await,
        "version" => talk::version(bot).await,
        "watch" => builds::watch(bot, asked).await,
        "workers" => lists::workers(bot).await,
        other => Err(Complaint::Refused(format!("«{other}» is not carried out by this version"))),
    }
}

/// Words of the command, or how it is used.
fn words(asked: &Asked<'_>) -> Result<Vec<String>, Complaint> {
    super::args::words(asked.rest).map_err(Complaint::Usage)
}

/// A number of lines that somebody wants, within reason.
fn count(word: &str) -> Option<usize> {
    word.parse::<usize>().ok().map(|n| n.clamp(1, super::bot::LINES - 2))
}
