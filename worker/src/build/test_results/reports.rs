//! Files with results of tests that a step's commands left behind.
//!
//! A file that cannot be read, or only in part, is named with the place, and the others are
//! read all the same. No link out of the builder's folder is followed; what was written
//! before the build began is left out, as it is of an earlier one.

use super::junit;
use super::{Counts, SET, Sink, plural};
use crate::build::script::files::glob;
use crate::build::script::walk::{Fault, GoOn, below};
use crate::build::text;
use crate::exec::tail::plain;
use std::borrow::Cow;
use std::io::Read;
use std::path::{Component, Path};
use std::time::{Duration, SystemTime};

/// Largest file, most files and most bytes of a step.
const FILE_MAX: u64 = 64 << 20;
const FILES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 1 << 30;
/// Most lines about files.
const LINES_MAX: usize = 1_000;
/// How far clock and time stamps of a file system may be apart.
const SKEW: Duration = Duration::from_secs(2);

/// What is to be said of reports.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub lines: Vec<String>,
    /// Files that could not be read, or not to their end.
    pub unreadable: usize,
    not_said: usize,
}

impl Said {
    /// Nothing could be read.
    pub fn broken(why: &str) -> Said {
        Said { lines: vec![why.to_owned()], unreadable: 1, not_said: 0 }
    }

    fn line(&mut self, line: &str) {
        match self.lines.len() {
            0..LINES_MAX => self.lines.push(text::line(line)),
            _ => self.not_said += 1,
        }
    }

    fn bad(&mut self, line: &str) {
        self.unreadable += 1;
        self.line(line);
    }
}

/// How a file was found.
enum Found {
    /// With what is wrong in it.
    Read(Counts, Option<String>),
    Old,
    /// Another step, or another pattern of this one, gave it already.
    Known,
}

/// Reads what matches the patterns, each below its folder.
pub(super) fn read(sink: &Sink, root: &Path, wanted: &[(String, String)], go_on: GoOn<'_>) -> Said {
    let mut said = Said::default();
    let (mut files, mut bytes) = (0, 0);
    for (workdir, pattern) in wanted {
        let names = match matching(root, workdir, pattern, go_on) {
            Ok(names) => names,
            Err((_, why)) => {
                said.bad(&why);
                continue;
            }
        };
        let (mut old, before) = (0, files);
        for name in &names {
            if files >= FILES_MAX || bytes >= BYTES_MAX {
                said.bad(&format!("{name} and what comes after it is left out: a step gives too many reports"));
                return ended(said);
            }
            if let Err(error) = go_on() {
                said.bad(&format!("{name} and what comes after it was not read: {error}"));
                return ended(said);
            }
            files += 1;
            match file(sink, root, workdir, name, &mut bytes) {
                Ok(Found::Old) => old += 1,
                Ok(Found::Known) => {}
                Ok(Found::Read(counts, None)) => said.line(&format!("{name}: {}", counts.words())),
                Ok(Found::Read(counts, Some(why))) => {
                    said.bad(&format!("{name}: {why} ({} before it)", counts.words()));
                }
                Err((_, why)) => said.bad(&why),
            }
        }
        if old > 0 {
            said.line(&format!("{pattern}: {} left out, older than this build", plural(old, "file")));
        }
        if files == before {
            said.line(&format!("{pattern}: no file matches"));
        }
    }
    ended(said)
}

fn ended(mut said: Said) -> Said {
    if said.not_said > 0 {
        said.lines.push(format!("and {} more", plural(said.not_said, "line")));
    }
    said
}

/// Files below the builder's folder.
fn matching(root: &Path, workdir: &str, pattern: &str, go_on: GoOn<'_>) -> Result<Vec<String>, Fault> {
    let parts = Path::new(workdir).components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str().map(globset::escape),
        _ => None,
    });
    let parts: Vec<String> = parts.chain([pattern.trim_start_matches("./").to_owned()]).collect();
    glob(root, &parts.join("/"), go_on)
}

fn file(sink: &Sink, root: &Path, workdir: &str, name: &str, bytes: &mut u64) -> Result<Found, Fault> {
    let place = below(root, name, true)?;
    let told = |e: std::io::Error| crate::build::script::walk::fault(name, &e);
    let opened = plain(&place).map_err(told)?;
    let meta = opened.metadata().map_err(told)?;
    let written = meta.modified().ok();
    if written.is_some_and(|at| at < sink.all.begun.checked_sub(SKEW).unwrap_or(SystemTime::UNIX_EPOCH)) {
        return Ok(Found::Old);
    }
    if !sink.all.state().read.insert((place, written, meta.len())) {
        return Ok(Found::Known);
    }
    let mut content = vec![];
    opened.take(FILE_MAX + 1).read_to_end(&mut content).map_err(told)?;
    *bytes += content.len() as u64;
    let mut why = None;
    if content.len() as u64 > FILE_MAX {
        content.truncate(FILE_MAX as usize);
        why = Some(format!("more than {} MiB; only the first are read", FILE_MAX >> 20));
    }
    let text = String::from_utf8_lossy(&content);
    if let (Cow::Owned(_), Err(error), None) = (&text, std::str::from_utf8(&content), &why) {
        let line = 1 + memchr::memchr_iter(b'\n', &content[..error.valid_up_to()]).count();
        why = Some(format!("line {line}: bytes that are not UTF-8; they show as \u{fffd}"));
    }
    let folder = root.join(workdir);
    let mut counts = Counts::default();
    let read = junit::read(&text, &mut |mut result| {
        // A place of this worker says nothing elsewhere, and the test is to be the same there.
        if let Some(path) = Path::new(&result.path).strip_prefix(&folder).ok().and_then(Path::to_str) {
            result.path = path.to_owned();
        }
        counts.add(result.result);
        // The name of the set is our own, and the only one.
        let _ = sink.add(SET, &result);
    });
    Ok(Found::Read(counts, why.or(read.err().map(|broken| broken.to_string()))))
}
