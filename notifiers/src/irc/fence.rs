//! Until when a connection may speak: a lease in memory.

use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Who holds the lease moves it; the connection asks before each line, so that
/// nothing goes out when somebody else may have taken over. Clones are the same
/// fence; the default one is open for ever.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    pub fn until(end: Instant) -> Fence {
        Fence(Arc::new(Mutex::new(Some(end))))
    }

    pub fn extend(&self, end: Instant) {
        *self.0.lock().expect("no panic while locked") = Some(end);
    }

    pub fn has_passed(&self) -> bool {
        self.0.lock().expect("no panic while locked").is_some_and(|end| Instant::now() >= end)
    }
}
