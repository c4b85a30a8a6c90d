//! `tidemill workers`

use super::Connection;
use crate::api;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde_json::Value;

/// List the workers and whether they are connected.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill workers\n  tidemill workers --json")]
pub struct Workers {
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Workers, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let raw = api::all_raw(&client, "workers", "workers").await?;
    if out.json {
        out.document(&serde_json::json!({ "workers": raw }));
        return Ok(Exit::Success);
    }
    if raw.is_empty() {
        eprintln!("No workers: enrol one with `tidemill worker add NAME`.");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = raw.iter().map(row).collect();
    out.table(&["ID", "WORKER", "STATE", "HOST"], &rows);
    Ok(Exit::Success)
}

fn row(worker: &Value) -> Vec<String> {
    // Buildbot's `connected_to` is a list; a plain flag is understood too.
    let connected = match &worker["connected_to"] {
        Value::Array(to) => !to.is_empty(),
        _ => worker["connected"].as_bool().unwrap_or(false),
    };
    let state = match (worker["paused"].as_bool(), connected) {
        (Some(true), _) => "paused",
        (_, true) => "connected",
        (_, false) => "away",
    };
    let picky = worker["trusted_only"].as_bool() == Some(true);
    let state = format!("{state}{}", if picky { ", trusted changes only" } else { "" });
    let text = |v: &Value| v.as_str().map(sanitize::line).unwrap_or_default();
    vec![worker["workerid"].to_string(), text(&worker["name"]), state, text(&worker["workerinfo"]["host"])]
}
