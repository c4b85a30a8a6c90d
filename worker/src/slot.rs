//! Slots and polls as a state machine: no IO, no clock.
//!
//! Guarantees: a poll's number rises only after an answer, so a poll whose
//! answer was lost is sent again as the same poll; a claim that is known is
//! never taken twice; a build is listed as held from its claim until the
//! master acknowledged its end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tidemill_model::wire::{Claim, Held, Poll, PollReply};

/// How many ended builds are remembered, against an answer that comes late.
const REMEMBERED: usize = 1024;

/// Longest wait of a poll.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Entry {
    token: String,
    /// From an earlier life of the worker: only delivered, takes no slot.
    left_over: bool,
    /// Its last word is said, and not yet acknowledged.
    done: bool,
}

#[derive(Debug)]
pub(crate) struct Slots {
    slots: u32,
    /// Number of the next poll, or of the one that is not yet answered.
    number: u64,
    newest: i64,
    held: BTreeMap<i64, Entry>,
    ended: VecDeque<i64>,
    draining: bool,
}

impl Slots {
    pub fn new(slots: u32) -> Self {
        Slots { slots, number: 1, newest: 0, held: BTreeMap::new(), ended: VecDeque::new(), draining: false }
    }

    /// How many builds could start now. None while builds of an earlier life
    /// wait for delivery, or while draining.
    pub fn free(&self) -> u32 {
        if self.draining || self.held.values().any(|e| e.left_over) {
            return 0;
        }
        self.slots.saturating_sub(self.held.len() as u32)
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes over a build of an earlier life. Its id does not count as
    /// delivered in this session.
    pub fn left_over(&mut self, build: i64, token: String) {
        self.held.insert(build, Entry { token, left_over: true, done: false });
    }

    /// The poll to send now.
    pub fn poll(&self, session: i64, lease: Duration) -> Poll {
        let wait = if self.held.is_empty() { WAIT_MAX } else { WAIT_MAX.min(lease / 3) };
        Poll {
            session,
            poll: self.number,
            free: self.free(),
            newest: self.newest,
            held: self.held.iter().map(|(build, e)| Held { build: *build, token: e.token.clone() }).collect(),
            wait_us: wait.as_micros() as u64,
        }
    }

    /// Whether a waiting poll should be abandoned for a new one: the master
    /// believes that there is no room, or that there is some.
    pub fn is_stale(&self, sent: &Poll) -> bool {
        (sent.free == 0) != (self.free() == 0)
    }

    /// Takes an answer; gives the claims that are new.
    pub fn answered(&mut self, sent: &Poll, reply: &PollReply) -> Vec<Claim> {
        if sent.poll == self.number {
            self.number += 1;
        }
        let mut new = Vec::new();
        for claim in &reply.claims {
            self.newest = self.newest.max(claim.build);
            if self.held.contains_key(&claim.build) || self.ended.contains(&claim.build) {
                continue;
            }
            self.held.insert(claim.build, Entry { token: claim.token.clone(), left_over: false, done: false });
            new.push(claim.clone());
        }
        new
    }

    /// Takes a build only to say that it is lost. False if it is known already.
    pub fn give_back(&mut self, build: i64, token: &str) -> bool {
        self.newest = self.newest.max(build);
        if self.held.contains_key(&build) || self.ended.contains(&build) {
            return false;
        }
        self.held.insert(build, Entry { token: token.to_owned(), left_over: false, done: false });
        true
    }

    /// Its last word is said: what masters answer to that counts, and nothing else.
    pub fn done(&mut self, build: i64) {
        if let Some(entry) = self.held.get_mut(&build) {
            entry.done = true;
        }
    }

    /// Whether the build works still.
    pub fn works(&self, build: i64) -> bool {
        self.held.get(&build).is_some_and(|entry| !entry.done)
    }

    /// The build is over and acknowledged, or lost.
    pub fn ended(&mut self, build: i64) {
        self.held.remove(&build);
        self.ended.push_back(build);
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
    }

    /// A new session counts its polls and deliveries from the start.
    pub fn new_session(&mut self) {
        self.number = 1;
        self.newest = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    fn claim(build: i64) -> Claim {
        Claim {
            build,
            token: format!("t{build}"),
            attempt: 1,
            builder: "b".into(),
            builder_id: 1,
            number: build,
            request: build,
            revision: String::new(),
            properties: Default::default(),
            sourcestamps: vec![],
            changes: vec![],
            trusted: true,
            url: String::new(),
            reason: String::new(),
        }
    }

    fn reply(builds: &[i64]) -> PollReply {
        PollReply { claims: builds.iter().map(|b| claim(*b)).collect(), ..Default::default() }
    }

    #[test]
    fn a_poll_without_an_answer_is_sent_again_under_its_number() {
        let mut slots = Slots::new(2);
        let first = slots.poll(7, LEASE);
        assert_eq!((first.poll, first.free, first.newest, first.wait_us), (1, 2, 0, 30_000_000));
        assert_eq!(slots.poll(7, LEASE).poll, 1);
        assert_eq!(slots.answered(&first, &reply(&[5])).len(), 1);
        let second = slots.poll(7, LEASE);
        assert_eq!((second.poll, second.free, second.newest, second.wait_us), (2, 1, 5, 20_000_000));
        assert_eq!(second.held, [Held { build: 5, token: "t5".into() }]);
    }

    #[test]
    fn a_claim_that_comes_twice_is_one_build_even_after_it_ended() {
        let mut slots = Slots::new(1);
        let poll = slots.poll(1, LEASE);
        assert_eq!(slots.answered(&poll, &reply(&[5])).len(), 1);
        let again = slots.poll(1, LEASE);
        assert!(slots.answered(&again, &reply(&[5])).is_empty());
        slots.ended(5);
        let late = slots.poll(1, LEASE);
        assert!(slots.answered(&late, &reply(&[5])).is_empty());
        assert_eq!(slots.free(), 1);
    }

    #[test]
    fn a_waiting_poll_is_renewed_when_the_first_slot_becomes_free_and_at_a_drain() {
        let mut slots = Slots::new(2);
        let poll = slots.poll(1, LEASE);
        slots.answered(&poll, &reply(&[1, 2]));
        let full = slots.poll(1, LEASE);
        assert!(!slots.is_stale(&full));
        slots.ended(1);
        assert!(slots.is_stale(&full));
        let one = slots.poll(1, LEASE);
        slots.ended(2);
        assert!(!slots.is_stale(&one), "more room than said is no reason to lose a connection");
        slots.drain();
        assert!(slots.is_stale(&one));
        assert_eq!(slots.poll(1, LEASE).free, 0);
    }

    #[test]
    fn nothing_new_is_taken_before_builds_of_an_earlier_life_are_delivered() {
        let mut slots = Slots::new(4);
        slots.left_over(3, "old".into());
        let poll = slots.poll(1, LEASE);
        assert_eq!((poll.free, poll.newest, poll.held.len()), (0, 0, 1));
        slots.ended(3);
        assert_eq!(slots.free(), 4);
    }
}
