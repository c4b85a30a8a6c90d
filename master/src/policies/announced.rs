//! What the project says of a change that comes in, whoever announced it: the
//! codebase where the change names none (`c["codebaseGenerator"]`, CS-02), and
//! the link of its revision where it has none (`c["revlink"]`, CS-03).
//!
//! Asked before the transaction that stores the change. A failure never loses
//! one: it is stored without.

use crate::app::App;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::Project;
use tidemill_model::NewChange;
use tidemill_schema::policy_failures::Subject;

/// For all changes of one announcement.
const BUDGET: Duration = Duration::from_secs(10);

/// The changes with what the active project adds to them.
pub async fn completed(app: &App, changes: Vec<NewChange>) -> Vec<NewChange> {
    let wanting = changes.iter().any(|c| c.codebase.is_empty() || (c.revlink.is_none() && c.revision.is_some()));
    if !wanting {
        return changes;
    }
    let (revision, project) = match app.projects.active(&app.db).await {
        Ok(Some(active)) => active,
        Ok(None) => return changes,
        Err(error) => {
            tracing::warn!(%error, "changes are stored without what the project adds to them");
            return changes;
        }
    };
    let definition = project.definition();
    if !definition.codebase_generator && definition.revlinks.is_empty() {
        return changes;
    }
    let (this, kept) = (app.clone(), changes.clone());
    tokio::task::spawn_blocking(move || fill(&this, revision, &project, changes)).await.unwrap_or(kept)
}

fn fill(app: &App, revision: i64, project: &Arc<Project>, mut changes: Vec<NewChange>) -> Vec<NewChange> {
    let until = Instant::now() + BUDGET;
    let policies = project.policies();
    for change in &mut changes {
        if Instant::now() > until {
            let error = format!("more than {} s for the changes of one announcement", BUDGET.as_secs());
            app.failures.failed_saying(&app.db, revision, Subject::Project, "codebaseGenerator", error);
            break;
        }
        if change.codebase.is_empty() {
            match policies.codebase_of(change) {
                Ok(codebase) => change.codebase = codebase.unwrap_or_default(),
                Err(e) => app.failures.failed(&app.db, revision, Subject::Project, "codebaseGenerator", &e),
            }
        }
        if change.revlink.is_none()
            && let Some(named) = &change.revision
        {
            match policies.revlink(named, &change.repository) {
                Ok(link) => change.revlink = link,
                Err(e) => app.failures.failed(&app.db, revision, Subject::Project, "revlink", &e),
            }
        }
    }
    changes
}
