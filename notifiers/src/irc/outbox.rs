//! What is to be said: in turn, at the pace of the flood control, and known
//! to have arrived.
//!
//! A batch is the lines of one notice or answer to one target. A PING with the
//! batch's number follows it; servers answer a connection's lines in order, so
//! its PONG means that they have taken the batch, and an error in between
//! (404, 401 …) is about it.

use super::message::{self, Folding, Line};
use super::rooms::Standing;
use super::text;
use crate::outcome::Outcome;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Waiting answers of the bot; a chatty channel gets no further ones.
const ANSWERS: usize = 64;
/// Errors about a target of PRIVMSG and NOTICE; it is their second parameter.
const ERRORS: [u16; 10] = [401, 403, 404, 407, 408, 415, 477, 486, 492, 531];

/// PRIVMSG or NOTICE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Talk,
    Notice,
}

impl Voice {
    fn verb(self) -> &'static str {
        match self {
            Voice::Talk => "PRIVMSG",
            Voice::Notice => "NOTICE",
        }
    }
}

#[derive(Debug)]
pub struct Batch {
    pub target: String,
    pub voice: Voice,
    pub lines: Vec<String>,
    /// Who waits for the outcome; nobody for answers of the bot.
    pub reply: Option<oneshot::Sender<Outcome>>,
    /// Not begun later than this.
    pub until: Instant,
}

#[derive(Debug)]
struct Flying {
    number: u64,
    target: String,
    reply: Option<oneshot::Sender<Outcome>>,
    /// Not yet written.
    rest: VecDeque<String>,
    error: Option<(u16, String)>,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
pub struct Outbox {
    answers: VecDeque<Batch>,
    notices: VecDeque<Batch>,
    /// In the order of the wire; only the last may have unwritten lines.
    flying: VecDeque<Flying>,
    last_was_answer: bool,
    number: u64,
}

fn end(reply: Option<oneshot::Sender<Outcome>>, outcome: Outcome) {
    if let Some(reply) = reply {
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    }
}

fn again(why: String, after: Option<Duration>) -> Outcome {
    Outcome::Again { why, after }
}

impl Outbox {
    pub fn push(&mut self, batch: Batch) {
        if batch.reply.is_some() {
            self.notices.push_back(batch);
        } else if self.answers.len() < ANSWERS {
            self.answers.push_back(batch);
        } else {
            tracing::warn!(target = batch.target, "too many answers wait already; one was left out");
        }
    }

    /// The next line to write, if any batch can go on. `standing` tells of channels,
    /// `prefix` is the length of ours.
    pub fn next(
        &mut self,
        prefix: usize,
        formatted: bool,
        mut standing: impl FnMut(&str) -> Standing,
    ) -> Option<String> {
        if self.flying.back().is_none_or(|f| f.rest.is_empty()) {
            let batch = self.take(&mut standing)?;
            let verb = batch.voice.verb();
            let room = message::room_for_text(prefix, verb, &batch.target);
            let texts = batch.lines.iter().map(|l| text::line(l, formatted)).flat_map(|l| text::split(&l, room));
            let rest: VecDeque<String> = texts.map(|t| message::write(verb, &[&batch.target], Some(&t))).collect();
            if rest.is_empty() {
                end(batch.reply, Outcome::Refused { why: "there is nothing to say: the text is empty".to_owned() });
                return self.next(prefix, formatted, standing);
            }
            self.number += 1;
            let (number, target, reply) = (self.number, batch.target, batch.reply);
            self.flying.push_back(Flying { number, target, reply, rest, error: None, asked: None });
        }
        self.flying.back_mut()?.rest.pop_front()
    }

    /// The PING that closes a batch, once its last line is written.
    pub fn question(&mut self, now: Instant) -> Option<String> {
        let last = self.flying.back_mut().filter(|f| f.rest.is_empty() && f.asked.is_none())?;
        last.asked = Some(now);
        Some(message::write("PING", &[], Some(&format!("tm-{}", last.number))))
    }

    /// The oldest batch whose target can be reached, answers and notices in turn.
    fn take(&mut self, standing: &mut impl FnMut(&str) -> Standing) -> Option<Batch> {
        let first_answers = !self.last_was_answer;
        for answers in [first_answers, !first_answers] {
            let queue = if answers { &mut self.answers } else { &mut self.notices };
            let mut at = 0;
            while at < queue.len() {
                let batch = &queue[at];
                let standing = if message::is_channel(&batch.target) { standing(&batch.target) } else { Standing::In };
                let outcome = match standing {
                    Standing::Refused { code, why, never: true } => Outcome::Refused { why: said(code, &why) },
                    Standing::Refused { code, why, never: false } => again(said(code, &why), None),
                    Standing::Unknown => again(format!("we are not in {}", batch.target), None),
                    Standing::Coming => {
                        at += 1;
                        continue;
                    }
                    Standing::In => {
                        self.last_was_answer = answers;
                        return queue.remove(at);
                    }
                };
                if let Some(batch) = queue.remove(at) {
                    end(batch.reply, outcome);
                }
            }
        }
        None
    }

    /// A PONG: the server has taken everything before it.
    pub fn pong(&mut self, token: &str) -> bool {
        let Some(number) = token.strip_prefix("tm-").and_then(|n| n.parse::<u64>().ok()) else { return false };
        while self.flying.front().is_some_and(|f| f.number <= number && f.asked.is_some()) {
            let Some(done) = self.flying.pop_front() else { break };
            let outcome = match done.error {
                None => Outcome::Sent { answer: format!("taken by the server (PONG tm-{})", done.number) },
                // A nick may come back, a channel may give us a voice.
                Some((code, why)) => again(said(code, &why), None),
            };
            end(done.reply, outcome);
        }
        true
    }

    /// An error about the target of the batch that is being answered.
    pub fn error(&mut self, folding: Folding, line: &Line) {
        let Some(code) = line.numeric().filter(|c| ERRORS.contains(c)) else { return };
        if let Some(oldest) = self.flying.front_mut()
            && folding.same(&oldest.target, line.param(1))
        {
            oldest.error = Some((code, line.last().to_owned()));
        }
    }

    /// Since when the oldest PING waits for its answer.
    pub fn asked_since(&self) -> Option<Instant> {
        self.flying.front().and_then(|f| f.asked)
    }

    /// Lets go of what waited too long, and of what nobody waits for any more.
    pub fn expire(&mut self, now: Instant) {
        for queue in [&mut self.answers, &mut self.notices] {
            let mut at = 0;
            while at < queue.len() {
                let gone = queue[at].reply.as_ref().is_some_and(oneshot::Sender::is_closed);
                if queue[at].until > now && !gone {
                    at += 1;
                } else if let Some(batch) = queue.remove(at) {
                    end(
                        batch.reply,
                        again(
                            "it was not its turn in time (flood control, or not yet in the channel)".to_owned(),
                            None,
                        ),
                    );
                }
            }
        }
    }

    /// When a waiting notice gives up.
    pub fn wake_at(&self) -> Option<Instant> {
        self.answers.iter().chain(&self.notices).map(|b| b.until).min()
    }

    /// The connection is gone: what was on its way may have arrived or not, the rest has not.
    pub fn lost(&mut self, why: &str) {
        for flying in self.flying.drain(..) {
            end(flying.reply, again(format!("{why}, before the server confirmed"), None));
        }
        for batch in self.notices.drain(..).chain(self.answers.drain(..)) {
            end(batch.reply, Outcome::Down { why: why.to_owned() });
        }
    }
}

/// A numeric in people's words.
pub fn said(code: u16, words: &str) -> String {
    format!("the server said {code} {}", text::clean(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(target: &str, lines: &[&str], now: Instant) -> (Batch, oneshot::Receiver<Outcome>) {
        let (reply, get) = oneshot::channel();
        let lines = lines.iter().map(|l| (*l).to_owned()).collect();
        let until = now + Duration::from_secs(60);
        (Batch { target: target.into(), voice: Voice::Talk, lines, reply: Some(reply), until }, get)
    }

    fn line(text: &str) -> Line {
        Line::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_batch_is_sent_once_its_pong_came_and_an_error_before_it_is_its_outcome() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        let (first, mut one) = batch("#a", &["x", "y\r\nz"], now);
        let (second, mut two) = batch("#A", &["w"], now);
        outbox.push(first);
        outbox.push(second);
        let mut wire = Vec::new();
        while let Some(line) = outbox.next(20, true, |_| Standing::In) {
            wire.push(line);
            wire.extend(outbox.question(now));
        }
        assert_eq!(wire, ["PRIVMSG #a :x", "PRIVMSG #a :y  z", "PING :tm-1", "PRIVMSG #A :w", "PING :tm-2"]);
        assert!(one.try_recv().is_err());
        assert!(outbox.pong("tm-1"));
        assert!(matches!(one.try_recv(), Ok(Outcome::Sent { .. })));
        outbox.error(Folding::Rfc1459, &line(":s 404 tide #a :Cannot send to channel"));
        outbox.pong("tm-2");
        let why = "the server said 404 Cannot send to channel".to_owned();
        assert_eq!(two.try_recv(), Ok(Outcome::Again { why, after: None }));
        assert!(!outbox.pong("elsewhere") && outbox.asked_since().is_none());
    }

    #[test]
    fn a_cut_connection_leaves_the_unconfirmed_to_be_sent_again_and_the_rest_untried() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        let (first, mut one) = batch("#a", &["x"], now);
        let (second, mut two) = batch("#a", &["y"], now);
        outbox.push(first);
        outbox.push(second);
        outbox.next(20, true, |_| Standing::In);
        outbox.lost("the connection was lost");
        assert!(matches!(one.try_recv(), Ok(Outcome::Again { .. })));
        assert!(matches!(two.try_recv(), Ok(Outcome::Down { .. })));
    }

    #[test]
    fn a_channel_not_yet_joined_holds_up_its_own_notices_only() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        let (slow, mut waits) = batch("#slow", &["x"], now);
        let (banned, mut never) = batch("#banned", &["x"], now);
        let (open, _get) = batch("#open", &["y"], now);
        for batch in [slow, banned, open] {
            outbox.push(batch);
        }
        let refused = || Standing::Refused { code: 474, why: "banned".into(), never: false };
        let standing = |c: &str| match c {
            "#slow" => Standing::Coming,
            "#banned" => refused(),
            _ => Standing::In,
        };
        assert_eq!(outbox.next(20, true, standing).as_deref(), Some("PRIVMSG #open :y"));
        assert!(matches!(never.try_recv(), Ok(Outcome::Again { .. })));
        outbox.question(now);
        outbox.expire(now + Duration::from_secs(61));
        assert!(matches!(waits.try_recv(), Ok(Outcome::Again { .. })), "late");
    }

    #[test]
    fn a_long_line_is_split_so_that_relayed_lines_fit() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        let (long, _get) = batch("#a", &[&"wörd ".repeat(1000)], now);
        outbox.push(long);
        let lines: Vec<String> = std::iter::from_fn(|| outbox.next(60, true, |_| Standing::In)).collect();
        assert!(lines.len() > 10);
        assert!(lines.iter().all(|l| 1 + 60 + 1 + l.len() <= message::LINE - 2), "with the prefix and CR LF");
    }

    #[test]
    fn answers_and_notices_take_turns() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        let mut keep = Vec::new();
        for n in 0..2 {
            let (notice, get) = batch("#a", &[&format!("notice {n}")], now);
            keep.push(get);
            outbox.push(notice);
            let (answer, _) = batch("#a", &[&format!("answer {n}")], now);
            outbox.push(Batch { reply: None, ..answer });
        }
        let mut words = Vec::new();
        while let Some(line) = outbox.next(20, true, |_| Standing::In) {
            words.push(line[12..].to_owned());
            outbox.question(now);
        }
        assert_eq!(words, ["answer 0", "notice 0", "answer 1", "notice 1"]);
    }
}
