//! Migrations and all SQL that changes state: one file a noun.
//!
//! Functions are named noun first (`lease_renew`) and take a connection; what
//! belongs together runs in [`run_tx!`], which names the transaction and
//! tries it again where Postgres says so. State changes name the old state in
//! their WHERE and check the row count. Time that decides is
//! `tidemill_now()`, the database's clock.

pub mod active;
pub mod beats;
pub mod builds;
pub mod cancellers;
pub mod change_sources;
pub mod changes;
pub mod claims;
pub mod collapse;
pub mod config;
pub mod copy;
pub mod db;
pub mod error;
pub mod events;
pub mod facts;
pub mod finished;
pub mod health;
pub mod hooks;
pub mod ingest;
pub mod labels;
mod lanes;
pub mod leases;
pub mod locks;
pub mod log_chunks;
pub mod migrate;
pub mod notices;
pub mod patches;
pub mod policy_failures;
pub mod read;
pub mod refusals;
pub mod report_grants;
pub mod request_control;
pub mod requests;
pub mod roles;
pub mod scheduler_controls;
pub mod schedulers;
pub mod secrets;
pub mod sessions;
pub mod sourcestamps;
mod statistics;
pub mod test_parts;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tokens;
pub mod tries;
pub mod triggers;
pub mod upstream;
mod virtual_builders;
pub mod wake;
pub mod window;
pub mod workers;

pub use db::Db;
pub use error::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;
