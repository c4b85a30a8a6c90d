//! Notices, from the end of a build to whom it is told.

mod catch_up;
mod chaos;
mod directory;
mod forge;
mod hostile;
mod http;
mod irc;
mod kinds;
mod mail;
mod parked;
mod played;
mod pooler;

use serde_json::Value;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, wait_until};

/// Waits until no delivery is on its way any more; the rows of all.
pub async fn all_ended(t: &Cluster, at_least: usize) -> Vec<Value> {
    wait_until("the deliveries to be over", || async {
        let rows: Vec<Value> = sqlx::query_scalar("select to_jsonb(d) from deliveries d order by id")
            .fetch_all(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        let open = rows.iter().filter(|d| d["ended_at"].is_null()).count();
        let said = || t.notifiers.iter().map(|n| n.output()).collect::<Vec<_>>().join("\n");
        if rows.len() >= at_least && open == 0 {
            Ok(rows)
        } else {
            Err(format!("{} rows, {open} open: {rows:?}; the notifiers said:\n{}", rows.len(), said()))
        }
    })
    .await
}

/// How many of these deliveries are in each state: «2 sent, 1 parked».
pub fn states(deliveries: &[Value]) -> String {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for delivery in deliveries {
        *counts.entry(delivery["state"].as_str().unwrap_or("?")).or_default() += 1;
    }
    counts.iter().map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", ")
}

/// Waits until so many builds have ended.
pub async fn built(t: &Cluster, count: i64) {
    wait_until("the builds to end", || async {
        let ended: i64 = sqlx::query_scalar("select count(*) from builds where state = 'finished'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(ended >= count, format!("{ended} of {count}"))
    })
    .await;
}

/// Waits until the planner has its place: what ends from now on is told.
pub async fn planning(t: &Cluster) {
    wait_until("the planner's place", || async {
        let place: i64 = sqlx::query_scalar("select count(*) from event_readers where name = 'notifiers'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if place == 1 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
}

/// Waits until the planner has passed the last end of a build: who is told of none of them is told of none.
pub async fn all_planned(t: &Cluster) {
    wait_until("all events to be planned", || async {
        let ahead: i64 = sqlx::query_scalar(
            "select count(*) from events e, event_readers r where r.name = 'notifiers' and e.kind = 'builds.finished'
                and (e.xid, e.id) > (r.xid, r.id)",
        )
        .fetch_one(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        holds(ahead == 0, format!("{ahead} ahead"))
    })
    .await;
}

/// A header as a mail program reads it; empty where there is none.
pub fn header(seen: &Value, name: &str) -> String {
    let all = seen["headers"].as_array().expect("a mail has headers");
    let found = all.iter().find(|h| h[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    found.and_then(|h| h[1].as_str()).unwrap_or_default().to_owned()
}

/// The text that is read first.
pub fn text(seen: &Value) -> String {
    let parts = seen["parts"].as_array().expect("a mail has parts");
    let plain = parts.iter().find(|p| p["type"] == "text/plain" && p["disposition"].is_null());
    plain.and_then(|p| p["content"].as_str()).unwrap_or_default().to_owned()
}
