//! Where the Unix socket lies. Its path must stay below 108 bytes, so a deep
//! cluster folder gets a short folder elsewhere.

use super::{Error, Identity};
use nix::unistd::Uid;
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// PostgreSQL names the socket by the port, TCP or not.
pub(super) const PORT: u16 = 5432;
/// Bytes of `sockaddr_un.sun_path` without the final NUL.
const PATH_MAX: usize = 107;

pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join(format!(".s.PGSQL.{PORT}"))
}

/// The socket's folder for a cluster folder; made if it is not the latter.
pub(super) fn folder(cluster: &Path, identity: &Identity) -> Result<PathBuf, Error> {
    // The lock file beside the socket has five bytes more, but is an ordinary file.
    if file(cluster).as_os_str().len() <= PATH_MAX {
        return Ok(cluster.to_owned());
    }
    let digest = hex::encode(Sha256::digest(cluster.as_os_str().as_bytes()));
    let name = &digest[..16];
    let runtime = match Uid::effective().is_root() {
        true => Some(PathBuf::from("/run")),
        false => std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()).map(PathBuf::from),
    };
    if let Some(base) = runtime.map(|r| r.join("tidemill")) {
        // Others must pass through it to their own folder below.
        let made = std::fs::create_dir_all(&base)
            .and_then(|()| std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)));
        let dir = base.join(name);
        if made.is_ok() && file(&dir).as_os_str().len() <= PATH_MAX && private(&dir, identity).is_ok() {
            return Ok(dir);
        }
    }
    let dir = PathBuf::from(format!("/tmp/tidemill-{}-{name}", Uid::effective()));
    private(&dir, identity)?;
    Ok(dir)
}

/// A folder that only `identity` (and root) can enter. One that somebody else
/// put there first, or a link, is refused.
fn private(dir: &Path, identity: &Identity) -> Result<(), Error> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io("create", dir)(e)),
    }
    let found = std::fs::symlink_metadata(dir).map_err(Error::io("look at", dir))?;
    let me = Uid::effective().as_raw();
    let wanted = match identity {
        Identity::User { uid, .. } => *uid,
        _ => me,
    };
    let ours = found.is_dir() && (found.uid() == me || found.uid() == wanted) && found.mode() & 0o077 == 0;
    if !ours {
        let source = std::io::Error::other("it exists and is not a folder that only this user can enter");
        return Err(Error::io("use", dir)(source));
    }
    identity.own(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_cluster_folder_gets_a_short_socket_folder() {
        let short = Path::new("/tmp/x");
        assert_eq!(folder(short, &Identity::Same).unwrap(), short);
        let deep = PathBuf::from(format!("/tmp/{}-{}", "d".repeat(120), std::process::id()));
        let dir = folder(&deep, &Identity::Same).unwrap();
        assert!(file(&dir).as_os_str().len() <= PATH_MAX);
        assert_eq!(folder(&deep, &Identity::Same).unwrap(), dir, "the same folder each time");
        std::fs::remove_dir(dir).unwrap();
    }
}
