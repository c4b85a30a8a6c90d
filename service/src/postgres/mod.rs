//! A private PostgreSQL cluster: found, made, started, adopted, stopped.
//!
//! This module speaks no SQL over the wire; it runs PostgreSQL's own programs.
//! It blocks (a first start takes seconds), so async callers use
//! `spawn_blocking` or call it before their runtime has work.
//!
//! What is guaranteed:
//! - The cluster lives in one folder: `data/`, `postgres.log`, `lock`. An
//!   initdb that was killed is never taken for a cluster, because it works in
//!   `data.new` and the rename comes last.
//! - [`Cluster::open`] may be called by several processes at once: a file lock
//!   orders them, one starts the server and the others adopt it.
//! - A server whose starter was killed goes on, and the next `open` adopts it.
//!   One that was itself killed recovers at the next start, stale pid file and
//!   dying backends included.
//! - It listens on a Unix socket only, mode 0700. Root starts it as another
//!   user (PostgreSQL refuses root), or in a user namespace where there is no
//!   such user or the folder is out of that user's reach.

mod binaries;
mod cluster;
mod error;
mod identity;
mod init;
mod pidfile;
mod socket;
mod upgrade;

pub use binaries::{Binaries, OLDEST_MAJOR, candidates};
pub use cluster::{Cluster, Options};
pub use error::Error;
pub use identity::Identity;
pub use upgrade::{Upgraded, upgrade};

/// Superuser and database of a private cluster.
pub const USER: &str = "tidemill";
pub const DATABASE: &str = "tidemill";
