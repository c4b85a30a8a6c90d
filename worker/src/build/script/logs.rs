//! The open logs of a step function.
//!
//! The function's thread writes; a task of the runtime shows what waits too long
//! while the function does other things.

use super::host::Host;
use crate::exec::outlet::{SharedLog, locked};
use crate::mask::Patterns;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_lang::custom::{HostError, LogId};
use tidemill_model::log::Channel;
use tidemill_model::wire::LogKind;
use tokio::time::Instant;

/// How soon somebody who waits looks again.
const LOOK: Duration = Duration::from_millis(5);

/// Most logs of one step.
const LOGS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Logs(Mutex<Open>);

#[derive(Default)]
struct Open {
    logs: BTreeMap<LogId, SharedLog>,
    opened: usize,
}

impl Logs {
    pub fn get(&self, id: LogId) -> Option<SharedLog> {
        self.open().logs.get(&id).cloned()
    }

    pub fn tick(&self) {
        let logs: Vec<SharedLog> = self.open().logs.values().cloned().collect();
        let now = Instant::now();
        logs.iter().for_each(|log| locked(log).tick(now));
    }

    /// All of them mask these values from now on.
    pub fn mask(&self, patterns: &Arc<Patterns>) {
        let logs: Vec<SharedLog> = self.open().logs.values().cloned().collect();
        logs.iter().for_each(|log| locked(log).mask(patterns.clone()));
    }

    /// After the end of the function, however it ended.
    pub fn close_all(&self) {
        let logs = std::mem::take(&mut self.open().logs);
        logs.values().for_each(|log| locked(log).close());
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().expect("no panic while holding the list of logs")
    }
}

impl Host {
    pub(super) fn open(&self, name: &str, kind: LogKind) -> Result<LogId, HostError> {
        self.wait_for_room()?;
        if self.ground.logs.open().opened >= LOGS_MAX {
            return Err(HostError::Failed(format!("the step opened {LOGS_MAX} logs, which is the most")));
        }
        let (id, log) = self.ground.maker.open(&self.ground.secrets.shown(name), kind);
        let mut open = self.ground.logs.open();
        open.opened += 1;
        open.logs.insert(id, Arc::new(Mutex::new(log)));
        Ok(id)
    }

    /// Waits while the spool has no room, as a command would.
    pub(super) fn write(&self, id: LogId, channel: Channel, bytes: &[u8]) -> Result<(), HostError> {
        self.wait_for_room()?;
        let log = self.log(id)?;
        let secrets = &self.ground.secrets;
        let shown = std::str::from_utf8(bytes).ok().filter(|t| secrets.has_marks(t)).map(|t| secrets.shown(t));
        let bytes = shown.as_ref().map_or(bytes, String::as_bytes);
        let mut log = locked(&log);
        log.mask(secrets.patterns());
        match channel {
            Channel::Header => log.header(&String::from_utf8_lossy(bytes)),
            channel => log.write(channel, bytes),
        }
        Ok(())
    }

    pub(super) fn finish(&self, id: LogId) -> Result<(), HostError> {
        if self.current.borrow().as_ref().is_some_and(|logs| logs.contains(&id)) {
            return Err(HostError::Failed("the log is that of the command that runs: it ends after it".into()));
        }
        let log = self.ground.logs.open().logs.remove(&id);
        if let Some(log) = log {
            locked(&log).close();
        }
        Ok(())
    }

    pub(super) fn log(&self, id: LogId) -> Result<SharedLog, HostError> {
        self.ground.logs.get(id).ok_or_else(|| HostError::Failed(format!("the log {id} is not open")))
    }

    /// Returns when the spool takes more, or with the step's end.
    pub(super) fn wait_for_room(&self) -> Result<(), HostError> {
        self.go_on()?;
        if self.ground.spool.has_room() {
            return Ok(());
        }
        if self.current.borrow().is_some() {
            // An observer: this thread drives the command, which stands still meanwhile.
            while !self.ground.spool.has_room() && !self.ground.ending.is_asked() {
                std::thread::sleep(LOOK);
            }
            return self.go_on();
        }
        let (spool, mut orders) = (&self.ground.spool, self.ground.orders.clone());
        self.ground.handle.block_on(async {
            while !spool.has_room() && !self.ground.ending.is_asked() {
                tokio::select! {
                    () = spool.room() => {}
                    // Without anybody who gives orders the flag comes at once.
                    _ = orders.changed() => tokio::time::sleep(LOOK).await,
                }
            }
        });
        self.go_on()
    }
}
