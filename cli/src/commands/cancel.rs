//! `tidemill cancel`

use super::{Connection, completion};
use crate::api;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};

/// Stop a running build, cancel a request that waits, or all that fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill cancel 17
  tidemill cancel test/latest --reason \"wrong branch\"
  tidemill cancel --request 40
  tidemill cancel --branch topic --yes           all of a branch, running ones too
  tidemill cancel --builder test --pending-only --yes
  tidemill cancel --all --yes")]
pub struct Cancel {
    /// Id, or BUILDER/NUMBER, or BUILDER/latest
    #[arg(value_name = "BUILD", required_unless_present_any = ["request", "builders", "branch", "scheduler", "buildsets", "all"], conflicts_with_all = ["request", "builders", "branch", "scheduler", "buildsets", "all"], add = ArgValueCompleter::new(completion::builds))]
    build: Option<String>,
    /// Cancel this request instead (and its build, if it has begun)
    #[arg(long, value_name = "ID", conflicts_with_all = ["builders", "branch", "scheduler", "buildsets", "all"])]
    request: Option<i64>,
    /// All of this builder; may be given again
    #[arg(long = "builder", value_name = "NAME", add = ArgValueCompleter::new(completion::builders))]
    builders: Vec<String>,
    /// All of this branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// All that this scheduler made
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// All of this buildset; may be given again
    #[arg(long = "buildset", value_name = "ID")]
    buildsets: Vec<i64>,
    /// Every open request, where nothing else is said
    #[arg(long)]
    all: bool,
    /// Builds that run go on
    #[arg(long)]
    pending_only: bool,
    /// Do it, for more than one
    #[arg(long)]
    yes: bool,
    #[arg(long, value_name = "TEXT", default_value = "tidemill cancel")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Cancel, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    if args.build.is_none() && args.request.is_none() {
        return many(&client, &args, out).await;
    }
    let body = json!({ "reason": args.reason });
    let (path, what) = match (&args.build, args.request) {
        (_, Some(id)) => (format!("buildrequests/{id}/cancel"), format!("request {id} is cancelled")),
        (build, None) => {
            let named = build.as_deref().unwrap_or_default();
            let build = api::build(&client, named).await?;
            if build.complete {
                eprintln!("Build {named} had already ended.");
                if out.json {
                    out.document(&json!({ "buildid": build.buildid, "stopping": false }));
                }
                return Ok(Exit::Success);
            }
            (format!("builds/{}/stop", build.buildid), format!("build {named} is being stopped"))
        }
    };
    let answer: Value = client
        .post(&path, &body)
        .await
        .map_err(|f| f.hint_for(Exit::NotFound, "`tidemill requests` lists those that are not over"))?;
    match out.json {
        true => out.document(&answer),
        false => out.line(&what),
    }
    Ok(Exit::Success)
}

/// Call after call, as many as it takes: each does what it can in a few seconds.
async fn many(client: &Client, args: &Cancel, out: Output) -> Result<Exit> {
    if !args.yes {
        return Err(Failure::usage("this may cancel many").hint("say --yes to do it"));
    }
    let mut body = json!({
        "builders": args.builders,
        "buildsets": args.buildsets,
        "all": args.all,
        "pending_only": args.pending_only,
        "reason": args.reason,
    });
    for (name, value) in [("branch", &args.branch), ("scheduler", &args.scheduler)] {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let (mut cancelled, mut stopping) = (0, 0);
    loop {
        let answer: Value = client.post("buildrequests/cancel", &body).await?;
        cancelled += super::field(&answer, "cancelled")?;
        stopping += super::field(&answer, "stopping")?;
        if answer["more"] != true {
            break;
        }
        eprintln!("{cancelled} requests are cancelled so far");
    }
    match out.json {
        true => out.document(&json!({ "cancelled": cancelled, "stopping": stopping })),
        false => out.line(&format!("{cancelled} requests are cancelled, {stopping} builds are being stopped")),
    }
    Ok(Exit::Success)
}
