//! Who sees which projects that are not public in the schema `report`.
//!
//! A grant is a row: a role of the database and a project, or all of them. The
//! views ask whether the caller has what that role has, so a grant to a group
//! counts for its members. Rights to read the views at all are Postgres' own
//! (`grant PREFIX_reporter to ROLE`); the rows only say which rows are seen.

use crate::{Db, Error, Result, run_tx};
use sqlx::PgConnection;
use time::OffsetDateTime;

/// A grant as people look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportGrant {
    pub role: String,
    /// None: all projects.
    pub project: Option<String>,
    pub granted_at: OffsetDateTime,
    /// The role of the database that did it, or `tidemill migrate`.
    pub granted_by: String,
    /// Whether the database still has the role.
    pub role_exists: bool,
    /// Whether the role may read the views.
    pub reads: bool,
}

/// All grants, by role and project.
pub async fn report_grants(db: &Db) -> Result<Vec<ReportGrant>> {
    Ok(sqlx::query_as!(
        ReportGrant,
        r#"select g.role, g.project, g.granted_at, g.granted_by, r.oid is not null as "role_exists!",
                  coalesce(has_schema_privilege(r.oid, to_regnamespace('report')::oid, 'usage')
                           and has_table_privilege(r.oid, to_regclass('report.build_facts')::oid, 'select'),
                           false) as "reads!"
             from report_grants g left join pg_roles r on r.rolname = g.role
            order by g.role, g.project nulls first"#
    )
    .fetch_all(db.pool())
    .await?)
}

/// Lets a role see a project, or all of them. False if it was granted before.
pub async fn report_grant_add(db: &Db, role: &str, project: Option<&str>) -> Result<bool> {
    run_tx!(db, "report.grant", |c| add(c, role, project).await)
}

async fn add(c: &mut PgConnection, role: &str, project: Option<&str>) -> Result<bool> {
    let known = sqlx::query_scalar!(r#"select exists (select from pg_roles where rolname = $1) as "x!""#, role as _)
        .fetch_one(&mut *c)
        .await?;
    if !known {
        return Err(Error::NotFound(format!("the database has no role `{}`", role.escape_debug()).into()));
    }
    if let Some(project) = project {
        let known = sqlx::query_scalar!(r#"select exists (select from projects where name = $1) as "x!""#, project)
            .fetch_one(&mut *c)
            .await?;
        if !known {
            return Err(Error::NotFound(
                format!("no revision ever defined a project `{}`", project.escape_debug()).into(),
            ));
        }
    }
    let added = sqlx::query!(
        "insert into report_grants (role, project, granted_by) values ($1, $2, current_user) on conflict do nothing",
        role,
        project
    )
    .execute(c)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Takes back what was granted of a project; without one all that the role has, also
/// of a role that is gone. Returns how many grants went.
pub async fn report_grant_remove(db: &Db, role: &str, project: Option<&str>) -> Result<u64> {
    let removed =
        sqlx::query!("delete from report_grants where role = $1 and ($2::text is null or project = $2)", role, project)
            .execute(db.pool())
            .await?;
    Ok(removed.rows_affected())
}
