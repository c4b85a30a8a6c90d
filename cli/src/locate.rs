//! Which master a client command talks to, and with which token.
//!
//! `tidemill up` leaves a pointer (`current`, 0600) that names its address and
//! the file with the local token, so that commands on the same machine need no
//! arguments. The token in that file goes only to the address that stands
//! beside it: never to a host that `--master` names.

use crate::error::{Doing, Failure, Result};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub const DEFAULT_MASTER: &str = "http://127.0.0.1:8480";

/// What `up` says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    pub url: String,
    pub token_file: PathBuf,
    /// Process of the `up` that wrote it.
    #[serde(default)]
    pub pid: u32,
}

/// Where all state of this user lies: `TIDEMILL_STATE_HOME`, else
/// `/var/lib/tidemill` for root and the XDG folder for others.
pub fn state_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("TIDEMILL_STATE_HOME").filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    if Uid::effective().is_root() {
        return Ok(PathBuf::from("/var/lib/tidemill"));
    }
    let set = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|h| PathBuf::from(h).join(".local/state"));
    set.or_else(home)
        .map(|d| d.join("tidemill"))
        .ok_or_else(|| Failure::usage("neither XDG_STATE_HOME nor HOME is set").hint("give a folder with --state-dir"))
}

fn pointer_path() -> Result<PathBuf> {
    Ok(state_home()?.join("current"))
}

/// The pointer of this user, if some `up` wrote one.
pub fn pointer() -> Option<Pointer> {
    let text = std::fs::read_to_string(pointer_path().ok()?).ok()?;
    serde_json::from_str(&text).ok()
}

/// Names this `up` as the one that commands talk to.
pub fn write_pointer(pointer: &Pointer) -> Result<()> {
    let path = pointer_path()?;
    let folder = path.parent().expect("the pointer lies in a folder");
    std::fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))?;
    let text = serde_json::to_string(pointer).map_err(|e| Failure::internal(e.to_string()))?;
    write_secret(&path, &text)
}

/// Removes the pointer, if it is still ours.
pub fn remove_pointer(ours: &Pointer) {
    if pointer().as_ref() == Some(ours)
        && let Ok(path) = pointer_path()
    {
        let _ = std::fs::remove_file(path);
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&new);
        // Created with its mode: at no moment can others open it.
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().doing(|| format!("write {}", path.display()))
}

/// Address and token for a client command.
#[derive(Clone)]
pub struct Location {
    pub url: String,
    pub token: Option<String>,
    /// Who said so, for messages.
    pub origin: &'static str,
}

/// Decides by `--master` (or `TIDEMILL_MASTER`), the pointer, the default; the
/// token by `TIDEMILL_TOKEN`, else by the pointer.
pub fn locate(named: Option<&str>) -> Result<Location> {
    let pointer = pointer();
    let (url, origin) = match (named, &pointer) {
        (Some(url), _) => (url.to_owned(), "--master"),
        (None, Some(p)) => (p.url.clone(), "the running `tidemill up`"),
        (None, None) => (DEFAULT_MASTER.to_owned(), "the default"),
    };
    let url = normal(&url)?;
    let from_environment = std::env::var("TIDEMILL_TOKEN").ok().filter(|t| !t.trim().is_empty());
    let token = match from_environment {
        Some(token) => Some(token.trim().to_owned()),
        None => pointer
            .filter(|p| normal(&p.url).is_ok_and(|u| u == url))
            .and_then(|p| std::fs::read_to_string(p.token_file).ok())
            .map(|t| t.trim().to_owned()),
    };
    Ok(Location { url, token, origin })
}

/// Without the final slash; `host:port` alone is taken for http.
fn normal(text: &str) -> Result<String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let bad = |why: String| {
        Failure::usage(format!("{text:?} is not the address of a master: {why}"))
            .hint("give one such as http://127.0.0.1:8480")
    };
    let url = url::Url::parse(&whole).map_err(|e| bad(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("it needs http or https and a host".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a token goes into TIDEMILL_TOKEN, not into the address".into()));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(normal("127.0.0.1:1/").unwrap(), "http://127.0.0.1:1");
        assert_eq!(normal("https://ci.example.org/x/").unwrap(), "https://ci.example.org/x");
        assert!(normal("ftp://x").is_err());
        assert!(normal("http://tok@x").unwrap_err().to_string().contains("TIDEMILL_TOKEN"));
    }

    #[test]
    fn a_secret_file_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_secret(&path, "a").unwrap();
        write_secret(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
