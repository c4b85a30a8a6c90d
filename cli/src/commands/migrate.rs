//! `tidemill migrate`

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use tidemill_schema::{Db, roles};
use tidemill_service::settings::Layers;

/// Bring the database's schema up to this release.
///
/// Also needed once after a dump was restored into another PostgreSQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  TIDEMILL_DATABASE_URL=postgres://me@db/ci tidemill migrate
  tidemill migrate --roles        makes tidemill_master, tidemill_notifier, tidemill_reader and tidemill_reporter")]
pub struct Migrate {
    /// Make the roles PREFIX_master (for replicas), PREFIX_notifier, PREFIX_reader (raw tables, for operators) and
    /// PREFIX_reporter (the views of `report`, for everybody) too; every later migrate grants to them
    /// [default PREFIX: tidemill]
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "tidemill")]
    pub roles: Option<String>,
    #[command(flatten)]
    pub database: DatabaseUrl,
}

/// Where the database is.
#[derive(Debug, clap::Args)]
pub struct DatabaseUrl {
    /// PostgreSQL to use (TIDEMILL_DATABASE_URL keeps it out of the process list)
    #[arg(long = "database", value_name = "URL")]
    pub url: Option<String>,
}

impl DatabaseUrl {
    /// Connects to the database that flags, environment or file name.
    pub async fn connect(&self, layers: &mut Layers) -> Result<Db> {
        layers.flag("database.url", self.url.as_deref(), "--database");
        let url = resolve(layers)?;
        let db = Db::connect(&url, 2).await?;
        // Its lock, and statements that are prepared, need a session too.
        tidemill_schema::wake::probe(&db).await?;
        Ok(db)
    }
}

/// The database's URL, which must be set.
pub fn resolve(layers: &Layers) -> Result<String> {
    layers.load()?.settings.database.resolve()?.ok_or_else(|| {
        Failure::usage("no database is named").hint(
            "set TIDEMILL_DATABASE_URL=postgres://user@host/database, or database.url in tidemill.toml; \
             `tidemill up` brings its own",
        )
    })
}

pub async fn run(args: Migrate, mut layers: Layers, out: Output) -> Result<Exit> {
    let db = args.database.connect(&mut layers).await?;
    let report = tidemill_sql::migrate(&db).await?;
    let roles = match &args.roles {
        Some(prefix) => Some(roles::roles_ensure(&db, prefix).await.map_err(|e| match e {
            tidemill_schema::Error::Conflict(text) => Failure::usage(text),
            e => e.into(),
        })?),
        None => None,
    };
    if out.json {
        let mut document = serde_json::json!({
            "applied": report.applied, "version": report.version, "rebased": report.rebased, "epoch": report.epoch,
        });
        if let Some(r) = &roles {
            document["roles"] = serde_json::json!({
                "master": r.master, "notifier": r.notifier, "reader": r.reader, "reporter": r.reporter,
                "created": r.created, "unset": r.unset,
            });
        }
        out.document(&document);
        return Ok(Exit::Success);
    }
    let applied = crate::up::plural(report.applied, "migration");
    out.line(&format!("{applied} applied; the schema is at {}", report.version));
    if report.rebased {
        out.line(&format!(
            "The database came from another PostgreSQL: its cursors go on, workers of the old one are fenced (epoch {}).",
            report.epoch
        ));
    }
    if let Some(r) = &roles {
        let made = if r.created.is_empty() { String::new() } else { format!(" (made: {})", r.created.join(", ")) };
        out.line(&format!(
            "{} may run masters, {} notifiers; {} may read all tables of history, {} the views of `report`{made}",
            r.master, r.notifier, r.reader, r.reporter
        ));
        if !r.created.is_empty() {
            out.line("They have no password: give them one with \\password in psql, or let pg_hba.conf know them.");
        }
        if !r.unset.is_empty() {
            out.line("To keep the reporter's queries in bounds somebody with more rights must run:");
            for statement in &r.unset {
                out.line(&format!("  {statement};"));
            }
        }
        if !r.sees_others {
            out.line(&format!(
                "/readyz will not name who of other roles holds the horizon back, unless a superuser runs: \
                 grant pg_read_all_stats to {}",
                r.master
            ));
        }
    }
    Ok(Exit::Success)
}
