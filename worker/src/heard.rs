//! Reading the answer to a poll: claim by claim, so that one that this worker
//! cannot read (nested deeper than its reader goes, of a later protocol) keeps
//! it from nothing else. Such a build is given back at once.

use serde::Deserialize;
use serde::de::IgnoredAny;
use tidemill_model::wire::{Claim, PollReply, Stop};

/// An answer, and what in it could not be read.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub reply: PollReply,
    pub unreadable: Vec<Unreadable>,
}

/// A claim of which only the lease could be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub build: i64,
    pub token: String,
    pub why: String,
}

/// An answer without its claims, which are passed over however deep they are.
#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    lost: Vec<i64>,
    #[serde(default)]
    stop: Vec<Stop>,
    #[serde(default)]
    drain: bool,
}

#[derive(Deserialize)]
struct Lease {
    build: i64,
    token: String,
}

pub(crate) fn heard(answer: &[u8]) -> Result<Heard, serde_json::Error> {
    if let Ok(reply) = serde_json::from_slice(answer) {
        return Ok(Heard { reply, unreadable: Vec::new() });
    }
    let Rest { lost, stop, drain } = serde_json::from_slice(answer)?;
    let mut heard = Heard { reply: PollReply { lost, stop, drain, ..PollReply::default() }, unreadable: Vec::new() };
    for (key, value) in Parts::of(answer) {
        if !key.is_some_and(|k| matches!(serde_json::from_slice::<String>(k).as_deref(), Ok("claims"))) {
            continue;
        }
        for (_, claim) in Parts::of(value) {
            match serde_json::from_slice::<Claim>(claim) {
                Ok(claim) => heard.reply.claims.push(claim),
                // Without even a lease in it the master takes the build back by itself.
                Err(error) => {
                    heard.unreadable.extend(serde_json::from_slice(claim).ok().map(|lease: Lease| Unreadable {
                        build: lease.build,
                        token: lease.token,
                        why: error.to_string(),
                    }))
                }
            }
        }
    }
    Ok(heard)
}

/// The members of an object, each with its key, or the items of an array, as
/// they stand in the text. Ends where the text is not JSON.
struct Parts<'t> {
    rest: &'t [u8],
    keys: bool,
}

impl<'t> Parts<'t> {
    fn of(text: &'t [u8]) -> Parts<'t> {
        let text = text.trim_ascii();
        Parts { keys: text.first() == Some(&b'{'), rest: text.get(1..).unwrap_or_default() }
    }

    /// The next value.
    fn value(&mut self) -> Option<&'t [u8]> {
        self.rest = self.rest.trim_ascii_start();
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (value, rest) = self.rest.split_at(values.byte_offset());
        self.rest = rest.trim_ascii_start();
        Some(value)
    }

    fn pass(&mut self, mark: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[mark])?;
        Some(())
    }
}

impl<'t> Iterator for Parts<'t> {
    type Item = (Option<&'t [u8]>, &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = match self.keys {
            true => {
                let key = self.value()?;
                self.pass(b':')?;
                Some(key)
            }
            false => None,
        };
        let value = self.value()?;
        // At the end there is none; then the next value is none either.
        let _ = self.pass(b',');
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(build: i64, value: &str) -> String {
        format!(
            r#"{{"build": {build}, "token": "t{build}", "attempt": 1, "builder": "b", "builder_id": 1, "number": 1,
                "request": 1, "revision": "r", "properties": {{"a,]}}\"": [{value}, "s"]}}, "sourcestamps": [], "reason": "claims"}}"#
        )
    }

    #[test]
    fn a_claim_nested_too_deep_spoils_no_other_and_its_lease_is_known() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let answer = format!(
            r#" {{"x": [{{"claims": 1}}], "claims" : [{}, {} ,{}], "lost": [7], "drain": true}} "#,
            claim(1, "1"),
            claim(2, &deep),
            claim(3, "{}")
        );
        let heard = heard(answer.as_bytes()).unwrap();
        assert_eq!(heard.reply.claims.iter().map(|c| c.build).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((heard.reply.lost, heard.reply.drain), (vec![7], true));
        assert_eq!((heard.unreadable[0].build, heard.unreadable[0].token.as_str()), (2, "t2"));
        assert_eq!(heard.unreadable.len(), 1);
    }

    #[test]
    fn what_is_no_answer_is_an_error_wherever_it_breaks_off() {
        let whole = format!(r#"{{"claims": [{}], "lost": []}}"#, claim(1, "1"));
        assert_eq!(heard(whole.as_bytes()).unwrap().reply.claims.len(), 1);
        for cut in 0..whole.len() {
            assert!(heard(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }
}
