//! The channels we want to be in: joined, lost, joined again.

use super::message::{Folding, Line, write};
use super::settings::{Channel, Hidden};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_service::Backoff;

/// Numerics that refuse a JOIN; the channel is their second parameter.
const REFUSALS: [u16; 14] = [403, 405, 407, 437, 471, 473, 474, 475, 476, 477, 479, 485, 489, 520];
/// Those that will not change: there is no such channel and never will be.
const NEVER: [u16; 3] = [403, 476, 479];

/// A JOIN without an answer is said again after this.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Rooms {
    /// By folded name.
    rooms: BTreeMap<String, Room>,
    span: (Duration, Duration),
}

#[derive(Debug)]
struct Room {
    name: String,
    key: Option<Hidden>,
    place: Place,
    backoff: Backoff,
    /// Why we are not in it, in the server's words.
    why: Option<(u16, String)>,
}

#[derive(Debug, PartialEq)]
enum Place {
    Out { again: Instant },
    Joining { until: Instant },
    In { since: Instant },
}

/// Whether something can be said in a channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    In,
    /// Wait: a JOIN is under way or about to be.
    Coming,
    /// The server refused us, for now or for good.
    Refused {
        code: u16,
        why: String,
        never: bool,
    },
    Unknown,
}

impl Rooms {
    pub fn new(channels: &[Channel], span: (Duration, Duration), folding: Folding, now: Instant) -> Rooms {
        let mut this = Rooms { rooms: BTreeMap::new(), span };
        for channel in channels {
            this.want(folding, &channel.name, channel.key.clone(), now);
        }
        this
    }

    /// To be joined at the next chance.
    pub fn want(&mut self, folding: Folding, name: &str, key: Option<Hidden>, now: Instant) {
        let span = self.span;
        let room = self.rooms.entry(folding.fold(name)).or_insert_with(|| Room {
            name: name.to_owned(),
            key: None,
            place: Place::Out { again: now },
            backoff: Backoff::new(span.0, span.1),
            why: None,
        });
        if key.is_some() {
            room.key = key;
        }
        if let Place::Out { again } = &mut room.place {
            *again = now;
            room.why = None;
        }
    }

    /// Not wanted any more. True if we are or may be in it.
    pub fn unwant(&mut self, folding: Folding, name: &str) -> bool {
        self.rooms.remove(&folding.fold(name)).is_some_and(|r| !matches!(r.place, Place::Out { .. }))
    }

    pub fn standing(&self, folding: Folding, name: &str) -> Standing {
        match self.rooms.get(&folding.fold(name)) {
            None => Standing::Unknown,
            Some(Room { place: Place::In { .. }, .. }) => Standing::In,
            Some(Room { why: Some((code, why)), place: Place::Out { .. }, .. }) => {
                Standing::Refused { code: *code, why: why.clone(), never: NEVER.contains(code) }
            }
            Some(_) => Standing::Coming,
        }
    }

    /// JOINs that are due. At the next wake at the latest comes more.
    pub fn due(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        for room in self.rooms.values_mut() {
            let (Place::Out { again: at } | Place::Joining { until: at }) = room.place else { continue };
            if at <= now {
                room.place = Place::Joining { until: now + ANSWER };
                let mut params = vec![room.name.as_str()];
                params.extend(room.key.as_ref().map(|k| k.0.as_str()));
                lines.push(write("JOIN", &params, None));
            }
        }
        lines
    }

    pub fn wake_at(&self) -> Option<Instant> {
        let times = self.rooms.values().filter_map(|r| match r.place {
            Place::Out { again: at } | Place::Joining { until: at } => Some(at),
            Place::In { .. } => None,
        });
        times.min()
    }

    /// We are in.
    pub fn joined(&mut self, folding: Folding, name: &str, now: Instant) {
        if let Some(room) = self.rooms.get_mut(&folding.fold(name)) {
            room.place = Place::In { since: now };
            room.why = None;
        }
    }

    /// We were thrown out or made to leave.
    pub fn lost(&mut self, folding: Folding, name: &str, now: Instant) {
        let longest = self.span.1;
        if let Some(room) = self.rooms.get_mut(&folding.fold(name)) {
            if let Place::In { since } = room.place
                && now.duration_since(since) >= longest
            {
                room.backoff.reset();
            }
            room.place = Place::Out { again: now + room.backoff.wait() };
            room.why = None;
        }
    }

    /// A numeric that may refuse a JOIN. True if it did.
    pub fn refused(&mut self, folding: Folding, line: &Line, now: Instant) -> bool {
        let Some(code) = line.numeric().filter(|c| REFUSALS.contains(c)) else { return false };
        let Some(room) = self.rooms.get_mut(&folding.fold(line.param(1))) else { return false };
        if !matches!(room.place, Place::Joining { .. }) {
            return false;
        }
        room.place = Place::Out { again: now + room.backoff.wait() };
        room.why = Some((code, line.last().to_owned()));
        true
    }

    /// Names of the channels we are in.
    pub fn present(&self) -> Vec<String> {
        self.rooms.values().filter(|r| matches!(r.place, Place::In { .. })).map(|r| r.name.clone()).collect()
    }

    /// The wanted ones, for the next connection.
    pub fn wanted(&self) -> Vec<Channel> {
        self.rooms.values().map(|r| Channel { name: r.name.clone(), key: r.key.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: Folding = Folding::Rfc1459;

    fn rooms(now: Instant) -> Rooms {
        let channels = [Channel { name: "#CI".into(), key: Some("secret".into()) }];
        Rooms::new(&channels, (Duration::from_secs(2), Duration::from_secs(60)), F, now)
    }

    #[test]
    fn a_channel_is_joined_with_its_key_and_again_after_a_kick_with_back_off() {
        let now = Instant::now();
        let s = |n| now + Duration::from_secs(n);
        let mut rooms = rooms(now);
        assert_eq!(rooms.due(now), ["JOIN #CI secret"]);
        assert!(rooms.due(s(29)).is_empty() && rooms.due(s(30)).len() == 1, "never answered");
        assert_eq!(rooms.standing(F, "#ci"), Standing::Coming);
        rooms.joined(F, "#ci", now);
        assert_eq!(rooms.standing(F, "#ci"), Standing::In);
        rooms.lost(F, "#Ci", s(1));
        let again = rooms.wake_at().unwrap();
        assert!(again >= s(2) && again <= s(3), "half to all of two seconds");
        assert!(rooms.due(s(1)).is_empty());
        assert_eq!(rooms.due(s(3)).len(), 1);
        rooms.joined(F, "#ci", s(3));
        rooms.lost(F, "#ci", s(4));
        assert!(rooms.wake_at().unwrap() >= s(6), "kicked again at once: longer");
    }

    #[test]
    fn a_refused_join_says_why_and_is_tried_again() {
        let now = Instant::now();
        let mut rooms = rooms(now);
        rooms.due(now);
        let line = Line::parse(b":s 475 tide #ci :Cannot join channel (+k)").unwrap();
        assert!(rooms.refused(F, &line, now));
        let why = "Cannot join channel (+k)".to_owned();
        assert_eq!(rooms.standing(F, "#ci"), Standing::Refused { code: 475, why, never: false });
        assert_eq!(rooms.due(now + Duration::from_secs(2)).len(), 1);
        assert_eq!(rooms.standing(F, "#other"), Standing::Unknown);
    }

    #[test]
    fn a_channel_that_is_not_wanted_any_more_is_left() {
        let now = Instant::now();
        let mut rooms = rooms(now);
        rooms.due(now);
        rooms.joined(F, "#ci", now);
        assert!(rooms.unwant(F, "#CI") && !rooms.unwant(F, "#CI"));
        assert!(rooms.wanted().is_empty());
    }
}
