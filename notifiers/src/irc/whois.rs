//! Who services say a speaker is, asked with WHOIS where messages carry no account.
//!
//! A nick can change hands between a message and the answer. So the answer
//! counts only if user and host are still those of the message.

use super::message::{Folding, Line};
use super::session::Speaker;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

type Reply = oneshot::Sender<Option<String>>;

#[derive(Debug, Default)]
pub struct Whois {
    /// By folded nick.
    asked: BTreeMap<String, Question>,
}

#[derive(Debug, Default)]
struct Question {
    waiting: Vec<(Speaker, Reply)>,
    place: Option<(String, String)>,
    account: Option<String>,
}

impl Whois {
    /// Notes who wants to know. True if the server is to be asked.
    pub fn ask(&mut self, folding: Folding, speaker: Speaker, reply: Reply) -> bool {
        let question = self.asked.entry(folding.fold(&speaker.nick)).or_default();
        // The asker may have gone while the server said nothing.
        question.waiting.retain(|(_, reply)| !reply.is_closed());
        let first = question.waiting.is_empty();
        if first {
            (question.place, question.account) = (None, None);
        }
        question.waiting.push((speaker, reply));
        first
    }

    /// A numeric of a WHOIS.
    pub fn line(&mut self, folding: Folding, line: &Line) {
        let nick = folding.fold(line.param(1));
        match line.numeric() {
            // <me> <nick> <user> <host> * :<name>
            Some(311) => {
                if let Some(question) = self.asked.get_mut(&nick) {
                    question.place = Some((line.param(2).to_owned(), line.param(3).to_owned()));
                }
            }
            // <me> <nick> <account> :is logged in as
            Some(330) => {
                if let Some(question) = self.asked.get_mut(&nick) {
                    question.account = Some(line.param(2).to_owned()).filter(|a| is_account(a));
                }
            }
            Some(318 | 401) => {
                if let Some(question) = self.asked.remove(&nick) {
                    for (speaker, reply) in question.waiting {
                        let same =
                            question.place.as_ref().is_some_and(|(u, h)| (u, h) == (&speaker.user, &speaker.host));
                        let _ = reply.send(question.account.clone().filter(|_| same));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Servers write `*` or `0` for «not logged in».
pub fn is_account(name: &str) -> bool {
    !matches!(name, "" | "*" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(host_now: &str, account: &str) -> Option<String> {
        let (mut whois, (send, mut get)) = (Whois::default(), oneshot::channel());
        let speaker = Speaker { nick: "Ada".into(), user: "a".into(), host: "home".into() };
        assert!(whois.ask(Folding::Rfc1459, speaker, send));
        let said = [
            format!(":s 311 tide ada a {host_now} * :Ada"),
            format!(":s 330 tide ada {account} :is logged in as"),
            ":s 318 tide ada :End".to_owned(),
        ];
        said.iter().for_each(|l| whois.line(Folding::Rfc1459, &Line::parse(l.as_bytes()).unwrap()));
        get.try_recv().unwrap()
    }

    #[test]
    fn an_account_counts_only_if_the_speaker_is_still_the_same() {
        assert_eq!(answered("home", "lovelace").as_deref(), Some("lovelace"));
        assert_eq!(answered("elsewhere", "lovelace"), None);
        assert_eq!(answered("home", "*"), None);
    }
}
