//! The first builds: HEAD of the default branch, and how they ended.
//!
//! `up` announces HEAD as a change like any other, so that the project's own
//! schedulers decide what is built. The poller takes care of every later
//! commit, also of those made while nothing ran: its cursor is a row.

use crate::api::{self, BuildRequest, Change};
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::project::git::{Head, Target};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_model::Results;
use tokio_util::sync::CancellationToken;

/// How long the poller may take to announce what was committed meanwhile.
const POLLER_WITHIN: Duration = Duration::from_secs(8);
/// Schedulers decide within milliseconds; this much quiet means that no other follows.
const QUIET: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, Deserialize)]
struct Buildset {
    bsid: i64,
    #[serde(default, deserialize_with = "api::seconds")]
    submitted_at: Option<i64>,
    #[serde(default)]
    sourcestamps: Vec<Value>,
}

/// How HEAD stands at the start.
pub enum Newest {
    /// It was announced a moment ago.
    Announced(First),
    /// It was announced in an earlier life, and this became of it.
    Known(Known),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Built,
    Waits,
    /// No scheduler took it.
    Left,
}

/// What was asked for.
pub struct First {
    head: Head,
    /// Buildsets up to this one, or before this time, are older.
    after: i64,
    since: i64,
}

/// Sees to it that HEAD is built. What was committed since the last time is
/// left to the poller; HEAD is announced if this repository was never seen, if
/// the poller stays silent, or, with `again`, if it was built in an earlier
/// life. `began` is when this one began, seconds.
pub async fn announce(client: &Client, target: &Target, again: bool, began: i64) -> Result<Newest> {
    let head = target.head()?;
    let begun = Instant::now();
    loop {
        let mut known = changes(client).await?;
        known.retain(|c| c.repository == target.repository);
        let announced = known.iter().find(|c| c.revision.as_deref() == Some(&head.revision));
        match announced {
            // By the poller, a moment ago.
            Some(change) if change.received_at.is_some_and(|at| at >= began) => {
                return Ok(Newest::Announced(First { head, after: 0, since: began }));
            }
            Some(change) if !again => return Ok(Newest::Known(became(client, change.changeid, &head.revision).await?)),
            Some(_) => break,
            // At the very first start the poller only remembers where branches are.
            None if known.is_empty() || begun.elapsed() > POLLER_WITHIN => break,
            None => tokio::time::sleep(LOOK).await,
        }
    }
    let after = buildsets(client).await?.first().map_or(0, |b| b.bsid);
    let change = target.change(&head)?;
    let _: Value = client.post("changes", &change).await?;
    Ok(Newest::Announced(First { head, after, since: 0 }))
}

/// What became of a change of an earlier life.
async fn became(client: &Client, change: i64, revision: &str) -> Result<Known> {
    let builds: Vec<Value> = api::list(client, &format!("changes/{change}/builds?limit=1"), "builds").await?;
    let of_it = |set: &Buildset| set.sourcestamps.iter().any(|s| s["revision"].as_str() == Some(revision));
    Ok(match builds.is_empty() {
        false => Known::Built,
        true if buildsets(client).await?.iter().any(of_it) => Known::Waits,
        true => Known::Left,
    })
}

async fn changes(client: &Client) -> Result<Vec<Change>> {
    api::list(client, "changes?order=-changeid&limit=200", "changes").await
}

/// Newest first.
async fn buildsets(client: &Client) -> Result<Vec<Buildset>> {
    api::list(client, "buildsets?order=-bsid&limit=100", "buildsets").await
}

impl First {
    pub fn revision(&self) -> &str {
        &self.head.revision
    }

    /// Waits until all that the schedulers made of it has ended; the worst
    /// result. `patience` is the longest stable timer of the schedulers.
    pub async fn result(&self, client: &Client, patience: Duration, stop: &CancellationToken) -> Result<Results> {
        let begun = Instant::now();
        let mut quiet_since = Instant::now();
        let mut seen = BTreeSet::new();
        let mut ended: BTreeMap<i64, Results> = BTreeMap::new();
        loop {
            match self.look(client, &mut ended).await {
                Ok(requests) => {
                    if requests.iter().any(|r| seen.insert(r.buildrequestid)) {
                        quiet_since = Instant::now();
                    }
                }
                // The master may be on its way up again.
                Err(f) if f.exit == Exit::Unreachable => quiet_since = Instant::now(),
                Err(f) => return Err(f),
            }
            let quiet = quiet_since.elapsed() > QUIET;
            if !seen.is_empty() && ended.len() == seen.len() && quiet {
                return Ok(ended.values().fold(Results::Skipped, |worst, r| worst.worst(*r)));
            }
            if seen.is_empty() && begun.elapsed() > patience + Duration::from_secs(30) {
                return Err(Failure::new(
                    Exit::Skipped,
                    format!("no scheduler of the project took the commit {}", &self.head.revision),
                )
                .hint("look at the change filters in master.star: which branch and repository do they want?"));
            }
            tokio::select! {
                _ = stop.cancelled() => return Err(Failure::new(Exit::Cancelled, "stopped before the first builds ended")),
                _ = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self, client: &Client, ended: &mut BTreeMap<i64, Results>) -> Result<Vec<BuildRequest>> {
        let mut all = Vec::new();
        for set in buildsets(client).await? {
            if set.bsid <= self.after || set.submitted_at.is_some_and(|at| at < self.since) {
                continue;
            }
            if !set.sourcestamps.iter().any(|s| s["revision"].as_str() == Some(&self.head.revision)) {
                continue;
            }
            let path = format!("buildrequests?buildsetid={}", set.bsid);
            let requests: Vec<BuildRequest> = api::list(client, &path, "buildrequests").await?;
            all.extend(requests);
        }
        for request in all.iter().filter(|r| r.complete) {
            ended.insert(request.buildrequestid, request.results.unwrap_or(Results::Exception));
        }
        Ok(all)
    }
}
