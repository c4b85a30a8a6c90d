//! Where the output of a command goes: a log, or several logs and somebody who
//! looks on.

use super::tail::Tail;
use crate::mask::{Masker, Patterns};
use crate::order::Order;
use crate::secrets::Secrets;
use crate::spool::Spool;
use crate::steplog::StepLog;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidemill_model::log::Channel;
use tokio::sync::watch;
use tokio::time::Instant;

/// Takes the output of one command.
pub(crate) trait Outlet {
    /// The spool whose room decides whether output is read.
    fn spool(&self) -> &Arc<Spool>;
    fn write(&mut self, channel: Channel, bytes: &[u8]);
    /// Words of the worker itself.
    fn header(&mut self, text: &str);
    /// When [`Outlet::tick`] has something to do, if nothing else happens.
    fn deadline(&self) -> Option<Instant>;
    /// Says whether there was output that did not come through the pipes.
    fn tick(&mut self, now: Instant) -> bool;
    /// Nobody wants more: the command is to be killed.
    fn is_refused(&self) -> bool {
        false
    }
}

impl Outlet for StepLog {
    fn spool(&self) -> &Arc<Spool> {
        StepLog::spool(self)
    }

    fn write(&mut self, channel: Channel, bytes: &[u8]) {
        StepLog::write(self, channel, bytes);
    }

    fn header(&mut self, text: &str) {
        StepLog::header(self, text);
    }

    fn deadline(&self) -> Option<Instant> {
        StepLog::deadline(self)
    }

    fn tick(&mut self, now: Instant) -> bool {
        StepLog::tick(self, now);
        false
    }
}

/// A log that several parts of a step write to.
pub(crate) type SharedLog = Arc<Mutex<StepLog>>;

pub(crate) fn locked(log: &SharedLog) -> MutexGuard<'_, StepLog> {
    log.lock().expect("no panic while holding a log")
}

/// So much goes to who looks on at once, and so long the first byte of it waits.
const PIECE: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_millis(20);

/// How often a file is read at one look.
const READS: usize = 16;

/// A log for the command, logs of watched files, and who looks on.
pub(crate) struct Routed<S> {
    spool: Arc<Spool>,
    log: Option<SharedLog>,
    id: u32,
    tails: Vec<Tail>,
    /// Logs that `sink` wants to see.
    observed: Vec<u32>,
    /// Takes pieces of observed logs; false refuses this and what would follow.
    sink: S,
    secrets: Option<Arc<Secrets>>,
    patterns: Arc<Patterns>,
    maskers: BTreeMap<(u32, u8), Masker>,
    waiting: Vec<u8>,
    from: (u32, Channel),
    since: Option<Instant>,
    refused: bool,
}

impl<S: FnMut(u32, Channel, &[u8]) -> bool> Routed<S> {
    /// `id` is that of `log`; 0 where there is none.
    pub fn new(spool: Arc<Spool>, log: Option<SharedLog>, id: u32, observed: Vec<u32>, sink: S) -> Self {
        Routed {
            spool,
            log,
            id,
            tails: vec![],
            observed,
            sink,
            secrets: None,
            patterns: Arc::default(),
            maskers: BTreeMap::new(),
            waiting: Vec::new(),
            from: (0, Channel::Stdout),
            since: None,
            refused: false,
        }
    }

    /// Who looks on sees no value that is known when it passes.
    pub fn mask(&mut self, secrets: Arc<Secrets>) {
        self.secrets = Some(secrets);
    }

    pub fn watch(&mut self, tail: Tail) {
        self.tails.push(tail);
    }

    /// After the command: the rest of watched files, and everything to who looks on.
    /// An order ends the waiting for room.
    pub async fn end(&mut self, orders: &mut watch::Receiver<Order>) {
        for index in 0..self.tails.len() {
            // What is there now: somebody may go on writing for ever.
            let mut left = self.tails[index].left();
            while !self.refused && left > 0 {
                if !self.spool.has_room() {
                    tokio::select! {
                        () = self.spool.room() => continue,
                        _ = orders.changed() => break,
                    }
                }
                match self.read_tail(index) {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
        }
        // Only now: a watched file may go to the command's own log.
        for log in self.log.iter().chain(self.tails.iter().filter_map(Tail::log)) {
            locked(log).end_output();
        }
        self.end_maskers();
        self.deliver();
    }

    /// After [`Routed::end`]: the last words of the worker.
    pub fn footer(&mut self, text: &str) {
        self.header(text);
        self.deliver();
    }

    /// Logs of watched files.
    pub fn into_tails(self) -> Vec<Tail> {
        self.tails
    }

    /// How many bytes it read.
    fn read_tail(&mut self, index: usize) -> u64 {
        let Some((id, bytes)) = self.tails[index].read() else { return 0 };
        self.observe(id, Channel::Stdout, &bytes);
        bytes.len() as u64
    }

    /// A value may have become known since the command began.
    fn look_at_patterns(&mut self) {
        let Some(patterns) = self.secrets.as_ref().map(|s| s.patterns()) else { return };
        if !Arc::ptr_eq(&self.patterns, &patterns) {
            self.maskers.values_mut().for_each(|masker| masker.change(patterns.clone()));
            self.patterns = patterns;
        }
    }

    fn observe(&mut self, id: u32, channel: Channel, bytes: &[u8]) {
        if self.refused || bytes.is_empty() || !self.observed.contains(&id) {
            return;
        }
        if self.from != (id, channel) {
            self.deliver();
            self.from = (id, channel);
        }
        self.look_at_patterns();
        if self.patterns.is_empty() {
            self.waiting.extend_from_slice(bytes);
        } else {
            let patterns = &self.patterns;
            let masker = self.maskers.entry((id, channel as u8)).or_insert_with(|| Masker::new(patterns.clone()));
            masker.feed(bytes, &mut self.waiting);
        }
        if self.waiting.len() >= PIECE {
            self.deliver();
        } else {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn end_maskers(&mut self) {
        for ((id, channel), mut masker) in std::mem::take(&mut self.maskers) {
            let mut rest = vec![];
            masker.finish(&mut rest);
            let Some(channel) = Channel::from_byte(channel).filter(|_| !rest.is_empty()) else { continue };
            if self.from != (id, channel) {
                self.deliver();
                self.from = (id, channel);
            }
            self.waiting.extend_from_slice(&rest);
        }
    }

    fn deliver(&mut self) {
        self.since = None;
        if self.waiting.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.waiting);
        self.refused = self.refused || !(self.sink)(self.from.0, self.from.1, &bytes);
        bytes.clear();
        self.waiting = bytes;
    }
}

impl<S: FnMut(u32, Channel, &[u8]) -> bool> Outlet for Routed<S> {
    fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    fn write(&mut self, channel: Channel, bytes: &[u8]) {
        if let Some(log) = &self.log {
            locked(log).write(channel, bytes);
        }
        self.observe(self.id, channel, bytes);
    }

    fn header(&mut self, text: &str) {
        if let Some(log) = &self.log {
            locked(log).header(text);
        }
        self.observe(self.id, Channel::Header, text.as_bytes());
    }

    fn deadline(&self) -> Option<Instant> {
        let logs = self.log.iter().chain(self.tails.iter().filter_map(Tail::log));
        let logs = logs.filter_map(|log| locked(log).deadline());
        let tails = self.tails.iter().map(Tail::next);
        logs.chain(tails).chain(self.since.map(|t| t + PATIENCE)).min()
    }

    fn tick(&mut self, now: Instant) -> bool {
        let mut found = false;
        for index in 0..self.tails.len() {
            if self.tails[index].next() > now {
                continue;
            }
            let reads = (0..READS).take_while(|_| self.spool.has_room() && self.read_tail(index) > 0).count();
            found |= reads > 0;
            self.tails[index].looked(now);
        }
        for log in self.log.iter().chain(self.tails.iter().filter_map(Tail::log)) {
            locked(log).tick(now);
        }
        if self.since.is_some_and(|t| t + PATIENCE <= now) {
            self.deliver();
        }
        found
    }

    fn is_refused(&self) -> bool {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Budget;
    use std::os::unix::fs::PermissionsExt;
    use tidemill_model::wire::LogKind;

    #[tokio::test]
    async fn a_value_that_is_split_over_the_commands_end_reaches_nobody_who_looks_on() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("key"), "hunter2").unwrap();
        std::fs::set_permissions(root.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = Arc::new(Secrets::new(&root));
        let spool = Arc::new(Spool::new(root.join("spool"), Arc::new(Budget::new(u64::MAX))));
        let log = StepLog::open(spool.clone(), 1, 1, "w", "w".into(), LogKind::Text);
        let log = Arc::new(Mutex::new(log));
        let mut seen = vec![];
        let mut outlet = Routed::new(spool, None, 0, vec![0, 1], |_, _, bytes: &[u8]| {
            seen.extend_from_slice(bytes);
            true
        });
        outlet.mask(secrets.clone());
        let opener = Box::new(move || (1, log.clone()));
        outlet.watch(Tail::new(root.clone(), root.join("w"), false, false, opener));
        // The value becomes known only now.
        outlet.write(Channel::Stdout, b"out\n");
        secrets.resolve(&tidemill_lang::secret::mark(secrets.mark(), "key")).unwrap();
        std::fs::write(root.join("w"), "hunt").unwrap();
        outlet.tick(Instant::now() + Duration::from_secs(1));
        std::fs::write(root.join("w"), "hunter2\n").unwrap();
        let (_orders, mut orders) = watch::channel(Order::Run);
        outlet.end(&mut orders).await;
        drop(outlet);
        assert_eq!(String::from_utf8(seen).unwrap(), "out\n<secret key>\n");
    }
}
