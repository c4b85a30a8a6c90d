//! `tidemill pause`, `unpause`: builders that keep their requests for now.

use super::{Connection, completion};
use crate::api;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

/// Builders, for `pause` and `unpause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill pause deploy\n  tidemill unpause deploy")]
pub struct Pause {
    /// Names of builders
    #[arg(value_name = "BUILDER", required = true, add = ArgValueCompleter::new(completion::builders))]
    builders: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Pause, paused: bool, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let verb = if paused { "pause" } else { "unpause" };
    let mut answers = Vec::new();
    for name in &args.builders {
        let builder = api::builder(&client, name).await?;
        let path = format!("builders/{}/{verb}", builder.builderid);
        answers.push(client.post::<_, Value>(&path, &json!({})).await?);
        if !out.json {
            let what = if paused { "is paused: its requests wait" } else { "goes on" };
            out.line(&format!("builder {name} {what}"));
        }
    }
    if out.json {
        out.document(&json!({ "builders": answers }));
    }
    Ok(Exit::Success)
}
