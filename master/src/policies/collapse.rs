//! `collapseRequests`: which pending requests a new one takes in (C-04 to C-08).
//!
//! Before a buildset is stored, [`choose`] says for each of its requests by what
//! it may merge: the built-in rule and key functions give a key, and merging by
//! keys is one statement however long the queue is. A predicate is a comparison
//! in pairs: [`merge`] reads the newest [`WINDOW`] pending requests of the builder
//! and asks about each. A rule that fails merges nothing: building too much is
//! safer than losing a build.

use super::{Host, views};
use crate::app::App;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::definition::{BuilderDef, Collapse};
use tidemill_lang::policies::{BuilderView, RequestView};
use tidemill_lang::{EvalError, Project};
use tidemill_model::RequestId;
use tidemill_schema::collapse::{
    CollapseBy, CollapseKey, Pairwise, collapse_lock, requests_collapse, requests_collapse_into,
};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::requests::{NewBuildset, Submitted};
use tidemill_schema::window::{pending_newest, requests_facts};
use tidemill_schema::{Error, Result};

const POLICY: &str = "collapseRequests";
/// Pending requests with which a new one is compared in pairs.
const WINDOW: i64 = 200;
/// For all calls of one decision: it may hold rows that others wait for.
pub const BUDGET: Duration = Duration::from_millis(500);

/// Says for each builder of `new` by what its request may become one with others.
/// `changes`: id and codebase of each change that it is for. After `until` no function
/// is asked any more, and what it would have merged is built by itself.
pub async fn choose(
    app: &App,
    revision: i64,
    project: &Arc<Project>,
    new: &mut NewBuildset,
    changes: &[(i64, String)],
    until: Instant,
) -> Result<()> {
    if new.sourcestamps.iter().any(|s| s.patch.is_some()) {
        // What somebody tries is built as it is, whatever the rule (D-40).
        return Ok(());
    }
    let mut asked = Vec::new();
    let mut compatible = None;
    for name in &new.builders {
        let by = match project.policies().collapse_kind(name) {
            Collapse::Never => continue,
            Collapse::Predicate => CollapseBy::Pairs,
            Collapse::Compatible => {
                // The same for each builder, because keys are compared within one.
                let key = compatible.get_or_insert_with(|| views::new_request(new, "", changes).compatible_key());
                let Some(key) = key else { continue };
                CollapseBy::Key(hash("compatible", key))
            }
            Collapse::Key => {
                let subject = subject(project, name);
                if !app.failures.resting(revision, &subject, POLICY) {
                    asked.push((view(project, name), subject, views::new_request(new, name, changes)));
                }
                continue;
            }
        };
        new.collapse.insert(name.clone(), by);
    }
    if asked.is_empty() {
        return Ok(());
    }
    let within = until.saturating_duration_since(Instant::now()).min(BUDGET);
    let (host, project) = (Host::new(app, within), project.clone());
    let answers = blocking(move || {
        let begun = Instant::now();
        let asked = asked.into_iter().take_while(move |_| begun.elapsed() < within);
        asked
            .map(|(view, subject, request)| {
                let key = project.policies().collapse_key(&view, &request, &host);
                (view.name, subject, key)
            })
            .collect::<Vec<_>>()
    })
    .await?;
    for (name, subject, key) in answers {
        match key {
            Ok(Some(key)) => drop(new.collapse.insert(name, CollapseBy::Key(hash("key", &key)))),
            Ok(None) => {}
            Err(error) => app.failures.failed(&app.db, revision, subject, POLICY, &error),
        }
    }
    Ok(())
}

/// Merges what the transaction has made with what is pending: its last act.
pub async fn merge(
    c: &mut PgConnection,
    app: &App,
    revision: i64,
    project: &Arc<Project>,
    made: &[Submitted],
) -> Result<()> {
    let fresh: Vec<_> = made.iter().flat_map(|m| m.fresh.iter().copied()).collect();
    let pairs: Vec<&Pairwise> = made.iter().flat_map(|m| &m.pairwise).collect();
    let builders: Vec<_> = pairs.iter().map(|p| p.builder).collect();
    collapse_lock(c, &fresh, &builders).await?;
    requests_collapse(c, &fresh).await?;
    let begun = Instant::now();
    let mut known: HashMap<RequestId, RequestView> = HashMap::new();
    for pair in pairs {
        let subject = subject(project, &pair.name);
        if begun.elapsed() > BUDGET || app.failures.resting(revision, &subject, POLICY) {
            continue;
        }
        let others: Vec<RequestId> =
            pending_newest(c, pair.builder, WINDOW).await?.into_iter().filter(|id| *id != pair.request).collect();
        if others.is_empty() {
            continue;
        }
        let missing: Vec<RequestId> =
            others.iter().copied().chain([pair.request]).filter(|id| !known.contains_key(id)).collect();
        known.extend(requests_facts(c, &missing).await?.iter().map(|f| (f.request, views::request(f, 1))));
        let Some(own) = known.get(&pair.request).cloned() else { continue };
        let (newer, older): (Vec<RequestView>, Vec<RequestView>) = others
            .iter()
            .filter_map(|id| known.get(id).filter(|r| !r.waited_for && !r.sources.iter().any(|s| s.patch)).cloned())
            .partition(|r| r.id > own.id);
        match compare(app, project, &pair.name, own, newer, older).await? {
            Ok(Compared::Into(survivor)) => drop(requests_collapse_into(c, survivor, &[pair.request]).await?),
            Ok(Compared::Takes(older)) => drop(requests_collapse_into(c, pair.request, &older).await?),
            Err(error) => app.failures.failed(&app.db, revision, subject, POLICY, &error),
        }
    }
    Ok(())
}

enum Compared {
    /// It becomes part of this newer one, whose maker committed first.
    Into(RequestId),
    /// These become part of it.
    Takes(Vec<RequestId>),
}

async fn compare(
    app: &App,
    project: &Arc<Project>,
    name: &str,
    own: RequestView,
    newer: Vec<RequestView>,
    older: Vec<RequestView>,
) -> Result<Result<Compared, EvalError>> {
    let (host, view, project) = (Host::new(app, BUDGET), view(project, name), project.clone());
    blocking(move || {
        for one in &newer {
            if project.policies().may_collapse(&view, &own, one, &host)? {
                return Ok(Compared::Into(RequestId(one.id)));
            }
        }
        let taken = project.policies().collapsible(&view, &own, &older, &host)?;
        Ok(Compared::Takes(taken.into_iter().map(RequestId).collect()))
    })
    .await
}

fn builder<'p>(project: &'p Project, name: &str) -> Option<&'p BuilderDef> {
    project.definition().builders.iter().find(|b| b.name == name)
}

fn view(project: &Project, name: &str) -> BuilderView {
    builder(project, name).map_or_else(|| BuilderView { name: name.into(), ..Default::default() }, views::builder)
}

/// Where the rule of a builder stands.
fn subject(project: &Project, name: &str) -> Subject {
    match builder(project, name).and_then(|b| b.collapse) {
        Some(_) => Subject::Builder(name.to_owned()),
        None => Subject::Project,
    }
}

fn hash(rule: &str, key: &str) -> CollapseKey {
    let digest = Sha256::digest(format!("{rule}\0{key}"));
    CollapseKey(digest[..16].try_into().expect("SHA-256 has 32 bytes"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Inconsistent(format!("asking a policy: {e}")))
}
