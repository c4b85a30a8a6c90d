//! `tidemill migrate`

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use tidemill_schema::Db;
use tidemill_service::settings::Layers;

/// Bring the database's schema up to this release.
///
/// Also needed once after a dump was restored into another PostgreSQL.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  TIDEMILL_DATABASE_URL=postgres://me@db/ci tidemill migrate")]
pub struct Migrate {
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
        Ok(Db::connect(&url, 2).await?)
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
    let report = tidemill_schema::migrate::migrate(&db).await?;
    if out.json {
        out.document(&serde_json::json!({
            "applied": report.applied, "version": report.version, "rebased": report.rebased, "epoch": report.epoch,
        }));
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
    Ok(Exit::Success)
}
