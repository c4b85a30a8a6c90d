//! The words of Tidemill: ids, results, changes, source stamps, properties,
//! logs, and the messages of the worker protocol.
//!
//! Nothing here does IO, knows a database or holds a lock. Master, worker and
//! every tool share these types, so a change here is a change of a contract:
//! the worker protocol in [`wire`] is versioned, the others are stored.

pub mod change;
pub mod ids;
pub mod lock;
pub mod log;
pub mod pages;
pub mod problem;
pub mod properties;
pub mod repository;
pub mod requires;
pub mod results;
pub mod revision;
pub mod secret;
pub mod sourcestamp;
pub mod wire;

pub use change::{Change, NewChange};
pub use ids::*;
pub use lock::{AccessMode, LockAccess};
pub use properties::{Properties, Property};
pub use results::Results;
pub use secret::SecretText;
pub use sourcestamp::{NewPatch, PATCH_MAX, Patch, SourceStamp};
