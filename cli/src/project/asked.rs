//! A build that a person asks for on the command line, without a master: what
//! its steps would see.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidemill_lang::{BuildContext, Definition};
use tidemill_model::{Properties, SourceStamp};

/// Which build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    pub builder: String,
    pub source: SourceStamp,
    pub properties: BTreeMap<String, String>,
    /// None is the first that the builder names.
    pub worker: Option<String>,
    pub reason: String,
}

/// The worker's name where nothing names one.
const HERE: &str = "here";

impl Asked {
    /// As the claim of a master makes it: the builder's defaults, then what was
    /// asked, then what the project and the builder always set (D-51).
    pub fn properties(&self, definition: &Definition) -> Properties {
        let mut all = Properties::new();
        let builder = definition.builders.iter().find(|b| b.name == self.builder);
        for (name, value) in builder.iter().flat_map(|b| &b.default_properties) {
            all.set(name, value.clone(), "Builder");
        }
        for (name, value) in &self.properties {
            all.set(name, value.as_str(), "command line");
        }
        for (name, value) in &definition.properties {
            all.set(name, value.clone(), "global");
        }
        for (name, value) in builder.iter().flat_map(|b| &b.properties) {
            all.set(name, value.clone(), "Builder");
        }
        let worker = self.worker(definition);
        if let Some(found) = definition.workers.iter().find(|w| w.name == worker) {
            for (name, value) in &found.default_properties {
                if all.get(name).is_none() {
                    all.set(name, value.clone(), "Worker");
                }
            }
            for (name, value) in &found.properties {
                all.set(name, value.clone(), "Worker");
            }
        }
        all.set("buildername", self.builder.as_str(), "Builder");
        all.set("workername", worker, "Worker");
        all.set("buildnumber", 0, "Build");
        all
    }

    /// The worker that it would run on.
    pub fn worker(&self, definition: &Definition) -> String {
        let builder = definition.builders.iter().find(|b| b.name == self.builder);
        let first = builder.and_then(|b| b.workernames.iter().find(|w| *w != "*"));
        self.worker.as_ref().or(first).map_or(HERE, String::as_str).to_owned()
    }

    /// What placeholders see before the first step.
    pub fn context(&self, definition: &Definition) -> BuildContext {
        let worker = self.worker(definition);
        let mut properties = self.properties(definition);
        let stamp = &self.source;
        let of_stamp: [(&str, serde_json::Value); 5] = [
            ("branch", stamp.branch.clone().into()),
            ("revision", stamp.revision.clone().into()),
            ("repository", stamp.repository.as_str().into()),
            ("project", stamp.project.as_str().into()),
            ("codebase", stamp.codebase.as_str().into()),
        ];
        for (name, value) in of_stamp {
            if properties.get(name).is_none() {
                properties.set(name, value, "Build");
            }
        }
        let known = definition.workers.iter().find(|w| w.name == worker);
        BuildContext {
            builder: self.builder.clone(),
            worker_info: known.map(|w| w.properties.clone()).unwrap_or_default(),
            worker,
            reason: self.reason.clone(),
            properties,
            sourcestamps: vec![stamp.clone()],
            ..BuildContext::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_lang::definition::{BuilderDef, WorkerDef};

    #[test]
    fn what_the_builder_always_sets_wins_and_its_defaults_do_not() {
        let text = |v: &str| serde_json::Value::from(v);
        let builder = BuilderDef {
            name: "b".into(),
            workernames: vec!["*".into(), "w".into()],
            properties: BTreeMap::from([("a".into(), text("builder"))]),
            default_properties: BTreeMap::from([("b".into(), text("default")), ("c".into(), text("default"))]),
            ..BuilderDef::default()
        };
        let worker = WorkerDef {
            name: "w".into(),
            properties: BTreeMap::from([("d".into(), text("worker"))]),
            ..WorkerDef::default()
        };
        let definition = Definition { builders: vec![builder], workers: vec![worker], ..Definition::default() };
        let properties = BTreeMap::from([("a".into(), "asked".into()), ("b".into(), "asked".into())]);
        let asked = Asked { builder: "b".into(), properties, ..Asked::default() };
        let all = asked.properties(&definition);
        let got = ["a", "b", "c", "d", "workername"].map(|n| all.get(n).and_then(|v| v.as_str()).unwrap().to_owned());
        assert_eq!(got, ["builder", "asked", "default", "worker", "w"]);
        assert_eq!(asked.context(&definition).worker_info.len(), 1);
    }
}
