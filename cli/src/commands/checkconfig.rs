//! `tidemill checkconfig`

use crate::error::Result;
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::project::{checked, files};
use crate::sanitize;
use crate::up::plural;
use std::path::{Path, PathBuf};
use tidemill_lang::{Definition, Severity};

/// Check a project file without a server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill checkconfig
  tidemill checkconfig ci/ --json
Every error is shown with file, line and column; exit code 1 if there is one.")]
pub struct CheckConfig {
    /// The folder of master.star, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub async fn run(args: CheckConfig, out: Output) -> Result<Exit> {
    let files = files::from_folder(&folder(&args.dir))?;
    let looked = checked::look(&files).await?;
    let exit = if looked.definition.is_some() { Exit::Success } else { Exit::Failure };
    if out.json {
        out.document(&serde_json::json!({
            "ok": exit == Exit::Success,
            "hash": files.hash(),
            "diagnostics": looked.diagnostics,
            "definition": looked.definition,
        }));
        return Ok(exit);
    }
    for diagnostic in &looked.diagnostics {
        let text = diagnostic.to_string();
        let style = match diagnostic.severity {
            Severity::Error => Style::Red,
            Severity::Warning => Style::Yellow,
            Severity::Note => Style::Dim,
        };
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        eprintln!("{}\n{rest}\n", out.err().paint(style, first));
    }
    match &looked.definition {
        Some(definition) => out.line(&format!("{}: {}", out.paint(Style::Green, "good"), summary(definition))),
        None => {
            let errors = looked.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
            eprintln!("{}", plural(errors, "error"));
        }
    }
    Ok(exit)
}

/// The folder, also where the file in it was named.
pub fn folder(path: &Path) -> PathBuf {
    if path.is_file() {
        path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
    } else {
        path.to_owned()
    }
}

fn summary(definition: &Definition) -> String {
    let names: Vec<String> = definition.builders.iter().map(|b| sanitize::line(&b.name)).collect();
    let mut parts = vec![format!("{} ({})", plural(names.len(), "builder"), names.join(", "))];
    parts.push(plural(definition.schedulers.len(), "scheduler"));
    parts.push(plural(definition.change_sources.len(), "change source"));
    parts.join(", ")
}
