//! Where PostgreSQL's programs are.

use super::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest release whose features the schema uses.
pub const OLDEST_MAJOR: u32 = 15;

/// A bin folder and the release of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// Asks the `postgres` of a folder for its release.
    pub fn at(dir: &Path) -> Result<Binaries, Error> {
        for program in ["postgres", "initdb"] {
            if !dir.join(program).is_file() {
                return Err(Error::NotABinFolder { path: dir.to_owned(), program });
            }
        }
        let program = dir.join("postgres");
        let output = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
        let output = output.map_err(Error::io("run", &program))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match parse_major(&text) {
            Some(major) if output.status.success() => Ok(Binaries { dir: dir.to_owned(), major }),
            _ => {
                let detail = format!("{} {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim());
                Err(Error::Program { program, detail })
            }
        }
    }

    /// The path of a program of this folder, be it there or not.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether an optional program (psql, pg_dump) came with the server.
    pub(super) fn has(&self, name: &str) -> bool {
        self.program(name).is_file()
    }

    /// The programs to use: those of `configured`, else of
    /// `TIDEMILL_POSTGRES_BIN`, else the first candidate that is new enough.
    pub fn choose(configured: Option<&Path>) -> Result<Binaries, Error> {
        let configured = configured.map(Path::to_owned).or_else(from_environment);
        if let Some(dir) = configured {
            // Named by a person: any fault of it is an error, not a reason to look elsewhere.
            return Binaries::at(&dir);
        }
        candidates().into_iter().find(|b| b.major >= OLDEST_MAJOR).ok_or_else(|| {
            let tried: Vec<String> = folders().iter().map(|d| d.display().to_string()).collect();
            Error::NoBinaries { oldest: OLDEST_MAJOR, tried: format!("PATH, {}", tried.join(", ")) }
        })
    }

    /// The programs of exactly one release, for reading data that it made.
    pub fn of_major(major: u32) -> Option<Binaries> {
        candidates().into_iter().find(|b| b.major == major)
    }
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os("TIDEMILL_POSTGRES_BIN").filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// Every installation found, best first: PATH, versioned folders of
/// distributions (highest release first), and a `postgres` folder beside this
/// program or in the user's data folder.
pub fn candidates() -> Vec<Binaries> {
    let mut found: Vec<Binaries> = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|p| {
        // Debian keeps initdb off PATH; a link there leads to the real folder.
        p.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned)
    });
    for dir in on_path.chain(folders()) {
        if found.iter().any(|b| b.dir == dir) {
            continue;
        }
        if let Ok(binaries) = Binaries::at(&dir) {
            found.push(binaries);
        }
    }
    found
}

/// Folders outside PATH that may hold the programs.
fn folders() -> Vec<PathBuf> {
    let mut versioned: Vec<(u32, PathBuf)> = Vec::new();
    for base in ["/usr/lib/postgresql", "/usr", "/usr/local", "/opt/homebrew/opt", "/usr/local/opt", "/opt"] {
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let version = name.trim_start_matches("postgresql@").trim_start_matches("pgsql-");
            if let Ok(version) = version.parse::<u32>() {
                versioned.push((version, entry.path().join("bin")));
            }
        }
    }
    versioned.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let mut all: Vec<PathBuf> = versioned.into_iter().map(|(_, dir)| dir).collect();
    if let Some(beside) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|d| d.join("postgres/bin"))) {
        all.push(beside);
    }
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/share"));
    let data = std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()).map(PathBuf::from).or(home);
    all.extend(data.map(|d| d.join("tidemill/postgres/bin")));
    all
}

/// `postgres (PostgreSQL) 15.18 (Debian …)`, also `18beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let rest = text.split_once("(PostgreSQL) ")?.1;
    let digits: &str = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_the_version_line() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("bash 5"), None);
    }

    #[test]
    fn a_folder_named_by_a_person_that_holds_no_server_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = Binaries::choose(Some(dir.path())).unwrap_err().to_string();
        assert!(
            error.contains("TIDEMILL_POSTGRES_BIN") && error.contains(&dir.path().display().to_string()),
            "{error}"
        );
    }
}
