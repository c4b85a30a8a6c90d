//! Evaluated config revisions, by hash: fetched and evaluated once, a few kept.
//!
//! Builds that need the same revision at the same time share one fetch and one
//! evaluation. A failed fetch is not kept, a failed evaluation is: the same
//! files fail again.

use crate::client::{CallError, Client};
use std::sync::{Arc, Mutex};
use tidemill_lang::{Limits, Project};
use tidemill_model::problem::kinds;
use tokio::sync::OnceCell;

/// How many are kept.
const KEPT: usize = 4;

/// The project, or why there is none, for people.
pub(crate) type Evaluated = Result<Arc<Project>, Arc<str>>;

#[derive(Default)]
pub(crate) struct Revisions {
    /// The one used last stands last.
    entries: Mutex<Vec<(String, Arc<OnceCell<Evaluated>>)>>,
}

impl Revisions {
    /// An error means that no master answered: try again.
    pub async fn get(&self, client: &Client, hash: &str) -> Result<Evaluated, CallError> {
        let cell = self.cell(hash);
        cell.get_or_try_init(|| evaluate(client, hash)).await.cloned()
    }

    fn cell(&self, hash: &str) -> Arc<OnceCell<Evaluated>> {
        let mut entries = self.entries.lock().expect("no panic while holding the list");
        let cell = match entries.iter().position(|(h, _)| h == hash) {
            Some(at) => entries.remove(at).1,
            None => Arc::default(),
        };
        entries.push((hash.to_owned(), cell.clone()));
        if entries.len() > KEPT {
            entries.remove(0);
        }
        cell
    }
}

async fn evaluate(client: &Client, hash: &str) -> Result<Evaluated, CallError> {
    let reply = match client.revision(hash).await {
        Err(e) if e.kind() == Some(kinds::NOT_FOUND) => {
            return Ok(Err(format!("the masters do not know the revision {hash} of this build: {e}").into()));
        }
        other => other?,
    };
    let wanted = hash.to_owned();
    let evaluated = tokio::task::spawn_blocking(move || {
        if reply.files.hash() != wanted {
            return Err(format!("the files that came as revision {wanted} have another hash"));
        }
        Project::evaluate(&reply.files, &Limits::default()).map(Arc::new).map_err(|e| e.to_string())
    });
    let evaluated = evaluated.await.unwrap_or_else(|_| Err("the evaluation of the project panicked".into()));
    Ok(evaluated.map_err(Arc::from))
}
