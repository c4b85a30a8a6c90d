//! `tidemill watch`, and watching a request until its last build.

use super::follow::{self, Logs};
use super::{Connection, completion};
use crate::api::{self, Build, BuildRequest};
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style, duration};
use crate::pages;
use crate::sanitize;
use clap_complete::ArgValueCompleter;
use std::time::Duration;
use tidemill_model::Results;

/// Follow a build live and exit with its result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill watch 17                 by id
  tidemill watch test/4             by builder and number
  tidemill watch test/latest --no-log
  tidemill watch test/latest && deploy")]
pub struct Watch {
    /// Id, or BUILDER/NUMBER, or BUILDER/latest
    #[arg(value_name = "BUILD", add = ArgValueCompleter::new(completion::builds))]
    build: String,
    /// Show only steps and the end of failing ones, not all output
    #[arg(long)]
    no_log: bool,
    /// Give up after so many seconds (exit code 10)
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Watch, out: Output) -> Result<Exit> {
    let client = args.connection.client().await?;
    let logs = if args.no_log { Logs::Failed } else { Logs::All };
    let watching = async {
        let build = api::build(&client, &args.build).await?;
        let build = follow::build(&client, build.buildid, logs, out).await?;
        Ok(end(&client, &build, out).await)
    };
    limited(args.timeout, watching).await
}

/// An idle worker takes a request at once; only a longer wait is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// With the time limit of `--timeout`.
pub async fn limited<T>(seconds: Option<u64>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match seconds {
        None => work.await,
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), work).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(Exit::Timeout, format!("not done after {seconds} s"))
                .hint("it goes on; watch it again without --timeout")),
        },
    }
}

/// Prints how a build ended.
pub async fn end(client: &Client, build: &Build, out: Output) -> Exit {
    if out.json {
        let path = format!("builds/{}", build.buildid);
        if let Ok(raw) = api::list_raw(client, &path, "builds").await
            && let Some(first) = raw.first()
        {
            out.document(first);
        }
    } else {
        let took = match (build.started_at, build.complete_at) {
            (Some(from), Some(to)) => duration(to - from),
            _ => String::new(),
        };
        let state = sanitize::line(&build.state_string);
        let page = pages::build(client.url(), build);
        out.line(&format!(
            "{}  {state}  {}",
            out.results(build.results),
            out.paint(Style::Dim, &format!("{took}  {page}"))
        ));
    }
    build.results.map_or(Exit::Exception, Exit::from)
}

/// How a request ended.
pub struct Outcome {
    /// Its last build; none where it ended without one: cancelled, skipped, or merged into another.
    pub build: Option<Build>,
    pub results: Results,
}

/// Waits for the builds of requests, one after the other: they run at the same
/// time, so nothing is lost by it. The worst result; where nothing was made, skipped.
pub async fn requests(client: &Client, ids: &[i64], logs: Logs, out: Output) -> Result<Exit> {
    let mut worst: Option<Results> = None;
    for id in ids {
        let outcome = outcome(client, *id, logs, out).await?;
        match &outcome.build {
            Some(build) if out.json => drop(end(client, build, out).await),
            None if out.json => {
                out.document(&serde_json::json!({ "buildrequestid": id, "results": outcome.results.code() }))
            }
            _ => {}
        }
        worst = Some(worst.map_or(outcome.results, |w| w.worst(outcome.results)));
    }
    Ok(worst.map_or(Exit::Skipped, Exit::from))
}

/// The same; for people it prints how each build ended, for programs nothing.
pub async fn outcome(client: &Client, id: i64, logs: Logs, out: Output) -> Result<Outcome> {
    let mut done = 0;
    let begun = std::time::Instant::now();
    let mut told = false;
    loop {
        let path = format!("builds?buildrequestid={id}&order=buildid&buildid__gt={done}");
        let builds: Vec<Build> = api::list(client, &path, "builds").await?;
        if let Some(build) = builds.into_iter().find(|b| b.buildid > done) {
            done = build.buildid;
            let build = follow::build(client, build.buildid, logs, out).await?;
            if !out.json {
                end(client, &build, out).await;
            }
            if build.results != Some(Results::Retry) {
                let results = build.results.unwrap_or(Results::Exception);
                return Ok(Outcome { build: Some(build), results });
            }
            eprintln!("The build was lost and is tried again.");
            continue;
        }
        let found: Vec<BuildRequest> = api::list(client, &format!("buildrequests/{id}"), "buildrequests").await?;
        if let Some(request) = found.first()
            && request.complete
        {
            let results = request.results.unwrap_or(Results::Exception);
            if !out.json {
                out.line(&format!("request {id}: {}", out.results(Some(results))));
            }
            return Ok(Outcome { build: None, results });
        }
        if begun.elapsed() > PATIENCE && !std::mem::replace(&mut told, true) {
            let why = super::requests::reasons(client, id).await.unwrap_or_default();
            let why = if why.is_empty() { "a worker to take it".into() } else { why.join("; ") };
            eprintln!("{}", out.err().paint(Style::Dim, &format!("request {id} waits for {why}")));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
