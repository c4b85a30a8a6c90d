//! Properties: named JSON values that travel with a buildset or a build, each
//! with the source that set it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A value and who set it («Scheduler», «Build», a step's name …). On the wire
/// and in columns it is the pair `[value, source]`, as in Buildbot's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(Value, String)", into = "(Value, String)")]
pub struct Property {
    pub value: Value,
    pub source: String,
}

impl From<(Value, String)> for Property {
    fn from((value, source): (Value, String)) -> Self {
        Property { value, source }
    }
}

impl From<Property> for (Value, String) {
    fn from(p: Property) -> Self {
        (p.value, p.source)
    }
}

/// Properties by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub BTreeMap<String, Property>);

impl Properties {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value; a later source wins (D-51).
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) {
        let property = Property { value: value.into(), source: source.into() };
        self.0.insert(name.into(), property);
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|p| &p.value)
    }

    /// Takes over all of `later`, which wins where both have a name.
    pub fn update(&mut self, later: &Properties) {
        self.0.extend(later.0.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}
