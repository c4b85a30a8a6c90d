//! `tidemill reconfig`: what will change, and then the change.

use super::Connection;
use super::checkconfig::folder;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::project::{checked, files};
use crate::sanitize;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidemill_lang::Definition;
use tidemill_model::revision::Files;

/// Apply a project to the masters, as one revision.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill reconfig                 the master.star of this folder
  tidemill reconfig ci/ --dry-run   only show what would change
A project with errors changes nothing: the last good one stays.")]
pub struct Reconfig {
    /// The folder of master.star
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "tidemill reconfig")]
    comment: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Reconfig, out: Output) -> Result<Exit> {
    let files = files::from_folder(&folder(&args.dir))?;
    let new = checked::evaluate(&files).await?.definition;
    let client = args.connection.client().await?;
    let active: Option<Value> = client.find_one("config").await?;
    let old = match &active {
        Some(active) => {
            let files: Files = serde_json::from_value(active["files"].clone()).unwrap_or_default();
            // An active revision that this release no longer takes counts as empty.
            checked::look(&files).await?.definition.unwrap_or_default()
        }
        None => Definition::default(),
    };
    let changes = differences(&old, &new);
    let same_files = active.as_ref().is_some_and(|a| a["hash"].as_str() == Some(&files.hash()));
    if !out.json {
        for change in &changes {
            let style = match change.chars().next() {
                Some('+') => Style::Green,
                Some('-') => Style::Red,
                _ => Style::Yellow,
            };
            out.line(&out.paint(style, change));
        }
        if changes.is_empty() {
            out.line(if same_files { "nothing changes" } else { "only steps or functions change" });
        }
    }
    if args.dry_run {
        if out.json {
            out.document(&json!({ "changes": changes, "changed": !same_files }));
        }
        return Ok(Exit::Success);
    }
    let mut answer = apply(&client, &files, &args.comment).await?;
    if out.json {
        answer["changes"] = json!(changes);
        out.document(&answer);
    } else {
        out.line(&format!("revision {} is active", answer["revision"]));
    }
    Ok(Exit::Success)
}

/// Sends the files; what is wrong with them is the failure's text.
pub async fn apply(client: &Client, files: &Files, comment: &str) -> Result<Value> {
    let body = json!({ "files": files, "activate": true, "comment": comment });
    let (status, answer) = client.post_raw("config", &body).await?;
    if status.is_success() {
        return Ok(answer);
    }
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        let errors: Vec<String> = answer["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|e| e["detail"].as_str())
            .map(sanitize::text)
            .collect();
        let text = match errors.is_empty() {
            true => sanitize::text(answer["detail"].as_str().unwrap_or("the master refuses the project")),
            false => errors.join("\n\n"),
        };
        return Err(Failure::new(Exit::Failure, text));
    }
    Err(client.problem(status, &answer.to_string()))
}

/// `+ builder x`, `- scheduler y`, `~ builder z`.
fn differences(old: &Definition, new: &Definition) -> Vec<String> {
    let mut all = Vec::new();
    diff("builder", &named(&old.builders, |b| &b.name), &named(&new.builders, |b| &b.name), &mut all);
    diff("scheduler", &named(&old.schedulers, |s| &s.name), &named(&new.schedulers, |s| &s.name), &mut all);
    let (from, to) = (&old.change_sources, &new.change_sources);
    diff("change source", &named(from, |s| &s.name), &named(to, |s| &s.name), &mut all);
    diff("worker", &named(&old.workers, |w| &w.name), &named(&new.workers, |w| &w.name), &mut all);
    all
}

fn named<T: Serialize>(list: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<String, Value> {
    list.iter()
        .map(|item| {
            let mut value = serde_json::to_value(item).unwrap_or_default();
            // That it stands on another line is no change.
            if let Value::Object(fields) = &mut value {
                fields.remove("location");
            }
            (name(item).clone(), value)
        })
        .collect()
}

fn diff(what: &str, old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, all: &mut Vec<String>) {
    for (name, value) in new {
        match old.get(name) {
            None => all.push(format!("+ {what} {}", sanitize::line(name))),
            Some(before) if before != value => all.push(format!("~ {what} {}", sanitize::line(name))),
            Some(_) => {}
        }
    }
    for name in old.keys().filter(|n| !new.contains_key(*n)) {
        all.push(format!("- {what} {}", sanitize::line(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_lang::definition::BuilderDef;

    fn of(builders: &[(&str, &str)]) -> Definition {
        let make = |(name, description): &(&str, &str)| BuilderDef {
            name: (*name).into(),
            description: (*description).into(),
            location: format!("{description} elsewhere"),
            ..BuilderDef::default()
        };
        Definition { builders: builders.iter().map(make).collect(), ..Definition::default() }
    }

    #[test]
    fn what_comes_goes_and_changes_is_told_by_name() {
        let found = differences(&of(&[("a", "1"), ("b", "1"), ("c", "1")]), &of(&[("b", "2"), ("c", "1"), ("d", "1")]));
        assert_eq!(found, ["~ builder b", "+ builder d", "- builder a"]);
    }
}
