//! `tidemill force`

use super::follow::Logs;
use super::{Connection, completion};
use super::{field, property, watch};
use crate::api;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Ask for a build of a builder now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill force test
  tidemill force test --branch main --watch
  tidemill force test --revision 4f2a1c --property target=arm --reason \"try again\"
  tidemill force test mac --scheduler release --property version=1.2")]
pub struct Force {
    /// Name of the builder; several with --scheduler, which without any takes all of its own
    #[arg(value_name = "BUILDER", required_unless_present = "scheduler", add = ArgValueCompleter::new(completion::builders))]
    builders: Vec<String>,
    /// Fill in the form of this ForceScheduler: --property gives its fields by their full names
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// Asked again with the same key, nothing new is made
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// The repository, where the builder's steps take it from the request
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    #[arg(long, value_name = "NAME")]
    codebase: Option<String>,
    /// A property of the build, or a field of the form; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// For people [default: tidemill force, or what the form says]
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Higher goes first [default: 0, or what the form says]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Follow the builds and exit with the worst result
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
    let optional = [
        ("branch", &args.branch),
        ("revision", &args.revision),
        ("repository", &args.repository),
        ("codebase", &args.codebase),
    ];
    let mut body = json!({});
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    if let Some(priority) = args.priority {
        body["priority"] = priority.into();
    }
    let path = match &args.scheduler {
        Some(scheduler) => {
            // Of a form everything is a field; the same name again is another value of it.
            let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for (name, value) in args.properties {
                fields.entry(name).or_default().push(value.into());
            }
            for (name, values) in fields {
                body[name] = values.into();
            }
            if let Some(reason) = &args.reason {
                body["reason"] = reason.as_str().into();
            }
            if !args.builders.is_empty() {
                body["builderNames"] = args.builders.into();
            }
            format!("forceschedulers/{}/force", api::segment(scheduler))
        }
        None => {
            let [name] = args.builders.as_slice() else {
                return Err(Failure::usage("one builder at a time, or several with --scheduler"));
            };
            let builder = api::builder(&client, name).await?;
            body["reason"] = args.reason.as_deref().unwrap_or("tidemill force").into();
            let properties: serde_json::Map<String, Value> =
                args.properties.into_iter().map(|(k, v)| (k, v.into())).collect();
            body["properties"] = properties.into();
            format!("builders/{}/force", builder.builderid)
        }
    };
    let answer: Value = client.post_once(&path, &body, args.key.as_deref()).await?;
    let requests: Vec<i64> =
        answer["buildrequestids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    if !args.watch {
        if out.json {
            out.document(&answer);
        } else {
            let ids: Vec<String> = requests.iter().map(ToString::to_string).collect();
            let word = if ids.len() == 1 { "request" } else { "requests" };
            out.line(&format!("buildset {}, {word} {}", field(&answer, "buildsetid")?, ids.join(", ")));
        }
        return Ok(Exit::Success);
    }
    watch::limited(args.timeout, watch::requests(&client, &requests, Logs::All, out)).await
}
