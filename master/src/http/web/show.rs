//! Small things as people see them: results, times, lengths, links.

pub use crate::paths::{build_path, builder_path, segment};
use askama::filters::HtmlSafe;
use std::fmt::{Display, Formatter, Result};
use tidemill_model::Results;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A result or state: a sign, a word and a colour, never a colour alone.
#[derive(Clone, Copy)]
pub struct Badge {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
}

impl Badge {
    pub fn of(results: Option<Results>) -> Badge {
        let (class, sign, word) = match results {
            None => ("running", "●", "running"),
            Some(Results::Success) => ("success", "✓", "success"),
            Some(Results::Warnings) => ("warnings", "▲", "warnings"),
            Some(Results::Failure) => ("failure", "✗", "failure"),
            Some(Results::Skipped) => ("skipped", "→", "skipped"),
            Some(Results::Exception) => ("exception", "◆", "exception"),
            Some(Results::Retry) => ("retry", "↻", "retry"),
            Some(Results::Cancelled) => ("cancelled", "⊘", "cancelled"),
        };
        Badge { class, sign, word }
    }

    pub const GOOD: Badge = Badge { class: "success", sign: "✓", word: "good" };
    pub const FAILING: Badge = Badge { class: "failure", sign: "✗", word: "failing" };
    pub const POLLING: Badge = Badge { class: "running", sign: "●", word: "polling" };
    pub const WAITING: Badge = Badge { class: "waiting", sign: "…", word: "waiting" };
    pub const CONNECTED: Badge = Badge { class: "success", sign: "✓", word: "connected" };
    pub const AWAY: Badge = Badge { class: "skipped", sign: "–", word: "away" };
    pub const ENABLED: Badge = Badge { class: "success", sign: "✓", word: "enabled" };
    pub const DISABLED: Badge = Badge { class: "skipped", sign: "‖", word: "disabled" };
    pub const PAUSED: Badge = Badge { class: "warnings", sign: "‖", word: "paused" };

    pub fn class(&self) -> &'static str {
        self.class
    }

    pub fn sign(&self) -> &'static str {
        self.sign
    }

    pub fn word(&self) -> &'static str {
        self.word
    }
}

impl Display for Badge {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "<span class=\"badge {}\"><span aria-hidden=\"true\">{}</span> {}</span>",
            self.class, self.sign, self.word
        )
    }
}
impl HtmlSafe for Badge {}

/// A number out of a template, which hands over references.
pub trait Number: Copy {
    fn get(self) -> i64;
}
impl Number for i64 {
    fn get(self) -> i64 {
        self
    }
}
impl<T: Number> Number for &T {
    fn get(self) -> i64 {
        (*self).get()
    }
}

pub fn when(at: impl Number) -> When {
    When(at.get())
}

pub fn since(at: impl Number) -> Since {
    Since(at.get())
}

pub fn took(ms: impl Number) -> Took {
    Took(ms.get())
}

/// A moment, seconds since 1970: how long ago, and exactly when.
pub struct When(pub i64);

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.0) else { return f.write_str("some time") };
        let machine = at.format(&Rfc3339).unwrap_or_default();
        let exact =
            at.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC")).unwrap_or_default();
        write!(f, "<time datetime=\"{machine}\" title=\"{exact}\" data-ago>{}</time>", ago(now() - self.0, &exact))
    }
}
impl HtmlSafe for When {}

/// Since a moment until now, still growing.
pub struct Since(pub i64);

impl Display for Since {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<span data-since=\"{}\">{}</span>", self.0, Took((now() - self.0).max(0) * 1000))
    }
}
impl HtmlSafe for Since {}

/// How long it is to a moment that is guessed: `about 3 min left`, `overdue`.
pub fn until(at: impl Number) -> Until {
    Until(at.get())
}

pub struct Until(pub i64);

impl Display for Until {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<span data-until=\"{}\">{}</span>", self.0, left(self.0 - now()))
    }
}
impl HtmlSafe for Until {}

/// A moment to come, seconds since 1970, exactly.
pub fn exactly(at: impl Number) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(at.get()) else { return "some time".into() };
    at.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]")).unwrap_or_default()
}

fn left(seconds: i64) -> String {
    match seconds {
        ..0 => "overdue".into(),
        0..45 => "less than a minute left".into(),
        45..3570 => format!("about {} min left", (seconds + 30) / 60),
        _ => format!("about {} h {} min left", (seconds + 30) / 3600, (seconds + 30) % 3600 / 60),
    }
}

/// A number as a step counted it.
pub fn count(value: &f64) -> String {
    if value.abs() < 1e15 { value.to_string() } else { format!("{value:e}") }
}

/// A length of time in milliseconds.
pub struct Took(pub i64);

impl Display for Took {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (ms, s) = (self.0, self.0 / 1000);
        match s {
            _ if ms < 1000 => write!(f, "{ms} ms"),
            0..10 => write!(f, "{}.{} s", s, ms % 1000 / 100),
            10..60 => write!(f, "{s} s"),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            _ => write!(f, "{} h {} min", s / 3600, s % 3600 / 60),
        }
    }
}

/// A moment to come: in how long, and exactly when.
pub struct Due(i64);

pub fn due(at: impl Number) -> Due {
    Due(at.get())
}

impl Display for Due {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.0) else { return f.write_str("some time") };
        let exact = at.format(&Rfc3339).unwrap_or_default();
        let left = match self.0 - now() {
            ..1 => "now".to_owned(),
            s @ 1..120 => format!("in {s} s"),
            s @ 120..7200 => format!("in {} min", s / 60),
            s => format!("in {} h", s / 3600),
        };
        write!(f, "<time datetime=\"{exact}\" title=\"{exact}\" data-due>{left}</time>")
    }
}
impl HtmlSafe for Due {}

fn ago(seconds: i64, exact: &str) -> String {
    match seconds {
        ..5 => "just now".into(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..2_592_000 => format!("{} d ago", seconds / 86_400),
        _ => exact.get(..10).unwrap_or(exact).to_owned(),
    }
}

pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// An address that a page may link to: of the web, not one that runs a script (A5).
pub fn link(url: &str) -> Option<&str> {
    let parsed = url::Url::parse(url).ok()?;
    matches!(parsed.scheme(), "http" | "https").then_some(url)
}

/// A revision as people quote it.
pub fn short(revision: &str) -> String {
    let hash = revision.len() >= 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    revision.chars().take(if hash { 10 } else { 40 }).collect()
}

/// The first line of a text, within a bound.
pub fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut out: String = line.chars().take(100).collect();
    if out.len() < line.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_links() {
        assert!(link("https://x.example/a?b").is_some());
        for bad in ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "/x", "x", " javascript:x"] {
            assert!(link(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_for_people() {
        let text = |ms| Took(ms).to_string();
        assert_eq!(
            [text(12), text(1234), text(59_000), text(61_000), text(3_700_000)],
            ["12 ms", "1.2 s", "59 s", "1 min 1 s", "1 h 1 min"]
        );
    }

    #[test]
    fn an_estimate_is_rounded_and_says_when_it_is_over() {
        assert_eq!(
            [-5, 10, 45, 170, 3_600, 3_599, 7_379].map(left),
            [
                "overdue",
                "less than a minute left",
                "about 1 min left",
                "about 3 min left",
                "about 1 h 0 min left",
                "about 1 h 0 min left",
                "about 2 h 3 min left"
            ]
        );
        assert_eq!([count(&1001.0), count(&0.5), count(&1e300)], ["1001", "0.5", "1e300"]);
    }
}
