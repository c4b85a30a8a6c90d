//! Builds in the terminal as they happen: one line a step, and the end of the
//! log of a step that failed.
//!
//! The event stream only says where to look; what is printed is read from the
//! resources, and a slow look underneath finds what a cut stream missed.

use crate::api::{self, Build, Step};
use crate::client::{Client, Events};
use crate::error::Result;
use crate::output::{Output, Style, duration};
use crate::pages;
use crate::sanitize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidemill_model::Results;
use tokio_util::sync::CancellationToken;

/// Lines of a failing step's log.
const TAIL: usize = 25;
/// Events within so short a time are looked at together.
const GATHER: Duration = Duration::from_millis(150);
const LOOK: Duration = Duration::from_secs(5);

pub struct Follower {
    client: Client,
    out: Output,
    /// Builds up to this one are older than we are.
    after: i64,
    shown: BTreeMap<i64, Shown>,
}

#[derive(Default)]
struct Shown {
    begun: bool,
    steps: BTreeSet<i64>,
    ended: bool,
}

impl Follower {
    /// Follows builds that begin from now on, and those that still run.
    pub async fn new(client: Client, out: Output) -> Result<Follower> {
        let newest: Vec<Build> = api::list(&client, "builds?order=-buildid&limit=1", "builds").await?;
        let after = newest.first().map_or(0, |b| b.buildid);
        let mut follower = Follower { client, out, after, shown: BTreeMap::new() };
        for build in follower.running().await? {
            follower.shown.insert(build.buildid, Shown::default());
        }
        Ok(follower)
    }

    async fn running(&self) -> Result<Vec<Build>> {
        api::list(&self.client, "builds?complete=false&order=-buildid&limit=50", "builds").await
    }

    /// Prints until told to end; then once more what is left to tell.
    pub async fn run(mut self, end: CancellationToken) {
        let mut events: Option<Events> = None;
        let mut last = String::new();
        loop {
            if events.is_none() {
                events = self.client.events("events?kind=builds,steps", Some(&last)).await.ok();
            }
            let mut dirty = BTreeSet::new();
            let ended = tokio::select! {
                _ = end.cancelled() => true,
                _ = tokio::time::sleep(LOOK) => false,
                event = next(&mut events) => {
                    // Nothing: the stream was cut, and is opened again from where it was.
                    note(event, &mut dirty, &mut last, &mut events);
                    false
                }
            };
            let gather = tokio::time::sleep(GATHER);
            tokio::pin!(gather);
            while !ended && events.is_some() {
                tokio::select! {
                    _ = &mut gather => break,
                    event = next(&mut events) => note(event, &mut dirty, &mut last, &mut events),
                }
            }
            // A master that is down or busy: the next look tells.
            let _ = self.look(dirty).await;
            if ended {
                return;
            }
            if events.is_none() {
                tokio::time::sleep(GATHER * 4).await;
            }
        }
    }

    async fn look(&mut self, mut dirty: BTreeSet<i64>) -> Result<()> {
        dirty.retain(|id| *id > self.after || self.shown.contains_key(id));
        dirty.extend(self.shown.iter().filter(|(_, s)| !s.ended).map(|(id, _)| *id));
        let path = format!("builds?buildid__gt={}&order=-buildid&limit=50", self.after);
        let recent: Vec<Build> = api::list(&self.client, &path, "builds").await?;
        let mut known: BTreeMap<i64, Build> = recent.into_iter().map(|b| (b.buildid, b)).collect();
        dirty.extend(known.keys().filter(|id| !self.shown.contains_key(id)));
        for id in dirty {
            if self.shown.get(&id).is_some_and(|s| s.ended) {
                continue;
            }
            // Steps before the build: what is read as complete then has all its steps.
            let build = match known.remove(&id) {
                Some(build) => build,
                None => api::build_by_id(&self.client, id).await?,
            };
            let steps = api::steps(&self.client, id).await?;
            self.print(build, steps).await;
        }
        Ok(())
    }

    async fn print(&mut self, build: Build, steps: Vec<Step>) {
        let out = self.out;
        let name = format!("{} #{}", sanitize::line(&build.buildername), build.number);
        let head = out.paint(Style::Bold, &name);
        let shown = self.shown.entry(build.buildid).or_default();
        if !shown.begun {
            shown.begun = true;
            let worker = build.workername.as_deref().map(sanitize::line).unwrap_or_default();
            let at = if worker.is_empty() { String::new() } else { format!(" on {worker}") };
            out.line(&format!(
                "{head}  began{at}  {}",
                out.paint(Style::Dim, &pages::build(self.client.url(), &build))
            ));
        }
        let mut failed = Vec::new();
        for step in steps.iter().filter(|s| s.complete) {
            if !shown.steps.insert(step.stepid) || step.hidden {
                continue;
            }
            let took = match (step.started_at, step.complete_at) {
                (Some(from), Some(to)) => duration(to - from),
                _ => String::new(),
            };
            let result = out.results(step.results);
            out.line(&format!("{head}  {}: {result}  {}", sanitize::line(&step.name), out.paint(Style::Dim, &took)));
            if matches!(step.results, Some(Results::Failure | Results::Exception)) {
                failed.push(step);
            }
        }
        let ended = build.complete && !std::mem::replace(&mut shown.ended, build.complete);
        for step in failed {
            show_tail(&self.client, out, step).await;
        }
        if ended {
            let took = match (build.started_at, build.complete_at) {
                (Some(from), Some(to)) => duration(to - from),
                _ => String::new(),
            };
            let state = sanitize::line(&build.state_string);
            let page = pages::build(self.client.url(), &build);
            out.line(&format!(
                "{head}  {}  {state}  {}",
                out.results(build.results),
                out.paint(Style::Dim, &format!("{took}  {page}"))
            ));
        }
    }
}

/// The end of the log of a failing step.
pub async fn show_tail(client: &Client, out: Output, step: &Step) {
    let Ok(logs) = api::logs(client, step.stepid).await else { return };
    // The command's own output; else whatever there is (a traceback of ours).
    let Some(log) = logs.iter().find(|l| l.slug == "stdio" || l.name == "stdio").or(logs.first()) else { return };
    let Ok(lines) = api::last_lines(client, log, TAIL).await else { return };
    let bar = out.paint(Style::Dim, "  │ ");
    for line in lines {
        let mut safe = sanitize::Sanitizer::new(out.colour);
        let text = safe.push(line.as_bytes()) + &safe.finish();
        out.line(&format!("{bar}{}", text.replace('\n', &format!("\n{bar}"))));
    }
}

async fn next(events: &mut Option<Events>) -> Option<crate::sse::Event> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn note(event: Option<crate::sse::Event>, dirty: &mut BTreeSet<i64>, last: &mut String, events: &mut Option<Events>) {
    let Some(event) = event else {
        *events = None;
        return;
    };
    if !event.id.is_empty() {
        last.clone_from(&event.id);
    }
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap_or_default();
    dirty.extend(data["buildid"].as_i64());
}
