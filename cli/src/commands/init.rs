//! `tidemill init`

use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::project::git::git;
use crate::project::guess;
use std::path::{Path, PathBuf};
use tidemill_model::revision::ROOT_FILE;

/// Write a first master.star from what the repository is made of.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill init
  tidemill init --print             only show it
  tidemill init ../project && tidemill up ../project")]
pub struct Init {
    /// The folder to look at and to write to
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Print the file instead of writing it
    #[arg(long)]
    print: bool,
    /// Replace a master.star that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: Init, out: Output) -> Result<Exit> {
    let dir = args.path.canonicalize().doing(|| format!("open {}", args.path.display()))?;
    let title = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_else(|| "project".into());
    let read = |path: &str| std::fs::read_to_string(dir.join(path)).ok();
    let guess = guess::guess(&title, &paths(&dir)?, &read);
    if args.print && out.json {
        out.document(&serde_json::json!({ "found": guess.found, "text": guess.text }));
        return Ok(Exit::Success);
    }
    if args.print {
        out.raw(guess.text.as_bytes());
        return Ok(Exit::Success);
    }
    let file = dir.join(ROOT_FILE);
    if file.exists() && !args.force {
        return Err(Failure::usage(format!("{} is there already", file.display()))
            .hint("change it by hand, print a new one with --print, or replace it with --force"));
    }
    std::fs::write(&file, &guess.text).doing(|| format!("write {}", file.display()))?;
    if out.json {
        out.document(&serde_json::json!({ "file": file, "found": guess.found, "text": guess.text }));
        return Ok(Exit::Success);
    }
    match guess.found.is_empty() {
        true => eprintln!("Nothing known was found: put your commands into {}.", file.display()),
        false => eprintln!("Found {}.", guess.found.join(", ")),
    }
    out.line(&file.display().to_string());
    eprintln!("Check it with `tidemill checkconfig`, run it with `tidemill up`.");
    Ok(Exit::Success)
}

/// Files below the folder: what git knows or would take, else all of two levels.
pub fn paths(dir: &Path) -> Result<Vec<String>> {
    if let Ok(text) = git(dir, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]) {
        return Ok(text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            let inner = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
            found.extend(inner.map(|e| format!("{name}/{}", e.file_name().to_string_lossy())));
        } else {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}
