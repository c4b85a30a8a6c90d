//! As whom PostgreSQL's programs run. They refuse root, and a uid without an
//! entry in the user database.

use super::Error;
use nix::unistd::{Gid, Uid, User};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// We are a normal user: as ourselves.
    Same,
    /// We are root: as this user, who then owns the files.
    User { name: String, uid: u32, gid: u32 },
    /// We are root, and no such user can be used: in a user namespace where
    /// root has another number. The files stay root's.
    Namespace,
}

/// Users that root drops to, best first. `nobody` is shared with other
/// services, hence last.
const USERS: [&str; 3] = ["tidemill", "postgres", "nobody"];

impl Identity {
    /// Who is to run a cluster in `dir` with the programs in `bin`. What is
    /// already there decides; else the first user who can reach both.
    pub(super) fn choose(dir: &Path, bin: &Path) -> Result<Identity, Error> {
        let me = Uid::effective();
        let data = dir.join("data");
        let owner = std::fs::metadata(&data).map(|m| m.uid()).ok();
        if !me.is_root() {
            return match owner {
                Some(owner) if owner != me.as_raw() => Err(Error::Owner { path: data, owner, me: me.as_raw() }),
                _ => Ok(Identity::Same),
            };
        }
        match owner {
            Some(0) => Identity::namespace("the files belong to root"),
            Some(owner) => match User::from_uid(Uid::from_raw(owner)) {
                Ok(Some(user)) => Ok(Identity::user(user)),
                _ => Err(Error::NoIdentity {
                    why: format!("and {} belongs to user id {owner}, which has no name here", data.display()),
                }),
            },
            None => Identity::fresh(dir, bin),
        }
    }

    fn fresh(dir: &Path, bin: &Path) -> Result<Identity, Error> {
        let mut why = String::from("and there is no user tidemill, postgres or nobody");
        for name in USERS {
            let Ok(Some(user)) = User::from_name(name) else { continue };
            match [bin, dir].into_iter().find(|p| !reachable(p, user.uid, user.gid)) {
                None => return Ok(Identity::user(user)),
                Some(path) => why = format!("and user {name} cannot reach {}", path.display()),
            }
        }
        Identity::namespace(&why)
    }

    fn user(user: User) -> Identity {
        Identity::User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }

    fn namespace(why: &str) -> Result<Identity, Error> {
        let probe = Identity::Namespace.command(Path::new("true")).stdin(Stdio::null()).output();
        match probe {
            Ok(output) if output.status.success() => Ok(Identity::Namespace),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Error::NoIdentity { why: format!("{why}, and a user namespace is refused ({said})") })
            }
            Err(_) => Err(Error::NoIdentity { why: format!("{why}, and there is no `unshare` for a user namespace") }),
        }
    }

    /// A command that runs as this identity, without PostgreSQL settings of
    /// the person's shell.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Identity::Same => Command::new(program),
            Identity::User { uid, gid, .. } => {
                // The standard library clears root's supplementary groups when a uid is set.
                let mut c = Command::new(program);
                c.uid(*uid).gid(*gid);
                c
            }
            Identity::Namespace => {
                let mut c = Command::new("unshare");
                c.args(["--user", "--map-user=65534", "--map-group=65534", "--"]).arg(program);
                c
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        // Messages are matched and shown: always in English.
        command.env("LC_ALL", "C");
        command
    }

    /// Makes this identity the owner of a folder that root made for it.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        if let Identity::User { uid, gid, .. } = self {
            std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).map_err(Error::io("change the owner of", path))?;
        }
        Ok(())
    }
}

/// Whether a user may pass through all folders above a path. What does not
/// exist yet is made by us and counts as passable.
fn reachable(path: &Path, uid: Uid, gid: Gid) -> bool {
    path.ancestors().skip(1).all(|dir| match std::fs::metadata(dir) {
        Ok(m) => {
            let mode = m.mode();
            if m.uid() == uid.as_raw() {
                mode & 0o100 != 0
            } else if m.gid() == gid.as_raw() {
                mode & 0o010 != 0
            } else {
                mode & 0o001 != 0
            }
        }
        Err(_) => true,
    })
}
