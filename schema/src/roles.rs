//! Roles with the least privilege, for databases where replicas must not be
//! owners: `tidemill migrate --roles`.
//!
//! The role that migrates owns everything. `PREFIX_master` may do what a
//! replica does and no more: it makes no table, and can neither enrol a worker
//! nor make a user's token. `PREFIX_notifier` reads as people do, and writes what
//! became of notices. `PREFIX_reader` reads history in SQL, without the columns
//! that prove something ([`Grant::secret`]): it is for operators and sees every
//! project. `PREFIX_reporter` reads the schema `report` and nothing else, of the
//! projects that are public or granted ([`crate::report_grants`]).
//!
//! Grants are a state, not steps: each [`grants_apply`] takes away what the
//! roles had here and gives what this release says, in one transaction, for
//! those of the roles that exist. So every `migrate` brings them up to date, and
//! a database restored where they are missing works without them.

use crate::{Db, Error, Result, run_tx};
use sqlx::{AssertSqlSafe, PgConnection};

/// What the roles may do with a table.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub table: &'static str,
    /// What a replica does with it besides reading.
    pub master: &'static str,
    /// Whether people may read it in SQL.
    pub reader: bool,
    /// Columns that people may not read: tokens, their hashes, keys, and texts
    /// of the project file, which may hold what its author should not have written.
    pub secret: &'static [&'static str],
}

const fn grant(table: &'static str, master: &'static str) -> Grant {
    Grant { table, master, reader: true, secret: &[] }
}

const fn without(table: &'static str, master: &'static str, secret: &'static [&'static str]) -> Grant {
    Grant { table, master, reader: true, secret }
}

/// Every table. A lock of a row needs the right to update something of it.
pub const GRANTS: &[Grant] = &[
    without("cluster", "", &["form_key", "link_key"]),
    grant("masters", "insert, update"),
    grant("beats", "insert, delete"),
    without("config_revisions", "insert, update (definition, vocabulary)", &["files", "definition"]),
    grant("active_revision", "insert, update"),
    grant("activations", "insert"),
    without("policy_failures", "insert, update", &["error"]),
    grant("builder_settings", "insert, update"),
    grant("builders", "insert, update"),
    grant("builder_workers", "insert, delete"),
    Grant { table: "user_tokens", master: "", reader: false, secret: &[] },
    without("workers", "update (paused, labels)", &["token_hash"]),
    grant("worker_labels", "insert, update, delete"),
    without("worker_sessions", "insert, update", &["instance"]),
    without("patches", "insert, update", &["body", "hash"]),
    grant("sourcestamps", "insert, update"),
    without("change_sources", "insert, update", &["definition", "cursor"]),
    grant("changes", "insert, update"),
    without("hook_deliveries", "insert, update, delete", &["signed", "body"]),
    grant("held_changes", "insert, update"),
    without("schedulers", "insert, update", &["definition"]),
    grant("scheduler_upstreams", "insert, delete"),
    grant("buildsets", "insert, update"),
    grant("buildset_sourcestamps", "insert"),
    grant("buildset_changes", "insert"),
    grant("tries", "insert, update, delete"),
    grant("build_requests", "insert, update"),
    grant("lanes", "insert, update"),
    grant("request_queue", "insert, update, delete"),
    grant("locks", "insert, update"),
    grant("worker_definitions", "insert, update, delete"),
    grant("project_shares", "insert, update, delete"),
    grant("policy_refusals", "insert, update, delete"),
    grant("lock_holds", "insert, delete"),
    grant("lock_waiters", "insert, update, delete"),
    grant("lock_waits", "insert, delete"),
    grant("request_waits", "insert, update, delete"),
    without("builds", "insert, update", &["token"]),
    without("leases", "insert, update, delete", &["token"]),
    grant("build_batches", "insert, delete"),
    grant("build_successes", "insert"),
    grant("build_properties", "insert, update"),
    grant("steps", "insert, update"),
    grant("step_statistics", "insert, update"),
    grant("logs", "insert, update"),
    grant("log_chunks", "insert"),
    grant("triggers", "insert, update, delete"),
    grant("trigger_buildsets", "insert"),
    grant("events", "insert, delete"),
    grant("event_readers", "insert, update, delete"),
    grant("destinations", "insert, update"),
    grant("deliveries", "insert, update, delete"),
    grant("notice_optouts", "insert, delete"),
    grant("notifier_leases", "insert, update, delete"),
    // The key of a channel may be among what was settled there.
    without("irc_places", "insert, update, delete", &["settled"]),
    grant("control_requests", "insert, update, delete"),
    grant("projects", "insert, update"),
    grant("report_grants", ""),
    grant("build_facts", "insert"),
    grant("line_states", "insert, update"),
    grant("request_facts", "insert"),
    grant("lock_wait_facts", "insert"),
    grant("build_hours", "insert, update, delete"),
    grant("build_days", "insert, update, delete"),
    grant("build_months", "insert, update, delete"),
    grant("total_hours", "insert, update, delete"),
    grant("total_days", "insert, update, delete"),
    grant("branch_months", "insert, update, delete"),
    grant("request_months", "insert, update, delete"),
    grant("step_days", "insert, update"),
    grant("step_months", "insert, update"),
    grant("statistic_days", "insert, update"),
    grant("worker_hours", "insert, update, delete"),
    grant("worker_months", "insert, update, delete"),
    grant("test_sets", "insert"),
    grant("test_parts", "insert, delete"),
    without("test_names", "insert", &["hash"]),
    grant("test_results", "insert"),
    grant("test_states", "insert, update"),
    grant("test_flakes", "insert"),
    // The migrator's own.
    Grant { table: "_sqlx_migrations", master: "", reader: false, secret: &[] },
];

/// What a notifier may do beside reading what people may read.
#[derive(Clone, Copy, Debug)]
pub struct NotifierGrant {
    pub table: &'static str,
    /// Beside reading; empty: nothing.
    pub rights: &'static str,
    /// Columns of [`Grant::secret`] that it reads.
    pub reads: &'static [&'static str],
}

const fn notifier(table: &'static str, rights: &'static str, reads: &'static [&'static str]) -> NotifierGrant {
    NotifierGrant { table, rights, reads }
}

pub const NOTIFIER: &[NotifierGrant] = &[
    // Signs the links with which people leave.
    notifier("cluster", "", &["link_key"]),
    // Evaluates the project, whose functions make words.
    notifier("config_revisions", "", &["files", "definition"]),
    // A mail carries the patch of a try.
    notifier("patches", "", &["body", "hash"]),
    notifier("event_readers", "insert, update, delete", &[]),
    notifier("destinations", "insert, update", &[]),
    notifier("deliveries", "insert, update", &[]),
    notifier("notifier_leases", "insert, update, delete", &[]),
    notifier("irc_places", "insert, update", &["settled"]),
    // What people on IRC ask for; a master does it.
    notifier("control_requests", "insert", &[]),
    // Compares it at its start with what this release brings.
    notifier("_sqlx_migrations", "", &[]),
];

/// Functions that not everybody may call.
const MASTER_FUNCTIONS: &[&str] = &["log_chunks_partition(bigint, bigint)", "facts_partition(text, timestamptz)"];

/// What [`roles_ensure`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    pub master: String,
    pub notifier: String,
    pub reader: String,
    pub reporter: String,
    /// Those of the four that were not there before.
    pub created: Vec<String>,
    /// What a role with more rights must run, so that the reporter's queries are kept in bounds.
    pub unset: Vec<String>,
    /// Whether `/readyz` can name who of other roles holds the horizon back.
    pub sees_others: bool,
}

/// Makes the four roles where they are missing, and grants. Twice is once; with
/// another prefix the former roles keep nothing here.
///
/// The roles can log in and have no password: until they are given one, only
/// rules of `pg_hba.conf` that ask for none (peer, certificates) let them in.
pub async fn roles_ensure(db: &Db, prefix: &str) -> Result<Roles> {
    check_prefix(prefix)?;
    run_tx!(db, "roles.ensure", |c| ensure(c, prefix).await)
}

async fn ensure(c: &mut PgConnection, prefix: &str) -> Result<Roles> {
    let old = sqlx::query_scalar!("select roles_prefix from cluster for update").fetch_one(&mut *c).await?;
    if let Some(old) = old.filter(|old| old != prefix) {
        for role in existing(c, &old).await? {
            withdraw(c, &role).await?;
        }
        sqlx::query!("delete from report_grants where role = any($1) and project is null", &names(&old))
            .execute(&mut *c)
            .await?;
    }
    let [master, notifier, reader, reporter] = names(prefix);
    let have = existing(c, prefix).await?;
    let missing: Vec<String> =
        [&master, &notifier, &reader, &reporter].into_iter().filter(|r| !have.contains(r)).cloned().collect();
    if !missing.is_empty() {
        create(c, &missing, &reporter).await?;
    }
    let unset = limit(c, &reporter).await?;
    sqlx::query!("update cluster set roles_prefix = $1", prefix).execute(&mut *c).await?;
    grants_apply(c).await?;
    let sees_others = let_see_others(c, &master).await?;
    Ok(Roles { master, notifier, reader, reporter, created: missing, unset, sees_others })
}

/// Grants to those of the roles that exist. Called by every `migrate`.
pub async fn grants_apply(c: &mut PgConnection) -> Result<()> {
    let Some(prefix) =
        sqlx::query_scalar!("select roles_prefix from cluster for update").fetch_optional(&mut *c).await?.flatten()
    else {
        return Ok(());
    };
    let [master, notifier, reader, reporter] = names(&prefix);
    let schema = schema(c).await?;
    let has_report = has_report(c).await?;
    for role in existing(c, &prefix).await? {
        withdraw(c, &role).await?;
        let to = quote(&role);
        if has_report && role != notifier {
            run(
                c,
                format!("grant usage on schema report to {to}; grant select on all tables in schema report to {to}"),
            )
            .await?;
        }
        // They read the rows of all projects as it is, or answer for people who were let in.
        if role == master || role == reader {
            sqlx::query!(
                "insert into report_grants (role, granted_by) values ($1, 'tidemill migrate') on conflict do nothing",
                role
            )
            .execute(&mut *c)
            .await?;
        }
        if role == reporter {
            continue;
        }
        run(c, format!("grant usage on schema {schema} to {to}")).await?;
        for g in GRANTS {
            if role == master {
                let rights = if g.master.is_empty() { "select".to_owned() } else { format!("select, {}", g.master) };
                run(c, format!("grant {rights} on {} to {to}", quote(g.table))).await?;
                continue;
            }
            let more = NOTIFIER.iter().find(|n| role == notifier && n.table == g.table);
            if g.reader || more.is_some() {
                let columns = columns(c, g, more.map_or(&[], |n| n.reads)).await?;
                let rights =
                    more.filter(|n| !n.rights.is_empty()).map(|n| format!(", {}", n.rights)).unwrap_or_default();
                run(c, format!("grant select ({columns}){rights} on {} to {to}", quote(g.table))).await?;
            }
        }
        if role == master {
            run(c, format!("grant usage on all sequences in schema {schema} to {to}")).await?;
            // Of builders that are still to come.
            let owner = quote(&owner(c).await?);
            run(
                c,
                format!(
                    "alter default privileges for role {owner} in schema {schema} grant usage on sequences to {to}"
                ),
            )
            .await?;
            for function in MASTER_FUNCTIONS {
                run(c, format!("grant execute on function {function} to {to}")).await?;
            }
        }
    }
    Ok(())
}

/// Takes from a role what it has in our schemas.
async fn withdraw(c: &mut PgConnection, role: &str) -> Result<()> {
    let (schema, owner, from) = (schema(c).await?, quote(&owner(c).await?), quote(role));
    for kind in ["tables", "sequences", "functions"] {
        run(c, format!("revoke all on all {kind} in schema {schema} from {from}")).await?;
    }
    if has_report(c).await? {
        run(
            c,
            format!("revoke all on all tables in schema report from {from}; revoke all on schema report from {from}"),
        )
        .await?;
    }
    run(
        c,
        format!("alter default privileges for role {owner} in schema {schema} revoke usage on sequences from {from}"),
    )
    .await
}

/// Whether the views were applied: tests of this crate have none.
async fn has_report(c: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from pg_namespace where nspname = 'report'
                             and obj_description(oid, 'pg_namespace') like 'Tidemill: %') as "x!""#
    )
    .fetch_one(c)
    .await?)
}

/// What the reporter's sessions begin with. Whoever writes SQL can set these anew
/// for a session, so they keep in bounds what is careless and not what is hostile:
/// against that stands a replica of the database (docs/reporting.md).
const LIMITS: [(&str, &str); 5] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    // Only a superuser may give this one, and only a superuser takes it away.
    ("temp_file_limit", "4GB"),
];

/// Gives the reporter those of the settings that nobody gave it yet: what was
/// changed on purpose stays. Returns what this role may not do.
async fn limit(c: &mut PgConnection, reporter: &str) -> Result<Vec<String>> {
    let have = sqlx::query_scalar!(
        r#"select split_part(x, '=', 1) as "name!" from pg_db_role_setting s, unnest(s.setconfig) x
            where s.setrole = (select oid from pg_roles where rolname = $1) and s.setdatabase = 0"#,
        reporter as _
    )
    .fetch_all(&mut *c)
    .await?;
    let mut unset = Vec::new();
    for (name, value) in LIMITS.iter().filter(|(name, _)| !have.iter().any(|h| h == name)) {
        let statement = setting(reporter, name, value);
        run(c, "savepoint limits".into()).await?;
        match run(c, statement.clone()).await {
            Ok(()) => run(c, "release savepoint limits".into()).await?,
            Err(e) if e.is_refused() => {
                run(c, "rollback to savepoint limits".into()).await?;
                unset.push(statement);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(unset)
}

fn setting(role: &str, name: &str, value: &str) -> String {
    format!("alter role {} set {name} = '{value}'", quote(role))
}

async fn create(c: &mut PgConnection, roles: &[String], reporter: &str) -> Result<()> {
    // Dashboards open many connections if they may.
    let most = |role: &String| if role == reporter { " connection limit 20" } else { "" };
    let statements = roles.iter().map(|role| format!("create role {} login{}", quote(role), most(role)));
    let statements = statements.collect::<Vec<_>>().join("; ");
    run(c, statements.clone()).await.map_err(|e| {
        if e.is_refused() {
            Error::Conflict(format!(
                "this role of the database may not make roles: run `{statements}` as one that may, then this command again"
            ))
        } else {
            e
        }
    })
}

/// Lets the master see the transactions of other roles, which only names who
/// holds the horizon back; it is a right that few owners may give.
async fn let_see_others(c: &mut PgConnection, role: &str) -> Result<bool> {
    run(c, "savepoint see_others".into()).await?;
    match run(c, format!("grant pg_read_all_stats to {}", quote(role))).await {
        Ok(()) => {
            run(c, "release savepoint see_others".into()).await?;
            Ok(true)
        }
        Err(e) if e.is_refused() => {
            run(c, "rollback to savepoint see_others".into()).await?;
            Ok(sqlx::query_scalar!(r#"select pg_has_role($1::name, 'pg_read_all_stats', 'usage') as "x!""#, role as _)
                .fetch_one(c)
                .await?)
        }
        Err(e) => Err(e),
    }
}

/// Of master, notifier, reader and reporter.
fn names(prefix: &str) -> [String; 4] {
    ["master", "notifier", "reader", "reporter"].map(|role| format!("{prefix}_{role}"))
}

async fn existing(c: &mut PgConnection, prefix: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"select rolname::text as "name!" from pg_roles where rolname = any($1::text[]::name[]) order by 1"#,
        &names(prefix)
    )
    .fetch_all(c)
    .await?)
}

/// The schema that our tables are in, quoted.
async fn schema(c: &mut PgConnection) -> Result<String> {
    Ok(sqlx::query_scalar!(
        r#"select relnamespace::regnamespace::text as "schema!" from pg_class where oid = 'cluster'::regclass"#
    )
    .fetch_one(c)
    .await?)
}

/// Who owns the functions that make sequences and partitions.
async fn owner(c: &mut PgConnection) -> Result<String> {
    Ok(sqlx::query_scalar!(
        r#"select pg_get_userbyid(proowner)::text as "owner!" from pg_proc where oid = 'builder_sequence'::regproc"#
    )
    .fetch_one(c)
    .await?)
}

/// The columns that people may read, and these, quoted.
async fn columns(c: &mut PgConnection, g: &Grant, more: &[&str]) -> Result<String> {
    let secret: Vec<String> = g.secret.iter().filter(|s| !more.contains(s)).map(|s| (*s).to_owned()).collect();
    let names = sqlx::query_scalar!(
        r#"select attname::text as "name!" from pg_attribute
            where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attname <> all($2::text[]::name[])"#,
        g.table,
        &secret
    )
    .fetch_all(c)
    .await?;
    Ok(names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(", "))
}

async fn run(c: &mut PgConnection, statement: String) -> Result<()> {
    // Of names that were quoted and constants of this file.
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(c).await?;
    Ok(())
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn check_prefix(prefix: &str) -> Result<()> {
    let good = prefix.len() <= 40
        && prefix.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !prefix.starts_with("pg_");
    if good {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "`{}` cannot be a prefix of roles: use small letters, digits and `_`, at most 40, not beginning with a digit or `pg_`",
        prefix.escape_debug()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_name() {
        for good in ["tidemill", "ci_2", "_x"] {
            check_prefix(good).unwrap();
        }
        for bad in ["", "2ci", "CI", "a\"b", "pg_ci", "a b", &"x".repeat(41)] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }
}
