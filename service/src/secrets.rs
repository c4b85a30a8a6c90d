//! Values of secrets that a daemon itself needs, such as the key of a poller or
//! the password of a mail relay. The project file names them (`util.Secret`); a
//! value stands in a file of the folder that a setting names, named like the
//! secret and readable by nobody else, or in the variable
//! `TIDEMILL_SECRET_NAME`. It is read when it is needed, and goes nowhere but to
//! the server that it is for.

use crate::secret_file::{self, SecretFileError};
use std::path::{Path, PathBuf};
use tidemill_model::SecretText;

/// Before the name of a variable.
const VARIABLE: &str = "TIDEMILL_SECRET_";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error("there is no secret {name:?}: {remedy}, or set the variable {VARIABLE}{variable}")]
    Missing { name: String, remedy: String, variable: String },
}

/// Where this process finds them.
#[derive(Clone, Debug)]
pub struct Secrets {
    dir: Option<PathBuf>,
    setting: &'static str,
}

impl Default for Secrets {
    fn default() -> Secrets {
        Secrets::new(None)
    }
}

impl Secrets {
    pub fn new(dir: Option<PathBuf>) -> Secrets {
        Secrets { dir, setting: "master.secrets_dir" }
    }

    /// The setting that names the folder is another, for errors.
    pub fn set_by(self, setting: &'static str) -> Secrets {
        Secrets { setting, ..self }
    }

    /// Where files of values are, if anywhere.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The text itself, or the value of the secret that it names.
    pub fn resolve(&self, text: &SecretText) -> Result<String, SecretError> {
        match text {
            SecretText::Text(text) => Ok(text.clone()),
            SecretText::Secret { name } => self.value(name),
        }
    }

    pub fn value(&self, name: &str) -> Result<String, SecretError> {
        secret_file::check_name(name)?;
        if let Some(dir) = &self.dir
            && let Some(value) = secret_file::read(dir, name)?
        {
            return Ok(value);
        }
        of_environment(name).ok_or_else(|| {
            let variable = variable(name);
            let remedy = match &self.dir {
                Some(dir) => format!("put its value into the file {}, mode 0600", dir.join(name).display()),
                None => format!("name a folder with its file in the setting {}", self.setting),
            };
            SecretError::Missing { name: name.to_owned(), remedy, variable }
        })
    }
}

/// The variable of a secret, without what all of them begin with.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// From this process's environment.
pub fn of_environment(name: &str) -> Option<String> {
    std::env::var(format!("{VARIABLE}{}", variable(name))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_comes_from_a_file_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("key", 0o600), ("open", 0o644)] {
            std::fs::write(dir.path().join(name), "geheim\n").unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let secrets = Secrets::new(Some(dir.path().into()));
        let named = |name: &str| secrets.resolve(&SecretText::Secret { name: name.into() });
        assert_eq!(named("key").unwrap(), "geheim");
        assert_eq!(secrets.resolve(&SecretText::Text("plain".into())).unwrap(), "plain");
        assert!(matches!(named("open"), Err(SecretError::File(SecretFileError::Open { .. }))));
        assert!(matches!(named("../key"), Err(SecretError::File(SecretFileError::Name(_)))));
        let error = named("no-such").unwrap_err().to_string();
        assert!(error.contains("mode 0600") && error.contains("TIDEMILL_SECRET_NO_SUCH"), "{error}");
        let error = Secrets::default().value("key").unwrap_err().to_string();
        assert!(error.contains("master.secrets_dir"), "{error}");
    }
}
