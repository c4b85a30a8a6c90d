//! Notices, from the end of a build to whom it is told.

mod directory;
mod forge;
mod http;
mod irc;
mod mail;
mod played;

use serde_json::Value;
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
