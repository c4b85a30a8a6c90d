//! The state folder of one `up`: one for each repository and project.

use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::locate;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Held while `up` runs: the folder is ours alone.
pub struct State {
    pub dir: PathBuf,
    _lock: Flock<File>,
}

impl State {
    /// Opens (or makes) a folder. A second `up` on it is refused.
    pub fn open(dir: PathBuf) -> Result<State> {
        let exists = dir.exists();
        std::fs::create_dir_all(&dir).doing(|| format!("create {}", dir.display()))?;
        let dir = dir.canonicalize().doing(|| format!("open {}", dir.display()))?;
        if !exists {
            // Root's database runs as another user, who must pass through.
            let mode = if nix::unistd::Uid::effective().is_root() { 0o711 } else { 0o700 };
            let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode));
        }
        let path = dir.join("up.lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.doing(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For people only: the lock itself is the kernel's.
                let _ = lock.set_len(0).and_then(|()| writeln!(*lock, "{}", std::process::id()));
                Ok(State { dir, _lock: lock })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut pid));
                let message = format!("`tidemill up` already runs here (process {}), on {}", pid.trim(), dir.display());
                Err(Failure::usage(message)
                    .hint("use that one, stop it with Ctrl-C in its terminal, or give another --state-dir"))
            }
            Err((_, e)) => Err(Failure::new(Exit::Usage, format!("cannot lock {}: {e}", path.display()))),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        std::fs::create_dir_all(&path).doing(|| format!("create {}", path.display()))?;
        Ok(path)
    }
}

/// The default folder: named for people after the project, for us by a hash
/// of what is built.
pub fn default_dir(name: &str, identity: &[&str]) -> Result<PathBuf> {
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let slug: String = slug.trim_start_matches(['.', '-']).chars().take(40).collect();
    let hash = tidemill_model::revision::Files(
        identity.iter().enumerate().map(|(i, s)| (i.to_string(), (*s).to_owned())).collect(),
    )
    .hash();
    Ok(locate::state_home()?.join(format!("{slug}-{}", &hash[..10])))
}

/// The last lines of a log file, for a message.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = read_end(path, 64 * 1024).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn read_end(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(std::io::SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut buffer = Vec::new();
    file.read_to_end(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_up_on_one_folder_is_refused_with_the_process_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = State::open(dir.path().join("s")).unwrap();
        let error = State::open(dir.path().join("s")).err().unwrap().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        State::open(dir.path().join("s")).unwrap();
    }

    #[test]
    fn two_projects_in_one_repository_have_two_folders() {
        let a = default_dir("x/é y", &["/r", "/r/a"]).unwrap();
        let b = default_dir("x/é y", &["/r", "/r/b"]).unwrap();
        assert_ne!(a, b);
        assert!(a.file_name().unwrap().to_string_lossy().starts_with("x---y-"), "{a:?}");
    }
}
