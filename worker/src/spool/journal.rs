//! Which builds this worker holds, on disk: one short line when a build is
//! taken up and one when it is over.
//!
//! Written without fsync: a killed process loses nothing, a machine that
//! crashed loses at most the newest lines, and such a build ends by its lease.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The file is written anew, with what is held only, when it is longer.
const REWRITE: u64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    len: u64,
    held: BTreeMap<i64, String>,
}

impl Journal {
    /// Reads what an earlier life held, and goes on from there.
    pub fn open(spool: &Path) -> std::io::Result<Journal> {
        let path = spool.join("journal");
        let held = match std::fs::read(&path) {
            Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(e),
        };
        let (file, len) = rewrite(&path, &held)?;
        Ok(Journal { path, state: Mutex::new(State { file, len, held }) })
    }

    /// Builds taken up and not over, with their tokens.
    pub fn held(&self) -> BTreeMap<i64, String> {
        self.lock().held.clone()
    }

    pub fn taken(&self, build: i64, token: &str) {
        let mut state = self.lock();
        state.held.insert(build, token.to_owned());
        self.line(&mut state, format!("+{build} {token}\n"));
    }

    pub fn over(&self, build: i64) {
        let mut state = self.lock();
        if state.held.remove(&build).is_some() {
            self.line(&mut state, format!("-{build}\n"));
        }
    }

    fn line(&self, state: &mut State, line: String) {
        let mut written = state.file.write_all(line.as_bytes());
        state.len += line.len() as u64;
        if state.len > REWRITE {
            written = rewrite(&self.path, &state.held).map(|(file, len)| (state.file, state.len) = (file, len));
        }
        if let Err(error) = written {
            // Only the speed of recovery hangs on it.
            tracing::warn!(%error, "cannot write {}; after a crash, builds will end by their leases", self.path.display());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while holding the journal")
    }
}

fn rewrite(path: &Path, held: &BTreeMap<i64, String>) -> std::io::Result<(File, u64)> {
    let text: String = held.iter().map(|(build, token)| format!("+{build} {token}\n")).collect();
    let new = path.with_extension("new");
    // Lease tokens are for this user only.
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, text.len() as u64))
}

fn parse(text: &str) -> BTreeMap<i64, String> {
    let mut held = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        // A line that breaks off was being written when the machine went down.
        let Some(line) = line.strip_suffix('\n') else { break };
        if let Some((build, token)) = line.strip_prefix('+').and_then(|l| l.split_once(' ')) {
            if let (Ok(build), false) = (build.parse(), token.is_empty()) {
                held.insert(build, token.to_owned());
            }
        } else if let Some(Ok(build)) = line.strip_prefix('-').map(str::parse) {
            held.remove(&build);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_knows_what_the_old_one_held() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.taken(1, "a");
        journal.taken(2, "b");
        journal.over(1);
        journal.over(1);
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(dir.path().join("journal")).unwrap();
        file.write_all(b"\xff\0garbage\n+x y\n+3 broken").unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.held(), BTreeMap::from([(2, "b".to_owned())]));
    }

    #[test]
    fn a_long_journal_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let token = "t".repeat(1000);
        for build in 0..5000 {
            journal.taken(build, &token);
            journal.over(build);
        }
        journal.taken(5000, "last");
        assert!(std::fs::metadata(dir.path().join("journal")).unwrap().len() < REWRITE);
        assert_eq!(Journal::open(dir.path()).unwrap().held().len(), 1);
    }
}
