//! What a step function says about itself: properties, links, numbers, progress,
//! and its text while it runs.

use super::host::Host;
use crate::build::step::PROPERTY_MAX;
use crate::build::text;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_lang::custom::{HostError, Statistic};
use tidemill_model::wire::Event;

/// Time between two texts of a running step (C-61).
const SUMMARY: Duration = Duration::from_secs(1);

/// Most links, numbers and metrics of one step.
const LINKS_MAX: usize = 1000;
const NUMBERS_MAX: usize = 1000;

/// Longest address of a link.
const LINK_MAX: usize = 4096;

/// What the build takes over when the step has ended.
pub(super) struct Told {
    step: String,
    pub properties: Vec<(String, Json, String)>,
    /// Of the whole build, this step's last.
    pub statistics: Vec<Statistic>,
    progress: BTreeMap<String, f64>,
    links: usize,
    summary: Option<Instant>,
}

impl Told {
    pub fn new(step: String, statistics: Vec<Statistic>) -> Told {
        Told { step, properties: vec![], statistics, progress: BTreeMap::new(), links: 0, summary: None }
    }

    /// Numbers and metrics of this step for the masters; none where there are none.
    fn numbers(&self) -> Option<Json> {
        let own = self.statistics.iter().filter(|s| s.step == self.step);
        let mut all: serde_json::Map<String, Json> = own.map(|s| (s.name.clone(), s.value.clone())).collect();
        for (metric, value) in &self.progress {
            all.entry(format!("progress:{metric}")).or_insert((*value).into());
        }
        (!all.is_empty()).then(|| all.into())
    }
}

impl Host {
    pub(super) fn property(&self, name: &str, value: &Json, source: &str) -> Result<(), HostError> {
        self.go_on()?;
        let size = value.to_string().len();
        if size > PROPERTY_MAX {
            return Err(HostError::Failed(format!(
                "the value of the property {name:?} takes {size} bytes; the most is {PROPERTY_MAX}"
            )));
        }
        let shown = self.ground.secrets.shown_json(value);
        self.ground.spool.event(Event::PropertySet { name: name.into(), value: shown, source: source.into() });
        self.told.borrow_mut().properties.push((name.into(), value.clone(), source.into()));
        Ok(())
    }

    pub(super) fn link(&self, name: &str, address: &str) -> Result<(), HostError> {
        self.go_on()?;
        // Pages show it as a link: nothing that a browser would run.
        let local = address.starts_with('/') && !address.starts_with("//");
        let scheme = url::Url::parse(address).map(|u| u.scheme().to_owned()).unwrap_or_default();
        if !(local || ["http", "https", "ftp", "mailto"].contains(&scheme.as_str())) || address.len() > LINK_MAX {
            return Err(HostError::Failed(format!(
                "{:?} cannot be a link: give an address such as https://example.org/report",
                text::line(address)
            )));
        }
        let mut told = self.told.borrow_mut();
        if told.links >= LINKS_MAX {
            return Err(HostError::Failed(format!("the step has {LINKS_MAX} links, which is the most")));
        }
        told.links += 1;
        let secrets = &self.ground.secrets;
        let (name, url) = (text::line(&secrets.shown(name)), secrets.shown(address));
        self.ground.spool.event(Event::StepUrl { step: self.ground.step, name, url });
        Ok(())
    }

    pub(super) fn statistic(&self, name: &str, value: &Json) -> Result<(), HostError> {
        self.go_on()?;
        let mut told = self.told.borrow_mut();
        let step = told.step.clone();
        let own = told.statistics.iter().filter(|s| s.step == step).count();
        match told.statistics.iter_mut().find(|s| s.step == step && s.name == name) {
            Some(known) => known.value = value.clone(),
            None if own >= NUMBERS_MAX => {
                return Err(HostError::Failed(format!("the step has {NUMBERS_MAX} statistics, which is the most")));
            }
            None => told.statistics.push(Statistic { step, name: name.to_owned(), value: value.clone() }),
        }
        Ok(())
    }

    pub(super) fn progress(&self, metric: &str, value: f64) -> Result<(), HostError> {
        self.go_on()?;
        let mut told = self.told.borrow_mut();
        if told.progress.len() < NUMBERS_MAX || told.progress.contains_key(metric) {
            told.progress.insert(metric.to_owned(), value);
        }
        Ok(())
    }

    pub(super) fn is_summary_due(&self) -> bool {
        self.told.borrow().summary.is_none_or(|at| at.elapsed() >= SUMMARY)
    }

    pub(super) fn summary(&self, words: &str) -> Result<(), HostError> {
        self.go_on()?;
        self.told.borrow_mut().summary = Some(Instant::now());
        let text = text::line(&self.ground.secrets.shown(words));
        self.ground.spool.event(Event::Summary { step: Some(self.ground.step), text });
        Ok(())
    }

    /// The end: numbers go to the masters as one property.
    pub fn into_told(self) -> Told {
        let told = self.told.into_inner();
        if let Some(value) = told.numbers() {
            let name = format!("statistics:{}", told.step);
            self.ground.spool.event(Event::PropertySet { name, value, source: told.step.clone() });
        }
        told
    }
}
