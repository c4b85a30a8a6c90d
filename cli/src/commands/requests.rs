//! `tidemill requests`, `why` and `priority`: what waits, and why.

use super::Connection;
use crate::api::{self, BuildRequest};
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde::Deserialize;
use serde_json::{Value, json};

/// List the requests that are not over: which wait for what, which are being built.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill requests\n  tidemill requests --builder test --waiting --json")]
pub struct Requests {
    /// Those of this builder
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Only those that wait
    #[arg(long)]
    waiting: bool,
    /// So many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Requests, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let mut path = format!("buildrequests?complete=false&order=buildrequestid&limit={}", args.limit);
    if args.waiting {
        path += "&claimed=false";
    }
    if let Some(name) = &args.builder {
        path += &format!("&builderid={}", api::builder(&client, name).await?.builderid);
    }
    let raw = api::list_raw(&client, &path, "buildrequests").await?;
    if out.json {
        out.document(&json!({ "buildrequests": raw }));
        return Ok(Exit::Success);
    }
    #[derive(Deserialize)]
    struct Row {
        #[serde(flatten)]
        request: BuildRequest,
        buildername: String,
        priority: i64,
        claimed: bool,
        waits_for: Option<String>,
    }
    let mut rows = Vec::new();
    for value in raw {
        let Ok(row) = serde_json::from_value::<Row>(value) else { continue };
        let state = match (row.waits_for, row.claimed) {
            (Some(why), _) => format!("waits for {}", sanitize::line(&why)),
            (None, true) => "is being built".into(),
            (None, false) => "is changing hands".into(),
        };
        let id = row.request.buildrequestid.to_string();
        rows.push(vec![id, sanitize::line(&row.buildername), row.priority.to_string(), state]);
    }
    if rows.is_empty() {
        eprintln!("Nothing waits.");
        return Ok(Exit::Success);
    }
    out.table(&["ID", "BUILDER", "PRIORITY", "STATE"], &rows);
    Ok(Exit::Success)
}

/// Say why a request waits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill why 40\n  tidemill why 40 --json")]
pub struct Why {
    /// Its id
    #[arg(value_name = "REQUEST")]
    request: i64,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Reason {
    text: String,
}

fn unknown(failure: Failure) -> Failure {
    failure.hint_for(Exit::NotFound, "`tidemill requests` lists those that are not over")
}

/// In words, one line a reason; empty for one that does not wait.
pub async fn reasons(client: &Client, request: i64) -> Result<Vec<String>> {
    let all: Result<Vec<Reason>> = api::list(client, &format!("buildrequests/{request}/waiting"), "waiting").await;
    let all = all.map_err(unknown)?;
    Ok(all.into_iter().map(|r| sanitize::line(&r.text)).collect())
}

pub async fn why(args: Why, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    if out.json {
        let answer: Value = client.get(&format!("buildrequests/{}/waiting", args.request)).await.map_err(unknown)?;
        out.document(&answer);
        return Ok(Exit::Success);
    }
    let reasons = reasons(&client, args.request).await?;
    if reasons.is_empty() {
        let found = api::list_raw(&client, &format!("buildrequests/{}", args.request), "buildrequests").await?;
        let request = found.first().ok_or_else(|| Failure::not_found("the request is gone"))?;
        out.line(&match (request["complete"] == true, request["complete_reason"].as_str()) {
            (true, Some(why)) => format!("request {} is over: {}", args.request, sanitize::line(why)),
            (true, None) => format!("request {} is over", args.request),
            (false, _) => format!("request {} is being built", args.request),
        });
    }
    for reason in reasons {
        out.line(&format!("request {} waits for {reason}", args.request));
    }
    Ok(Exit::Success)
}

/// Change the priority of a request that waits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill priority 40 10\n  tidemill priority 40 -5")]
pub struct Priority {
    /// Its id
    #[arg(value_name = "REQUEST")]
    request: i64,
    /// Higher goes first
    #[arg(value_name = "N", allow_negative_numbers = true)]
    priority: i32,
    #[command(flatten)]
    connection: Connection,
}

pub async fn priority(args: Priority, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let path = format!("buildrequests/{}/priority", args.request);
    let answer: Value = client.post(&path, &json!({ "priority": args.priority })).await.map_err(unknown)?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&format!("request {} has priority {}", args.request, args.priority)),
    }
    Ok(Exit::Success)
}
