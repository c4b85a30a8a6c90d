//! Dependent: waits for the buildsets of its upstream, and follows those that
//! ended well.
//!
//! That a buildset was made puts it among those that are waited for; that one is
//! over only says when to look at them. So nothing depends on which of the two
//! is told first, and those that are waited for outlive disabling and restarts.

use super::buildset::{Wish, complete, compose};
use super::functions::{Failed, Functions, blocking};
use super::pass::{Decided, PAGE, Shown};
use crate::schedulers::dependent::fires;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidemill_model::Change;
use tidemill_schema::Result;
use tidemill_schema::upstream::{Ended, upstream_done, upstream_ended, upstream_only, upstream_wait};

pub async fn decide(c: &mut PgConnection, functions: Functions, shown: Shown, upstream: &str) -> Result<Decided> {
    let scheduler = shown.scheduler.id;
    let made: Vec<i64> = shown.made.iter().map(|m| m.buildset.0).collect();
    upstream_wait(c, scheduler, &made).await?;
    // After a reconfiguration, after being enabled and after a failure: all of them.
    let all = shown.timer() || shown.scheduler.failures > 0;
    if all {
        upstream_only(c, scheduler, upstream).await?;
    }
    let told: Vec<i64> = shown.finished.iter().map(|f| f.buildset.0).chain(made).collect();
    let ended = upstream_ended(c, scheduler, (!all).then_some(told.as_slice()), PAGE).await?;
    let more = all && ended.len() as i64 == PAGE;
    let mut known = HashMap::new();
    complete(c, &mut known, ended.iter().flat_map(|e| e.changes.iter().copied())).await?;
    let now = shown.now;
    let (done, buildsets, failed) = blocking(move || follow(&functions, ended, &known)).await?;
    upstream_done(c, scheduler, &done).await?;
    Ok(Decided {
        cursor: shown.cursor,
        // What was told is among those that are waited for: nothing needs to be told again.
        heard: shown.heard,
        state: shown.scheduler.state,
        next_at: more.then_some(now),
        buildsets,
        failed,
        ran: true,
    })
}

type Followed = (Vec<i64>, Vec<super::buildset::Composed>, Option<Failed>);

/// Those that are done with, the buildsets after them, and where a function failed.
fn follow(functions: &Functions, ended: Vec<Ended>, known: &HashMap<i64, Change>) -> Followed {
    let (mut done, mut buildsets) = (Vec::new(), Vec::new());
    for ended in ended {
        if fires(ended.results) {
            let changes: Vec<Change> = ended.changes.iter().filter_map(|id| known.get(id).cloned()).collect();
            let builders = match functions.builders(&changes) {
                Ok(builders) => builders,
                Err(failed) => return (done, buildsets, Some(failed)),
            };
            let priority = functions.priority(&builders, &changes);
            let changes: Vec<&Change> = changes.iter().collect();
            let wish = Wish { changes: &changes, exactly: Some(ended.sourcestamps), ..Wish::default() };
            buildsets.push(compose(functions.def(), wish, builders, priority));
        }
        done.push(ended.buildset);
    }
    (done, buildsets, None)
}
