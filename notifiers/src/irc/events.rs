//! What a channel or a person hears of a build or a worker (RP-15): a pure
//! function of what happened and of what is wanted there.

use super::text::{Colour, clean, paint, shorten};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tidemill_model::Results;

/// A word of `notify on`, and of `notify_events` in the project file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum NotifyEvent {
    Started,
    /// Any end.
    Finished,
    Success,
    Warnings,
    Failure,
    Exception,
    Cancelled,
    Skipped,
    Retry,
    /// It fails, and did not before.
    Problem,
    /// It succeeds, and did not before.
    Recovery,
    Better,
    Worse,
    /// A worker goes missing or comes back.
    Worker,
    /// From one result to another, such as `successToFailure`.
    Turn {
        from: i16,
        to: i16,
    },
}

const WORDS: [(&str, NotifyEvent); 14] = [
    ("started", NotifyEvent::Started),
    ("finished", NotifyEvent::Finished),
    ("success", NotifyEvent::Success),
    ("warnings", NotifyEvent::Warnings),
    ("failure", NotifyEvent::Failure),
    ("exception", NotifyEvent::Exception),
    ("cancelled", NotifyEvent::Cancelled),
    ("skipped", NotifyEvent::Skipped),
    ("retry", NotifyEvent::Retry),
    ("problem", NotifyEvent::Problem),
    ("recovery", NotifyEvent::Recovery),
    ("better", NotifyEvent::Better),
    ("worse", NotifyEvent::Worse),
    ("worker", NotifyEvent::Worker),
];

/// What is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("«{word}» is no event; there are {}, and turns such as successToFailure", names().join(", "))]
pub struct NoEvent {
    pub word: String,
}

/// All words but the turns.
pub fn names() -> Vec<&'static str> {
    WORDS.iter().map(|(name, _)| *name).collect()
}

impl FromStr for NotifyEvent {
    type Err = NoEvent;

    fn from_str(word: &str) -> Result<NotifyEvent, NoEvent> {
        if let Some((_, event)) = WORDS.iter().find(|(name, _)| *name == word) {
            return Ok(*event);
        }
        let result = |name: &str| Results::ALL.into_iter().find(|r| r.name().eq_ignore_ascii_case(name));
        let turn = word.split_once("To").and_then(|(from, to)| Some((result(from)?, result(to)?)));
        match turn {
            Some((from, to)) => Ok(NotifyEvent::Turn { from: from.code(), to: to.code() }),
            None => Err(NoEvent { word: shorten(&clean(word), 40) }),
        }
    }
}

impl fmt::Display for NotifyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = WORDS.iter().find(|(_, event)| event == self) {
            return f.write_str(name);
        }
        let NotifyEvent::Turn { from, to } = *self else { return Ok(()) };
        let name = |code| Results::try_from(code).map_or("", Results::name);
        let (to, mut big) = (name(to), String::new());
        big.extend(to.chars().take(1).map(|c| c.to_ascii_uppercase()));
        write!(f, "{}To{big}{}", name(from), to.get(1..).unwrap_or_default())
    }
}

impl From<NotifyEvent> for String {
    fn from(event: NotifyEvent) -> String {
        event.to_string()
    }
}

impl TryFrom<String> for NotifyEvent {
    type Error = NoEvent;
    fn try_from(word: String) -> Result<NotifyEvent, NoEvent> {
        word.parse()
    }
}

/// What happened, as rows say it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildFacts {
    pub builder: String,
    pub number: i64,
    /// None: it has started.
    pub results: Option<Results>,
    /// Of the build before it on this builder, without retries (D-54).
    pub previous: Option<Results>,
    /// What failed, in a few words: the build's state string.
    pub state: String,
    pub reason: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub duration: Option<Duration>,
    pub url: Option<String>,
    /// Who made the changes.
    pub blame: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFacts {
    pub worker: String,
    pub turn: WorkerTurn,
    /// When it was last heard, in words for people.
    pub last_seen: Option<String>,
}

/// What became of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerTurn {
    /// It stays away.
    Missing,
    Connected,
    /// It left in order.
    Disconnected,
}

impl WorkerTurn {
    pub const ALL: [WorkerTurn; 3] = [WorkerTurn::Missing, WorkerTurn::Connected, WorkerTurn::Disconnected];

    pub fn name(self) -> &'static str {
        match self {
            WorkerTurn::Missing => "missing",
            WorkerTurn::Connected => "connected",
            WorkerTurn::Disconnected => "disconnected",
        }
    }

    pub fn named(name: &str) -> Option<WorkerTurn> {
        WorkerTurn::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// How it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub colours: bool,
    pub blame: bool,
    /// A build is called by its revision where it has one, and not by its number.
    pub revisions: bool,
}

/// Whether a result says something of the code: a cancelled build tells neither of better nor of worse.
fn tells(result: Results) -> bool {
    !matches!(result, Results::Skipped | Results::Retry | Results::Cancelled)
}

/// Everything that a build's start or end is.
pub fn events_of(facts: &BuildFacts) -> BTreeSet<NotifyEvent> {
    use NotifyEvent as E;
    let Some(now) = facts.results else { return BTreeSet::from([E::Started]) };
    let mut events = BTreeSet::from([
        E::Finished,
        match now {
            Results::Success => E::Success,
            Results::Warnings => E::Warnings,
            Results::Failure => E::Failure,
            Results::Skipped => E::Skipped,
            Results::Exception => E::Exception,
            Results::Retry => E::Retry,
            Results::Cancelled => E::Cancelled,
        },
    ]);
    if let Some(before) = facts.previous {
        events.insert(E::Turn { from: before.code(), to: now.code() });
        if tells(now) && tells(before) && now != before {
            events.insert(if now.worst(before) == now { E::Worse } else { E::Better });
            match (before.is_good(), now.is_good()) {
                (true, false) => events.insert(E::Problem),
                (false, true) => events.insert(E::Recovery),
                _ => false,
            };
        }
    }
    events
}

/// The line for a place where these events are wanted, if one of them happened. Never more than one.
pub fn build_line(facts: &BuildFacts, wanted: &BTreeSet<NotifyEvent>, style: Style) -> Option<String> {
    events_of(facts).iter().any(|e| wanted.contains(e)).then(|| told(facts, style))
}

/// The line itself, for whoever watches the builder.
pub fn told(facts: &BuildFacts, style: Style) -> String {
    let builder = clean(&facts.builder);
    let revision =
        facts.revision.as_deref().map(|r| clean(r).chars().take(12).collect::<String>()).filter(|r| !r.is_empty());
    let name = match &revision {
        Some(revision) if style.revisions => format!("build of {revision} on {builder}"),
        _ => format!("build #{} of {builder}", facts.number),
    };
    let mut parts = vec![match facts.results {
        None => format!("{name} started"),
        Some(result) => {
            let word = paint(result.name(), colour(result), style.colours);
            let before = facts.previous.filter(|b| *b != result);
            let before = before.map(|b| format!(" (was {})", b.name())).unwrap_or_default();
            format!("{name}: {word}{before}")
        }
    }];
    let state = shorten(&clean(&facts.state), 120);
    // «build successful» says it twice.
    if facts.results.is_some_and(|r| !r.is_good()) && !state.is_empty() {
        parts.push(state);
    }
    let branch = facts.branch.as_deref().map(|b| shorten(&clean(b), 60));
    let at: Vec<String> = [branch, revision.filter(|_| !style.revisions)].into_iter().flatten().collect();
    if !at.is_empty() {
        parts.push(at.join("@"));
    }
    let reason = shorten(&clean(&facts.reason), 80);
    if facts.results.is_none() && !reason.is_empty() {
        parts.push(reason);
    }
    parts.extend(facts.duration.map(lasted));
    if style.blame && facts.results.is_some_and(|r| !r.is_good()) && !facts.blame.is_empty() {
        let names: Vec<String> = facts.blame.iter().take(8).map(|n| shorten(&clean(n), 40)).collect();
        let more = facts.blame.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        parts.push(format!("changes by {}{more}", names.join(", ")));
    }
    parts.extend(facts.url.as_deref().map(clean));
    parts.join(" | ")
}

/// What became of a worker, in a line.
pub fn worker_told(facts: &WorkerFacts, style: Style) -> String {
    let worker = clean(&facts.worker);
    match (facts.turn, &facts.last_seen) {
        (WorkerTurn::Connected, _) => format!("worker {worker} is {}", paint("here", Colour::Green, style.colours)),
        (WorkerTurn::Disconnected, _) => format!("worker {worker} has {}", paint("left", Colour::Grey, style.colours)),
        (WorkerTurn::Missing, seen) => {
            let seen = seen.as_deref().map(|s| format!(", last heard {}", clean(s))).unwrap_or_default();
            format!("worker {worker} is {}{seen}", paint("missing", Colour::Red, style.colours))
        }
    }
}

pub fn colour(result: Results) -> Colour {
    match result {
        Results::Success => Colour::Green,
        Results::Warnings => Colour::Orange,
        Results::Failure => Colour::Red,
        Results::Exception => Colour::Purple,
        Results::Retry => Colour::Blue,
        Results::Cancelled => Colour::Pink,
        Results::Skipped => Colour::Grey,
    }
}

/// A span in its two largest units.
pub fn lasted(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)];
    let at = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let mut rest = seconds;
    let parts = units[at..].iter().take(2).filter_map(|(name, size)| {
        let count = rest / size;
        rest %= size;
        (count > 0 || seconds == 0).then(|| format!("{count} {name}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(previous: Option<Results>, results: Option<Results>) -> BuildFacts {
        BuildFacts {
            builder: "linux".into(),
            number: 12,
            results,
            previous,
            state: "2 tests failed".into(),
            reason: "forced by ada".into(),
            branch: Some("main".into()),
            revision: Some("0123456789abcdef".into()),
            duration: results.map(|_| Duration::from_secs(184)),
            url: Some("https://ci.example.org/builders/1/builds/12".into()),
            blame: vec!["Ada <ada@example.org>".into()],
        }
    }

    fn words(previous: Results, now: Results) -> Vec<String> {
        events_of(&build(Some(previous), Some(now))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_end_is_several_events_by_what_was_before() {
        use Results::*;
        assert_eq!(words(Success, Failure), ["finished", "failure", "problem", "worse", "successToFailure"]);
        assert_eq!(words(Failure, Warnings), ["finished", "warnings", "recovery", "better", "failureToWarnings"]);
        assert_eq!(words(Failure, Exception), ["finished", "exception", "worse", "failureToException"]);
        assert_eq!(words(Failure, Failure), ["finished", "failure", "failureToFailure"]);
        assert_eq!(words(Success, Cancelled), ["finished", "cancelled", "successToCancelled"]);
        let first = events_of(&build(None, Some(Failure)));
        assert_eq!(first, BTreeSet::from([NotifyEvent::Finished, NotifyEvent::Failure]));
    }

    #[test]
    fn words_of_events_parse_back() {
        for word in names().into_iter().chain(["successToFailure", "warningsToException"]) {
            assert_eq!(word.parse::<NotifyEvent>().unwrap().to_string(), word);
        }
        assert!("ended".parse::<NotifyEvent>().unwrap_err().to_string().contains("finished"));
        let kept = serde_json::to_string(&BTreeSet::from([NotifyEvent::Problem])).unwrap();
        assert_eq!(kept, "[\"problem\"]");
    }

    #[test]
    fn a_place_hears_one_line_for_what_it_wants_and_nothing_else() {
        let plain = Style { colours: false, blame: true, revisions: false };
        let wanted = BTreeSet::from([NotifyEvent::Problem, NotifyEvent::Failure]);
        let failed = build(Some(Results::Success), Some(Results::Failure));
        assert_eq!(
            build_line(&failed, &wanted, plain).unwrap(),
            "build #12 of linux: failure (was success) | 2 tests failed | main@0123456789ab | 3 min 4 s | \
             changes by Ada <ada@example.org> | https://ci.example.org/builders/1/builds/12"
        );
        assert_eq!(build_line(&build(None, Some(Results::Success)), &wanted, plain), None);
        assert_eq!(build_line(&build(None, None), &wanted, plain), None);
        let by_revision = told(&failed, Style { revisions: true, ..plain });
        assert!(
            by_revision.starts_with("build of 0123456789ab on linux: failure (was success) | 2 tests failed | main | ")
        );
        let started = build_line(&build(None, None), &BTreeSet::from([NotifyEvent::Started]), plain).unwrap();
        assert!(started.starts_with("build #12 of linux started | main@0123456789ab | forced by ada | https"));
    }

    #[test]
    fn colours_and_names_are_options_and_hostile_words_stay_in_their_place() {
        let mut facts = build(None, Some(Results::Failure));
        facts.blame = vec!["Eve\r\nQUIT\u{3}04".into()];
        facts.state = "x\r\nPRIVMSG #other :hello\0".into();
        let line = told(&facts, Style { colours: true, blame: true, revisions: false });
        assert!(line.starts_with("build #12 of linux: \u{3}04failure\u{f} | x PRIVMSG #other :hello | "), "{line:?}");
        assert!(line.contains("changes by Eve QUIT04 | "), "{line:?}");
        assert!(!told(&facts, Style { colours: false, blame: false, revisions: false }).contains(['\u{3}', 'E']));
    }

    #[test]
    fn workers_are_told_of_in_a_line() {
        let style = Style { colours: false, blame: false, revisions: false };
        let told = |turn| {
            worker_told(&WorkerFacts { worker: "w\r\n1".into(), turn, last_seen: Some("5 min ago".into()) }, style)
        };
        assert_eq!(told(WorkerTurn::Missing), "worker w 1 is missing, last heard 5 min ago");
        assert_eq!(told(WorkerTurn::Connected), "worker w 1 is here");
        assert_eq!(told(WorkerTurn::Disconnected), "worker w 1 has left");
        assert!(WorkerTurn::ALL.into_iter().all(|t| WorkerTurn::named(t.name()) == Some(t)));
    }

    #[test]
    fn spans_are_two_units_long() {
        let said = |s| lasted(Duration::from_secs(s));
        assert_eq!((said(0), said(59), said(60)), ("0 s".into(), "59 s".into(), "1 min".into()));
        assert_eq!((said(3725), said(90061)), ("1 h 2 min".into(), "1 d 1 h".into()));
    }
}
