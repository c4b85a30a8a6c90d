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
use serde_json::{Value, json};
use std::path::PathBuf;
use tidemill_lang::Definition;
use tidemill_lang::definition::{Changes, Group};
use tidemill_model::revision::Files;

/// Apply a project to the masters, as one revision.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill reconfig                 the master.star of this folder
  tidemill reconfig ci/ --dry-run   only show what would change
What changes is shown by name and field by field. Builds that run keep the
revision they began with. A project with errors changes nothing: the last good
one stays; `tidemill config` shows the revisions that were, and goes back.")]
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
    let new = checked::evaluate(&files).await?;
    if !out.json {
        for diagnostic in &new.diagnostics {
            eprintln!("{}\n", out.err().paint(Style::Yellow, &diagnostic.to_string()));
        }
    }
    let client = args.connection.client().await?;
    let active: Option<Value> = client.find_one("config").await?;
    let (old, from, same_files) = match &active {
        Some(active) => {
            let id = active["revision"].as_i64().unwrap_or_default();
            let (old, hash) = revision(&client, id).await?;
            (old, Some(id), hash == files.hash())
        }
        None => (Definition::default(), None, false),
    };
    let changes = new.definition.diff(&old);
    if !out.json {
        show(&changes, out);
        if changes.is_empty() {
            out.line(if same_files { "nothing changes" } else { "nothing that is defined changes" });
        }
    }
    if args.dry_run {
        if out.json {
            out.document(&json!({ "from": from, "hash": files.hash(), "changed": !same_files, "changes": changes }));
        }
        return Ok(Exit::Success);
    }
    let mut answer = apply(&client, &files, &args.comment).await?;
    if out.json {
        answer["from"] = json!(from);
        answer["changes"] = json!(changes);
        out.document(&answer);
    } else {
        out.line(&format!("revision {} is active", answer["revision"]));
    }
    Ok(Exit::Success)
}

/// What a stored revision defines, as this release sees it, and its hash. One
/// that this release no longer takes is what it was when it was applied.
pub async fn revision(client: &Client, id: i64) -> Result<(Definition, String)> {
    let content: Value = client.get(&format!("config/revisions/{id}/content")).await?;
    let hash = content["hash"].as_str().unwrap_or_default().to_owned();
    let files: Files = serde_json::from_value(content["files"].clone()).unwrap_or_default();
    let definition = match checked::look(&files).await {
        Ok(looked) => looked.definition,
        Err(_) => None,
    };
    let stored = || serde_json::from_value(content["definition"].clone()).unwrap_or_default();
    Ok((definition.unwrap_or_else(stored), hash))
}

/// Longest value that is shown whole.
const SHOWN: usize = 120;

/// `+ builder x`, `- scheduler y`, and below `~ builder z` its fields.
pub fn show(changes: &Changes, out: Output) {
    show_first(changes, usize::MAX, out);
}

/// The first lines of it; how many there are beyond.
pub fn show_first(changes: &Changes, most: usize, out: Output) -> usize {
    let lines = lines(changes);
    for line in lines.iter().take(most) {
        let style = match line.trim_start().chars().next() {
            Some('+') => Style::Green,
            Some('-') => Style::Red,
            Some('~') => Style::Yellow,
            _ => Style::Dim,
        };
        out.line(&out.paint(style, line));
    }
    lines.len().saturating_sub(most)
}

fn lines(changes: &Changes) -> Vec<String> {
    let part = |group: &Group, name: &str| match name {
        "" => group.to_string(),
        name => format!("{group} {}", sanitize::line(name)),
    };
    let mut all: Vec<String> = changes.added.iter().map(|(g, n)| format!("+ {}", part(g, n))).collect();
    all.extend(changes.removed.iter().map(|(g, n)| format!("- {}", part(g, n))));
    for changed in &changes.changed {
        all.push(format!("~ {}", part(&changed.group, &changed.name)));
        for field in &changed.fields {
            let name = named(&field.field);
            let of_steps = field.field.strip_prefix("step_defs.").filter(|n| !n.contains('.'));
            all.push(match (&field.old, &field.new) {
                (None, Some(new)) if of_steps.is_some() => format!("    + {name} ({})", kind(new)),
                (Some(old), None) if of_steps.is_some() => format!("    - {name} ({})", kind(old)),
                // A digest says only that it differs.
                _ if field.field == "digest" => "    a function or what it uses".to_owned(),
                (None, Some(new)) => format!("    {name}: {}", value(new)),
                (Some(old), None) => format!("    {name}: {} -> nothing", value(old)),
                (old, new) => {
                    let text = |v: &Option<Value>| v.as_ref().map(value).unwrap_or_default();
                    format!("    {name}: {} -> {}", text(old), text(new))
                }
            });
        }
    }
    all
}

/// A field as people call it: `step_defs.make.args.command` is `step make, command`.
fn named(field: &str) -> String {
    let text = match field.strip_prefix("step_defs") {
        Some(rest) => {
            let rest = rest.trim_start_matches('.').replacen(".args.", ", ", 1);
            format!("step {rest}")
        }
        None => field.to_owned(),
    };
    sanitize::line(&text)
}

fn kind(step: &Value) -> String {
    sanitize::line(step["kind"].as_str().unwrap_or("a step"))
}

fn value(value: &Value) -> String {
    let text = sanitize::line(&value.to_string());
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Sends the files; what is wrong with them is the failure's text.
pub async fn apply(client: &Client, files: &Files, comment: &str) -> Result<Value> {
    let body = json!({ "files": files, "activate": true, "comment": comment });
    let (status, answer) = client.post_raw("config", &body).await?;
    if status.is_success() {
        return Ok(answer);
    }
    Err(refusal(client, status, &answer))
}

/// The failure that the answer to an activation means: every error of the files.
pub fn refusal(client: &Client, status: StatusCode, answer: &Value) -> Failure {
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
        return Failure::new(Exit::Failure, text);
    }
    client.problem(status, &answer.to_string())
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
    fn what_comes_goes_and_changes_is_told_by_name_and_field() {
        let (old, new) = (of(&[("a", "1"), ("b", "1"), ("c", "1")]), of(&[("b", "2"), ("c", "1"), ("d", "1")]));
        assert_eq!(
            lines(&new.diff(&old)),
            ["+ builder d", "- builder a", "~ builder b", "    description: \"1\" -> \"2\""]
        );
    }

    #[test]
    fn a_step_is_told_by_its_name() {
        assert_eq!(named("step_defs.make.args.command"), "step make, command");
        assert_eq!(named("step_defs[2].args.command"), "step [2], command");
        assert_eq!(named("properties.os"), "properties.os");
    }

    #[test]
    fn a_value_of_any_length_and_content_is_one_safe_line() {
        let shown = value(&Value::from(format!("\u{1b}[2J{}", "x".repeat(10_000))));
        assert!(shown.chars().count() <= SHOWN + 1 && !shown.contains('\u{1b}') && shown.ends_with('…'), "{shown}");
    }
}
