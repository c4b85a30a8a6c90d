//! Arguments of declared sources, under Buildbot's names and with its defaults.
//! Their types were checked when the project file was.

use super::PollError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tidemill_lang::definition::{Declared, SecretText};
use tidemill_model::NewChange;

/// What every source has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stamp {
    pub project: Option<String>,
    pub codebase: Option<String>,
    /// A text, or a mark of a function, which is asked later.
    category: Option<Value>,
}

impl Stamp {
    /// A change that carries what the source sets on its changes.
    pub fn change(&self) -> NewChange {
        NewChange {
            project: self.project.clone().unwrap_or_default(),
            codebase: self.codebase.clone().unwrap_or_default(),
            category: self.category.as_ref().and_then(Value::as_str).map(str::to_owned),
            ..NewChange::default()
        }
    }
}

/// User and password.
pub type Login = Option<(SecretText, SecretText)>;

/// Reads them. A `None` of the project file is as if it were not given.
pub fn read<T: DeserializeOwned>(def: &Declared) -> Result<T, PollError> {
    let given = def.args.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone()));
    serde_json::from_value(Value::Object(given.collect()))
        .map_err(|e| PollError::Refused(format!("the arguments of changes.{} cannot be read: {e}", def.kind)))
}

/// The pause between polls of a declared source.
pub fn interval(def: &Declared) -> Duration {
    let default = match def.kind.as_str() {
        kind if kind.ends_with("MaildirSource") => 10.0,
        "GerritEventLogPoller" | "GerritChangeSource" => 30.0,
        _ => 600.0,
    };
    let given = ["pollInterval", "http_poll_interval"].iter().find_map(|name| def.args.get(*name)?.as_f64());
    Duration::try_from_secs_f64(given.unwrap_or(default)).unwrap_or(Duration::from_secs(600))
}

/// Whether a function of the project gives the category.
pub fn category_function(def: &Declared) -> bool {
    def.args.get("category").is_some_and(|c| c.get("$function").is_some())
}
