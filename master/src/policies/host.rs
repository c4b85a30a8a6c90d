//! What policies may ask the master: rows, over a connection that is not the
//! caller's, so that a question never waits for what its own transaction locks
//! for longer than its statement may take.

use crate::app::App;
use std::time::{Duration, Instant};
use tidemill_lang::policies::{PolicyHost, QUERY_MAX, Query, Resource};
use tidemill_schema::Db;
use tidemill_schema::read::policy::{self, About};
use tokio::runtime::Handle;

/// Longest time of one question.
const QUESTION: Duration = Duration::from_secs(2);

/// Answers the questions of one call of a policy. They block: the call must run
/// on a thread of `spawn_blocking`, never on an async one.
pub struct Host {
    db: Db,
    runtime: Handle,
    until: Instant,
}

impl Host {
    /// For a call whose questions together may take so long. To be made where
    /// the runtime is known: on an async thread, or one of `spawn_blocking`.
    pub fn new(app: &App, within: Duration) -> Host {
        // The pool of people: claims, and the transaction that asks, keep theirs.
        Host { db: app.people.clone(), runtime: Handle::current(), until: Instant::now() + within }
    }

    /// Time that is left of the call.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The runtime to wait in.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl PolicyHost for Host {
    fn query(&self, query: &Query) -> Result<Vec<serde_json::Value>, String> {
        let about = match query.resource {
            Resource::Builds => About::Builds,
            Resource::Requests => About::Requests,
            Resource::Changes => About::Changes,
            Resource::Workers => About::Workers,
            Resource::Builders => About::Builders,
        };
        let within = self.left().min(QUESTION);
        if within.is_zero() {
            return Err("the policy has used up the time for its questions; ask fewer".into());
        }
        let limit = i64::from(query.limit.min(QUERY_MAX));
        // The statement is cancelled by Postgres; the outer bound is for a database that does not answer.
        let answer = async {
            tokio::time::timeout(within + QUESTION, policy::ask(&self.db, about, &query.filters, limit, within)).await
        };
        match self.runtime.block_on(answer) {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(_) => Err("the database does not answer".into()),
        }
    }
}
