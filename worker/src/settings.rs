//! What a worker process needs to know before it can ask a master anything.

use std::path::{Path, PathBuf};

/// Bytes of unacknowledged output that a worker keeps by default.
pub const SPOOL_MAX: u64 = 2 << 30;

/// Name of the environment variable that may hold the token.
pub const TOKEN_VARIABLE: &str = "TIDEMILL_WORKER_TOKEN";

/// Name of the environment variable for [`Settings::secrets_dir`].
pub const SECRETS_VARIABLE: &str = "TIDEMILL_WORKER_SECRETS_DIR";

#[derive(Clone)]
pub struct Settings {
    /// Base URL of the masters, most often of their load balancer.
    pub master: String,
    /// The worker's bearer token (`tmw_…`).
    pub token: String,
    /// The name that the token belongs to.
    pub name: String,
    /// Everything that the worker writes is below this folder.
    pub base: PathBuf,
    /// How many builds it runs at once.
    pub slots: u32,
    /// What builders may require of it.
    pub labels: tidemill_model::requires::Labels,
    /// Most bytes of output, over all builds, that wait on disk for a master.
    /// At this bound commands block on their pipes.
    pub spool_max: u64,
    /// Folder with one file, of mode 0600, for each secret; none is `secrets` below `base`.
    pub secrets_dir: Option<PathBuf>,
    /// Runs builds on this tree instead of a checkout; for `tidemill run`, with one slot.
    pub tree: Option<WorkingTree>,
}

/// A person's working tree, which the worker looks at and never replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingTree {
    pub path: PathBuf,
    /// The work folder of the steps that it stands for, below the builder's: most often `build`.
    pub workdir: String,
}

/// The token stays out of logs, also by accident.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("master", &self.master)
            .field("name", &self.name)
            .field("base", &self.base)
            .field("slots", &self.slots)
            .field("labels", &self.labels)
            .field("spool_max", &self.spool_max)
            .field("secrets_dir", &self.secrets_dir)
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("--master {url:?} is not an address: {reason}; give a URL such as https://ci.example.org")]
    Master { url: String, reason: String },
    #[error("--name is empty; give the name that `tidemill worker add NAME` enrolled")]
    Name,
    #[error("--slots is 0; a worker needs at least one")]
    Slots,
    #[error("cannot read the token from {path}: {error}")]
    TokenFile { path: PathBuf, error: std::io::Error },
    #[error(
        "no token: put the one that `tidemill worker add NAME` printed in a file and name it with --token-file, or set {TOKEN_VARIABLE}"
    )]
    NoToken,
    #[error(
        "the token in {from} is not a worker's token; those begin with tmw_ and are printed by `tidemill worker add NAME`"
    )]
    TokenKind { from: String },
}

impl Settings {
    /// Where the values of secrets are.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.secrets_dir.clone().unwrap_or_else(|| self.base.join("secrets"))
    }

    /// Checks what can be checked without a master.
    pub fn check(&self) -> Result<(), SettingsError> {
        let bad = |reason: String| SettingsError::Master { url: self.master.clone(), reason };
        let url = url::Url::parse(&self.master).map_err(|e| bad(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(format!("the scheme is {}, not http or https", url.scheme())));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host".into()));
        }
        if self.name.trim().is_empty() {
            return Err(SettingsError::Name);
        }
        if self.slots == 0 {
            return Err(SettingsError::Slots);
        }
        Ok(())
    }
}

/// The token from a file, else from the value of [`TOKEN_VARIABLE`]. There is
/// no flag for it: a process list would show it to everybody.
pub fn read_token(file: Option<&Path>, variable: Option<String>) -> Result<String, SettingsError> {
    let (token, from) = match (file, variable) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| SettingsError::TokenFile { path: path.to_owned(), error })?;
            (text, path.display().to_string())
        }
        (None, Some(value)) => (value, TOKEN_VARIABLE.to_owned()),
        (None, None) => return Err(SettingsError::NoToken),
    };
    let token = token.trim();
    if !token.starts_with(tidemill_service::token::Kind::Worker.prefix()) || token.contains(char::is_whitespace) {
        return Err(SettingsError::TokenKind { from });
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_a_file_or_the_environment_and_of_the_right_kind_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "tmw_abc\n").unwrap();
        assert_eq!(read_token(Some(&file), None).unwrap(), "tmw_abc");
        assert_eq!(read_token(None, Some("tmw_x".into())).unwrap(), "tmw_x");
        assert!(read_token(None, Some("tmu_x".into())).unwrap_err().to_string().contains("tmw_"));
        assert!(matches!(read_token(None, None), Err(SettingsError::NoToken)));
    }

    #[test]
    fn debugging_the_settings_does_not_show_the_token() {
        let settings = Settings {
            master: "http://localhost:8010".into(),
            token: "tmw_hidden".into(),
            name: "w".into(),
            base: "/tmp".into(),
            labels: Default::default(),
            slots: 1,
            spool_max: SPOOL_MAX,
            secrets_dir: None,
            tree: None,
        };
        settings.check().unwrap();
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
