//! Functions that failed, as this replica saw them.
//!
//! A failure is logged and stored at most once in [`REPORT`] for each function,
//! and a function that has just failed is not asked for [`REST`], so that one
//! which always uses up its limits costs a replica a small part of its time.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_lang::EvalError;
use tidemill_schema::Db;
use tidemill_schema::policy_failures::{Subject, policy_failed};

/// Between two reports of the same function.
const REPORT: Duration = Duration::from_secs(10);
/// How long a function that failed is not asked.
const REST: Duration = Duration::from_secs(5);
/// Most functions remembered; then all are forgotten, which costs a report each.
const MOST: usize = 10_000;

/// Which function of which revision.
type Key = (i64, Subject, &'static str);

#[derive(Default)]
pub struct Failures(Mutex<HashMap<Key, Failed>>);

struct Failed {
    at: Instant,
    reported: Instant,
}

impl Failures {
    /// Whether the function failed so recently that it is not to be asked now.
    pub fn resting(&self, revision: i64, subject: &Subject, policy: &'static str) -> bool {
        let failed = self.0.lock().expect("no panic while locked");
        failed.get(&(revision, subject.clone(), policy)).is_some_and(|f| f.at.elapsed() < REST)
    }

    /// Notes a failure: in the log and, apart from the caller, in its row.
    pub fn failed(&self, db: &Db, revision: i64, subject: Subject, policy: &'static str, error: &EvalError) {
        self.failed_saying(db, revision, subject, policy, error.to_string());
    }

    /// The same, where there is no error of the language (a budget used up).
    pub fn failed_saying(&self, db: &Db, revision: i64, subject: Subject, policy: &'static str, error: String) {
        let now = Instant::now();
        {
            let mut known = self.0.lock().expect("no panic while locked");
            if known.len() >= MOST {
                known.clear();
            }
            let key = (revision, subject.clone(), policy);
            if let Some(failed) = known.get_mut(&key) {
                failed.at = now;
                if now.duration_since(failed.reported) < REPORT {
                    return;
                }
                failed.reported = now;
            } else {
                known.insert(key, Failed { at: now, reported: now });
            }
        }
        tracing::warn!(revision, subject = subject.kind(), name = subject.name(), policy, %error, "policy failed");
        let db = db.clone();
        tokio::spawn(async move {
            let stored = async {
                let mut c = db.pool().acquire().await?;
                policy_failed(&mut c, revision, &subject, policy, &error).await
            };
            if let Err(error) = stored.await {
                tracing::debug!(%error, "could not store the failure of a policy");
            }
        });
    }
}
