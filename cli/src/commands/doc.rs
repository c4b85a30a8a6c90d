//! `tidemill doc`: the words of the project file.

use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::{Output, Style};
use std::path::{Path, PathBuf};
use tidemill_lang::reference::{Arg, Item, pages, reference};

/// What a word of the project file means: arguments, types, defaults, an example.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill doc                      all words
  tidemill doc steps                those of a namespace
  tidemill doc ShellCommand
  tidemill doc collapseRequests     a key of the configuration
  tidemill doc haltOnFailure        an argument, and what takes it
  tidemill doc util.Interpolate --json
  tidemill doc --write reference/   pages of Markdown")]
pub struct Doc {
    /// A word, with or without its namespace; a namespace; a key; an argument
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Write the whole reference into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    write: Option<PathBuf>,
}

pub fn run(args: Doc, out: Output) -> Result<Exit> {
    if let Some(folder) = &args.write {
        return write(folder, out);
    }
    let items: Vec<&Item> = reference().items.iter().collect();
    let Some(name) = &args.name else {
        list(&items, out);
        return Ok(Exit::Success);
    };
    // `util` is a namespace, though a word might have that name elsewhere.
    let within: Vec<&Item> = items.into_iter().filter(|i| i.namespace == *name).collect();
    if !within.is_empty() {
        list(&within, out);
        return Ok(Exit::Success);
    }
    let taken = arguments(name);
    match reference().find(name).or_else(|| only(name)) {
        Some(item) if out.json => out.document(item),
        Some(item) => {
            out.raw(page(item, out).as_bytes());
            if let Some((_, words)) = taken.first() {
                out.line(&format!("\nAlso an argument of {}.", listed(words)));
            }
        }
        None if taken.is_empty() => return Err(unknown(name)),
        None if out.json => {
            let one = |(arg, words): &(&Arg, Vec<&str>)| serde_json::json!({ "argument": arg, "of": words });
            out.document(&taken.iter().map(one).collect::<Vec<_>>());
        }
        None => {
            for (arg, words) in &taken {
                out.raw(argument(arg, out).as_bytes());
                out.line(&format!("      An argument of {}.", listed(words)));
            }
        }
    }
    Ok(Exit::Success)
}

/// Arguments of this name: each that differs, and the words that take it.
fn arguments(name: &str) -> Vec<(&'static Arg, Vec<&'static str>)> {
    let mut found: Vec<(&Arg, Vec<&str>)> = vec![];
    for item in &reference().items {
        let Some(arg) = item.args.iter().find(|a| a.name == name && a.alias_of.is_none() && a.ignored.is_none()) else {
            continue;
        };
        match found.iter_mut().find(|(a, _)| *a == arg) {
            Some((_, words)) => words.push(&item.name),
            None => found.push((arg, vec![&item.name])),
        }
    }
    found
}

/// Most words that a hint names.
const NAMED: usize = 12;

/// Words that have `part` in their names, whatever the case.
fn holding(part: &str) -> Vec<&'static Item> {
    let low = part.to_lowercase();
    let holds = |item: &&Item| !low.is_empty() && item.name.to_lowercase().contains(&low);
    reference().items.iter().filter(holds).collect()
}

/// The word that a part of its name is enough for.
fn only(part: &str) -> Option<&'static Item> {
    match holding(part)[..] {
        [one] if arguments(part).is_empty() => Some(one),
        _ => None,
    }
}

fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn unknown(name: &str) -> Failure {
    let holding: Vec<&str> = holding(name).iter().map(|i| i.name.as_str()).collect();
    let hint = match reference().nearest(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !holding.is_empty() => format!("words that hold it: {}", listed(&holding)),
        None => "`tidemill doc` lists all words".into(),
    };
    Failure::not_found(format!("the project file has no word {name:?}")).hint(hint)
}

fn list(items: &[&Item], out: Output) {
    if out.json {
        return out.document(&items);
    }
    let width = items.iter().map(|i| i.name.chars().count()).max().unwrap_or_default();
    for item in items {
        let pad = " ".repeat(width - item.name.chars().count());
        out.line(&format!("{}{pad}  {}", out.paint(Style::Bold, &item.name), item.line()));
    }
}

/// An argument with its type and its words.
fn argument(arg: &Arg, out: Output) -> String {
    let default = match (arg.required, arg.default.as_str()) {
        (true, _) => ", required".to_owned(),
        (false, "") => String::new(),
        (false, default) => format!(", default {default}"),
    };
    format!("  {} ({}{default})\n      {}\n", out.paint(Style::Cyan, &arg.name), arg.r#type, arg.text())
}

fn page(item: &Item, out: Output) -> String {
    let mut text = format!("{}\n", out.paint(Style::Bold, &item.name));
    if !item.signature.is_empty() {
        text.push_str(&format!("{}\n", item.signature));
    }
    text.push_str(&format!("\n{}\n", item.text()));
    let (live, other): (Vec<&Arg>, Vec<&Arg>) =
        item.args.iter().partition(|a| a.alias_of.is_none() && a.ignored.is_none());
    if !live.is_empty() {
        text.push_str("\nArguments:\n");
    }
    live.iter().for_each(|arg| text.push_str(&argument(arg, out)));
    for arg in other {
        let why = match (&arg.alias_of, &arg.ignored) {
            (Some(newer), _) => format!("an old name of {newer}"),
            (None, why) => format!("without an effect: {}", why.as_deref().unwrap_or_default()),
        };
        text.push_str(&format!("  {} ({why})\n", out.paint(Style::Dim, &arg.name)));
    }
    if !item.example.is_empty() {
        let example: Vec<String> = item.example.lines().map(|l| format!("  {l}")).collect();
        text.push_str(&format!("\nExample:\n{}\n", example.join("\n")));
    }
    text
}

fn write(folder: &Path, out: Output) -> Result<Exit> {
    std::fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))?;
    let pages = pages();
    for (name, text) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
        if !out.json {
            out.line(&path.display().to_string());
        }
    }
    if out.json {
        out.document(&pages.iter().map(|(name, _)| folder.join(name)).collect::<Vec<_>>());
    }
    Ok(Exit::Success)
}
