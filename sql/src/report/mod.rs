//! Reports: a question each, as a .sql file with a head.
//!
//! Those that come with Tidemill are inside the binary (`sql/reports/`); a folder
//! may hold more of the same form. A file that is broken is told with its name
//! and line, and harms no other.

pub mod head;
pub mod parameters;
pub mod run;
mod split;
pub mod table;

pub use head::{Chart, ChartKind, ColumnDoc, Head, Unit};
pub use parameters::{Parameter, ParameterKind, Values, Wrong};
pub use run::{Bounds, Error, run};
pub use table::{Cell, Column, Table};

use rust_embed::RustEmbed;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Largest file of an own report.
const FILE_MAX: u64 = 256 * 1024;

/// A question with its SQL.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it is called by: its file without `.sql`.
    pub name: String,
    /// Where it comes from, for messages.
    pub file: String,
    /// Whether it came with Tidemill.
    pub built_in: bool,
    pub head: Head,
    /// The query below the head, as it was written.
    pub sql: String,
    /// Line of the file on which the query begins.
    pub first_line: usize,
    /// The query in pieces: text, and places of parameters.
    pieces: Vec<split::Piece>,
}

/// A file that is no report: `FILE:LINE: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {detail}")]
pub struct Broken {
    pub file: String,
    pub line: usize,
    pub detail: String,
}

impl Report {
    /// Reads a report out of its file's text.
    pub fn parse(name: &str, file: &str, text: &str, built_in: bool) -> Result<Report, Broken> {
        let broken = |(line, detail): (usize, String)| Broken { file: file.to_owned(), line, detail };
        let (head, below) = Head::parse(text).map_err(broken)?;
        let first_line = below + text.lines().skip(below - 1).take_while(|l| l.trim().is_empty()).count();
        let sql: String = text.split_inclusive('\n').skip(first_line - 1).collect();
        let sql = sql.trim_end().trim_end_matches(';').trim_end().to_owned();
        if sql.is_empty() {
            return Err(broken((first_line, "there is no query below the head".into())));
        }
        let pieces =
            split::split(&sql, &head.parameters).map_err(|(line, detail)| broken((line + first_line - 1, detail)))?;
        if let Some(n) = (0..head.parameters.len()).find(|n| !split::uses(&pieces, *n)) {
            return Err(broken((1, format!("the query does not use the parameter `{}`", head.parameters[n].name))));
        }
        Ok(Report { name: name.to_owned(), file: file.to_owned(), built_in, head, sql, first_line, pieces })
    }

    /// The query with `$1`, `$2`, … in the order of the head's parameters, each cast to its type.
    pub fn bound_sql(&self) -> String {
        self.pieces.iter().map(|piece| piece.bound(&self.head.parameters)).collect()
    }

    /// The query with values as literals, for people to copy. What is run is [`Report::bound_sql`].
    pub fn sql_to_copy(&self, values: &Values) -> String {
        let mut text = format!("-- {}: {}\n", self.name, self.head.question);
        text.extend(self.pieces.iter().map(|piece| piece.literal(&self.head.parameters, values)));
        text.push_str(";\n");
        text
    }
}

#[derive(RustEmbed)]
#[folder = "reports/"]
struct Files;

/// Those that come with Tidemill, by name.
pub fn built_in() -> &'static [Arc<Report>] {
    static REPORTS: OnceLock<Vec<Arc<Report>>> = OnceLock::new();
    REPORTS.get_or_init(|| {
        let mut names: Vec<_> = Files::iter().collect();
        names.sort();
        let read = |file: &str| {
            let found = Files::get(file).expect("the folder lists it");
            let text = std::str::from_utf8(&found.data).expect("our reports are text");
            let name = file.trim_end_matches(".sql");
            Arc::new(Report::parse(name, &format!("sql/reports/{file}"), text, true).expect("our reports are good"))
        };
        names.iter().map(|file| read(file)).collect()
    })
}

/// All reports there are, and files that are none.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    pub reports: Vec<Arc<Report>>,
    pub broken: Vec<Broken>,
}

impl Reports {
    /// Built-in ones, and those of a folder.
    pub fn load(folder: Option<&Path>) -> Reports {
        let mut all = Reports { reports: built_in().to_vec(), broken: Vec::new() };
        let Some(folder) = folder else { return all };
        let broken = |file: &Path, detail: String| Broken { file: file.display().to_string(), line: 1, detail };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) => {
                all.broken.push(broken(folder, format!("cannot read the folder of reports: {e}")));
                return all;
            }
        };
        let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "sql"));
        paths.sort();
        for path in paths {
            match own(&path) {
                Ok(report) if all.find(&report.name).is_some() => {
                    all.broken.push(broken(
                        &path,
                        format!("a report `{}` comes with Tidemill: rename the file", report.name),
                    ));
                }
                Ok(report) => all.reports.push(Arc::new(report)),
                Err(e) => all.broken.push(e),
            }
        }
        all.reports.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub fn find(&self, name: &str) -> Option<&Arc<Report>> {
        self.reports.iter().find(|r| r.name == name)
    }

    /// By group, in the order of groups and titles.
    pub fn groups(&self) -> Vec<(String, Vec<Arc<Report>>)> {
        let mut groups: Vec<(String, Vec<Arc<Report>>)> = Vec::new();
        for report in &self.reports {
            match groups.iter_mut().find(|(name, _)| *name == report.head.group) {
                Some((_, reports)) => reports.push(report.clone()),
                None => groups.push((report.head.group.clone(), vec![report.clone()])),
            }
        }
        groups.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, reports) in &mut groups {
            reports.sort_by(|a, b| a.head.title.cmp(&b.head.title));
        }
        groups
    }
}

fn own(path: &Path) -> Result<Report, Broken> {
    let file = path.display().to_string();
    let broken = |detail: String| Broken { file: file.clone(), line: 1, detail };
    let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 60 || !name.chars().all(plain) {
        return Err(broken("a report's file is named with a-z, 0-9, - and _, at most 60 of them".into()));
    }
    let size = path.metadata().map_err(|e| broken(format!("cannot be read: {e}")))?.len();
    if size > FILE_MAX {
        return Err(broken(format!("a report has at most {FILE_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| broken(format!("cannot be read: {e}")))?;
    Report::parse(name, &file, &text, false)
}
