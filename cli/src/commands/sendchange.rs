//! `tidemill sendchange`

use super::{Connection, field, property};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use serde_json::Value;
use tidemill_model::{NewChange, Properties};

/// Announce a change to the schedulers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill sendchange --repository https://host/x.git --branch main --revision 4f2a1c --author me src/a.c
  git log -1 --format=%B | tidemill sendchange --comments - --branch main")]
pub struct SendChange {
    /// Paths that the change touches
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    #[arg(long, short = 'W', alias = "who", value_name = "NAME", default_value = "")]
    author: String,
    #[arg(long, value_name = "NAME")]
    committer: Option<String>,
    /// The message; `-` reads it from the standard input
    #[arg(long, short = 'c', value_name = "TEXT", default_value = "")]
    comments: String,
    #[arg(long, short = 'b', value_name = "BRANCH")]
    branch: Option<String>,
    #[arg(long, short = 'r', value_name = "REVISION")]
    revision: Option<String>,
    #[arg(long, short = 'R', value_name = "URL", default_value = "")]
    repository: String,
    #[arg(long, short = 'P', value_name = "NAME", default_value = "")]
    project: String,
    #[arg(long, value_name = "NAME", default_value = "")]
    codebase: String,
    #[arg(long, short = 'C', value_name = "NAME")]
    category: Option<String>,
    /// Where the change can be looked at
    #[arg(long, value_name = "URL")]
    revlink: Option<String>,
    /// When it was made, seconds since 1970
    #[arg(long, short = 'w', value_name = "SECONDS")]
    when: Option<i64>,
    /// A property for the builds; may be given again
    #[arg(long = "property", short = 'p', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: SendChange, out: Output) -> Result<Exit> {
    use crate::error::{Doing, Failure};
    let client = args.connection.client().await?;
    let comments = match args.comments.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()).doing(|| "read the message from the standard input".into())?,
        _ => args.comments,
    };
    let when = match args.when {
        None => None,
        Some(s) => Some(
            time::OffsetDateTime::from_unix_timestamp(s)
                .map_err(|_| Failure::usage(format!("--when {s} is no time")))?,
        ),
    };
    let mut properties = Properties::new();
    for (name, value) in args.properties {
        properties.set(name, value, "Change");
    }
    let change = NewChange {
        author: args.author,
        committer: args.committer,
        comments,
        files: args.files,
        branch: args.branch,
        revision: args.revision,
        repository: args.repository,
        project: args.project,
        codebase: args.codebase,
        category: args.category,
        revlink: args.revlink,
        when,
        properties,
        parents: vec![],
    };
    let answer: Value = client.post("changes", &change).await?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&format!("change {}", field(&answer, "changeid")?)),
    }
    Ok(Exit::Success)
}
