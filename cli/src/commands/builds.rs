//! `tidemill builds`

use super::{Connection, completion};
use crate::api::{self, Build};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, duration};
use crate::sanitize;
use clap_complete::ArgValueCompleter;

/// List builds, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill builds
  tidemill builds --builder test --limit 5
  tidemill builds --json | jq '.builds[].results'")]
pub struct Builds {
    /// Only this builder's
    #[arg(long, short, value_name = "BUILDER", add = ArgValueCompleter::new(completion::builders))]
    builder: Option<String>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Builds, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let path = match &args.builder {
        Some(name) => {
            let builder = api::builder(&client, name).await?;
            format!("builds?builderid={}&order=-number&limit={}", builder.builderid, args.limit)
        }
        None => format!("builds?order=-buildid&limit={}", args.limit),
    };
    let raw = api::list_raw(&client, &path, "builds").await?;
    if out.json {
        out.document(&serde_json::json!({ "builds": raw }));
        return Ok(Exit::Success);
    }
    let mut rows = Vec::new();
    for value in raw {
        let build: Build = serde_json::from_value(value).map_err(|e| Failure::internal(e.to_string()))?;
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let took = build.started_at.map(|from| duration(build.complete_at.unwrap_or(now) - from));
        rows.push(vec![
            build.buildid.to_string(),
            format!("{}/{}", sanitize::line(&build.buildername), build.number),
            out.results(build.results),
            took.unwrap_or_default(),
            build.workername.as_deref().map(sanitize::line).unwrap_or_default(),
            sanitize::line(&build.state_string),
        ]);
    }
    if rows.is_empty() {
        eprintln!("No builds yet: commit something, or `tidemill force BUILDER`.");
        return Ok(Exit::Success);
    }
    out.table(&["ID", "BUILD", "RESULT", "TIME", "WORKER", "STATE"], &rows);
    Ok(Exit::Success)
}
