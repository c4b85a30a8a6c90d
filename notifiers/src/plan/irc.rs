//! What channels and nicks hear (RP-15): each by its own events, settled there or
//! else in the project file, and never more than one line of one event.

use super::{Facts, Notice, Subject, base, blank, of_build};
use crate::irc::backend::{Membership, Place};
use crate::irc::definition;
use crate::irc::events::{BuildFacts, NotifyEvent, WorkerTurn, events_of};
use crate::irc::message::Folding;
use crate::plan::To;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_lang::definition::IrcDef;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::facts;

/// What a place settled, and the builds that it watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// None: as the project file says.
    pub place: Option<Place>,
    pub watched: BTreeSet<i64>,
}

/// What a reporter's places hear of an event.
pub(super) fn notice(reporter: &str, irc: &IrcDef, facts: &Facts, subject: Subject) -> Option<Notice> {
    let (mut notice, happened) = match subject {
        Subject::BuildStarted(id) => build(irc, facts.builds.get(&id)?, Moment::Start),
        Subject::BuildEnded(id) => build(irc, facts.builds.get(&id)?, Moment::End),
        Subject::WorkerMissing(id) => worker(id, facts, WorkerTurn::Missing)?,
        Subject::WorkerCame(id) => worker(id, facts, WorkerTurn::Connected)?,
        Subject::WorkerWent(id) => worker(id, facts, WorkerTurn::Disconnected)?,
        Subject::BuildsetEnded(_) | Subject::RequestMade(_) | Subject::RequestEnded(_) => return None,
    };
    let ended = if let Subject::BuildEnded(id) = subject { Some(id) } else { None };
    let about = about(facts, &notice);
    let none = BTreeMap::new();
    let settled = facts.places.get(reporter).unwrap_or(&none);
    for (key, name) in names(irc, settled) {
        let said = settled.get(&key);
        let watched = ended.is_some_and(|id| said.is_some_and(|s| s.watched.contains(&id)));
        let place = said.and_then(|s| s.place.clone()).unwrap_or_else(|| definition::place(irc, &name));
        let away = place.membership == Some(Membership::Left);
        let wanted = happened.iter().any(|event| place.events.contains(event));
        if (watched || wanted) && !place.muted && !away {
            let why = if watched { "watch" } else { "notify" };
            notice.to.push(To::Place { place: name, why, about: about.clone() });
        }
    }
    Some(notice).filter(|n| !n.to.is_empty())
}

/// Builds of these events that somebody watched: their end is told now, or never.
pub fn ended_watches(facts: &Facts, subjects: impl Iterator<Item = Subject>) -> Vec<i64> {
    let watched: BTreeSet<i64> =
        facts.places.values().flat_map(|places| places.values()).flat_map(|s| s.watched.iter().copied()).collect();
    let ended = subjects.filter_map(|s| if let Subject::BuildEnded(id) = s { Some(id) } else { None });
    ended.filter(|id| watched.contains(id)).collect()
}

/// Places by their folded names, as they are to be called: those of the project file as it writes them.
fn names(irc: &IrcDef, settled: &BTreeMap<String, Settled>) -> BTreeMap<String, String> {
    let mut names: BTreeMap<String, String> = settled.keys().map(|key| (key.clone(), key.clone())).collect();
    let configured = irc.channels.iter().map(|c| &c.name).chain(&irc.pm_to_nicks);
    names.extend(configured.map(|name| (Folding::default().fold(name), name.clone())));
    names
}

/// A build of other tags is no event, but may be watched.
fn build(irc: &IrcDef, build: &facts::BuildFacts, moment: Moment) -> (Notice, BTreeSet<NotifyEvent>) {
    // By the time that its start is planned it may have ended.
    let results = build.results.filter(|_| moment == Moment::End);
    let told = irc.tags.as_ref().is_none_or(|tags| tags.is_empty() || tags.iter().any(|t| build.tags.contains(t)));
    let happened = if told {
        events_of(&BuildFacts { results, previous: build.previous(), ..BuildFacts::default() })
    } else {
        BTreeSet::new()
    };
    (of_build(build, moment, results.map_or("started", base)), happened)
}

fn worker(id: i64, facts: &Facts, turn: WorkerTurn) -> Option<(Notice, BTreeSet<NotifyEvent>)> {
    facts.workers.get(&id)?;
    let notice = Notice { worker: Some(id), mode: turn.name(), ..blank(Moment::Worker) };
    Some((notice, BTreeSet::from([NotifyEvent::Worker])))
}

/// For a line that only counts: «linux #12».
fn about(facts: &Facts, notice: &Notice) -> String {
    let build = notice.build.and_then(|id| facts.builds.get(&id)).map(|b| format!("{} #{}", b.builder, b.number));
    let worker = || notice.worker.and_then(|id| facts.workers.get(&id)).cloned();
    build.or_else(worker).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{notices, planned};
    use tidemill_lang::definition::{ReporterDef, ReporterKind};
    use tidemill_model::Results::{self, *};
    use tidemill_schema::changes::Cursor;
    use tidemill_schema::events::Event;
    use tidemill_schema::notices::Way;

    fn reporter(more: serde_json::Value) -> ReporterDef {
        let mut text = serde_json::json!({
            "host": "irc.test", "port": 6697, "nick": "tide", "channels": [{"name": "#CI"}], "pm_to_nicks": ["ada"],
            "notify_events": ["problem", "recovery", "worker"], "show_blame_list": true, "use_colors": false,
        });
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ReporterDef {
            name: "libera".into(),
            kind: ReporterKind::Irc(serde_json::from_value(text).unwrap()),
            generators: vec![],
            max_age_us: 1,
            digest_us: None,
            location: String::new(),
        }
    }

    fn facts(before: Results, now: Results) -> Facts {
        let build = facts::BuildFacts {
            build: 1,
            number: 12,
            builder: "linux".into(),
            tags: vec!["fast".into()],
            results: Some(now),
            history: vec![Some(before)],
            ..Default::default()
        };
        Facts { builds: BTreeMap::from([(1, build)]), workers: BTreeMap::from([(5, "w1".into())]), ..Facts::default() }
    }

    fn settle(facts: &mut Facts, place: &str, settled: Settled) {
        facts.places.entry("libera".into()).or_default().insert(place.into(), settled);
    }

    fn told(more: serde_json::Value, facts: &Facts, subject: Subject) -> Vec<(String, &'static str)> {
        let all = notices(&[reporter(more)], facts, subject);
        let to = all.iter().flat_map(|n| &n.to).filter_map(|to| match to {
            To::Place { place, why, .. } => Some((place.clone(), *why)),
            _ => None,
        });
        to.collect()
    }

    fn here(names: &[&str], why: &'static str) -> Vec<(String, &'static str)> {
        names.iter().map(|n| ((*n).to_owned(), why)).collect()
    }

    #[test]
    fn places_hear_what_they_want_by_what_was_before() {
        let none = || serde_json::json!({});
        let table = [
            (Success, Failure, vec!["#CI", "ada"]),
            (Failure, Failure, vec![]),
            (Failure, Success, vec!["#CI", "ada"]),
            (Success, Success, vec![]),
            (Failure, Exception, vec![]),
        ];
        for (before, now, places) in table {
            let said = told(none(), &facts(before, now), Subject::BuildEnded(1));
            assert_eq!(said, here(&places, "notify"), "{before:?} {now:?}");
        }
        let facts = facts(Success, Failure);
        assert!(told(none(), &facts, Subject::BuildStarted(1)).is_empty(), "a start is a start, whatever came of it");
        assert_eq!(told(serde_json::json!({"notify_events": ["started"]}), &facts, Subject::BuildStarted(1)).len(), 2);
        for subject in [Subject::WorkerMissing(5), Subject::WorkerCame(5), Subject::WorkerWent(5)] {
            assert_eq!(told(none(), &facts, subject), here(&["#CI", "ada"], "notify"));
        }
        assert!(told(none(), &facts, Subject::WorkerCame(6)).is_empty(), "one that is gone");
        assert!(told(serde_json::json!({"tags": ["slow"]}), &facts, Subject::BuildEnded(1)).is_empty());
        assert_eq!(told(serde_json::json!({"tags": ["slow", "fast"]}), &facts, Subject::BuildEnded(1)).len(), 2);
    }

    #[test]
    fn what_a_place_settled_goes_before_the_project_file() {
        let mut facts = facts(Success, Failure);
        let wants = |events: &[NotifyEvent]| Place { events: events.iter().copied().collect(), ..Place::default() };
        let settled = |place| Settled { place: Some(place), ..Settled::default() };
        settle(&mut facts, "#ci", settled(wants(&[NotifyEvent::Success])));
        settle(&mut facts, "#other", settled(wants(&[NotifyEvent::Failure])));
        settle(&mut facts, "#quiet", settled(Place { muted: true, ..wants(&[NotifyEvent::Failure]) }));
        let left = Place { membership: Some(Membership::Left), ..wants(&[NotifyEvent::Failure]) };
        settle(&mut facts, "#left", settled(left));
        let said = told(serde_json::json!({}), &facts, Subject::BuildEnded(1));
        assert_eq!(said, here(&["#other", "ada"], "notify"));
    }

    #[test]
    fn who_watched_a_build_hears_of_its_end_whatever_it_wants_else() {
        let mut facts = facts(Success, Success);
        let watched = |place| Settled { place, watched: BTreeSet::from([1]) };
        settle(&mut facts, "#ci", watched(None));
        settle(&mut facts, "eve", watched(None));
        settle(&mut facts, "#muted", watched(Some(Place { muted: true, ..Place::default() })));
        let slow = serde_json::json!({"tags": ["slow"]});
        assert_eq!(told(slow.clone(), &facts, Subject::BuildEnded(1)), here(&["#CI", "eve"], "watch"));
        assert!(told(slow, &facts, Subject::BuildStarted(1)).is_empty());
        let subjects = [Subject::BuildStarted(1), Subject::BuildEnded(2), Subject::BuildEnded(1)];
        assert_eq!(ended_watches(&facts, subjects.into_iter()), [1]);
    }

    #[test]
    fn deliveries_go_through_the_network_in_the_order_of_their_place() {
        struct Nobody;
        impl crate::plan::Names for Nobody {
            fn find(&self, _: &str, _: &str) -> Option<crate::plan::Found> {
                None
            }
        }
        let reporter = reporter(serde_json::json!({}));
        let event = Event {
            at_cursor: Cursor { xid: 7, id: 8 },
            at: time::OffsetDateTime::UNIX_EPOCH,
            kind: "builds.finished".into(),
            builder_id: None,
            build_id: Some(1),
            data: serde_json::Value::Null,
        };
        let facts = facts(Success, Failure);
        let notices = notices(std::slice::from_ref(&reporter), &facts, Subject::BuildEnded(1));
        let rows = planned(&event, &reporter, &notices[0], &Nobody);
        let row = &rows[0];
        assert_eq!((rows.len(), row.way, &*row.destination, &*row.address), (2, Way::Irc, "libera", "#CI"));
        assert_eq!((row.order_key.as_deref(), &*row.mode), (Some("libera #CI"), "failing"));
        assert_eq!(row.facts, serde_json::json!({"why": "notify", "about": "linux #12"}));
    }
}
