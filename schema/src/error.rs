//! What can go wrong between us and Postgres, sorted by who must act.

use std::borrow::Cow;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unreachable, read-only, shutting down: the same call may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The driver or Postgres refused the statement: a defect of ours or of the schema.
    #[error("the database refused a statement: {0}")]
    Driver(#[source] sqlx::Error),
    /// A row says what cannot be: names table and key.
    #[error("inconsistent row: {0}")]
    Inconsistent(String),
    /// A state change found another number of rows in the expected state.
    #[error("{what}: expected {expected} rows, changed {changed}")]
    Count { what: &'static str, expected: u64, changed: u64 },
    /// What the caller named is not there.
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    /// What the caller wants collides with what is there.
    #[error("{0}")]
    Conflict(String),
    /// The schema is too old or too new for this release, or the database moved.
    #[error("{0}")]
    Schema(String),
    #[error("migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Error {
    /// Whether the same transaction is worth another try at once: it lost
    /// against a concurrent one and did nothing.
    pub fn is_serialization(&self) -> bool {
        matches!(self.code().as_deref(), Some("40001" | "40P01"))
    }

    /// Whether waiting may help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable(_))
    }

    /// Whether the statement was cancelled because it took longer than it may.
    pub fn is_cancelled(&self) -> bool {
        self.code().as_deref() == Some("57014")
    }

    /// Whether the values themselves are what cannot be stored (SQLSTATE classes
    /// 22, 23, 54): the same again will be refused again.
    pub fn is_data(&self) -> bool {
        matches!(self, Error::Driver(_))
            && self.code().is_some_and(|c| ["22", "23", "54"].iter().any(|class| c.starts_with(class)))
    }

    /// The id of a log for which there is no partition, or 0 if it does not say which.
    pub fn no_partition(&self) -> Option<i64> {
        let Error::Driver(sqlx::Error::Database(e)) = self else { return None };
        // A check that failed has a name; a row that fits no partition is an error of the same code without.
        if e.code().as_deref() != Some("23514") || e.table() != Some("log_chunks") || e.constraint().is_some() {
            return None;
        }
        // «Partition key of the failing row contains (log_id) = (5000001).», in the words of its language.
        let detail =
            e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.detail()).unwrap_or_default();
        let id = detail.rsplit_once("= (").and_then(|(_, id)| id.split(')').next()?.parse().ok());
        Some(id.unwrap_or(0))
    }

    /// Whether the database's role lacks the right to do this.
    pub fn is_refused(&self) -> bool {
        self.code().as_deref() == Some("42501")
    }

    /// What Postgres says of a statement that is not ours, and the character (from 1) at which it is wrong.
    pub fn said(&self) -> Option<(String, Option<usize>)> {
        let (Error::Unavailable(sqlx::Error::Database(e)) | Error::Driver(sqlx::Error::Database(e))) = self else {
            return None;
        };
        let e = e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
        let place = match e.position() {
            Some(sqlx::postgres::PgErrorPosition::Original(at)) => Some(at),
            _ => None,
        };
        let hint = e.hint().map(|h| format!(" ({h})")).unwrap_or_default();
        Some((format!("{}{hint}", e.message()), place))
    }

    /// Whether what a statement names is not there: a schema, a table, a column or a function.
    pub fn is_undefined(&self) -> bool {
        matches!(self.code().as_deref(), Some("42P01" | "3F000" | "42883" | "42703"))
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Error::Unavailable(sqlx::Error::Database(e)) | Error::Driver(sqlx::Error::Database(e)) => e.code(),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        if unavailable(&e) { Error::Unavailable(e) } else { Error::Driver(e) }
    }
}

fn unavailable(e: &sqlx::Error) -> bool {
    match e {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // A connection cut in the middle of a message shows as a protocol error.
        sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|c| {
            // 08 connection, 53 resources (disk full, too many clients), 57P operator
            // intervention, 25006 read-only, 58 system error, 55P03 lock timeout.
            ["08", "53", "57P", "58"].iter().any(|class| c.starts_with(class)) || c == "25006" || c == "55P03"
        }),
        _ => false,
    }
}

/// Asserts the row count of a state change.
pub fn expect(what: &'static str, expected: u64, changed: u64) -> Result<(), Error> {
    if expected == changed { Ok(()) } else { Err(Error::Count { what, expected, changed }) }
}
