//! `tidemill schedulers`: what they wait for, and their switches.

use super::Connection;
use crate::api;
use crate::client::Client;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// List the schedulers, enable or disable one, or run one now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill schedulers
  tidemill schedulers disable nightly
  tidemill schedulers run nightly")]
pub struct Schedulers {
    #[command(subcommand)]
    command: Option<SchedulersCommand>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum SchedulersCommand {
    /// What each waits for (the default)
    #[command(after_help = "Examples:\n  tidemill schedulers list --json")]
    List,
    /// Let it decide again; what came while it was disabled is passed by
    #[command(after_help = "Examples:\n  tidemill schedulers enable nightly")]
    Enable { name: String },
    /// Let it ignore changes and times, until it is enabled again
    #[command(after_help = "Examples:\n  tidemill schedulers disable nightly")]
    Disable { name: String },
    /// Start its builds now, with the changes that wait for its timer; its times do not move
    #[command(after_help = "Examples:\n  tidemill schedulers run nightly")]
    Run { name: String },
}

pub async fn run(args: Schedulers, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let path = |name: &str, what: &str| format!("schedulers/{}/{what}", api::segment(name));
    let (answer, said): (Value, String) = match args.command.unwrap_or(SchedulersCommand::List) {
        SchedulersCommand::List => return list(&client, out).await,
        SchedulersCommand::Enable { name } => {
            let answer = post(&client, &path(&name, "enable"), &json!({ "enabled": true })).await?;
            (answer, format!("scheduler {} is enabled", sanitize::line(&name)))
        }
        SchedulersCommand::Disable { name } => {
            let answer = post(&client, &path(&name, "enable"), &json!({ "enabled": false })).await?;
            (answer, format!("scheduler {} is disabled", sanitize::line(&name)))
        }
        SchedulersCommand::Run { name } => {
            let answer = post(&client, &path(&name, "run"), &json!({})).await?;
            (answer, format!("scheduler {} runs now", sanitize::line(&name)))
        }
    };
    match out.json {
        true => out.document(&answer),
        false => out.line(&said),
    }
    Ok(Exit::Success)
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Value> {
    client.post(path, body).await.map_err(|f| f.hint_for(Exit::NotFound, "`tidemill schedulers` lists them"))
}

async fn list(client: &Client, out: Output) -> Result<Exit> {
    let raw = api::all_raw(client, "schedulers?active=true", "schedulers").await?;
    if out.json {
        out.document(&json!({ "schedulers": raw }));
        return Ok(Exit::Success);
    }
    if raw.is_empty() {
        eprintln!("No schedulers: nothing is built by itself. Add one to c[\"schedulers\"].");
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = raw.iter().map(row).collect();
    out.table(&["SCHEDULER", "KIND", "STATE", "NEXT", "RUNS"], &rows);
    Ok(Exit::Success)
}

fn row(scheduler: &Value) -> Vec<String> {
    let text = |name: &str| scheduler[name].as_str().map(sanitize::line).unwrap_or_default();
    let enabled = scheduler["enabled"].as_bool().unwrap_or(true);
    let failing = scheduler["failures"].as_i64().unwrap_or(0) > 0;
    let state = match (enabled, failing) {
        (false, _) => "disabled",
        (true, true) => "failing",
        (true, false) => "enabled",
    };
    let next = scheduler["next_at"].as_i64().filter(|_| enabled).and_then(when).unwrap_or_default();
    let mut runs = text("summary");
    if failing {
        runs = format!("{runs}; {}", text("failure"));
    }
    vec![text("name"), text("kind"), state.into(), next, runs]
}

fn when(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()
}
