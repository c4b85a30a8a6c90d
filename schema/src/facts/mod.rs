//! What reporting stores (0012_reporting.sql): a row for each build and request that
//! is over, how the lines of builders stand, and sums over time.
//!
//! Written behind the event stream, never by what ends a build. [`follow`] takes a page
//! of it and commits what it stored together with its place; [`backfill`] stores what
//! was there before anybody followed. Both fold the same pages of builds ([`store`]) under
//! one lock, so that a build is stored once whoever does it, and adds to the sums once. A
//! page that is cut off at any moment has stored nothing and is done again.
//!
//! Builds are folded in the order of their ends. One that comes after a newer one of its
//! line gets the meaning that it had then, as far as facts tell, and turns nothing back.

pub mod backfill;
mod builds;
mod fold;
mod histogram;
pub mod partitions;
pub mod rebuild;
mod requests;
mod sums;
mod test_fold;
pub mod test_results;

use crate::events::{events_after, events_start, reader_advance, reader_take};
use crate::{Db, Result, run_tx};
use builds::{Ended, Fact, Line, Step};
use fold::LineState;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use sums::builds::{Built, Sums};
use sums::projects::Project;

pub use backfill::facts_backfill;

/// The reader of the event stream.
pub const READER: &str = "facts";
/// Events of one transaction: what they take holds back the horizon of all readers.
const PAGE: i64 = 1_000;

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Facts of builds that were stored.
    pub builds: usize,
    /// There is more at once.
    pub full: bool,
    /// Committed events wait above the horizon.
    pub behind: bool,
}

/// Reads a page of the event stream, or first of what was there before. One replica at
/// a time does; the others find nothing.
pub async fn follow(db: &Db, backfill: &mut backfill::Sweep) -> Result<Pass> {
    if let Some(builds) = backfill::page(db, backfill).await? {
        return Ok(Pass { builds, full: true, behind: false });
    }
    run_tx!(db, "facts.follow", |c| page(c).await)
}

async fn page(c: &mut PgConnection) -> Result<Pass> {
    let Some(cursor) = reader_take(c, READER).await? else { return Ok(Pass::default()) };
    let read = events_after(c, cursor, PAGE).await?;
    let behind = read.more_above_horizon;
    let Some(last) = read.events.last() else { return Ok(Pass { behind, ..Pass::default() }) };
    // Events leave from the oldest on: where the last one that was read is gone, later ones may be.
    if cursor.id != 0 && events_start(c).await?.is_some_and(|start| start > cursor) {
        tracing::warn!("events were removed before facts were made of them: all builds are looked at once more");
        backfill::wish(c, 0).await?;
        reader_advance(c, READER, last.at_cursor).await?;
        return Ok(Pass { full: true, ..Pass::default() });
    }
    let finished = read.events.iter().filter(|e| e.kind == "builds.finished");
    let ids: Vec<i64> = finished.filter_map(|e| e.build_id).collect();
    let complete = read.events.iter().filter(|e| e.kind == "buildrequests.complete");
    let over: Vec<i64> = complete.filter_map(|e| e.data["buildrequestid"].as_i64()).collect();
    let builds = if ids.is_empty() && over.is_empty() { 0 } else { store(c, &ids, &over).await? };
    reader_advance(c, READER, last.at_cursor).await?;
    Ok(Pass { builds, full: read.events.len() as i64 == PAGE, behind })
}

/// Held to the end of the transaction by whoever stores facts or changes sums.
async fn lock(c: &mut PgConnection) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('facts'))").execute(c).await?;
    Ok(())
}

/// Stores facts of those of these builds and requests that are over and have none.
/// Returns how many of builds.
async fn store(c: &mut PgConnection, ids: &[i64], over: &[i64]) -> Result<usize> {
    lock(c).await?;
    requests::facts_insert(c, over).await?;
    let ended = builds::ended(c, ids).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    partitions::partitions_ensure_for(c, "build_facts", ended.iter().map(|e| e.complete_at)).await?;
    let sources = builds::sources(c, &ended).await?;
    let steps = builds::steps(c, &ended).await?;
    let lines: BTreeSet<Line> = ended.iter().map(|e| line(e, &sources)).collect();
    let lines: Vec<Line> = lines.into_iter().collect();
    let mut states = builds::line_states(c, &lines).await?;
    let mut changed: HashMap<Line, LineState> = HashMap::new();
    let mut facts = Vec::with_capacity(ended.len());
    let mut own = steps_by_build(&steps);
    let missing = builds::Sources::default();
    for e in &ended {
        let line = line(e, &sources);
        let state = states.get(&line).copied();
        let late = state.is_some_and(|s| e.complete_at < s.complete_at);
        let before = if late { builds::line_state_at(c, &line, e.build, e.complete_at).await? } else { state };
        let (meaning, next) = fold::meaning(before.as_ref(), e.build, e.results, e.complete_at);
        if let Some(next) = next.filter(|_| !late) {
            states.insert(line.clone(), next);
            changed.insert(line, next);
        }
        let steps = own.remove(&e.build).unwrap_or_default();
        facts.push(Fact {
            ended: e,
            sources: sources.get(&e.buildset).unwrap_or(&missing),
            meaning,
            blamed: vec![],
            steps: steps.len() as i32,
            failed_step: failed_step(e.results, &steps),
            lock_wait: steps.iter().map(|s| s.lock_wait).sum(),
        });
    }
    blame(c, &mut facts).await?;
    builds::facts_insert(c, &facts).await?;
    builds::line_states_store(c, &changed).await?;
    let projects = sums::projects::projects(c, ended.iter().map(Ended::builders)).await?;
    let mut sums = Sums::default();
    for fact in &facts {
        let project = projects.get(&fact.ended.builders()).map(Project::of_totals).unwrap_or_default();
        sums.add(fact.ended.builder, project, fact.ended.complete_at, &Built::from(fact));
    }
    sums.store(c).await?;
    sums::branches::branches_store(c, &facts).await?;
    sums::steps::steps_store(c, &ended, &steps).await?;
    sums::statistics::statistics_store(c, &ended).await?;
    sums::workers::workers_store(c, &ended, &projects).await?;
    Ok(ended.len())
}

fn line(e: &Ended, sources: &HashMap<i64, builds::Sources>) -> Line {
    (e.builder, sources.get(&e.buildset).map(|s| s.line.clone()).unwrap_or_default())
}

fn steps_by_build(steps: &[Step]) -> HashMap<i64, Vec<&Step>> {
    let mut own: HashMap<i64, Vec<&Step>> = HashMap::new();
    for step in steps {
        own.entry(step.build).or_default().push(step);
    }
    own
}

/// From best to worst, as results_rank() in SQL.
fn rank(results: i16) -> usize {
    [3, 0, 1, 2, 4, 5, 6].iter().position(|r| *r == results).unwrap_or(0)
}

/// Of a build that ended badly: the first of its steps with the worst result.
fn failed_step(results: i16, steps: &[&Step]) -> Option<String> {
    let bad = steps.iter().filter(|s| rank(s.results) > rank(0));
    // Of equal ones `max_by_key` takes the last: so from behind.
    let worst = bad.rev().max_by_key(|s| rank(s.results))?;
    (rank(results) > rank(1)).then(|| worst.name.clone())
}

async fn blame(c: &mut PgConnection, facts: &mut [Fact<'_>]) -> Result<()> {
    let broke: Vec<usize> =
        facts.iter().enumerate().filter(|(_, f)| f.meaning.turn == Some(fold::Turn::Broke)).map(|(n, _)| n).collect();
    let asked: Vec<(i64, Option<i64>)> =
        broke.iter().map(|n| (facts[*n].ended.buildset, facts[*n].meaning.good)).collect();
    for (n, authors) in broke.into_iter().zip(builds::authors(c, &asked).await?) {
        facts[n].blamed = authors;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, results: i16) -> Step {
        Step { build: 1, name: name.into(), results, seconds: 1.0, lock_wait: 0.0 }
    }

    #[test]
    fn the_step_that_failed_is_the_first_of_the_worst() {
        let steps = [step("a", 0), step("b", 1), step("c", 2), step("d", 4), step("e", 4), step("f", 3)];
        let first = |n: usize, results| failed_step(results, &steps[..n].iter().collect::<Vec<_>>());
        assert_eq!(first(6, 4).as_deref(), Some("d"));
        assert_eq!(first(3, 2).as_deref(), Some("c"));
        assert_eq!(first(2, 2).as_deref(), Some("b"));
        assert_eq!(first(6, 0), None);
        assert_eq!(first(1, 4), None);
    }
}
