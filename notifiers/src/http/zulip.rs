//! Zulip (RP-13), through its integration for Buildbot, which reads the same few
//! words of a build.

use super::client::{Client, Request, named};
use super::hidden::Hidden;
use crate::Outcome;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

/// What Zulip is told of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub build: i64,
    pub builder: &'a str,
    pub url: &'a str,
    /// The topic; none is «general» there.
    pub project: &'a str,
    /// Seconds since 1970 of its beginning, or of its end with a result.
    pub at: i64,
    /// None: it began.
    pub results: Option<Results>,
}

pub struct Zulip {
    pub client: Client,
    /// The server, such as `https://example.zulipchat.com`.
    pub endpoint: String,
    pub token: String,
    /// None: a direct message to the bot's owner.
    pub stream: Option<String>,
}

impl Zulip {
    pub async fn send(&self, event: &Event<'_>) -> Outcome {
        let Some(url) = self.url() else {
            return Outcome::Refused { why: format!("`{}` is no address of a Zulip server", named(&self.endpoint)) };
        };
        let mut hidden = Hidden::default();
        hidden.add(&self.token);
        let body = document(event).to_string().into_bytes();
        let request = Request { url, hidden, body, ..Request::default() };
        self.client.send(&request).await
    }

    /// The integration knows its bot by the query alone; errors show no query.
    fn url(&self) -> Option<String> {
        let mut url = Url::parse(&format!("{}/api/v1/external/buildbot", self.endpoint.trim_end_matches('/'))).ok()?;
        url.query_pairs_mut().append_pair("api_key", &self.token);
        if let Some(stream) = &self.stream {
            url.query_pairs_mut().append_pair("stream", stream);
        }
        Some(url.into())
    }
}

/// The document of an event.
pub fn document(event: &Event<'_>) -> Value {
    let mut document = json!({
        "event": if event.results.is_some() { "finished" } else { "new" },
        "buildid": event.build,
        "buildername": event.builder,
        "url": event.url,
        "project": event.project,
        "timestamp": event.at,
    });
    if let Some(results) = event.results {
        document["results"] = results.code().into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_those_that_zulips_integration_reads() {
        let event =
            Event { build: 33, builder: "runtests", url: "http://x/33", project: "", at: 1_553_911_142, results: None };
        assert_eq!(
            document(&event),
            json!({"event": "new", "buildid": 33, "buildername": "runtests", "url": "http://x/33",
                   "project": "", "timestamp": 1_553_911_142})
        );
        let done = document(&Event { results: Some(Results::Cancelled), ..event });
        assert_eq!((&done["event"], &done["results"]), (&json!("finished"), &json!(6)));
    }
}
