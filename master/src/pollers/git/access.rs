//! How git reaches a repository: protocols, addresses, and what proves us (CS-06).
//!
//! Keys and passwords stand in files of a folder that only this user can read
//! and that goes with the poll; no command line and no variable shows them.

use crate::pollers::places::{self, Place};
use crate::pollers::program::Program;
use crate::pollers::{PollError, World};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidemill_lang::definition::GitPollerDef;
use tidemill_model::repository::{Login, public_url};
use url::Url;

const SCHEMES: &[&str] = &["file", "git", "http", "https", "ssh"];

pub(super) struct Access {
    url: String,
    /// Options of every run that reaches the remote.
    config: Vec<String>,
    ssh: String,
    /// What no error may show.
    secret: Vec<String>,
    // Removed when the poll ends.
    _folder: Option<TempDir>,
}

impl Access {
    pub async fn new(def: &GitPollerDef, world: &World<'_>) -> Result<Access, PollError> {
        let place = places::check(&def.repourl, SCHEMES, true, world.local).await?;
        let (url, login) = Login::apart(&def.repourl);
        let mut access = Access {
            url,
            config: vec![
                // Another place would not have been checked.
                "http.followRedirects=false".into(),
                "core.hooksPath=/dev/null".into(),
                "gc.autoDetach=false".into(),
                "maintenance.autoDetach=false".into(),
                // Who keeps still for minutes holds up other sources.
                "http.lowSpeedLimit=1".into(),
                "http.lowSpeedTime=300".into(),
            ],
            ssh: "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30 -oServerAliveCountMax=10".into(),
            secret: vec![],
            _folder: None,
        };
        if public_url(&def.repourl) != def.repourl {
            access.secret.push(def.repourl.clone());
        }
        if let (Some("http" | "https"), Some(host), Some(port), false) =
            (place.scheme.as_deref(), &place.host, place.port, place.addresses.is_empty())
        {
            // What the name meant when it was checked is where git goes.
            let ips: Vec<String> = place.addresses.iter().map(|a| a.ip().to_string()).collect();
            access.config.push(format!("http.curloptResolve={host}:{port}:{}", ips.join(",")));
        }
        access.prove(def, &place, login, world)?;
        Ok(access)
    }

    fn prove(
        &mut self,
        def: &GitPollerDef,
        place: &Place,
        login: Option<Login>,
        world: &World<'_>,
    ) -> Result<(), PollError> {
        let given = &def.credentials;
        if *given == Default::default() && login.is_none() {
            return Ok(());
        }
        let folder = tempfile::Builder::new().prefix("tidemill-poll-").tempdir()?;
        let write = |name: &str, text: String| -> Result<PathBuf, PollError> {
            let path = folder.path().join(name);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            Ok(path)
        };
        if let Some(key) = &given.ssh_private_key {
            let key = world.secrets.resolve(key)?;
            // ssh takes no key without the end of its last line.
            let path = write("key", format!("{}\n", key.trim_end()))?;
            self.ssh.push_str(&format!(" -i {} -oIdentitiesOnly=yes", quoted(&path)));
            self.secret.push(key);
        }
        let known = match (&given.ssh_known_hosts, &given.ssh_host_key) {
            (Some(known), _) => Some(world.secrets.resolve(known)?),
            (None, Some(key)) => {
                let host = place.host.as_deref().unwrap_or_default();
                let named = match place.port {
                    Some(port) if port != 22 => format!("[{host}]:{port}"),
                    _ => host.to_owned(),
                };
                Some(format!("{named} {}", world.secrets.resolve(key)?))
            }
            (None, None) => None,
        };
        if let Some(known) = known {
            let path = write("known_hosts", format!("{}\n", known.trim_end()))?;
            self.ssh.push_str(&format!(" -oUserKnownHostsFile={} -oStrictHostKeyChecking=yes", quoted(&path)));
        }
        let mut logins = vec![];
        for login in &given.logins {
            let of = public_url(login.url.as_deref().unwrap_or(&def.repourl));
            let web = Url::parse(&of).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
            if !web || of.contains(char::is_control) {
                return Err(PollError::Refused(format!("`{of}` is no address for a user and password")));
            }
            let (user, password) = (world.secrets.resolve(&login.username)?, world.secrets.resolve(&login.password)?);
            logins.push((of, Login { user, password }));
        }
        logins.extend(login.map(|login| (self.url.clone(), login)));
        let store: String = logins.iter().map(|(of, login)| login.line_of_git(of)).collect();
        self.secret.extend(logins.iter().flat_map(|(_, login)| login.secrets()));
        if !store.is_empty() {
            let path = write("logins", store)?;
            // None of the machine's own, then ours.
            self.config.push("credential.helper=".into());
            self.config.push(format!("credential.helper=store --file={}", quoted(&path)));
        }
        self._folder = Some(folder);
        Ok(())
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn secret(&self) -> &[String] {
        &self.secret
    }

    /// Git with all of that.
    pub fn git(&self, copy: Option<&Path>, what: &'static str) -> Program {
        let options = self.config.iter().flat_map(|c| ["-c", c.as_str()]);
        let program = Program::new("git", what).args(options);
        let program = match copy {
            Some(copy) => program.arg("--git-dir").arg(copy),
            None => program,
        };
        program
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", SCHEMES.join(":"))
            .env("GIT_SSH_COMMAND", &self.ssh)
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS", "")
    }
}

/// For the words that git hands to a shell. The path is ours.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
