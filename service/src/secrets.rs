//! Values of secrets that a daemon itself needs, such as the key of a poller or
//! the password of a mail relay. The project file names them (`util.Secret`); a
//! value stands in a file of the folder that a setting names, named like the
//! secret and readable by nobody else, or in the variable
//! `TIDEMILL_SECRET_NAME`. It is read when it is needed, and goes nowhere but to
//! the server that it is for.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tidemill_model::SecretText;

/// Largest value.
const VALUE_MAX: u64 = 64 << 10;
/// Before the name of a variable.
const VARIABLE: &str = "TIDEMILL_SECRET_";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{0:?} cannot be the name of a secret: it has to be that of a file")]
    Name(String),
    #[error("there is no secret {name:?}: {remedy}, or set the variable {VARIABLE}{variable}")]
    Missing { name: String, remedy: String, variable: String },
    #[error("the secret {name:?} is readable by others: chmod 0600 {path}")]
    Open { name: String, path: PathBuf },
    #[error("the secret {name:?} cannot be read from {path}: {why}")]
    Read { name: String, path: PathBuf, why: String },
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
        check_name(name)?;
        if let Some(dir) = &self.dir
            && let Some(value) = read(dir, name)?
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

/// Whether it could be that of a file.
pub fn check_name(name: &str) -> Result<(), SecretError> {
    match name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        true => Err(SecretError::Name(name.to_owned())),
        false => Ok(()),
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

/// Without the newline that an editor puts at the end. None: there is no such file.
pub fn read(dir: &Path, name: &str) -> Result<Option<String>, SecretError> {
    let (name, path) = (name.to_owned(), dir.join(name));
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(SecretError::Read { name, path, why: e.to_string() }),
    };
    if meta.mode() & 0o077 != 0 {
        return Err(SecretError::Open { name, path });
    }
    if !meta.is_file() || meta.len() > VALUE_MAX {
        let why = format!("it is no file of at most {VALUE_MAX} bytes");
        return Err(SecretError::Read { name, path, why });
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())),
        Err(e) => Err(SecretError::Read { name, path, why: e.to_string() }),
    }
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
        assert!(matches!(named("open"), Err(SecretError::Open { .. })));
        assert!(matches!(named("../key"), Err(SecretError::Name(_))));
        let error = named("no-such").unwrap_err().to_string();
        assert!(error.contains("mode 0600") && error.contains("TIDEMILL_SECRET_NO_SUCH"), "{error}");
        let error = Secrets::default().value("key").unwrap_err().to_string();
        assert!(error.contains("master.secrets_dir"), "{error}");
    }
}
