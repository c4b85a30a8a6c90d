//! One connection, without its sockets: what was heard changes it, and it says
//! what to write next and when to look again.

use super::flood::Bucket;
use super::message::{Folding, Line, is_channel, write};
use super::outbox::{Batch, Outbox};
use super::register::{Registration, Step};
use super::rooms::{Rooms, Standing};
use super::settings::{Channel, Hidden, Network, Pace};
use super::text;
use super::whois::{Whois, is_account};
use std::collections::VecDeque;
use std::time::Instant;
use tokio::sync::oneshot;

/// Length of our prefix as long as we do not know it: a user of 12, a host of 64.
const UNKNOWN_PLACE: usize = 12 + 64;

/// Something said to a channel we are in, or to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub speaker: Speaker,
    pub account: Account,
    /// None: said to us alone.
    pub channel: Option<String>,
    pub text: String,
    /// Our nick at that moment.
    pub me: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    pub nick: String,
    pub user: String,
    pub host: String,
}

/// The account that the network's services vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// The message carried it, or that there is none.
    Known(Option<String>),
    /// This network's messages do not carry it: to be asked.
    Ask,
}

/// What others want of a connection.
#[derive(Debug)]
pub enum Order {
    Say(Batch),
    Join { channel: String, key: Option<Hidden> },
    Leave { channel: String },
    Whois { speaker: Speaker, reply: oneshot::Sender<Option<String>> },
}

#[derive(Debug, PartialEq)]
enum Phase {
    Registering,
    /// Welcome, but the server still tells of itself.
    Greeted,
    /// NickServ was told our password.
    Identifying {
        until: Instant,
    },
    Ready,
    Quitting,
}

pub struct Session {
    network: Network,
    phase: Phase,
    registration: Registration,
    nick: String,
    /// Length of `user@host`, once a line of ours came back.
    place: Option<usize>,
    folding: Folding,
    rooms: Rooms,
    outbox: Outbox,
    whois: Whois,
    bucket: Bucket,
    /// Written at once.
    urgent: VecDeque<String>,
    /// Written in turn with what is said.
    chores: VecDeque<String>,
    heard: Vec<Heard>,
    began: Instant,
    last_heard: Instant,
    pinged: Option<Instant>,
    nick_again: Instant,
}

impl Session {
    pub fn new(network: &Network, channels: &[Channel], now: Instant) -> Session {
        let pace = &network.pace;
        let folding = Folding::default();
        Session {
            phase: Phase::Registering,
            registration: Registration::default(),
            nick: network.nick.clone(),
            place: None,
            folding,
            rooms: Rooms::new(channels, pace.rejoin, folding, now),
            outbox: Outbox::default(),
            whois: Whois::default(),
            bucket: Bucket::new(pace.burst, pace.every, now),
            urgent: Registration::begin(network).into(),
            chores: VecDeque::new(),
            heard: Vec::new(),
            began: now,
            last_heard: now,
            pinged: None,
            nick_again: now,
            network: network.clone(),
        }
    }

    fn pace(&self) -> &Pace {
        &self.network.pace
    }

    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Whether channels are joined and notices taken.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub fn take_heard(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    pub fn order(&mut self, order: Order, now: Instant) {
        match order {
            Order::Say(batch) => {
                // A notice for a channel we are not in yet: its reporter wants us there.
                if batch.reply.is_some()
                    && is_channel(&batch.target)
                    && self.rooms.standing(self.folding, &batch.target) == Standing::Unknown
                {
                    self.rooms.want(self.folding, &batch.target, None, now);
                }
                self.outbox.push(batch);
            }
            Order::Join { channel, key } => self.rooms.want(self.folding, &channel, key, now),
            Order::Leave { channel } => {
                if self.rooms.unwant(self.folding, &channel) {
                    self.chores.push_back(write("PART", &[&channel], None));
                }
            }
            Order::Whois { speaker, reply } => {
                let nick = speaker.nick.clone();
                if self.whois.ask(self.folding, speaker, reply) {
                    self.chores.push_back(write("WHOIS", &[&nick], None));
                }
            }
        }
    }

    /// A line came. An error is the end of the connection, in words.
    pub fn line(&mut self, line: &Line, now: Instant) -> Result<(), String> {
        self.last_heard = now;
        self.pinged = None;
        match line.command.as_str() {
            "PING" => self.urgent.push_back(write("PONG", &[], Some(line.last()))),
            "PONG" => {
                self.outbox.pong(line.last());
            }
            "ERROR" => return Err(format!("the server closed the connection: {}", text::clean(line.last()))),
            _ if self.phase == Phase::Registering => return self.registering(line),
            "PRIVMSG" => self.privmsg(line),
            "CAP" if line.param(1) == "DEL" => {
                line.last().split(' ').for_each(|name| {
                    self.registration.granted.remove(name);
                });
            }
            "JOIN" | "PART" | "KICK" | "NICK" | "QUIT" | "KILL" => self.moved(line, now),
            _ => self.numeric(line, now),
        }
        Ok(())
    }

    fn registering(&mut self, line: &Line) -> Result<(), String> {
        match self.registration.line(&self.network, line)? {
            Step::Say(lines) => self.urgent.extend(lines),
            Step::Welcome(nick) => {
                self.nick = nick;
                self.phase = Phase::Greeted;
            }
            Step::Other => {}
        }
        Ok(())
    }

    fn numeric(&mut self, line: &Line, now: Instant) {
        match line.numeric() {
            Some(5) => self.isupport(line, now),
            Some(376 | 422) if self.phase == Phase::Greeted => self.greeted(now),
            Some(900) if matches!(self.phase, Phase::Identifying { .. }) => self.phase = Phase::Ready,
            // Our host as others see it from now on.
            Some(396) => self.place = self.place.map(|p| p.max(12 + line.param(1).len())),
            Some(_) => {
                if self.rooms.refused(self.folding, line, now) {
                    tracing::warn!(
                        network = self.network.name,
                        channel = line.param(1),
                        why = line.last(),
                        "not joined"
                    );
                    return;
                }
                if line.numeric() == Some(401)
                    && matches!(self.phase, Phase::Identifying { .. })
                    && self.folding.same(line.param(1), "NickServ")
                {
                    tracing::warn!(network = self.network.name, "there is no NickServ to identify to");
                    self.phase = Phase::Ready;
                }
                self.whois.line(self.folding, line);
                self.outbox.error(self.folding, line);
            }
            None => {}
        }
    }

    fn isupport(&mut self, line: &Line, now: Instant) {
        let folding = match line.params.iter().find_map(|p| p.strip_prefix("CASEMAPPING=")) {
            Some("ascii") => Folding::Ascii,
            Some(_) => Folding::Rfc1459,
            None => return,
        };
        // Before any JOIN, so nothing is forgotten.
        if folding != self.folding && self.phase == Phase::Greeted {
            self.folding = folding;
            self.rooms = Rooms::new(&self.rooms.wanted(), self.pace().rejoin, folding, now);
        }
    }

    fn greeted(&mut self, now: Instant) {
        self.phase = Phase::Ready;
        self.nick_again = now + self.pace().nick_retry;
        if let Some(password) = &self.network.nickserv_password {
            // With a tail on our nick it would be the wrong account.
            let own = self.folding.same(&self.nick, &self.network.nick);
            let account = if own { String::new() } else { format!("{} ", self.network.nick) };
            let words = format!("IDENTIFY {account}{}", password.0);
            self.urgent.push_back(write("PRIVMSG", &["NickServ"], Some(&words)));
            self.phase = Phase::Identifying { until: now + self.pace().identify_within };
        }
    }

    fn privmsg(&mut self, line: &Line) {
        let (Some(from), target, words) = (&line.prefix, line.param(0), line.last()) else { return };
        // Servers talk by notices; control requests of clients are none of a bot's business.
        if from.user.is_empty() || words.starts_with('\u{1}') || self.is_me(&from.nick) {
            return;
        }
        let channel = is_channel(target).then(|| target.to_owned());
        if channel.is_none() && !self.is_me(target) {
            return;
        }
        let account = if self.registration.granted.contains("account-tag") {
            Account::Known(line.tag("account").filter(|a| is_account(a)).map(str::to_owned))
        } else {
            Account::Ask
        };
        let speaker = Speaker { nick: from.nick.clone(), user: from.user.clone(), host: from.host.clone() };
        self.heard.push(Heard { speaker, account, channel, text: words.to_owned(), me: self.nick.clone() });
    }

    /// People, and we, come and go.
    fn moved(&mut self, line: &Line, now: Instant) {
        let Some(from) = &line.prefix else { return };
        let mine = self.is_me(&from.nick);
        match line.command.as_str() {
            "JOIN" if mine => {
                self.place = Some(from.user.len() + 1 + from.host.len());
                self.rooms.joined(self.folding, line.param(0), now);
            }
            "PART" if mine => self.rooms.lost(self.folding, line.param(0), now),
            "KICK" if self.is_me(line.param(1)) => {
                let (channel, why) = (line.param(0), text::clean(line.last()));
                tracing::warn!(network = self.network.name, channel, by = from.nick, why, "kicked");
                self.rooms.lost(self.folding, channel, now);
            }
            "NICK" if mine => self.nick = line.param(0).to_owned(),
            // Who had our nick is gone.
            "NICK" | "QUIT" if self.folding.same(&from.nick, &self.network.nick) => self.nick_again = now,
            _ => {}
        }
    }

    fn is_me(&self, nick: &str) -> bool {
        self.folding.same(nick, &self.nick)
    }

    /// What time alone changes. An error is the end of the connection.
    pub fn tick(&mut self, now: Instant) -> Result<(), String> {
        let pace = &self.network.pace;
        if matches!(self.phase, Phase::Registering | Phase::Greeted) {
            if now >= self.began + pace.connect_within {
                return Err(format!("no welcome within {:?}", pace.connect_within));
            }
            return Ok(());
        }
        if let Phase::Identifying { until } = self.phase
            && now >= until
        {
            tracing::warn!(network = self.network.name, "NickServ did not confirm our password; joining anyway");
            self.phase = Phase::Ready;
        }
        let unanswered = [self.pinged, self.outbox.asked_since()].into_iter().flatten().min();
        if unanswered.is_some_and(|at| now >= at + pace.answer_within) {
            return Err(format!("no answer to a PING within {:?}", pace.answer_within));
        }
        if self.pinged.is_none() && now >= self.last_heard + pace.keep_alive {
            self.pinged = Some(now);
            self.urgent.push_back(write("PING", &[], Some("alive")));
        }
        self.outbox.expire(now);
        if self.phase == Phase::Ready {
            self.chores.extend(self.rooms.due(now));
            if now >= self.nick_again && !self.folding.same(&self.nick, &self.network.nick) {
                self.nick_again = now + self.network.pace.nick_retry;
                self.chores.push_back(write("NICK", &[&self.network.nick], None));
            }
        }
        Ok(())
    }

    /// When to call [`Session::tick`] and [`Session::next_line`] again if nothing happens.
    pub fn wake_at(&self, now: Instant) -> Instant {
        let pace = &self.network.pace;
        if matches!(self.phase, Phase::Registering | Phase::Greeted) {
            return self.began + pace.connect_within;
        }
        // A quiet server was asked, or will be.
        let alive = self.pinged.map_or(self.last_heard + pace.keep_alive, |p| p + pace.answer_within);
        let mut times = vec![alive];
        times.extend(self.outbox.asked_since().map(|p| p + pace.answer_within));
        if let Phase::Identifying { until } = self.phase {
            times.push(until);
        } else {
            times.extend(self.rooms.wake_at());
            times.extend(self.outbox.wake_at());
            if !self.folding.same(&self.nick, &self.network.nick) {
                times.push(self.nick_again);
            }
        }
        times.extend(Some(self.bucket.ready_at()).filter(|r| *r > now));
        times.into_iter().min().unwrap_or(alive)
    }

    /// The next line to write now.
    pub fn next_line(&mut self, now: Instant) -> Option<String> {
        if let Some(line) = self.urgent.pop_front().or_else(|| self.outbox.question(now)) {
            return Some(line);
        }
        if self.phase != Phase::Ready || self.bucket.ready_at() > now {
            return None;
        }
        let line = self.chores.pop_front().or_else(|| {
            let prefix = self.nick.len() + 2 + self.place.unwrap_or(UNKNOWN_PLACE);
            let (rooms, folding) = (&self.rooms, self.folding);
            self.outbox.next(prefix, self.network.colours, |channel| rooms.standing(folding, channel))
        })?;
        self.bucket.take(now);
        Some(line)
    }

    /// Says goodbye. Lines that come until the end still count.
    pub fn quit(&mut self, why: &str) {
        if self.phase != Phase::Quitting {
            self.phase = Phase::Quitting;
            self.urgent.push_back(write("QUIT", &[], Some(why)));
        }
    }

    /// The connection is gone.
    pub fn lost(&mut self, why: &str) {
        self.outbox.lost(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::outbox::Voice;
    use crate::outcome::Outcome;
    use std::time::Duration;

    fn ready(network: &Network, now: Instant) -> Session {
        let mut session = Session::new(network, &network.channels, now);
        written(&mut session, now);
        hear(&mut session, now, &[":s CAP * LS :account-tag", ":s CAP * ACK :account-tag"]);
        hear(&mut session, now, &[":s 001 tide :Welcome", ":s 005 tide CASEMAPPING=ascii :are", ":s 376 tide :End"]);
        written(&mut session, now);
        session
    }

    fn network() -> Network {
        let channels = vec![Channel { name: "#ci".into(), key: None }];
        Network { channels, ..Network::new("net", "h", 6667, "tide") }
    }

    fn hear(session: &mut Session, now: Instant, lines: &[&str]) {
        for line in lines {
            session.line(&Line::parse(line.as_bytes()).unwrap(), now).unwrap();
        }
        session.tick(now).unwrap();
    }

    fn written(session: &mut Session, now: Instant) -> Vec<String> {
        session.tick(now).unwrap();
        std::iter::from_fn(|| session.next_line(now)).collect()
    }

    fn said(session: &mut Session, target: &str, text: &str, now: Instant) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        let until = now + Duration::from_secs(60);
        let lines = vec![text.to_owned()];
        let batch = Batch { target: target.into(), voice: Voice::Talk, lines, reply: Some(reply), until };
        session.order(Order::Say(batch), now);
        outcome
    }

    #[test]
    fn a_notice_waits_for_the_channel_and_counts_after_the_pong() {
        let now = Instant::now();
        let mut session = ready(&network(), now);
        let mut outcome = said(&mut session, "#ci", "hello", now);
        assert!(written(&mut session, now).is_empty(), "JOIN was said, its answer is awaited");
        hear(&mut session, now, &[":tide!t@host JOIN #ci"]);
        assert_eq!(written(&mut session, now), ["PRIVMSG #ci :hello", "PING :tm-1"]);
        assert!(outcome.try_recv().is_err());
        hear(&mut session, now, &[":s PONG s :tm-1"]);
        assert!(matches!(outcome.try_recv(), Ok(Outcome::Sent { .. })));
        assert_eq!(session.rooms().present(), ["#ci"]);
    }

    #[test]
    fn a_notice_for_a_channel_that_is_not_configured_takes_us_there() {
        let now = Instant::now();
        let mut session = ready(&network(), now);
        let _outcome = said(&mut session, "#other", "hello", now);
        assert_eq!(written(&mut session, now), ["JOIN #other"]);
    }

    #[test]
    fn accounts_are_those_that_messages_carry_and_never_the_nick() {
        let now = Instant::now();
        let mut session = ready(&network(), now);
        let lines =
            ["@account=lovelace :ada!a@h PRIVMSG #ci :tide: x", ":ada!a@h PRIVMSG tide :y", ":s NOTICE tide :z"];
        hear(&mut session, now, &lines);
        hear(&mut session, now, &[":ada!a@h PRIVMSG tide :\u{1}VERSION\u{1}", ":s CAP * DEL :account-tag"]);
        hear(&mut session, now, &["@account=admin :ada!a@h PRIVMSG tide :now", ":ada!a@h PRIVMSG @#ci :ops only"]);
        let heard: Vec<_> = session.take_heard().into_iter().map(|h| (h.channel, h.account, h.text)).collect();
        assert_eq!(
            heard,
            [
                (Some("#ci".to_owned()), Account::Known(Some("lovelace".into())), "tide: x".to_owned()),
                (None, Account::Known(None), "y".to_owned()),
                (None, Account::Ask, "now".to_owned()),
            ]
        );
    }

    #[test]
    fn a_quiet_server_is_asked_and_a_silent_one_is_left() {
        let now = Instant::now();
        let mut session = ready(&network(), now);
        hear(&mut session, now, &[":tide!t@host JOIN #ci"]);
        let s = |n| now + Duration::from_secs(n);
        assert_eq!(session.wake_at(s(20)), s(60));
        assert_eq!(written(&mut session, s(60)), ["PING :alive"]);
        assert_eq!(session.wake_at(s(60)), s(90));
        assert!(session.tick(s(90)).unwrap_err().contains("no answer to a PING"));
        hear(&mut session, s(89), &[":s PONG s :alive"]);
        assert!(session.tick(s(90)).is_ok());
    }

    #[test]
    fn the_wanted_nick_is_taken_when_it_is_free() {
        let now = Instant::now();
        let mut session = Session::new(&network(), &[], now);
        hear(&mut session, now, &[":s 433 * tide :in use", ":s 001 tide_ :Welcome", ":s 422 tide_ :no MOTD"]);
        assert!(written(&mut session, now).contains(&"NICK tide_".to_owned()));
        hear(&mut session, now, &[":tide!x@y QUIT :bye"]);
        assert_eq!(written(&mut session, now), ["NICK tide"]);
        hear(&mut session, now, &[":tide_!t@h NICK :tide"]);
        assert_eq!(session.nick(), "tide");
        assert!(written(&mut session, now).is_empty());
    }

    #[test]
    fn nickserv_hears_the_password_before_channels_are_joined() {
        let now = Instant::now();
        let network = Network { nickserv_password: Some("secret".into()), ..network() };
        let mut session = Session::new(&network, &network.channels, now);
        hear(&mut session, now, &[":s 001 tide_ :Welcome", ":s 422 tide_ :no MOTD"]);
        let lines = written(&mut session, now);
        assert_eq!(lines.last().unwrap(), "PRIVMSG NickServ :IDENTIFY tide secret");
        hear(&mut session, now, &[":s 900 tide_ tide_!t@h tide :You are now logged in"]);
        assert!(session.is_ready() && written(&mut session, now).contains(&"JOIN #ci".to_owned()));
        assert!(!format!("{network:?}").contains("secret"));
    }

    #[test]
    fn pings_are_answered_while_the_bucket_is_empty() {
        let now = Instant::now();
        let mut session = ready(&network(), now);
        hear(&mut session, now, &[":tide!t@host JOIN #ci"]);
        let _outcome = said(&mut session, "#ci", &"word ".repeat(2000), now);
        let lines = written(&mut session, now);
        assert_eq!(lines.len(), 4, "a burst of five, one of them was the JOIN");
        hear(&mut session, now, &["PING :abc"]);
        assert_eq!(written(&mut session, now), ["PONG :abc"]);
        assert_eq!(session.wake_at(now), now + Duration::from_secs(2));
        assert_eq!(written(&mut session, now + Duration::from_secs(2)).len(), 1);
    }
}
