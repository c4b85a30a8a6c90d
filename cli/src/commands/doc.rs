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
  tidemill doc util.Interpolate --json
  tidemill doc --write reference/   pages of Markdown")]
pub struct Doc {
    /// A word, with or without its namespace; or a namespace
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
    let Some(item) = reference().find(name) else { return Err(unknown(name)) };
    match out.json {
        true => out.document(item),
        false => out.raw(page(item, out).as_bytes()),
    }
    Ok(Exit::Success)
}

fn unknown(name: &str) -> Failure {
    let low = name.to_lowercase();
    let holding = || reference().items.iter().map(|i| i.name.as_str()).filter(|n| n.to_lowercase().contains(&low));
    let hint = match reference().nearest(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !low.is_empty() && holding().next().is_some() => {
            format!("words that hold it: {}", holding().take(12).collect::<Vec<_>>().join(", "))
        }
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
        out.line(&format!("{}{pad}  {}", out.paint(Style::Bold, &item.name), item.summary));
    }
}

fn page(item: &Item, out: Output) -> String {
    let mut text = format!("{}\n", out.paint(Style::Bold, &item.name));
    if !item.signature.is_empty() {
        text.push_str(&format!("{}\n", item.signature));
    }
    text.push_str(&format!("\n{}\n", item.doc));
    let (live, other): (Vec<&Arg>, Vec<&Arg>) =
        item.args.iter().partition(|a| a.alias_of.is_none() && a.ignored.is_none());
    if !live.is_empty() {
        text.push_str("\nArguments:\n");
    }
    for arg in live {
        let default = match (arg.required, arg.default.as_str()) {
            (true, _) => ", required".to_owned(),
            (false, "") => String::new(),
            (false, default) => format!(", default {default}"),
        };
        text.push_str(&format!("  {} ({}{default})\n", out.paint(Style::Cyan, &arg.name), arg.r#type));
        text.push_str(&format!("      {}\n", arg.doc));
    }
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
