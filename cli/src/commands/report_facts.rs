//! `tidemill report backfill`, `rebuild`, `drop`: repairs of what reports read. Masters keep
//! it; these write to the database itself, as `migrate`, while masters run.

use super::migrate::DatabaseUrl;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use tidemill_schema::Db;
use tidemill_schema::facts::facts_backfill;
use tidemill_schema::facts::partitions::facts_drop;
use tidemill_schema::facts::rebuild::sums_rebuild;
use tidemill_service::settings::Layers;
use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime};

#[derive(Debug, clap::Args)]
pub struct Backfill {
    /// Only builds from this id on; requests are all looked at
    #[arg(long, value_name = "ID", default_value_t = 0)]
    from: i64,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
pub struct Rebuild {
    /// The first day, UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: OffsetDateTime,
    /// The day after the last
    #[arg(long, value_name = "DAY", value_parser = day)]
    until: OffsetDateTime,
    #[command(flatten)]
    database: DatabaseUrl,
}

#[derive(Debug, clap::Args)]
pub struct Drop {
    /// Months before that of this day go
    #[arg(long, value_name = "DAY", value_parser = day)]
    before: OffsetDateTime,
    /// Do it: they do not come back
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    database: DatabaseUrl,
}

fn day(text: &str) -> std::result::Result<OffsetDateTime, String> {
    let day = Date::parse(text, &Iso8601::DATE).map_err(|_| format!("`{text}` is no day, such as 2026-01-31"))?;
    Ok(day.midnight().assume_utc())
}

pub async fn backfill(args: Backfill, mut layers: Layers, out: Output) -> Result<Exit> {
    let db = args.database.connect(&mut layers).await?;
    let stored = facts_backfill(&db, args.from).await?;
    told(
        out,
        serde_json::json!({ "builds": stored }),
        &format!("{} stored that were missing", plural(stored, "build")),
    );
    Ok(Exit::Success)
}

pub async fn rebuild(args: Rebuild, mut layers: Layers, out: Output) -> Result<Exit> {
    if args.until <= args.since {
        return Err(Failure::usage("--until is the day after the last one, so it comes after --since"));
    }
    let db = args.database.connect(&mut layers).await?;
    sums_rebuild(&db, args.since, args.until).await?;
    let days = (args.until - args.since).whole_days();
    told(out, serde_json::json!({ "days": days }), &format!("{} added up anew", plural(days.unsigned_abs(), "day")));
    Ok(Exit::Success)
}

pub async fn drop(args: Drop, mut layers: Layers, out: Output) -> Result<Exit> {
    if !args.yes {
        return Err(Failure::usage(
            "facts of builds, requests, waits for locks and results of tests of these months go, and do not come back: \
             sums by hour and day stay",
        )
        .hint("--yes does it"));
    }
    let db: Db = args.database.connect(&mut layers).await?;
    let dropped = facts_drop(&db, args.before).await?;
    let text = if dropped.is_empty() { "Nothing is that old".to_owned() } else { dropped.join("\n") };
    told(out, serde_json::json!({ "dropped": dropped }), &text);
    Ok(Exit::Success)
}

fn plural(n: u64, noun: &str) -> String {
    crate::up::plural(usize::try_from(n).unwrap_or(usize::MAX), noun)
}

fn told(out: Output, document: serde_json::Value, text: &str) {
    if out.json { out.document(&document) } else { out.line(text) }
}
