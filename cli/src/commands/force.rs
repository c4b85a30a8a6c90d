//! `tidemill force`

use super::follow::Logs;
use super::{Connection, completion};
use super::{field, property, watch};
use crate::api;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

/// Ask for a build of a builder now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill force test
  tidemill force test --branch main --watch
  tidemill force test --revision 4f2a1c --property target=arm --reason \"try again\"")]
pub struct Force {
    /// Name of the builder
    #[arg(value_name = "BUILDER", add = ArgValueCompleter::new(completion::builders))]
    builder: String,
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// The repository, where the builder's steps take it from the request
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    #[arg(long, value_name = "NAME")]
    codebase: Option<String>,
    /// A property of the build; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    #[arg(long, value_name = "TEXT", default_value = "tidemill force")]
    reason: String,
    /// Higher goes first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// Follow the build and exit with its result
    #[arg(long, short)]
    watch: bool,
    /// With --watch: give up after so many seconds (exit code 10)
    #[arg(long, value_name = "SECONDS", requires = "watch")]
    timeout: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Force, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let builder = api::builder(&client, &args.builder).await?;
    let mut body = json!({ "reason": args.reason, "priority": args.priority });
    let optional = [
        ("branch", &args.branch),
        ("revision", &args.revision),
        ("repository", &args.repository),
        ("codebase", &args.codebase),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let properties: serde_json::Map<String, Value> = args.properties.into_iter().map(|(k, v)| (k, v.into())).collect();
    body["properties"] = properties.into();
    let answer: Value = client.post(&format!("builders/{}/force", builder.builderid), &body).await?;
    let requests: Vec<i64> =
        answer["buildrequestids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    if !args.watch {
        if out.json {
            out.document(&answer);
        } else {
            let ids: Vec<String> = requests.iter().map(ToString::to_string).collect();
            out.line(&format!("buildset {}, request {}", field(&answer, "buildsetid")?, ids.join(", ")));
        }
        return Ok(Exit::Success);
    }
    let Some(id) = requests.first().copied() else { return Ok(Exit::Skipped) };
    watch::limited(args.timeout, watch::request(&client, id, Logs::All, out)).await
}
