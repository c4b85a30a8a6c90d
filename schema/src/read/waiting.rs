//! Why a request waits. Reasons and words come from one function of the
//! database, `request_waiting`, for the API, the pages and the command line.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;

/// Each reason that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It became part of another.
    Collapsed,
    /// Its worker was lost; it is tried again later.
    BackOff,
    /// Somebody holds what it needs.
    Lock,
    /// The active revision does not define its builder.
    Inactive,
    /// Its builder is paused.
    Paused,
    /// Nobody that may build it is connected.
    NoWorker,
    /// Those that may build it are of an older release.
    Vocabulary,
    /// Those that may build it are paused.
    WorkersPaused,
    /// The worker that was chosen for it is not there, paused, busy, or may not build it.
    ChosenWorker,
    /// Outsiders sent it, and those that may build it take trusted changes only.
    TrustedOnly,
    /// All that may build it have builds.
    Busy,
    /// A function of the project says no.
    Refused,
    /// Others of its builder go first.
    Queue,
    /// There is a free worker: it starts now, or its turn among others of its builder comes soon.
    Free,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub why: Why,
    /// Follows «It waits for».
    pub text: String,
    /// Numbers and names that belong to it, such as `until`, `workers`, `ahead`.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

/// Why an open request has no build, the strongest reason first. Empty for one
/// that is being built or is over; none if there is no such request.
pub async fn waiting(c: &mut PgConnection, request: i64) -> Result<Option<Vec<Waiting>>> {
    let found = sqlx::query_scalar!(
        r#"select request_waiting(r.id, true) as "x!" from build_requests r where r.id = $1"#,
        request
    )
    .fetch_optional(c)
    .await?;
    found
        .map(|json| {
            serde_json::from_value(json).map_err(|e| {
                Error::Inconsistent(format!("request_waiting() gives what read::waiting does not know: {e}"))
            })
        })
        .transpose()
}
