//! `c["secretsProviders"]`: where a project says that secrets come from (SE-01).
//!
//! The project file names providers, and the process's own settings say what
//! they reach: files of the folder `master.secrets_dir` and below, variables
//! `TIDEMILL_SECRET_…`. So no project file reads any other file of a master. The
//! first provider that knows a name wins.

mod vault;

use std::path::{Component, Path, PathBuf};
use tidemill_lang::definition::Declared;
use tidemill_model::revision::Files;
use tidemill_service::secret_file::{SecretFileError, check_name, read};
use tidemill_service::secrets::{SecretError, Secrets, of_environment};
use vault::Vault;

#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the project has no secretsProviders: add secrets.SecretInAFile() or secrets.SecretInEnvironment()")]
    None,
    #[error("secrets.SecretInAFile needs a folder: this master has no setting master.secrets_dir")]
    NoFolder,
    #[error(
        "secrets.SecretInAFile(dirname = {dirname:?}) is not below the folder of the setting master.secrets_dir ({dir})"
    )]
    Outside { dirname: String, dir: PathBuf },
    #[error("Vault: {0}")]
    Vault(String),
    #[error("{kind} of the project cannot be used: {why}")]
    Arguments { kind: String, why: String },
    #[error("no provider of the project knows the secret {0:?}")]
    Unknown(String),
}

/// The providers of a revision, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers(Vec<Provider>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Provider {
    File {
        dirname: String,
        suffixes: Vec<String>,
        strip: bool,
    },
    Environment,
    Vault(Box<Vault>),
    /// What is wrong with it.
    Broken {
        kind: String,
        why: String,
    },
    /// Accepted, and not run by this release.
    Other,
}

impl Providers {
    /// As a definition keeps them.
    pub fn of(declared: &serde_json::Value) -> Providers {
        let all: Vec<Declared> = serde_json::from_value(declared.clone()).unwrap_or_default();
        Providers(all.iter().map(Provider::of).collect())
    }

    /// The value. Reads files and asks servers: not for an async thread. `local`
    /// is whether servers of this machine may be asked.
    pub fn value(&self, secrets: &Secrets, local: bool, name: &str) -> Result<String, ProviderError> {
        if self.0.is_empty() {
            return Err(ProviderError::None);
        }
        for provider in &self.0 {
            if let Some(value) = provider.value(secrets, local, name)? {
                return Ok(value);
            }
        }
        Err(ProviderError::Unknown(name.to_owned()))
    }
}

impl Provider {
    fn of(declared: &Declared) -> Provider {
        let text = |name: &str| declared.args.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        match declared.kind.as_str() {
            "SecretInAFile" => {
                let list = declared.args.get("suffixes").and_then(|v| v.as_array());
                let mut suffixes: Vec<String> =
                    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
                if suffixes.is_empty() {
                    suffixes.push(String::new());
                }
                let strip = declared.args.get("strip").and_then(|v| v.as_bool()).unwrap_or(true);
                Provider::File { dirname: text("dirname"), suffixes, strip }
            }
            "SecretInEnvironment" => Provider::Environment,
            "HashiCorpVaultKvSecretProvider" | "SecretInVault" => match Vault::of(declared) {
                Ok(vault) => Provider::Vault(Box::new(vault)),
                Err(why) => Provider::Broken { kind: declared.kind.clone(), why },
            },
            _ => Provider::Other,
        }
    }

    fn value(&self, secrets: &Secrets, local: bool, name: &str) -> Result<Option<String>, ProviderError> {
        match self {
            Provider::Other => Ok(None),
            Provider::Broken { kind, why } => Err(ProviderError::Arguments { kind: kind.clone(), why: why.clone() }),
            Provider::Vault(vault) => vault.value(secrets, local, name),
            Provider::Environment => Ok(of_environment(name)),
            // No name of a file: another provider's.
            Provider::File { .. } if check_name(name).is_err() => Ok(None),
            Provider::File { dirname, suffixes, strip } => {
                let dir = secrets.dir().ok_or(ProviderError::NoFolder)?;
                let folder = below(dir, dirname)
                    .ok_or_else(|| ProviderError::Outside { dirname: dirname.clone(), dir: dir.to_owned() })?;
                for suffix in suffixes {
                    let file = format!("{name}{suffix}");
                    if let Some(value) = read(&folder, &file)? {
                        return Ok(Some(if *strip { value.trim_end_matches(['\r', '\n']).to_owned() } else { value }));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// The folder itself, or one below it; nothing that leads elsewhere.
fn below(dir: &Path, dirname: &str) -> Option<PathBuf> {
    let named = Path::new(dirname);
    let rest = if named.is_absolute() { named.strip_prefix(dir).ok()? } else { named };
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let folder = dir.join(rest);
    if !plain {
        return None;
    }
    // A link inside must not lead out.
    match (folder.canonicalize(), dir.canonicalize()) {
        (Ok(real), Ok(root)) => real.starts_with(root).then_some(real),
        _ => Some(folder),
    }
}

/// Whether a file of the project writes this name, as a whole word. A worker gets
/// no secret that the project does not name, whatever runs on it.
pub fn named(files: &Files, name: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    !name.is_empty()
        && files.0.values().any(|text| {
            text.match_indices(name)
                .any(|(at, _)| !text[..at].ends_with(of_name) && !text[at + name.len()..].starts_with(of_name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn put(dir: &Path, name: &str, value: &str) {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), value).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn file(args: serde_json::Value) -> serde_json::Value {
        json!({ "kind": "SecretInAFile", "name": "", "args": args, "location": "master.star:1" })
    }

    fn ask(providers: &[serde_json::Value], secrets: &Secrets, name: &str) -> Result<String, String> {
        Providers::of(&json!(providers)).value(secrets, false, name).map_err(|e| e.to_string())
    }

    #[test]
    fn a_provider_reads_the_settings_folder_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("secrets");
        put(&dir, "key", "hunter2\n\n");
        put(&dir, "sub/other.txt", "v\n");
        put(root.path(), "outside", "no");
        std::os::unix::fs::symlink(root.path(), dir.join("way")).unwrap();
        let secrets = Secrets::new(Some(dir.clone()));
        let plain = [file(json!({}))];
        assert_eq!(ask(&plain, &secrets, "key").unwrap(), "hunter2");
        assert_eq!(ask(&[file(json!({ "strip": false }))], &secrets, "key").unwrap(), "hunter2\n");
        let sub = [file(json!({ "dirname": "sub", "suffixes": [".txt"] }))];
        assert_eq!(ask(&sub, &secrets, "other").unwrap(), "v");
        assert_eq!(ask(&[file(json!({ "dirname": dir.display().to_string() }))], &secrets, "key").unwrap(), "hunter2");
        for out in ["..", "/etc", "sub/../..", "way", &root.path().display().to_string()] {
            let error = ask(&[file(json!({ "dirname": out }))], &secrets, "outside").unwrap_err();
            assert!(error.contains("master.secrets_dir"), "{out}: {error}");
        }
        for bad in ["../outside", ".key", "", "sub/other.txt"] {
            assert!(ask(&plain, &secrets, bad).is_err(), "{bad}");
        }
        assert!(ask(&plain, &secrets, "none").unwrap_err().contains("no provider"));
        assert!(ask(&plain, &Secrets::default(), "key").unwrap_err().contains("master.secrets_dir"));
        assert!(ask(&[], &secrets, "key").unwrap_err().contains("secretsProviders"));
        std::fs::set_permissions(dir.join("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ask(&plain, &secrets, "key").unwrap_err().contains("chmod 0600"));
    }

    #[test]
    fn the_first_provider_that_knows_wins() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a/key", "first");
        put(dir.path(), "b/key", "second");
        put(dir.path(), "b/only", "b");
        let secrets = Secrets::new(Some(dir.path().into()));
        let both = [file(json!({ "dirname": "a" })), file(json!({ "dirname": "b" }))];
        assert_eq!(ask(&both, &secrets, "key").unwrap(), "first");
        assert_eq!(ask(&both, &secrets, "only").unwrap(), "b");
    }

    #[test]
    fn a_name_counts_only_as_a_whole_word() {
        let files = Files::single("x = util.Secret(\"upload-key\") # %(secret:token)s");
        assert!(named(&files, "upload-key") && named(&files, "token"));
        for other in ["upload", "key", "", "tok", "upload-key2"] {
            assert!(!named(&files, other), "{other}");
        }
    }
}
