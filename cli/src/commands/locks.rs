//! `tidemill locks`

use super::Connection;
use crate::api;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde_json::Value;

/// List the locks, who holds them and who waits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill locks\n  tidemill locks --json")]
pub struct Locks {
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Locks, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let raw = api::all_raw(&client, "locks", "locks").await?;
    if out.json {
        out.document(&serde_json::json!({ "locks": raw }));
        return Ok(Exit::Success);
    }
    if raw.is_empty() {
        eprintln!("No locks: the project file defines none.");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = raw.iter().map(row).collect();
    out.table(&["LOCK", "KIND", "CAPACITY", "HELD BY", "WAITING"], &rows);
    Ok(Exit::Success)
}

fn row(lock: &Value) -> Vec<String> {
    let names = |list: &str| {
        let all = lock[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<String> = all.iter().take(5).map(who).collect();
        let more = all.len().saturating_sub(5);
        if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
    };
    vec![text(&lock["name"]), text(&lock["kind"]), lock["capacity"].to_string(), names("holders"), names("waiters")]
}

/// A build, a step of it, a request, or a builder for its next build.
fn who(entry: &Value) -> String {
    let builder = text(&entry["buildername"]);
    let name = match (&entry["number"], &entry["buildrequestid"]) {
        (Value::Number(number), _) => format!("{builder} #{number}"),
        (_, Value::Number(request)) => format!("{builder} (request {request})"),
        _ => builder,
    };
    match &entry["step"] {
        Value::Number(step) => format!("{name} step {step}"),
        _ => name,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map(sanitize::line).unwrap_or_default()
}
