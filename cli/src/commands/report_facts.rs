//! `tidemill report backfill`, `rebuild`, `drop`: care of what reports read. They write
//! to the database itself, as `migrate`, and masters may run meanwhile.

use super::migrate::DatabaseUrl;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use tidemill_schema::facts::facts_backfill;
use tidemill_schema::facts::partitions::facts_drop;
use tidemill_schema::facts::rebuild::sums_rebuild;
use tidemill_service::settings::Layers;
use tidemill_sql::report::parameters::time_of;
use time::OffsetDateTime;

#[derive(Debug, clap::Subcommand)]
pub enum Facts {
    /// Store what is missing of builds and requests that are over; masters do so by themselves
    #[command(after_help = "\
Examples:
  tidemill report backfill
  tidemill report backfill --from 120000
What is there already is passed over.")]
    Backfill(Backfill),
    /// Compute the sums of whole days anew from the facts of their builds
    #[command(after_help = "\
Examples:
  tidemill report rebuild --since 2026-01-01 --until 2026-02-01")]
    Rebuild(Rebuild),
    /// Drop old months of what reports read; sums by hour and day stay
    #[command(after_help = "\
Examples:
  tidemill report drop --before 2025-01-01 --yes
  tidemill report drop --before 400d --yes")]
    Drop(Drop),
}

#[derive(Debug, clap::Args)]
pub struct Backfill {
    /// Id of the first build that is looked at
    #[arg(long, value_name = "BUILD", default_value_t = 0)]
    from: i64,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
pub struct Rebuild {
    /// First day, or how far back
    #[arg(long, value_name = "TIME")]
    since: String,
    /// The day before which it ends
    #[arg(long, value_name = "TIME", default_value = "now")]
    until: String,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
pub struct Drop {
    /// Months before that of this day go
    #[arg(long, value_name = "TIME")]
    before: String,
    /// Do it: they do not come back
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    database: DatabaseUrl,
}

pub async fn run(command: Facts, mut layers: Layers, out: Output) -> Result<Exit> {
    match command {
        Facts::Drop(args) => return drop(args, layers, out).await,
        Facts::Backfill(args) => {
            let db = args.database.connect(&mut layers).await?;
            let stored = facts_backfill(&db, args.from).await?;
            match out.json {
                true => out.document(&serde_json::json!({ "builds": stored })),
                false => out.line(&format!("{} stored", crate::up::plural(stored as usize, "build"))),
            }
        }
        Facts::Rebuild(args) => {
            let now = OffsetDateTime::now_utc();
            let at = |name: &str, text: &str| time_of(text, now).map_err(|e| Failure::usage(format!("{name}: {e}")));
            let (since, until) = (at("--since", &args.since)?, at("--until", &args.until)?);
            let db = args.database.connect(&mut layers).await?;
            sums_rebuild(&db, since, until).await.map_err(|e| match e {
                tidemill_schema::Error::Conflict(said) => Failure::usage(said),
                e => e.into(),
            })?;
            match out.json {
                true => out.document(&serde_json::json!({ "rebuilt": true })),
                false => out.line("The sums of these days are as the facts say."),
            }
        }
    }
    Ok(Exit::Success)
}

async fn drop(args: Drop, mut layers: Layers, out: Output) -> Result<Exit> {
    let before =
        time_of(&args.before, OffsetDateTime::now_utc()).map_err(|e| Failure::usage(format!("--before: {e}")))?;
    if !args.yes {
        return Err(Failure::usage(
            "facts of builds and requests, waits for locks and results of tests of these months go, and do not come back; \
             sums by hour and day stay",
        )
        .hint("--yes does it"));
    }
    let db = args.database.connect(&mut layers).await?;
    let dropped = facts_drop(&db, before).await.map_err(|e| match e {
        tidemill_schema::Error::Conflict(said) => Failure::new(Exit::Refused, said),
        e => e.into(),
    })?;
    match out.json {
        true => out.document(&serde_json::json!({ "dropped": dropped })),
        false if dropped.is_empty() => out.line("Nothing is that old."),
        false => dropped.iter().for_each(|month| out.line(month)),
    }
    Ok(Exit::Success)
}
