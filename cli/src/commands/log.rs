//! `tidemill log`

use super::{Connection, completion, logstream};
use crate::api::{self, Log, Step};
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::sanitize::{self, Sanitizer};
use clap_complete::ArgValueCompleter;
use futures_util::StreamExt;

/// Print the log of a build or of one step.
///
/// A pipe or file gets the exact bytes; on a terminal, escape sequences other
/// than colours are made harmless.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill log test/latest          all steps of the newest build
  tidemill log 17 test > test.log   one step, exact bytes
  tidemill log 17 3 --follow        step number 3, live
  tidemill log 17 --json            names and sizes of the logs")]
pub struct LogArgs {
    /// Id, or BUILDER/NUMBER, or BUILDER/latest
    #[arg(value_name = "BUILD", add = ArgValueCompleter::new(completion::builds))]
    build: String,
    /// Name or number of a step; all steps if not given
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// Which log of the step
    #[arg(long = "log", value_name = "NAME", default_value = "stdio")]
    name: String,
    /// Go on until the log is complete
    #[arg(long, short)]
    follow: bool,
    /// Headers too: the command and its environment
    #[arg(long)]
    headers: bool,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: LogArgs, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let build = api::build(&client, &args.build).await?;
    let mut steps = api::steps(&client, build.buildid).await?;
    if let Some(wanted) = &args.step {
        steps = vec![find_step(steps, wanted, &args.build)?];
    }
    if out.json {
        return list(&client, &steps, out).await;
    }
    let single = args.step.is_some();
    for step in &steps {
        if !single && !step.hidden {
            let result = out.results(step.results);
            eprintln!("{} {}: {result}", out.err().paint(Style::Cyan, "──"), sanitize::line(&step.name));
        }
        let logs = api::logs(&client, step.stepid).await?;
        match logs.iter().find(|l| l.name == args.name || l.slug == args.name) {
            Some(log) => print(&client, log, &args, out).await?,
            // A step without output, unless exactly this was asked for.
            None if !single => {}
            None => return Err(no_log(step, &args.name, &logs)),
        }
    }
    Ok(Exit::Success)
}

fn find_step(steps: Vec<Step>, wanted: &str, build: &str) -> Result<Step> {
    let number = wanted.parse::<i64>().ok();
    let names: Vec<String> = steps.iter().map(|s| sanitize::line(&s.name)).collect();
    // A name may be a number too; names come first.
    let at =
        steps.iter().position(|s| s.name == wanted).or_else(|| steps.iter().position(|s| Some(s.number) == number));
    match at {
        Some(at) => Ok(steps.into_iter().nth(at).expect("the position is one of the list")),
        None => Err(Failure::not_found(format!("build {build} has no step {wanted:?}"))
            .hint(format!("its steps: {}", names.join(", ")))),
    }
}

fn no_log(step: &Step, name: &str, logs: &[Log]) -> Failure {
    let names: Vec<String> = logs.iter().map(|l| sanitize::line(&l.name)).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Failure::not_found(format!("step {} has no log {name:?}", sanitize::line(&step.name)))
        .hint(format!("its logs: {names}"))
}

async fn list(client: &Client, steps: &[Step], out: Output) -> Result<Exit> {
    let mut all = Vec::new();
    for step in steps {
        for mut log in api::all_raw(client, &format!("steps/{}/logs", step.stepid), "logs").await? {
            log["step"] = step.name.clone().into();
            all.push(log);
        }
    }
    out.document(&serde_json::json!({ "logs": all }));
    Ok(Exit::Success)
}

async fn print(client: &Client, log: &Log, args: &LogArgs, out: Output) -> Result<()> {
    let mut safe = Sanitizer::new(out.colour);
    let mut show = |bytes: &[u8]| match out.terminal {
        true => out.raw(safe.push(bytes).as_bytes()),
        false => out.raw(bytes),
    };
    if args.follow && !log.complete {
        logstream::follow(client, log.logid, |channel, bytes| {
            if args.headers || logstream::is_output(channel) {
                show(bytes);
            }
        })
        .await?;
    } else {
        let headers = if args.headers { "?headers=1" } else { "" };
        let mut pieces = client.bytes(&format!("logs/{}/raw{headers}", log.logid)).await?;
        while let Some(piece) = pieces.next().await {
            show(&piece?);
        }
    }
    if out.terminal {
        out.raw(safe.finish().as_bytes());
    }
    Ok(())
}
