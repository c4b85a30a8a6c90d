//! Cancellers of the project: older builds of a branch when a newer change comes
//! (RP-19), the others of a buildset when one of its builds fails (RP-20).
//!
//! One replica at a time reads the event stream past the reader's cursor, asks
//! the filters off the async threads, and commits what it ended together with
//! the new place. It locks nothing that a build waits for until every filter has
//! answered. A filter that fails is shown as policies are, and cancels
//! nothing: a build too many is better than one too few.

use crate::app::App;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemill_lang::definition::{CancellerDef, CancellerKind};
use tidemill_lang::{EvalError, Project};
use tidemill_model::{BuildId, RequestId, SourceStamp};
use tidemill_schema::cancellers::{
    Ending, FailedBuild, Newcomer, Open, READER, builds_failed, newcomers, open_of, requests_end_all, siblings_open,
};
use tidemill_schema::events::{Event, events_after, reader_advance, reader_forget, reader_take};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Most events of one transaction, and how many are looked at before the clock is.
const PAGE: i64 = 500;
const PART: usize = 10;
/// After so long a transaction ends with what it has looked at: it holds back the
/// horizon of all readers of the stream.
const BUDGET: Duration = Duration::from_millis(200);
/// For the keys of all open requests of a builder; those left over are not cancelled.
const KEYS: Duration = Duration::from_secs(2);
const PERIOD: Duration = Duration::from_secs(2);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    // Without a canceller the stream is none of this loop's business.
    let needed = Arc::new(AtomicBool::new(true));
    let heeds = needed.clone();
    super::forward(app, wake.clone(), move |w| match w {
        Wake::Config | Wake::All => true,
        Wake::Events => heeds.load(Ordering::Relaxed),
        _ => false,
    });
    let this = app.clone();
    // Milliseconds until the next look at events above the horizon: 2, 4 … 100.
    let behind = Arc::new(AtomicU64::new(0));
    reconcile::spawn(&app.life, "cancel", PERIOD, wake, move || {
        let (app, needed, behind) = (this.clone(), needed.clone(), behind.clone());
        async move {
            let (revision, project) = match app.projects.active(&app.db).await {
                Ok(Some(found)) => found,
                // Said once, when it was evaluated.
                Ok(None) | Err(Error::Inconsistent(_)) => return Ok(Next::Idle),
                Err(e) => return Err(e),
            };
            if project.definition().cancellers.is_empty() {
                if needed.swap(false, Ordering::Relaxed) {
                    run_tx!(app.db, "cancel.forget", |c| reader_forget(c, READER).await)?;
                }
                return Ok(Next::Idle);
            }
            needed.store(true, Ordering::Relaxed);
            let pass = run_tx!(app.db, "cancel", |c| pass(c, &app, revision, &project).await)?;
            if !pass.stopped.is_empty() {
                app.wakes.send(Wake::Stop(pass.stopped.iter().map(|b| b.0).collect()));
            }
            if pass.acted {
                app.wakes.send(Wake::Events);
            }
            let waited = behind.swap(0, Ordering::Relaxed);
            Ok::<_, Error>(match (pass.full, pass.behind) {
                (true, _) => Next::Again,
                (false, true) => {
                    let wait = (waited * 2).clamp(2, 100);
                    behind.store(wait, Ordering::Relaxed);
                    Next::After(Duration::from_millis(wait))
                }
                (false, false) => Next::Idle,
            })
        }
    });
}

#[derive(Default)]
struct Pass {
    stopped: Vec<BuildId>,
    acted: bool,
    full: bool,
    behind: bool,
}

async fn pass(c: &mut PgConnection, app: &App, revision: i64, project: &Arc<Project>) -> Result<Pass> {
    let Some(cursor) = reader_take(c, READER).await? else { return Ok(Pass::default()) };
    let page = events_after(c, cursor, PAGE).await?;
    let mut pass = Pass { full: page.events.len() as i64 == PAGE, behind: page.more_above_horizon, ..Pass::default() };
    let mut looking = Looking { app, revision, project, open: HashMap::new(), ended: HashSet::new(), endings: vec![] };
    let begun = Instant::now();
    let mut end = None;
    for part in page.events.chunks(PART) {
        if end.is_some() && begun.elapsed() > BUDGET {
            pass.full = true;
            break;
        }
        looking.look(c, part).await?;
        end = part.last().map(|e| e.at_cursor);
    }
    let Some(end) = end else { return Ok(pass) };
    if !looking.endings.is_empty() {
        pass.stopped = requests_end_all(c, &looking.endings).await?;
        pass.acted = true;
    }
    reader_advance(c, READER, end).await?;
    Ok(pass)
}

/// A canceller, and the builder and place (codebase, repository, project) whose open requests it compares.
type Place = (String, i64, [String; 3]);

/// What a pass has found so far.
struct Looking<'a> {
    app: &'a App,
    revision: i64,
    project: &'a Arc<Project>,
    /// Open requests, each with what its branch counts as. Nothing ends while a pass
    /// looks, so they are read once.
    open: HashMap<Place, Vec<(Open, String)>>,
    ended: HashSet<RequestId>,
    endings: Vec<Ending>,
}

impl Looking<'_> {
    async fn look(&mut self, c: &mut PgConnection, events: &[Event]) -> Result<()> {
        let of = |kind: &str, key: fn(&Event) -> Option<i64>| -> Vec<i64> {
            events.iter().filter(|e| e.kind == kind).filter_map(key).collect()
        };
        if self.of_kind(CancellerKind::OldBuild).next().is_some() {
            for newcomer in newcomers(c, &of("buildsets.new", |e| e.data["bsid"].as_i64())).await? {
                let old = self.superseded(c, &newcomer).await?;
                let reason = format!("superseded by change {} (buildset {})", newcomer.change, newcomer.buildset);
                self.end(old, reason);
            }
        }
        if self.of_kind(CancellerKind::FailingBuildset).next().is_some() {
            for failed in builds_failed(c, &of("builds.finished", |e| e.build_id)).await? {
                let reason = format!("build {}/{} of the same buildset failed", failed.builder, failed.number);
                let siblings = self.siblings(c, failed).await?;
                self.end(siblings, reason);
            }
        }
        Ok(())
    }

    /// Of several reasons for a request the first stays.
    fn end(&mut self, mut requests: Vec<RequestId>, reason: String) {
        requests.retain(|request| self.ended.insert(*request));
        if !requests.is_empty() {
            self.endings.push(Ending { requests, reason });
        }
    }

    fn of_kind(&self, kind: CancellerKind) -> impl Iterator<Item = &CancellerDef> {
        self.project.definition().cancellers.iter().filter(move |d| d.kind == kind)
    }

    /// Open requests that a newer change made old.
    async fn superseded(&mut self, c: &mut PgConnection, newcomer: &Newcomer) -> Result<Vec<RequestId>> {
        let mut old = Vec::new();
        let names: Vec<String> = self.of_kind(CancellerKind::OldBuild).map(|d| d.name.clone()).collect();
        for name in names {
            for stamp in &newcomer.sourcestamps {
                let (canceller, builder, own) = (name.clone(), newcomer.builder.clone(), stamp.clone());
                let asked = self.ask(move |p| p.policies().supersedes(&canceller, &builder, &own)).await?;
                let Some(key) = asked.flatten() else { continue };
                let open = self.open(c, &name, newcomer.builder_id, stamp).await?;
                // Several schedulers, and triggers, may build one change more than once.
                let older =
                    open.iter().filter(|(o, _)| o.request < newcomer.request && o.change < Some(newcomer.change));
                old.extend(older.filter(|(_, theirs)| *theirs == key).map(|(o, _)| o.request));
            }
        }
        Ok(old)
    }

    async fn open(
        &mut self,
        c: &mut PgConnection,
        canceller: &str,
        builder: i64,
        stamp: &SourceStamp,
    ) -> Result<&[(Open, String)]> {
        let place = [&stamp.codebase, &stamp.repository, &stamp.project].map(String::clone);
        let place = (canceller.to_owned(), builder, place);
        if !self.open.contains_key(&place) {
            let (open, canceller) = (open_of(c, builder, stamp).await?, canceller.to_owned());
            let keyed = self
                .ask(move |p| {
                    let begun = Instant::now();
                    let open = open.into_iter().take_while(|_| begun.elapsed() < KEYS);
                    open.map(|o| p.policies().branch_key(&canceller, &o.sourcestamp).map(|key| (o, key))).collect()
                })
                .await?;
            self.open.insert(place.clone(), keyed.unwrap_or_default());
        }
        Ok(self.open.get(&place).map(Vec::as_slice).unwrap_or_default())
    }

    /// Open requests that are to end with a build that failed.
    async fn siblings(&self, c: &mut PgConnection, failed: FailedBuild) -> Result<Vec<RequestId>> {
        let mut open = siblings_open(c, failed.buildset).await?;
        open.retain(|(request, _)| *request != failed.request);
        if open.is_empty() {
            return Ok(vec![]);
        }
        let whom = self.failing(failed.builder, failed.sourcestamps).await?;
        let meant = |name: &String| whom.iter().any(|w| w.as_ref().is_none_or(|names| names.contains(name)));
        Ok(open.iter().filter(|(_, name)| meant(name)).map(|(request, _)| *request).collect())
    }

    /// Whose builds end with a failed one: names, or none for all.
    async fn failing(&self, builder: String, stamps: Vec<SourceStamp>) -> Result<Vec<Option<Vec<String>>>> {
        let names: Vec<String> = self.of_kind(CancellerKind::FailingBuildset).map(|d| d.name.clone()).collect();
        let asked = self
            .ask(move |p| {
                let mut all = Vec::new();
                for name in &names {
                    all.extend(p.policies().fails_with(name, &builder, &stamps)?);
                }
                Ok(all)
            })
            .await?;
        Ok(asked.unwrap_or_default())
    }

    /// Off the async threads; none if a function failed, which is noted.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Project) -> std::result::Result<R, EvalError> + Send + 'static,
    ) -> Result<Option<R>> {
        let project = self.project.clone();
        let answer = tokio::task::spawn_blocking(move || question(&project))
            .await
            .map_err(|e| Error::Inconsistent(format!("asking the project's functions: {e}")))?;
        Ok(match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.app.failures.failed(&self.app.db, self.revision, Subject::Project, "services", &error);
                None
            }
        })
    }
}
