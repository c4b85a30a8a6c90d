//! `tidemill builders`

use super::Connection;
use crate::api::{self, Build, Builder};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use crate::sanitize;

/// List the builders and their newest builds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill builders\n  tidemill builders --json")]
pub struct Builders {
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Builders, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let raw = api::all_raw(&client, "builders", "builders").await?;
    if out.json {
        out.document(&serde_json::json!({ "builders": raw }));
        return Ok(Exit::Success);
    }
    let mut rows = Vec::new();
    for value in raw {
        let Ok(builder) = serde_json::from_value::<Builder>(value) else { continue };
        let path = format!("builds?builderid={}&order=-number&limit=1", builder.builderid);
        let newest: Vec<Build> = api::list(&client, &path, "builds").await?;
        let (build, result, state) = match newest.first() {
            Some(b) => (format!("#{}", b.number), out.results(b.results), sanitize::line(&b.state_string)),
            None => ("-".into(), "never built".into(), String::new()),
        };
        rows.push(vec![builder.builderid.to_string(), sanitize::line(&builder.name), build, result, state]);
    }
    if rows.is_empty() {
        eprintln!("No builders: apply a project with `tidemill reconfig DIR`.");
        return Ok(Exit::Success);
    }
    out.table(&["ID", "BUILDER", "NEWEST", "RESULT", "STATE"], &rows);
    Ok(Exit::Success)
}
