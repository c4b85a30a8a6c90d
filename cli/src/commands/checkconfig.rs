//! `tidemill checkconfig`: all that is wrong with a project, without a server or a database.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::{Output, Style};
use crate::project::{apart, files};
use crate::sanitize;
use crate::up::plural;
use std::path::{Path, PathBuf};
use tidemill_lang::{Definition, Diagnostic, Severity};

/// Check a project without a server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill checkconfig
  tidemill checkconfig ci/ --json
All errors are shown at once, each with file, line and column; exit code 1 if there is one.
Warnings (of the language's lint and static types too) do not fail.")]
pub struct CheckConfig {
    /// The folder of master.star, or the file itself
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub fn run(args: CheckConfig, out: Output) -> Result<Exit> {
    let files = files::from_folder(&folder(&args.dir))?;
    let report = apart::check(&files)?;
    let exit = if report.ok() { Exit::Success } else { Exit::Failure };
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    if out.json {
        out.document(&serde_json::json!({
            "ok": report.ok(),
            "errors": errors,
            "warnings": warnings,
            "hash": files.hash(),
            "files": report.files,
            "diagnostics": report.diagnostics,
            "definition": report.definition,
        }));
        return Ok(exit);
    }
    show(&report.diagnostics, out);
    match &report.definition {
        Some(definition) => {
            let doubts = if warnings > 0 { format!("; {}", plural(warnings, "warning")) } else { String::new() };
            out.line(&format!("{}: {}{doubts}", out.paint(Style::Green, "good"), summary(definition)));
        }
        None => eprintln!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
    Ok(exit)
}

/// Each with its place and source line, on stderr.
pub fn show(diagnostics: &[Diagnostic], out: Output) {
    for diagnostic in diagnostics {
        let text = sanitize::text(&diagnostic.to_string());
        let style = match diagnostic.severity {
            Severity::Error => Style::Red,
            Severity::Warning => Style::Yellow,
            Severity::Note => Style::Dim,
        };
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        eprintln!("{}\n{rest}\n", out.err().paint(style, first));
    }
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
