//! `GET /api/v2/events`: the event stream as server-sent events.
//!
//! A client resumes on any replica with `Last-Event-ID`, which browsers send by
//! themselves. The id of a ping moves a client on that saw none of its own
//! events for long, so that it has little to read again.

use super::ask::Operators;
use super::describe;
use super::stream::sse;
use crate::app::App;
use crate::http::ApiError;
use crate::live::{Feed, Told};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as Sent;
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tidemill_schema::changes::Cursor;
use tidemill_schema::events::Event;
use utoipa_axum::router::OpenApiRouter;

const PING: Duration = Duration::from_secs(15);
const PARAMETERS: &[(&str, &str)] = &[
    ("kind", "Topic, such as `builds`, or topic and verb, such as `builds.finished`; several with commas."),
    ("builderid", "Only events of these builders; several with commas."),
    ("buildid", "Only events of these builds; several with commas."),
    ("buildrequestid", "Only events of these requests and their beginnings and ends; with `buildid`, of either."),
];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(describe::other(
        "/events",
        "What happens, as it happens",
        "text/event-stream",
        PARAMETERS,
        get(events),
    ))
}

/// What a client wants to hear.
#[derive(Debug, Default)]
struct Filter {
    kinds: Vec<String>,
    builders: Vec<i64>,
    builds: Vec<i64>,
    requests: Vec<i64>,
}

impl Filter {
    fn of(ops: &Operators) -> Result<Filter, ApiError> {
        ops.only(&["kind", "builderid", "buildid", "buildrequestid"])?;
        let ids = |name: &'static str| {
            ops.all(name)
                .map(|v| v.parse::<i64>().map_err(|_| ApiError::field(name, "give whole numbers")))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Filter {
            kinds: ops.all("kind").map(str::to_owned).collect(),
            builders: ids("builderid")?,
            builds: ids("buildid")?,
            requests: ids("buildrequestid")?,
        })
    }

    fn wants(&self, event: &Event) -> bool {
        let kind = |k: &String| match event.kind.strip_prefix(k.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        };
        let among = |ids: &[i64], id: Option<i64>| id.is_some_and(|id| ids.contains(&id));
        let request = || event.data.get("buildrequestid").and_then(Value::as_i64);
        (self.kinds.is_empty() || self.kinds.iter().any(kind))
            && (self.builders.is_empty() || among(&self.builders, event.builder_id))
            && (self.builds.is_empty() && self.requests.is_empty()
                || among(&self.builds, event.build_id)
                || among(&self.requests, request()))
    }
}

struct State_ {
    feed: Feed,
    filter: Filter,
    ping: tokio::time::Interval,
    begun: bool,
    _room: tokio::sync::OwnedSemaphorePermit,
}

async fn events(State(app): State<App>, ops: Operators, headers: HeaderMap) -> Result<Response, ApiError> {
    let filter = Filter::of(&ops)?;
    let from = match headers.get("last-event-id").map(|v| v.to_str().unwrap_or_default()) {
        None | Some("") => None,
        // What is no place in the stream is one that is no longer kept.
        Some(text) => Some(Cursor::decode(text).unwrap_or(Cursor { xid: i64::MIN, id: 0 })),
    };
    let room = app.live.room().ok_or_else(ApiError::unavailable)?;
    let feed = app.live.listen(from).await?;
    let ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    let state = State_ { feed, filter, ping, begun: false, _room: room };
    Ok(sse(stream::unfold(state, |mut s| async move {
        let sent = next(&mut s).await?;
        Some((Ok::<_, Infallible>(sent), s))
    })))
}

async fn next(s: &mut State_) -> Option<Sent> {
    if !std::mem::replace(&mut s.begun, true) {
        // Where it begins: a client that is cut before its first event resumes here.
        return Some(Sent::default().comment("from").id(s.feed.at().encode()));
    }
    loop {
        tokio::select! {
            _ = s.ping.tick() => return Some(Sent::default().comment("ping").id(s.feed.at().encode())),
            told = s.feed.next() => match told? {
                Ok(Told::Event(event)) if s.filter.wants(&event) => {
                    return Some(Sent::default().id(event.at_cursor.encode()).data(data(&event)));
                }
                Ok(Told::Event(_)) => {}
                Ok(Told::Reset(at)) => return Some(Sent::default().event("reset").id(at.encode()).data("{}")),
                Err(error) => {
                    tracing::debug!(%error, "event stream cut");
                    return None;
                }
            },
        }
    }
}

/// `{"kind", "at", "builderid", "buildid", …}`: what the event says, and over
/// it what it is about.
fn data(event: &Event) -> String {
    let mut out = match &event.data {
        Value::Object(fields) => fields.clone(),
        _ => Default::default(),
    };
    out.insert("kind".into(), json!(event.kind));
    out.insert("at".into(), json!(event.at.unix_timestamp()));
    if let Some(id) = event.builder_id {
        out.insert("builderid".into(), json!(id));
    }
    if let Some(id) = event.build_id {
        out.insert("buildid".into(), json!(id));
    }
    Value::Object(out).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, builder_id: Option<i64>, build_id: Option<i64>) -> Event {
        Event {
            at_cursor: Cursor { xid: 1, id: 1 },
            at: time::OffsetDateTime::UNIX_EPOCH,
            kind: kind.into(),
            builder_id,
            build_id,
            data: json!({"number": 3}),
        }
    }

    #[test]
    fn a_topic_means_all_its_verbs_and_no_other_topic() {
        let filter = Filter { kinds: vec!["builds".into(), "changes.new".into()], ..Filter::default() };
        assert!(filter.wants(&event("builds.finished", None, None)));
        assert!(filter.wants(&event("changes.new", None, None)));
        assert!(!filter.wants(&event("buildsets.new", None, None)));
    }

    #[test]
    fn what_is_of_a_build_or_of_a_request_is_heard_where_both_are_named() {
        let filter = Filter { builds: vec![7], requests: vec![5], ..Filter::default() };
        let of =
            |request: i64| Event { data: json!({"buildrequestid": request}), ..event("builds.new", Some(1), Some(8)) };
        assert!(filter.wants(&event("builds.updated", Some(1), Some(7))));
        assert!(filter.wants(&of(5)) && !filter.wants(&of(6)));
        assert!(!filter.wants(&event("builds.updated", Some(1), Some(8))));
    }

    #[test]
    fn a_build_filter_leaves_out_what_is_of_no_build() {
        let filter = Filter { builds: vec![7], ..Filter::default() };
        assert!(filter.wants(&event("builds.updated", Some(1), Some(7))));
        assert!(!filter.wants(&event("changes.new", None, None)));
        let sent: Value = serde_json::from_str(&data(&event("builds.new", Some(1), Some(7)))).unwrap();
        assert_eq!(sent, json!({"at": 0, "buildid": 7, "builderid": 1, "kind": "builds.new", "number": 3}));
    }
}
