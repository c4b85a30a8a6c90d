//! Evaluated project files, by revision: the words of a notice are those of the
//! revision that planned it.
//!
//! A revision was evaluated in a child under limits before it was stored, so it
//! is evaluated here as it is, off the async threads and once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemill_lang::{Limits, Project};
use tidemill_model::RevisionId;
use tidemill_schema::config::{revision_active_key, revision_by_id};
use tidemill_schema::{Db, Error};

/// Revisions kept in memory.
const KEPT: usize = 8;
/// How long one that could not be evaluated is left alone.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Projects {
    known: Mutex<HashMap<i64, Known>>,
    /// One evaluation at a time: the second who asks finds what the first made.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
enum Known {
    Good(Arc<Project>),
    Bad(String, Instant),
}

impl Projects {
    /// The active revision; none before the first reconfig.
    pub async fn active(&self, db: &Db) -> Result<Option<(i64, Arc<Project>)>, Error> {
        let Some((id, _)) = revision_active_key(&mut *db.pool().acquire().await?).await? else { return Ok(None) };
        Ok(Some((id, self.of(db, id).await?)))
    }

    pub async fn of(&self, db: &Db, id: i64) -> Result<Arc<Project>, Error> {
        if let Some(found) = self.look(id) {
            return found;
        }
        let _turn = self.turn.lock().await;
        if let Some(found) = self.look(id) {
            return found;
        }
        let revision = revision_by_id(&mut *db.pool().acquire().await?, RevisionId(id)).await?;
        let revision =
            revision.ok_or_else(|| Error::NotFound(format!("revision {id} is not stored any more").into()))?;
        let evaluated = tokio::task::spawn_blocking(move || Project::evaluate(&revision.files, &Limits::default()))
            .await
            .map_err(|e| Error::Inconsistent(format!("evaluating revision {id}: {e}")))?;
        let known = match evaluated {
            Ok(project) => Known::Good(Arc::new(project)),
            Err(diagnostics) => {
                let said =
                    format!("revision {id} was good when it was applied and is not for this release: {diagnostics}");
                tracing::error!(revision = id, error = %said, "the project configuration cannot be evaluated");
                Known::Bad(said, Instant::now())
            }
        };
        let mut kept = self.known.lock().expect("no panic while locked");
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id, known.clone());
        known.answer()
    }

    fn look(&self, id: i64) -> Option<Result<Arc<Project>, Error>> {
        let known = self.known.lock().expect("no panic while locked");
        match known.get(&id)? {
            Known::Bad(_, at) if at.elapsed() > AGAIN => None,
            found => Some(found.answer()),
        }
    }
}

impl Known {
    fn answer(&self) -> Result<Arc<Project>, Error> {
        match self {
            Known::Good(project) => Ok(project.clone()),
            Known::Bad(said, _) => Err(Error::Inconsistent(said.clone())),
        }
    }
}
