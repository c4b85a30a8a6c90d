//! Policies that failed: the last error of each function of a revision, for the
//! page of what it belongs to.

use crate::Result;
use crate::changes::clean;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// Longest stored error, in bytes: a traceback and what it says.
const ERROR_MAX: usize = 8 << 10;

/// Where a function stands in the project.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Project,
    Builder(String),
    Scheduler(String),
    ChangeSource(String),
}

impl Subject {
    /// As in `policy_failures.subject`.
    pub fn kind(&self) -> &'static str {
        match self {
            Subject::Project => "project",
            Subject::Builder(_) => "builder",
            Subject::Scheduler(_) => "scheduler",
            Subject::ChangeSource(_) => "change source",
        }
    }

    /// Empty for the project itself.
    pub fn name(&self) -> &str {
        match self {
            Subject::Project => "",
            Subject::Builder(name) | Subject::Scheduler(name) | Subject::ChangeSource(name) => name,
        }
    }
}

/// A function that failed.
#[derive(Clone, Debug)]
pub struct PolicyFailure {
    pub subject: String,
    pub name: String,
    /// Its argument's or key's name, such as `nextBuild`.
    pub policy: String,
    /// With its traceback.
    pub error: String,
    pub failures: i64,
    pub first_at: OffsetDateTime,
    pub last_at: OffsetDateTime,
}

/// Notes a failure of a function of a revision; nothing if the revision is gone.
pub async fn policy_failed(
    c: &mut PgConnection,
    revision: i64,
    subject: &Subject,
    policy: &str,
    error: &str,
) -> Result<()> {
    let end = error.floor_char_boundary(ERROR_MAX);
    sqlx::query!(
        "insert into policy_failures as f (revision_id, subject, name, policy, error)
         select id, $2, $3, $4, $5 from config_revisions where id = $1
         on conflict (revision_id, subject, name, policy) do update
            set error = excluded.error, failures = f.failures + 1, last_at = tidemill_now()",
        revision,
        subject.kind(),
        clean(subject.name()),
        policy,
        clean(&error[..end])
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Failures of the active revision of one builder, of the schedulers that name
/// it, and, because they concern every builder, of the project itself and of
/// change sources; newest first.
pub async fn policy_failures_of_builder(c: &mut PgConnection, builder: &str) -> Result<Vec<PolicyFailure>> {
    Ok(sqlx::query_as!(
        PolicyFailure,
        "select f.subject, f.name, f.policy, f.error, f.failures, f.first_at, f.last_at
           from active_revision a join policy_failures f on f.revision_id = a.revision_id
          where f.subject in ('project', 'change source') or f.subject = 'builder' and f.name = $1
             or f.subject = 'scheduler'
                and exists (select 1 from schedulers s where s.name = f.name and s.definition -> 'builder_names' ? $1)
          order by f.last_at desc, f.subject, f.policy",
        builder
    )
    .fetch_all(c)
    .await?)
}
