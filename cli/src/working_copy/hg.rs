//! The difference of a Mercurial working copy: from the newest public commit
//! below it to the files as they are.

use super::{Difference, Wish, added, output, text};
use crate::error::{Failure, Result};
use crate::project::git::without_secret;
use std::path::Path;
use std::process::Command;

pub fn difference(top: &Path, wish: &Wish) -> Result<Difference> {
    let repository = hg(top, &["paths", "default"]).map(text).ok().filter(|t| !t.is_empty());
    let asked = match (&wish.base, &repository) {
        (Some(named), _) => named.clone(),
        // What others can pull.
        (None, Some(_)) => "last(ancestors(.) and public())".to_owned(),
        (None, None) => ".".to_owned(),
    };
    let base = text(hg(top, &["log", "--rev", &asked, "--template", "{node}\n"])?);
    let base = base.lines().last().unwrap_or_default().to_owned();
    if base.is_empty() {
        return Err(Failure::usage("no commit below the working copy is public, so the builders have none of them")
            .hint("push one first, or say the commit with --base"));
    }
    let mut body = hg(top, &["diff", "--git", "--rev", &base])?;
    let others = hg(top, &["status", "--unknown", "--no-status", "--print0"])?;
    let others = String::from_utf8_lossy(&others).into_owned();
    let others: Vec<&str> = others.split('\0').filter(|f| !f.is_empty()).collect();
    if wish.untracked {
        for file in &others {
            body.extend(added(top, file)?);
        }
    }
    Ok(Difference {
        body,
        level: 1,
        base: Some(base),
        branch: Some(text(hg(top, &["branch"])?)),
        repository: Some(repository.map_or_else(|| top.display().to_string(), |r| without_secret(&r))),
        who: who(top),
        left_out: if wish.untracked { 0 } else { others.len() },
        ..Difference::default()
    })
}

/// As Mercurial itself knows who commits.
fn who(top: &Path) -> String {
    let environment = std::env::var("HGUSER").ok().filter(|name| !name.trim().is_empty());
    environment.unwrap_or_else(|| hg(top, &["config", "ui.username"]).map(text).unwrap_or_default())
}

fn hg(top: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("hg");
    // Plain: no alias and no colour of the person's changes what is printed.
    command.current_dir(top).env("HGPLAIN", "1").env("LC_ALL", "C.UTF-8").args(["--noninteractive"]).args(args);
    output(command, "hg", args[0])
}
