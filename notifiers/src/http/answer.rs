//! What an answer over HTTP says of a delivery.

use crate::Outcome;
use crate::line::one_line;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Characters shown of an answer's body.
const SHOWN: usize = 200;
/// Longest time that another side can ask for.
const LONGEST: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// From `Retry-After`, or the forge's own word for it.
    pub after: Option<Duration>,
    /// Where a redirect points.
    pub location: Option<String>,
    /// Its beginning.
    pub body: String,
}

impl Answer {
    /// The outcome by the rules of HTTP alone. `named` is who was asked.
    pub fn judge(&self, named: &str) -> Outcome {
        let status = self.status;
        let body = one_line(&self.body, SHOWN);
        let said = if body.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {body}") };
        let why = format!("{named}: {said}");
        match status {
            200..=299 => Outcome::Sent { answer: said },
            300..=399 => {
                let location = one_line(self.location.as_deref().unwrap_or("nowhere"), SHOWN);
                let remedy = "redirects are not followed: give the reporter the address itself";
                Outcome::Refused { why: format!("{named}: HTTP {status} to {location}; {remedy}") }
            }
            // A password or token is mended by people, and then this one goes too.
            401 | 407 => {
                Outcome::Again { why: format!("{why}; check the reporter's token or password"), after: self.after }
            }
            408 | 425 | 429 | 500..=599 => Outcome::Again { why, after: self.after },
            // What a forge says where too much was asked of it.
            403 if self.after.is_some() => Outcome::Again { why, after: self.after },
            _ => Outcome::Refused { why },
        }
    }
}

/// `Retry-After`: seconds, or a date.
pub fn retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at = OffsetDateTime::parse(value, &Rfc2822).ok()?;
    let left = at - now;
    Some(Duration::try_from(left).unwrap_or_default().min(LONGEST))
}

/// A moment as seconds since 1970, as forges give the end of a limit.
pub fn until(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let seconds: i64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(u64::try_from(seconds - now.unix_timestamp()).unwrap_or(0)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn answer(status: u16, body: &str) -> Outcome {
        Answer { status, body: body.into(), ..Answer::default() }.judge("POST https://x.org/y")
    }

    #[test]
    fn each_status_has_one_meaning() {
        assert_eq!(answer(204, ""), Outcome::Sent { answer: "HTTP 204".into() });
        assert_eq!(answer(201, "{\n}\n"), Outcome::Sent { answer: "HTTP 201: { }".into() });
        for status in [401, 408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(status, "x"), Outcome::Again { .. }), "{status}");
        }
        for status in [301, 302, 307, 400, 403, 404, 409, 410, 413, 422, 100, 600] {
            assert!(matches!(answer(status, "x"), Outcome::Refused { .. }), "{status}");
        }
        let Outcome::Refused { why } = answer(400, &format!("no\r\n\0{}", "é".repeat(10_000))) else { panic!() };
        assert!(why.starts_with("POST https://x.org/y: HTTP 400: no éé") && why.chars().count() < 240, "{why}");
        let limited = Answer { status: 403, after: Some(Duration::from_secs(5)), ..Answer::default() };
        assert!(matches!(limited.judge("x"), Outcome::Again { after: Some(_), .. }));
    }

    #[test]
    fn when_to_come_again_is_read_in_each_form_and_bounded() {
        let now = datetime!(1994-11-06 08:49:00 UTC);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("99999999999", now), Some(LONGEST));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(37)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:00 GMT", now), Some(Duration::ZERO));
        for none in ["", "soon", "-1", "1e3"] {
            assert_eq!(retry_after(none, now), None, "{none}");
        }
        assert_eq!(until("784111780", now), Some(Duration::from_secs(40)));
    }
}
