//! The bot: who spoke to it, whether they may, what it answers.

use super::authz::Authz;
use super::backend::{Backend, BackendError};
use super::client::{Client, Voice};
use super::commands::{self, Entry};
use super::events::NotifyEvent;
use super::message::Folding;
use super::session::{Account, Heard, Speaker};
use super::settings::Hidden;
use super::text;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest time for one command.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of one answer. A page shows the rest better.
pub const LINES: usize = 12;

/// Where the bot is, as far as it can change that.
pub trait Presence: Send + Sync {
    fn say(&self, target: &str, lines: Vec<String>, voice: Voice);
    fn join(&self, channel: &str, key: Option<Hidden>);
    fn leave(&self, channel: &str);
    fn account_of(&self, speaker: &Speaker) -> impl Future<Output = Option<String>> + Send;
}

impl Presence for Client {
    fn say(&self, target: &str, lines: Vec<String>, voice: Voice) {
        Client::say(self, target, lines, voice);
    }

    fn join(&self, channel: &str, key: Option<Hidden>) {
        Client::join(self, channel, key);
    }

    fn leave(&self, channel: &str) {
        Client::leave(self, channel);
    }

    async fn account_of(&self, speaker: &Speaker) -> Option<String> {
        Client::account_of(self, speaker).await
    }
}

#[derive(Clone, Debug, Default)]
pub struct BotSettings {
    pub authz: Authz,
    /// Only builders with one of these; all, if there are none.
    pub tags: Vec<String>,
    /// What `notify on` without words means.
    pub notify_events: BTreeSet<NotifyEvent>,
    /// In channels by NOTICE instead of PRIVMSG.
    pub notices: bool,
    pub colours: bool,
}

pub struct Bot<B, P> {
    pub settings: BotSettings,
    pub backend: B,
    pub presence: P,
}

/// One command being carried out.
pub struct Asked<'a> {
    /// The channel, or the nick that spoke to us alone.
    pub place: &'a str,
    pub channel: bool,
    pub speaker: &'a Speaker,
    /// Known if a rule asked for it.
    pub account: Option<String>,
    pub me: &'a str,
    /// What followed the command's name.
    pub rest: &'a str,
}

impl Asked<'_> {
    /// For records: the account, else the nick, told apart.
    pub fn who(&self) -> String {
        match &self.account {
            Some(account) => account.clone(),
            None => format!("{} (IRC nick)", self.speaker.nick),
        }
    }
}

/// Why there is no answer but this.
#[derive(Debug, thiserror::Error)]
pub enum Complaint {
    /// How the command is used, with what was wrong.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Backend(#[from] BackendError),
}

pub type Answer = Result<Vec<String>, Complaint>;

impl<B: Backend, P: Presence> Bot<B, P> {
    /// Answers until nothing more can be heard. One after the other, as people asked.
    pub async fn run(self, mut heard: mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            self.hear(&heard).await;
        }
    }

    /// Answers one message.
    pub async fn hear(&self, heard: &Heard) {
        let lines = self.answer(heard).await;
        if !lines.is_empty() {
            let voice = if self.settings.notices && heard.channel.is_some() { Voice::Notice } else { Voice::Talk };
            self.presence.say(heard.channel.as_deref().unwrap_or(&heard.speaker.nick), lines, voice);
        }
    }

    /// What to say to this; nothing, if it was not for us.
    pub async fn answer(&self, heard: &Heard) -> Vec<String> {
        let Some(words) = addressed(heard) else { return Vec::new() };
        let (name, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        let name = name.to_lowercase();
        let place = heard.channel.as_deref().unwrap_or(&heard.speaker.nick);
        if heard.channel.is_some() && name != "unmute" && self.is_muted(place).await {
            return Vec::new();
        }
        let Some(entry) = commands::find(&name) else {
            let name = text::shorten(&text::clean(&name), 30);
            return vec![format!("I do not know «{name}»; «commands» lists what I know")];
        };
        let mut asked = Asked {
            place,
            channel: heard.channel.is_some(),
            speaker: &heard.speaker,
            account: None,
            me: &heard.me,
            rest: rest.trim(),
        };
        let carried_out = async {
            if let Some(refusal) = self.refusal(entry, heard, &mut asked).await {
                return Err(Complaint::Refused(refusal));
            }
            commands::run(self, entry, &asked).await
        };
        let answer = tokio::time::timeout(PATIENCE, carried_out).await;
        match answer {
            Ok(Ok(lines)) => bounded(lines),
            Ok(Err(Complaint::Usage(wrong))) => vec![format!("{wrong}; try: {}", entry.usage)],
            Ok(Err(complaint)) => vec![text::clean(&complaint.to_string())],
            Err(_) => vec![format!("«{}» took too long, I gave up; it may still happen", entry.name)],
        }
    }

    async fn is_muted(&self, place: &str) -> bool {
        // Without the rows nobody can be answered anyway, and an error says more than silence.
        self.backend.place(place).await.is_ok_and(|p| p.muted)
    }

    /// Why the speaker may not. Learns their account where a rule needs it.
    async fn refusal(&self, entry: &Entry, heard: &Heard, asked: &mut Asked<'_>) -> Option<String> {
        let rule = self.settings.authz.rule(entry.name, entry.is_dangerous(asked));
        asked.account = match &heard.account {
            Account::Known(account) => account.clone(),
            Account::Ask if rule.asks_account() => self.presence.account_of(&heard.speaker).await,
            Account::Ask => None,
        };
        let refusal = rule.refusal(entry.name, asked.account.as_deref())?;
        let (nick, account) = (&heard.speaker.nick, &asked.account);
        tracing::warn!(command = entry.name, nick, ?account, place = asked.place, "IRC: refused");
        Some(refusal)
    }
}

/// The command in it: all that is said to us alone, and in a channel what begins with our nick.
fn addressed(heard: &Heard) -> Option<&str> {
    let words = heard.text.trim();
    if heard.channel.is_none() {
        return Some(words).filter(|w| !w.is_empty());
    }
    let (to, rest) = words.split_at_checked(heard.me.len())?;
    let rest = rest.strip_prefix([':', ','])?.trim();
    (Folding::Rfc1459.same(to, &heard.me) && !rest.is_empty()).then_some(rest)
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > LINES {
        let more = lines.len() - LINES + 1;
        lines.truncate(LINES - 1);
        lines.push(format!("… and {more} lines more"));
    }
    lines
}
