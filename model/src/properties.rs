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

/// How deep values of properties may be nested: readers of JSON give up not far beyond.
pub const DEPTH_MAX: usize = 64;
/// Most bytes of the properties of one thing together, about as JSON.
pub const SIZE_MAX: usize = 1 << 20;

/// Why properties are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    #[error("property `{0}` is nested more than {DEPTH_MAX} deep")]
    Depth(String),
    #[error("with `{0}` the properties have more than {SIZE_MAX} bytes together; put large data into a file")]
    Size(String),
}

/// Whether so many properties, of such values, may travel with a build.
pub fn properties_check<'v>(values: impl IntoIterator<Item = (&'v str, &'v Value)>) -> Result<(), PropertiesError> {
    let mut total = 0;
    for (name, value) in values {
        let short = || name.chars().take(100).collect();
        let size = size_of(value, DEPTH_MAX).ok_or_else(|| PropertiesError::Depth(short()))?;
        total += name.len() + size;
        if total > SIZE_MAX {
            return Err(PropertiesError::Size(short()));
        }
    }
    Ok(())
}

/// About the bytes of a value; none if it is nested deeper.
fn size_of(value: &Value, depth: usize) -> Option<usize> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(8),
        Value::String(s) => Some(s.len() + 2),
        Value::Array(items) => {
            let depth = depth.checked_sub(1)?;
            items.iter().try_fold(2, |sum, item| Some(sum + size_of(item, depth)? + 1))
        }
        Value::Object(fields) => {
            let depth = depth.checked_sub(1)?;
            fields.iter().try_fold(2, |sum, (name, item)| Some(sum + name.len() + size_of(item, depth)? + 4))
        }
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

    /// Whether they may travel with a build.
    pub fn check(&self) -> Result<(), PropertiesError> {
        properties_check(self.0.iter().map(|(name, p)| (name.as_str(), &p.value)))
    }

    /// About their bytes; one that is nested too deep counts as the most.
    pub fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(name, p)| name.len() + p.source.len() + size_of(&p.value, DEPTH_MAX).unwrap_or(SIZE_MAX))
            .sum()
    }

    /// As [`Properties::update`], while there is room. Returns the names for which there was none.
    pub fn update_within(&mut self, later: &Properties) -> Vec<String> {
        let size = |name: &str, p: &Property| name.len() + size_of(&p.value, DEPTH_MAX).unwrap_or(SIZE_MAX);
        let mut total: usize = self.0.iter().map(|(name, p)| size(name, p)).sum();
        let mut left_out = Vec::new();
        for (name, property) in &later.0 {
            let before = self.0.get(name).map_or(0, |p| size(name, p));
            let after = total - before + size(name, property);
            if after > SIZE_MAX {
                left_out.push(name.clone());
                continue;
            }
            total = after;
            self.0.insert(name.clone(), property.clone());
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::from(1), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn properties_nested_too_deep_or_too_large_are_refused_by_name() {
        let mut p = Properties::new();
        p.set("good", nested(DEPTH_MAX), "here");
        assert_eq!(p.check(), Ok(()));
        p.set("large", "x".repeat(SIZE_MAX / 2), "here");
        assert_eq!(p.check(), Ok(()));
        p.set("larger", "x".repeat(SIZE_MAX / 2), "here");
        assert_eq!(p.check(), Err(PropertiesError::Size("larger".into())));
        let mut deep = Properties::new();
        deep.set("deep", nested(DEPTH_MAX + 1), "here");
        assert_eq!(deep.check(), Err(PropertiesError::Depth("deep".into())));
        deep.set("deep", nested(100_000), "here");
        assert_eq!(deep.check(), Err(PropertiesError::Depth("deep".into())));
        std::mem::forget(deep); // dropping it would need as deep a stack
    }

    #[test]
    fn what_is_merged_stays_within_the_bounds_and_names_what_is_left_out() {
        let of = |name: &str, value: Value| {
            let mut p = Properties::new();
            p.set(name, value, "here");
            p
        };
        let mut all = of("a", "x".repeat(SIZE_MAX - 100).into());
        assert_eq!(all.update_within(&of("b", "y".repeat(200).into())), ["b"]);
        assert_eq!(all.update_within(&of("c", nested(DEPTH_MAX + 1))), ["c"]);
        assert_eq!(all.update_within(&of("a", 1.into())), Vec::<String>::new());
        assert_eq!(all.update_within(&of("b", 2.into())), Vec::<String>::new());
        assert_eq!(all.check(), Ok(()));
    }
}
