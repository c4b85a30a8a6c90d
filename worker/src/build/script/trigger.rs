//! Starting other builds, and waiting for them.
//!
//! Each call is repeated until a master answers, on whatever replica: the masters
//! fire a trigger once. Only a stop of the step, the loss of the lease or a
//! refusal that names its reason ends the wait; that no master answers does not.

use super::host::Host;
use crate::client::CallError;
use crate::order::Order;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::time::Duration;
use tidemill_lang::custom::{HostError, StepHost, Trigger};
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{
    LogKind, TriggerCall, TriggerState, TriggerTarget, TriggerWatch, TriggeredBuild, TriggeredRequest,
};
use tidemill_service::Backoff;

/// How soon a call that was broken off is seen to be so.
const LOOK: Duration = Duration::from_millis(5);
/// What a master may wait before it says that nothing is new.
const WAIT: Duration = Duration::from_secs(30);
/// Links to builds: of more there are enough on the build's page.
const LINKS: usize = 500;
/// Names in a text.
const NAMED: usize = 5;

impl Host {
    pub(super) fn fire(&self, wanted: &Trigger) -> Result<Results, HostError> {
        self.go_on()?;
        if self.current.borrow().is_some() {
            return Err(HostError::Failed(
                "an observer cannot trigger builds while the command that it observes runs: \
                 let it note what it saw, and let the step's own function do it"
                    .into(),
            ));
        }
        let nth = {
            let mut told = self.told.borrow_mut();
            told.triggers += 1;
            told.triggers
        };
        let call = self.call(wanted, nth);
        let names = listed(call.targets.iter().map(|t| t.scheduler.as_str()));
        self.summary(&format!("triggering {names}"))?;
        let reply = self.answered(|| self.ground.shared.client.trigger(&call))?;
        if let Some(why) = reply.skipped {
            let log = self.log_open("trigger", LogKind::Text)?;
            self.log_write(log, Channel::Stdout, format!("{why}\n").as_bytes())?;
            self.log_finish(log)?;
            return Ok(Results::Skipped);
        }
        match wanted.wait {
            true => self.wait_for_builds(&call, &names),
            false => Ok(Results::Success),
        }
    }

    fn call(&self, wanted: &Trigger, nth: u32) -> TriggerCall {
        let secrets = &self.ground.secrets;
        // What is sent is seen by masters and other builds: secrets show as their names, as in properties.
        let shown = |properties: &BTreeMap<String, Json>| {
            properties.iter().map(|(name, value)| (secrets.shown(name), secrets.shown_json(value))).collect()
        };
        let fields = |stamp: &BTreeMap<String, Option<String>>| {
            stamp.iter().map(|(name, value)| (name.clone(), value.as_deref().map(|v| secrets.shown(v)))).collect()
        };
        let targets = wanted.schedulers.iter().map(|s| TriggerTarget {
            scheduler: secrets.shown(&s.scheduler),
            unimportant: s.unimportant,
            properties: shown(&s.properties),
        });
        TriggerCall {
            build: self.ground.build,
            token: self.ground.token.clone(),
            step: self.ground.step,
            nth,
            targets: targets.collect(),
            wait: wanted.wait,
            sourcestamps: wanted.sourcestamps.iter().map(fields).collect(),
            inherits: wanted.inherits,
            parent_relationship: wanted.parent_relationship.as_deref().map(|r| secrets.shown(r)),
        }
    }

    fn wait_for_builds(&self, call: &TriggerCall, names: &str) -> Result<Results, HostError> {
        let mut watch = TriggerWatch {
            build: call.build,
            token: call.token.clone(),
            step: call.step,
            nth: call.nth,
            version: String::new(),
            wait_us: WAIT.as_micros() as u64,
        };
        let mut linked = HashSet::new();
        let mut said = String::new();
        loop {
            let state = self.answered(|| self.ground.shared.client.trigger_wait(&watch))?;
            self.link_builds(&state, &mut linked)?;
            if state.over() {
                return Ok(state.results());
            }
            let words = words(names, &state);
            if words != said {
                self.summary(&words)?;
                said = words;
            }
            watch.version = state.version;
        }
    }

    /// A link for each build that has begun.
    fn link_builds(&self, state: &TriggerState, linked: &mut HashSet<i64>) -> Result<(), HostError> {
        for request in state.sets.iter().flat_map(|s| &s.requests) {
            for TriggeredBuild { build, number, url, .. } in &request.builds {
                if linked.len() < LINKS && !url.is_empty() && linked.insert(*build) {
                    self.link(&format!("{} #{number}", request.builder), url)?;
                }
            }
        }
        Ok(())
    }

    /// Blocks the thread of the step, and nothing else of it may block inside.
    fn answered<T, F>(&self, call: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        self.ground.handle.block_on(self.until_answered(call))
    }

    /// Asks again and again until a master answers; ends with the step.
    async fn until_answered<T, F>(&self, call: impl Fn() -> F) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let shared = &self.ground.shared;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let session = shared.session.now().id;
            let answer = tokio::select! {
                biased;
                () = self.asked_to_end() => None,
                answer = call() => Some(answer),
            };
            self.go_on()?;
            let error = match answer {
                None => continue,
                Some(Ok(answer)) => {
                    shared.called(session, None).await;
                    return Ok(answer);
                }
                Some(Err(error)) => error,
            };
            match (&error, error.kind()) {
                (_, Some(kinds::LEASE_LOST)) => {
                    shared.order(self.ground.build, Order::Lost);
                    return Err(HostError::Over);
                }
                (CallError::Problem(problem), Some(kinds::TRIGGER_REFUSED | kinds::BAD_REQUEST | kinds::NOT_FOUND)) => {
                    return Err(HostError::Failed(problem.to_string()));
                }
                _ => {}
            }
            shared.called(session, Some(&error)).await;
            tracing::warn!(build = self.ground.build, "a trigger was not answered, trying again: {error}");
            tokio::select! {
                () = shared.pause(backoff.wait()) => {}
                () = self.asked_to_end() => {}
            }
        }
    }

    /// Returns when the step is to end.
    async fn asked_to_end(&self) {
        let mut orders = self.ground.orders.clone();
        if !self.ground.ending.is_asked() {
            // An error: nobody is left who could give orders, which ends the step as well.
            let _ = orders.changed().await;
        }
        // The flag follows the order at once.
        while !self.ground.ending.is_asked() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What the step shows while it waits.
fn words(names: &str, state: &TriggerState) -> String {
    let open = |r: &&TriggeredRequest| !r.complete;
    let left = state.sets.iter().flat_map(|s| &s.requests).filter(open).count();
    let mut words = format!("triggered {names}; waiting for {left}");
    if !state.blocked.is_empty() {
        let builders = listed(state.blocked.iter().map(String::as_str));
        words.push_str(&format!(
            "; {builders} cannot start: builds that wait hold every slot of the workers that may build it"
        ));
    }
    words
}

/// The first few.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut unique: Vec<&str> = vec![];
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    match unique.len() {
        n if n > NAMED => format!("{} and {} more", unique[..NAMED].join(", "), n - NAMED),
        _ => unique.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut_and_each_stands_once() {
        assert_eq!(listed(["a", "b", "a"].into_iter()), "a, b");
        assert_eq!(listed(["a", "b", "c", "d", "e", "f", "g"].into_iter()), "a, b, c, d, e and 2 more");
    }
}
