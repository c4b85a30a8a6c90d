//! `tidemill sources`

use super::Connection;
use crate::api;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde_json::{Value, json};

/// List the change sources and how their polls go, or poll one now.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidemill sources\n  tidemill sources poll \"GitPoller https://example.org/r.git\"\n  tidemill sources poll example.org/r"
)]
pub struct Sources {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List them (the default)
    #[command(after_help = "Examples:\n  tidemill sources list --json")]
    List,
    /// Poll one now, or after the poll that runs
    #[command(after_help = "Examples:\n  tidemill sources poll example.org/r\n  tidemill sources poll 3")]
    Poll {
        /// Name, a part of it that no other has, or id
        name: String,
    },
}

pub async fn run(args: Sources, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let raw = api::all_raw(&client, "changesources?active=true", "changesources").await?;
    match args.what {
        None | Some(What::List) => list(&raw, out),
        Some(What::Poll { name }) => poll(&client, &raw, &name, out).await,
    }
}

fn list(raw: &[Value], out: Output) -> Result<Exit> {
    if out.json {
        out.document(&json!({ "changesources": raw }));
        return Ok(Exit::Success);
    }
    if raw.is_empty() {
        eprintln!("The active project file defines no change source.");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = raw.iter().map(row).collect();
    out.table(&["ID", "SOURCE", "STATE", "ERROR"], &rows);
    Ok(Exit::Success)
}

fn row(source: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map(sanitize::line).unwrap_or_default();
    let state = match (source["errors"].as_i64().unwrap_or(0), source["polling"].as_bool(), &source["next_at"]) {
        (0, _, Value::Null) => "not polled".to_owned(),
        (0, Some(true), _) => "polling".to_owned(),
        (0, _, _) if source["good_at"].is_null() => "waiting".to_owned(),
        (0, ..) => "good".to_owned(),
        (n, ..) => format!("failed {n}x"),
    };
    vec![source["changesourceid"].to_string(), text(&source["name"]), state, text(&source["error"])]
}

async fn poll(client: &Client, raw: &[Value], name: &str, out: Output) -> Result<Exit> {
    let called = |s: &Value| s["name"].as_str().unwrap_or_default().to_owned();
    // No source has the id -1.
    let id = Some(name.parse().unwrap_or(-1_i64));
    let exact = raw.iter().find(|s| called(s) == name || s["changesourceid"].as_i64() == id);
    let like: Vec<&Value> = raw.iter().filter(|s| called(s).contains(name)).collect();
    let source = match (exact, like.as_slice()) {
        (Some(one), _) => one,
        (None, [one]) => *one,
        (None, []) => {
            return Err(Failure::not_found(format!("there is no change source like {name:?}"))
                .hint("`tidemill sources` lists them"));
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(|s| sanitize::line(&called(s))).collect();
            return Err(Failure::usage(format!("{name:?} may be several change sources: {}", names.join(", "))));
        }
    };
    let answer: Value = client.post(&format!("changesources/{}/poll", source["changesourceid"]), &json!({})).await?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&format!("{} is polled now", sanitize::line(&called(source)))),
    }
    Ok(Exit::Success)
}
