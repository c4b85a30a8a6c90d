//! `tidemill config`: the revisions that were, what lies between them, and the
//! way back.

use super::Connection;
use super::reconfig;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::{api, sanitize};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_model::revision::Files;

/// Revisions of the configuration: history and rollback.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill config list              the newest revisions; * is the active one
  tidemill config show 7            what revision 7 says
  tidemill config diff 7            what changed from 7 to the active one
  tidemill config activate 7        go back to it")]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The newest revisions
    #[command(after_help = "Examples:\n  tidemill config list\n  tidemill config list --limit 5 --json")]
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        connection: Connection,
    },
    /// The files of a revision
    #[command(after_help = "Examples:\n  tidemill config show\n  tidemill config show 7 > master.star")]
    Show {
        /// Its number, or the beginning of its hash [default: the active one]
        #[arg(value_name = "REV")]
        revision: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// What changes from one revision to another, by name and field
    #[command(after_help = "Examples:\n  tidemill config diff 7\n  tidemill config diff 4f2a1c 9")]
    Diff {
        /// The older revision: its number, or the beginning of its hash
        #[arg(value_name = "A")]
        from: String,
        /// The newer one [default: the active one]
        #[arg(value_name = "B")]
        to: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Make a revision the active one; builds that run keep theirs
    #[command(after_help = "Examples:\n  tidemill config activate 7 --comment \"the new one broke the release\"")]
    Activate {
        /// Its number, or the beginning of its hash
        #[arg(value_name = "REV")]
        revision: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "tidemill config activate")]
        comment: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Clone, Debug, Deserialize)]
struct Revision {
    revisionid: i64,
    hash: String,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    created_at: Option<i64>,
    #[serde(default)]
    activated_at: Option<i64>,
}

pub async fn run(args: Config, out: Output) -> Result<Exit> {
    match args.command {
        Command::List { limit, connection } => list(&connection.client().await?, limit, out).await,
        Command::Show { revision, connection } => show(&connection.client().await?, revision.as_deref(), out).await,
        Command::Diff { from, to, connection } => diff(&connection.client().await?, &from, to.as_deref(), out).await,
        Command::Activate { revision, comment, connection } => {
            activate(&connection.client().await?, &revision, &comment, out).await
        }
    }
}

async fn list(client: &Client, limit: u32, out: Output) -> Result<Exit> {
    let path = format!("config/revisions?order=-revisionid&limit={limit}");
    if out.json {
        out.document(&json!({ "revisions": api::list_raw(client, &path, "revisions").await? }));
        return Ok(Exit::Success);
    }
    let revisions: Vec<Revision> = api::list(client, &path, "revisions").await?;
    let rows: Vec<Vec<String>> = revisions
        .iter()
        .map(|r| {
            vec![
                if r.active { out.paint(Style::Green, "*") } else { " ".into() },
                r.revisionid.to_string(),
                r.hash.chars().take(12).collect(),
                when(r.created_at),
                when(r.activated_at),
                sanitize::line(&r.created_by),
                sanitize::line(&r.comment),
            ]
        })
        .collect();
    out.table(&["", "REVISION", "HASH", "APPLIED", "LAST ACTIVATED", "BY", "COMMENT"], &rows);
    Ok(Exit::Success)
}

async fn show(client: &Client, named: Option<&str>, out: Output) -> Result<Exit> {
    let id = resolve(client, named).await?;
    let content: Value = client.get(&format!("config/revisions/{id}/content")).await?;
    if out.json {
        out.document(&content);
        return Ok(Exit::Success);
    }
    let files: Files = serde_json::from_value(content["files"].clone())
        .map_err(|e| Failure::internal(format!("the master's answer for revision {id} is unexpected: {e}")))?;
    for (name, text) in &files.0 {
        if files.0.len() > 1 {
            out.line(&out.paint(Style::Bold, &format!("# {}", sanitize::line(name))));
        }
        // A pipe gets the bytes; a terminal nothing that could move its cursor.
        let text = if out.terminal { sanitize::text(text) } else { text.clone() };
        out.raw(text.as_bytes());
        if !text.ends_with('\n') {
            out.line("");
        }
    }
    Ok(Exit::Success)
}

async fn diff(client: &Client, from: &str, to: Option<&str>, out: Output) -> Result<Exit> {
    let (from, to) = (resolve(client, Some(from)).await?, resolve(client, to).await?);
    let (old, _) = reconfig::revision(client, from).await?;
    let (new, _) = reconfig::revision(client, to).await?;
    let changes = new.diff(&old);
    if out.json {
        out.document(&json!({ "from": from, "to": to, "changes": changes }));
        return Ok(Exit::Success);
    }
    reconfig::show(&changes, out);
    if changes.is_empty() {
        out.line(&format!("revisions {from} and {to} define the same"));
    }
    Ok(Exit::Success)
}

async fn activate(client: &Client, named: &str, comment: &str, out: Output) -> Result<Exit> {
    let id = resolve(client, Some(named)).await?;
    let body = json!({ "comment": comment });
    let (status, answer) = client.post_raw(&format!("config/revisions/{id}/activate"), &body).await?;
    if !status.is_success() {
        return Err(reconfig::refusal(client, status, &answer));
    }
    match (out.json, answer["changed"].as_bool()) {
        (true, _) => out.document(&answer),
        (false, Some(false)) => out.line(&format!("revision {id} is the active one already")),
        (false, _) => out.line(&format!("revision {id} is active")),
    }
    Ok(Exit::Success)
}

/// Least of a hash that names a revision.
const HASH_MIN: usize = 6;
/// Revisions among which a hash is looked for.
const LOOKED: usize = 1000;

/// The id that a person's word means: a number, a hash's beginning, or nothing for the active one.
async fn resolve(client: &Client, named: Option<&str>) -> Result<i64> {
    let Some(named) = named else {
        let active: Value = client.get("config").await?;
        return super::field(&active, "revision");
    };
    // Digits alone are a number; a hash of as many would be a rare one.
    if let Ok(id) = named.parse::<i64>() {
        return Ok(id);
    }
    let hint = "`tidemill config list` shows them";
    if named.len() < HASH_MIN || !named.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("{named:?} names no revision: give its number or its hash")).hint(hint));
    }
    let path = format!("config/revisions?order=-revisionid&limit={LOOKED}&field=revisionid&field=hash");
    let all: Vec<Revision> = api::list(client, &path, "revisions").await?;
    let found: Vec<&Revision> = all.iter().filter(|r| r.hash.starts_with(&named.to_ascii_lowercase())).collect();
    match found[..] {
        [one] => Ok(one.revisionid),
        [] => Err(Failure::not_found(format!("there is no revision {named}")).hint(hint)),
        _ => Err(Failure::usage(format!("{named} is the beginning of {} hashes", found.len())).hint(hint)),
    }
}

/// A time in UTC; nothing where there is none.
fn when(seconds: Option<i64>) -> String {
    let Some(at) = seconds.and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok()) else { return "-".into() };
    let (date, clock) = (at.date(), at.time());
    format!("{date} {:02}:{:02}", clock.hour(), clock.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc_to_the_minute() {
        assert_eq!(when(Some(1_700_000_000)), "2023-11-14 22:13");
        assert_eq!(when(None), "-");
    }
}
