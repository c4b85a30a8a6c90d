//! A Maildir: a mail server writes whole files into `new/`, under names that are
//! unique for ever; who has dealt with one renames it into `cur/`, with flags
//! after its name: S for seen, F for flagged.

use crate::pollers::PollError;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longest mail, in bytes.
const MAIL_MAX: u64 = 4 << 20;

pub struct Maildir {
    new: PathBuf,
    cur: PathBuf,
}

impl Maildir {
    /// # Errors
    /// If it is none.
    pub fn open(path: &str) -> Result<Maildir, PollError> {
        let root = Path::new(path);
        let this = Maildir { new: root.join("new"), cur: root.join("cur") };
        if !root.is_absolute() || !this.new.is_dir() || !this.cur.is_dir() {
            let why = format!(
                "`{path}` is no mail directory on this master: write its absolute path; `new` and `cur` must be in it"
            );
            return Err(PollError::Refused(why));
        }
        Ok(this)
    }

    /// Names of mails that nobody has read, oldest first.
    pub fn waiting(&self) -> Result<Vec<String>, PollError> {
        let listed = std::fs::read_dir(&self.new).map_err(|e| failed("read", &self.new, e))?;
        let mut names: Vec<(u64, String)> = Vec::new();
        for entry in listed {
            let entry = entry.map_err(|e| failed("read", &self.new, e))?;
            // Mail servers write ASCII; what else lies there is not theirs.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let plain = entry.file_type().is_ok_and(|t| t.is_file());
            if plain && !name.starts_with('.') {
                names.push((delivered(&name), name));
            }
        }
        names.sort();
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    /// A mail; none if it is gone. An error says why this one cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(self.new.join(name)) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(format!("cannot open it: {e}")),
        };
        let mut mail = Vec::new();
        file.take(MAIL_MAX + 1).read_to_end(&mut mail).map_err(|e| format!("cannot read it: {e}"))?;
        match mail.len() as u64 > MAIL_MAX {
            true => Err(format!("it is longer than {} MiB", MAIL_MAX >> 20)),
            false => Ok(Some(mail)),
        }
    }

    /// Moves a mail to `cur`, seen or flagged. Again, or after somebody else did, is nothing.
    pub fn put_away(&self, name: &str, seen: bool) -> Result<(), PollError> {
        let from = self.new.join(name);
        match std::fs::rename(&from, self.place(name, seen)) {
            // A missing `cur` would say the same.
            Err(e) if e.kind() != ErrorKind::NotFound || from.symlink_metadata().is_ok() => {
                Err(failed("move to cur", &from, e))
            }
            _ => Ok(()),
        }
    }

    /// Whether it still lies where [`Maildir::put_away`] left it as flagged.
    pub fn is_flagged(&self, name: &str) -> bool {
        self.place(name, false).symlink_metadata().is_ok()
    }

    fn place(&self, name: &str, seen: bool) -> PathBuf {
        // One that was moved back by hand may carry flags.
        let unique = name.split(":2,").next().unwrap_or(name);
        self.cur.join(format!("{unique}:2,{}", if seen { 'S' } else { 'F' }))
    }
}

/// Seconds since 1970, with which the names that mail servers write begin.
fn delivered(name: &str) -> u64 {
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    name[..digits].parse().unwrap_or(u64::MAX)
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> PollError {
    PollError::Refused(format!("cannot {what} {}: {error}", path.display()))
}
