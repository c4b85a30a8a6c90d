//! Secrets by name: values stand nowhere in what is stored.

use serde::{Deserialize, Serialize};

/// A text that nobody should read: best the name of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SecretText {
    Secret {
        #[serde(rename = "$secret")]
        name: String,
    },
    /// It stands in the file.
    Text(String),
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretText::Secret { name } => write!(f, "Secret({name:?})"),
            SecretText::Text(_) => f.write_str("Text(…)"),
        }
    }
}
