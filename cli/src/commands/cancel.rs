//! `tidemill cancel`

use super::{Connection, completion};
use crate::api;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

/// Stop a running build, or cancel a request that waits.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill cancel 17
  tidemill cancel test/latest --reason \"wrong branch\"
  tidemill cancel --request 40")]
pub struct Cancel {
    /// Id, or BUILDER/NUMBER, or BUILDER/latest
    #[arg(value_name = "BUILD", required_unless_present = "request", conflicts_with = "request", add = ArgValueCompleter::new(completion::builds))]
    build: Option<String>,
    /// Cancel this request instead (and its build, if it has begun)
    #[arg(long, value_name = "ID")]
    request: Option<i64>,
    #[arg(long, value_name = "TEXT", default_value = "tidemill cancel")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Cancel, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let body = json!({ "reason": args.reason });
    let (path, what) = match (&args.build, args.request) {
        (_, Some(id)) => (format!("buildrequests/{id}/cancel"), format!("request {id} is cancelled")),
        (build, None) => {
            let named = build.as_deref().unwrap_or_default();
            let build = api::build(&client, named).await?;
            if build.complete {
                eprintln!("Build {named} had already ended.");
                return Ok(Exit::Success);
            }
            (format!("builds/{}/stop", build.buildid), format!("build {named} is being stopped"))
        }
    };
    let answer: Value = client.post(&path, &body).await?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&what),
    }
    Ok(Exit::Success)
}
