//! One build, live: its steps in order, each with its log, then the result.

use super::logstream;
use crate::api::{self, Build, Step};
use crate::client::{Client, Events};
use crate::error::Result;
use crate::output::{Output, Style, duration};
use crate::pages;
use crate::sanitize::{self, Sanitizer};
use crate::up::show_tail;
use std::collections::BTreeSet;
use std::time::Duration;
use tidemill_model::Results;

/// A look without a hint: events may be cut or late.
const LOOK: Duration = Duration::from_secs(2);

/// What to show besides the steps' names and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// All output, live.
    All,
    /// The end of what failed.
    Failed,
}

/// Shows a build until it is complete.
pub async fn build(client: &Client, id: i64, logs: Logs, out: Output) -> Result<Build> {
    let mut build = api::build_by_id(client, id).await?;
    if !out.json {
        let name = format!("{} #{}", sanitize::line(&build.buildername), build.number);
        out.line(&format!("{}  {}", out.paint(Style::Bold, &name), pages::build(client.url(), &build)));
    }
    let mut events: Option<Events> = None;
    let mut last = String::new();
    let mut shown = BTreeSet::new();
    let mut head = BTreeSet::new();
    loop {
        if events.is_none() {
            events = client.events(&format!("events?buildid={id}"), Some(&last)).await.ok();
        }
        // The build before its steps: once it is complete, so are they.
        match look(client, id, logs, out, &mut shown, &mut head).await {
            Ok(b) => build = b,
            Err(f) if f.exit == crate::exit::Exit::Unreachable => events = None,
            Err(f) => return Err(f),
        }
        if build.complete {
            return Ok(build);
        }
        tokio::select! {
            _ = tokio::time::sleep(LOOK) => {}
            _ = news(&mut events, &mut last) => {}
        }
    }
}

async fn look(
    client: &Client,
    id: i64,
    logs: Logs,
    out: Output,
    shown: &mut BTreeSet<i64>,
    head: &mut BTreeSet<i64>,
) -> Result<Build> {
    let build = api::build_by_id(client, id).await?;
    for step in api::steps(client, id).await? {
        if shown.contains(&step.stepid) {
            continue;
        }
        if step.started_at.is_none() && !step.complete {
            continue;
        }
        let name = sanitize::line(&step.name);
        if logs == Logs::All && !out.json && head.insert(step.stepid) && !step.hidden {
            out.line(&format!("{} {name}", out.paint(Style::Cyan, "──")));
        }
        if logs == Logs::All && !out.json && !step.hidden {
            // Returns when the log is complete; a step may open more than one.
            stream_logs(client, &step, out, head).await?;
        }
        let step = match api::steps(client, id).await?.into_iter().find(|s| s.stepid == step.stepid) {
            Some(step) if step.complete => step,
            // Still between its logs.
            _ => break,
        };
        shown.insert(step.stepid);
        if out.json || step.hidden {
            continue;
        }
        let took = match (step.started_at, step.complete_at) {
            (Some(from), Some(to)) => duration(to - from),
            _ => String::new(),
        };
        let mark = if logs == Logs::All { out.paint(Style::Cyan, "── ") } else { String::new() };
        out.line(&format!("{mark}{name}: {}  {}", out.results(step.results), out.paint(Style::Dim, &took)));
        if logs == Logs::Failed && matches!(step.results, Some(Results::Failure | Results::Exception)) {
            show_tail(client, out, &step).await;
        }
    }
    Ok(build)
}

/// Prints a step's logs to their end. Negative keys in `seen` are log ids.
async fn stream_logs(client: &Client, step: &Step, out: Output, seen: &mut BTreeSet<i64>) -> Result<()> {
    for log in api::logs(client, step.stepid).await? {
        if !seen.insert(-log.logid) {
            continue;
        }
        if log.slug != "stdio" {
            out.line(&out.paint(Style::Dim, &format!("   {}:", sanitize::line(&log.name))));
        }
        let mut safe = Sanitizer::new(out.colour);
        let mut at_start = true;
        let mut print = |text: &str| {
            if let Some(end) = text.chars().next_back() {
                at_start = end == '\n';
                out.raw(text.as_bytes());
            }
        };
        logstream::follow(client, log.logid, |channel, bytes| {
            // Headers (command, environment) are for the page.
            if logstream::is_output(channel) {
                match out.terminal {
                    true => print(&safe.push(bytes)),
                    false => print(&sanitize_piped(bytes)),
                }
            }
        })
        .await?;
        print(&safe.finish());
        if !at_start {
            out.line("");
        }
    }
    Ok(())
}

/// A pipe gets text: the exact bytes are what `tidemill log` is for.
fn sanitize_piped(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for an event of the build.
async fn news(events: &mut Option<Events>, last: &mut String) {
    let Some(stream) = events else { return std::future::pending().await };
    match stream.next().await {
        Some(event) if !event.id.is_empty() => last.clone_from(&event.id),
        Some(_) => {}
        // Opened again at the next look.
        None => *events = None,
    }
}
