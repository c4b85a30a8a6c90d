//! What a step function says about itself: properties, links, numbers, progress,
//! and its text while it runs.

use super::host::{Ground, Host};
use crate::build::step::PROPERTY_MAX;
use crate::build::text;
use crate::secrets::Secrets;
use crate::spool::Spool;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_lang::custom::{HostError, Statistic};
use tidemill_model::wire::Event;

/// Time between two texts of a running step (C-61).
const SUMMARY: Duration = Duration::from_secs(1);

/// Time between two reports of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// Most properties, links, numbers and metrics of one step.
const PROPERTIES_MAX: usize = 1000;
const LINKS_MAX: usize = 1000;
const NUMBERS_MAX: usize = 1000;
const METRICS_MAX: usize = 100;

/// Most numbers of all steps of a build.
const NUMBERS_OF_BUILD: usize = 10_000;

/// Most bytes of a step's properties, and of a build's numbers, as JSON with their names.
const PROPERTIES_BYTES: usize = 16 << 20;
const NUMBERS_BYTES: usize = 4 << 20;

/// Longest address of a link.
const LINK_MAX: usize = 4096;

/// What the build takes over when the step has ended.
pub(super) struct Told {
    step: String,
    /// The last value of each, and who set it.
    pub properties: BTreeMap<String, (Json, String)>,
    properties_bytes: usize,
    /// Of the whole build, this step's last.
    pub statistics: Vec<Statistic>,
    statistics_bytes: usize,
    links: usize,
    summary: Option<Instant>,
    /// Calls that start other builds, so far.
    pub triggers: u32,
}

impl Told {
    pub fn new(step: String, statistics: Vec<Statistic>) -> Told {
        Told {
            step,
            properties: BTreeMap::new(),
            properties_bytes: 0,
            statistics_bytes: statistics.iter().map(|s| size(&s.name, &s.value)).sum(),
            statistics,
            links: 0,
            summary: None,
            triggers: 0,
        }
    }

    /// Numbers of this step for the masters. Other values count only within the build (C-89).
    fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        let own = self.statistics.iter().filter(|s| s.step == self.step);
        own.filter_map(|s| Some((s.name.as_str(), s.value.as_f64().filter(|v| v.is_finite())?)))
    }
}

/// How far the step has come (C-84). Set by the function's thread, told by the
/// step's task at its own pace.
#[derive(Default)]
pub(super) struct Progress(Mutex<Metrics>);

#[derive(Default)]
struct Metrics {
    values: BTreeMap<String, f64>,
    untold: bool,
    told: Option<Instant>,
}

impl Progress {
    fn set(&self, metric: &str, value: f64) {
        let mut metrics = self.metrics();
        let known = metrics.values.get(metric).copied();
        if known != Some(value) && (known.is_some() || metrics.values.len() < METRICS_MAX) {
            metrics.values.insert(metric.to_owned(), value);
            metrics.untold = true;
        }
    }

    /// Tells the masters if something is new and the last time is long enough ago, or with the step's end.
    pub fn tell(&self, spool: &Spool, secrets: &Secrets, step: u32, last: bool) {
        let mut metrics = self.metrics();
        let due = last || metrics.told.is_none_or(|at| at.elapsed() >= PROGRESS);
        if !(metrics.untold && due) {
            return;
        }
        (metrics.untold, metrics.told) = (false, Some(Instant::now()));
        let values = metrics.values.iter().map(|(metric, value)| (secrets.shown(metric), *value)).collect();
        spool.event(Event::StepProgress { step, values });
    }

    fn metrics(&self) -> std::sync::MutexGuard<'_, Metrics> {
        self.0.lock().expect("no panic while holding the metrics")
    }
}

/// Bytes that a value takes with its name.
fn size(name: &str, value: &Json) -> usize {
    name.len() + value.to_string().len()
}

fn refused<T>(why: String) -> Result<T, HostError> {
    Err(HostError::Failed(why))
}

impl Host {
    pub(super) fn property(&self, name: &str, value: &Json, source: &str) -> Result<(), HostError> {
        self.wait_for_room()?;
        text::check_name("property", name).map_err(HostError::Failed)?;
        let size = size(name, value);
        if size > PROPERTY_MAX {
            return refused(format!("the property {name:?} takes {size} bytes; the most is {PROPERTY_MAX}"));
        }
        let mut told = self.told.borrow_mut();
        let before = told.properties.get(name).map(|(v, _)| self::size(name, v));
        if before.is_none() && told.properties.len() >= PROPERTIES_MAX {
            return refused(format!("the step set {PROPERTIES_MAX} properties, which is the most"));
        }
        let bytes = told.properties_bytes - before.unwrap_or(0) + size;
        if bytes > PROPERTIES_BYTES {
            return refused(format!("the step's properties take more than {} MiB", PROPERTIES_BYTES >> 20));
        }
        told.properties_bytes = bytes;
        let source = text::line(source);
        told.properties.insert(name.into(), (value.clone(), source.clone()));
        let secrets = &self.ground.secrets;
        let (name, value) = (secrets.shown(name), secrets.shown_json(value));
        self.ground.spool.event(Event::PropertySet { name, value, source: secrets.shown(&source) });
        Ok(())
    }

    pub(super) fn link(&self, name: &str, address: &str) -> Result<(), HostError> {
        self.wait_for_room()?;
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
        text::check_name("statistic", name).map_err(HostError::Failed)?;
        let mut told = self.told.borrow_mut();
        let (step, all) = (told.step.clone(), told.statistics.len());
        let own = told.statistics.iter().filter(|s| s.step == step).count();
        let known = told.statistics.iter().position(|s| s.step == step && s.name == name);
        if known.is_none() && (own >= NUMBERS_MAX || all >= NUMBERS_OF_BUILD) {
            return refused(format!(
                "a step has at most {NUMBERS_MAX} statistics, and a build {NUMBERS_OF_BUILD}: {name:?} is too many"
            ));
        }
        let before = known.map_or(0, |at| size(name, &told.statistics[at].value));
        let bytes = told.statistics_bytes - before + size(name, value);
        if bytes > NUMBERS_BYTES {
            return refused(format!("the statistics of the build take more than {} MiB", NUMBERS_BYTES >> 20));
        }
        told.statistics_bytes = bytes;
        match known {
            Some(at) => told.statistics[at].value = value.clone(),
            None => told.statistics.push(Statistic { step, name: name.to_owned(), value: value.clone() }),
        }
        Ok(())
    }

    pub(super) fn progress(&self, metric: &str, value: f64) -> Result<(), HostError> {
        self.go_on()?;
        text::check_name("metric", metric).map_err(HostError::Failed)?;
        if value.is_finite() {
            self.ground.progress.set(metric, value);
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

    /// The end: its numbers go to the masters.
    pub fn into_told(self) -> Told {
        let Ground { spool, secrets, step, progress, .. } = &self.ground;
        progress.tell(spool, secrets, *step, true);
        let told = self.told.into_inner();
        let values: BTreeMap<String, f64> = told.numbers().map(|(name, v)| (secrets.shown(name), v)).collect();
        if !values.is_empty() {
            spool.event(Event::StepStatistics { step: *step, values });
        }
        told
    }
}
