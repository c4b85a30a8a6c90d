//! The environment of a command.
//!
//! Layers, later wins: the worker's own without anything of Tidemill's, the
//! builder's, the step's, and last the variables that every build has. No
//! variable of another build and no token can get in: the worker never changes
//! its own environment, and all `TIDEMILL_*` names are left out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Marks every process of a build, with `instance:build:step`.
pub(crate) const MARKER: &str = "TIDEMILL_PROCESS";

/// What belongs to the worker as a service, and not to its builds.
const SERVICE: [&str; 7] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "CREDENTIALS_DIRECTORY",
];

pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// A layer as a project gives it: none removes.
pub(crate) type Layer = BTreeMap<String, Option<String>>;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    #[error("{0:?} cannot be the name of an environment variable")]
    Name(String),
    #[error("the value of the environment variable {0} holds a NUL byte")]
    Value(String),
}

/// The worker's own environment, as builds may see it.
pub(crate) fn own() -> Environment {
    std::env::vars_os()
        .filter(|(name, _)| !name.as_bytes().starts_with(b"TIDEMILL_") && !SERVICE.iter().any(|s| name == s))
        .collect()
}

/// All layers over each other; `${NAME}` in a layer's value stands for the
/// worker's own variable, empty where there is none.
pub(crate) fn layered(own: &Environment, layers: &[&Layer]) -> Result<Environment, EnvError> {
    let mut env = own.clone();
    env.insert("CI".into(), "true".into());
    for (name, value) in layers.iter().flat_map(|l| l.iter()) {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(EnvError::Name(name.clone()));
        }
        match value {
            Some(value) if value.contains('\0') => return Err(EnvError::Value(name.clone())),
            Some(value) => {
                env.insert(name.into(), expand(value, own));
            }
            None => {
                env.remove(OsStr::new(name));
            }
        }
    }
    Ok(env)
}

fn expand(value: &str, own: &Environment) -> OsString {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let after = &rest[at + 2..];
        let name = after.split('}').next().unwrap_or_default();
        out.extend_from_slice(&rest.as_bytes()[..at]);
        if name.len() < after.len() && is_name(name) {
            out.extend_from_slice(own.get(OsStr::new(name)).map_or(b"".as_slice(), |v| v.as_bytes()));
            rest = &after[name.len() + 1..];
        } else {
            out.extend_from_slice(b"${");
            rest = after;
        }
    }
    out.extend_from_slice(rest.as_bytes());
    OsString::from_vec(out)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a variable's value should not be listed in a log, judged by its name.
pub(crate) fn is_secret(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "APIKEY", "ACCESS_KEY"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn layer(pairs: &[(&str, Option<&str>)]) -> Layer {
        pairs.iter().map(|(k, v)| (k.to_string(), v.map(str::to_owned))).collect()
    }

    #[test]
    fn later_layers_win_none_removes_and_references_are_to_the_worker() {
        let own = env(&[("PATH", "/bin"), ("HOME", "/home/w"), ("LANG", "C")]);
        let builder = layer(&[("CC", Some("gcc")), ("LANG", None), ("PATH", Some("/opt:${PATH}"))]);
        let step = layer(&[("CC", Some("clang")), ("X", Some("${HOME}/${NONE}x${")), ("Y", Some("${CC}$$${a b}"))]);
        let got = layered(&own, &[&builder, &step]).unwrap();
        assert_eq!(
            got,
            env(&[
                ("CC", "clang"),
                ("CI", "true"),
                ("HOME", "/home/w"),
                ("PATH", "/opt:/bin"),
                ("X", "/home/w/x${"),
                ("Y", "$$${a b}"),
            ])
        );
    }

    #[test]
    fn a_name_or_value_that_no_environment_can_hold_is_refused() {
        for name in ["", "A=B", "A\0"] {
            assert_eq!(layered(&env(&[]), &[&layer(&[(name, Some("x"))])]), Err(EnvError::Name(name.into())));
        }
        assert_eq!(layered(&env(&[]), &[&layer(&[("A", Some("\0"))])]), Err(EnvError::Value("A".into())));
    }

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in ["GITHUB_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY"] {
            assert!(is_secret(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "KEYBOARD", "HOME"] {
            assert!(!is_secret(OsStr::new(name)), "{name}");
        }
    }
}
