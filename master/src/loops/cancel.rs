//! Cancellers of the project: older builds of a branch when a newer change comes
//! (RP-19), the others of a buildset when one of its builds fails (RP-20).
//!
//! One replica at a time reads the event stream past the reader's cursor, asks
//! the filters off the async threads, and commits what it ended together with
//! the new place. A filter that fails is shown as policies are, and cancels
//! nothing: a build too many is better than one too few.

use crate::app::App;
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidemill_lang::definition::{CancellerDef, CancellerKind};
use tidemill_lang::{EvalError, Project};
use tidemill_model::{BuildId, RequestId, SourceStamp};
use tidemill_schema::cancellers::{
    Newcomer, READER, builds_failed, newcomers, older_open, requests_end_all, siblings_open,
};
use tidemill_schema::events::{events_after, reader_advance, reader_forget, reader_take};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Events of one transaction.
const PAGE: i64 = 500;
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
    let Some(last) = page.events.last() else { return Ok(pass) };
    let of = |kind: &str, key: fn(&tidemill_schema::events::Event) -> Option<i64>| -> Vec<i64> {
        page.events.iter().filter(|e| e.kind == kind).filter_map(key).collect()
    };
    let has = |kind| project.definition().cancellers.iter().any(|d| d.kind == kind);
    let asking = Asking { app, revision, project };
    if has(CancellerKind::OldBuild) {
        for newcomer in newcomers(c, &of("buildsets.new", |e| e.data["bsid"].as_i64())).await? {
            let old = asking.superseded(c, &newcomer).await?;
            let reason = format!("superseded by change {} (buildset {})", newcomer.change, newcomer.buildset);
            pass.end(c, &old, &reason).await?;
        }
    }
    if has(CancellerKind::FailingBuildset) {
        for failed in builds_failed(c, &of("builds.finished", |e| e.build_id)).await? {
            let (builder, number) = (failed.builder.clone(), failed.number);
            let open: Vec<_> =
                siblings_open(c, failed.buildset).await?.into_iter().filter(|(r, _)| *r != failed.request).collect();
            if open.is_empty() {
                continue;
            }
            let whom = asking.failing(failed.builder, failed.sourcestamps).await?;
            let meant = |name: &String| whom.iter().any(|w| w.as_ref().is_none_or(|names| names.contains(name)));
            let ended: Vec<RequestId> = open.iter().filter(|(_, name)| meant(name)).map(|(r, _)| *r).collect();
            let reason = format!("build {builder}/{number} of the same buildset failed");
            pass.end(c, &ended, &reason).await?;
        }
    }
    reader_advance(c, READER, last.at_cursor).await?;
    Ok(pass)
}

impl Pass {
    async fn end(&mut self, c: &mut PgConnection, requests: &[RequestId], reason: &str) -> Result<()> {
        if !requests.is_empty() {
            self.stopped.extend(requests_end_all(c, requests, reason).await?);
            self.acted = true;
        }
        Ok(())
    }
}

/// The filters and who is told when one fails.
struct Asking<'a> {
    app: &'a App,
    revision: i64,
    project: &'a Arc<Project>,
}

impl Asking<'_> {
    fn of_kind(&self, kind: CancellerKind) -> impl Iterator<Item = &CancellerDef> {
        self.project.definition().cancellers.iter().filter(move |d| d.kind == kind)
    }

    /// Open requests that a newer change made old.
    async fn superseded(&self, c: &mut PgConnection, newcomer: &Newcomer) -> Result<Vec<RequestId>> {
        let mut old = Vec::new();
        for def in self.of_kind(CancellerKind::OldBuild) {
            for stamp in &newcomer.sourcestamps {
                let (name, builder, own) = (def.name.clone(), newcomer.builder.clone(), stamp.clone());
                let asked = self.ask(move |p| p.policies().supersedes(&name, &builder, &own)).await?;
                let Some(key) = asked.flatten() else { continue };
                let older = older_open(c, newcomer, stamp).await?;
                let name = def.name.clone();
                let same = self
                    .ask(move |p| {
                        let mut same = Vec::new();
                        for (request, stamp) in &older {
                            if p.policies().branch_key(&name, stamp)? == key {
                                same.push(*request);
                            }
                        }
                        Ok(same)
                    })
                    .await?;
                old.extend(same.unwrap_or_default());
            }
        }
        old.sort_unstable();
        old.dedup();
        Ok(old)
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
