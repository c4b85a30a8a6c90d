//! The schema `report`: views with a documented, versioned shape over tables that
//! may change.
//!
//! Guarantees. [`views_apply`] is idempotent and all or nothing; it touches nothing
//! where all is as this release says, so that a `migrate` waits for no report that
//! runs. Within a version columns are only appended: Postgres itself refuses to
//! replace a view otherwise, and `tests/views/catalogue.rs` says so before. A migration
//! that takes away what a view reads fails, because the view depends on it; one
//! that must drops the view first, and finds it again after the migrations.
//!
//! Visibility: every view is a barrier over `report_builders`, which shows the
//! caller no builder of a project that is hidden from him (`00_visible.sql`).

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use tidemill_schema::migrate::{After, RELEASE};
use tidemill_schema::{Error, Result};

/// The version of the schema `report`. A change that breaks readers is a new schema
/// beside this one.
pub const VERSION: u32 = 1;

/// A file of `views/`.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub file: &'static str,
    pub sql: &'static str,
}

macro_rules! definitions {
    ($($file:literal),* $(,)?) => {
        &[$(Definition { file: $file, sql: include_str!(concat!("../views/", $file)) }),*]
    };
}

/// In the order in which they are applied.
pub const DEFINITIONS: &[Definition] = definitions![
    "00_visible.sql",
    "01_histograms.sql",
    "02_builders.sql",
    "03_projects.sql",
    "04_workers.sql",
    "10_build_facts.sql",
    "11_step_facts.sql",
    "12_request_facts.sql",
    "13_change_facts.sql",
    "20_worker_use.sql",
    "21_worker_online.sql",
    "22_lock_waits.sql",
    "23_worker_months.sql",
    "30_test_facts.sql",
    "31_test_states.sql",
    "32_test_flakes.sql",
    "33_statistics.sql",
    "40_build_hours.sql",
    "41_build_days.sql",
    "42_step_days.sql",
    "43_failures_by_kind.sql",
    "44_log_volume.sql",
    "45_build_months.sql",
    "46_step_months.sql",
    "47_branch_months.sql",
    "48_request_months.sql",
    "49_statistic_days.sql",
    "50_notices.sql",
    "51_total_hours.sql",
    "52_total_days.sql",
    "60_builder_health.sql",
    "70_sums.sql",
];

/// For the migrator: what follows the migrations.
pub const AFTER: &[After] = &[|c| Box::pin(views_apply(c))];

/// Brings `report` to what this release says. Within the caller's transaction.
pub async fn views_apply(c: &mut PgConnection) -> Result<()> {
    let now = state(c).await?;
    let comment = comment();
    if now.comment.as_deref() == Some(&comment) && missing(c).await?.is_empty() {
        return Ok(());
    }
    if now.exists && !now.ours {
        return Err(Error::Schema(
            "the database has a schema `report` that is not Tidemill's: rename it \
             (`alter schema report rename to ...`), or give Tidemill a database of its own"
                .into(),
        ));
    }
    if !now.exists {
        run(c, "create schema report".into()).await.map_err(|e| {
            if e.is_refused() {
                Error::Schema(format!(
                    "this role of the database may not make the schema `report`: run `create schema report \
                     authorization {}` as one that may, then this command again",
                    now.user
                ))
            } else {
                e
            }
        })?;
    }
    // Names without a schema are ours, whatever the caller's path.
    run(c, format!("set local search_path = {}, pg_temp", now.home)).await?;
    for definition in DEFINITIONS {
        run(c, definition.sql.into()).await.map_err(|e| refused(definition, e))?;
    }
    run(c, format!("comment on schema report is '{}'; set local search_path to default", comment.replace('\'', "''")))
        .await
}

/// Why a file cannot be applied, with what helps.
fn refused(definition: &Definition, e: Error) -> Error {
    if e.is_unavailable() || e.is_serialization() {
        return e;
    }
    let cause = match &e {
        Error::Driver(sqlx::Error::Database(cause)) => cause.message().to_owned(),
        e => e.to_string(),
    };
    let remedy = if e.is_refused() {
        " (the role that migrates must own the schema and what is in it: `alter schema report owner to ...`)"
    } else {
        ""
    };
    Error::Schema(format!("sql/views/{}: {cause}{remedy}", definition.file))
}

/// What `report` is now.
struct State {
    exists: bool,
    /// Made by us, or empty and given to us.
    ours: bool,
    comment: Option<String>,
    /// The schema of our tables, quoted.
    home: String,
    /// Who asks, quoted.
    user: String,
}

async fn state(c: &mut PgConnection) -> Result<State> {
    let row = sqlx::query(
        "select n.oid is not null, obj_description(n.oid, 'pg_namespace'),
                coalesce(obj_description(n.oid, 'pg_namespace') like 'Tidemill: %', false)
                or not exists (select from pg_class c where c.relnamespace = n.oid),
                (select t.relnamespace::regnamespace::text from pg_class t where t.oid = 'cluster'::regclass),
                quote_ident(current_user)
           from (select to_regnamespace('report')::oid) n(oid)",
    )
    .fetch_one(c)
    .await?;
    Ok(State {
        exists: row.try_get(0)?,
        comment: row.try_get(1)?,
        ours: row.try_get(2)?,
        home: row.try_get(3)?,
        user: row.try_get(4)?,
    })
}

/// Views that were dropped, by a migration or by somebody.
async fn missing(c: &mut PgConnection) -> Result<Vec<String>> {
    let names: Vec<&str> = DEFINITIONS.iter().flat_map(views_of).collect();
    Ok(sqlx::query_scalar("select v from unnest($1::text[]) v where to_regclass(v) is null")
        .bind(names)
        .fetch_all(c)
        .await?)
}

/// Names of the views that a file makes.
pub fn views_of(definition: &Definition) -> impl Iterator<Item = &'static str> {
    definition.sql.split("create or replace view ").skip(1).filter_map(|rest| rest.split_whitespace().next())
}

/// What the schema says of itself, and by which the next `migrate` knows it.
fn comment() -> String {
    let mut hash = Sha256::new();
    for definition in DEFINITIONS {
        hash.update(definition.sql);
    }
    format!(
        "Tidemill: history to ask in SQL. Version {VERSION}, by release {RELEASE} (definition {}). Columns are only \
         appended; each view and column has a comment.",
        hex::encode(&hash.finalize()[..8])
    )
}

async fn run(c: &mut PgConnection, statements: String) -> Result<()> {
    // Constants of this crate, and names that Postgres quoted.
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(c).await?;
    Ok(())
}
