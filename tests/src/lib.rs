//! The harness: one Postgres, any number of masters and workers as real
//! processes, a proxy that cuts and delays, HAProxy, web pages, a mail relay, a directory, git repositories.
//!
//! A test owns its [`cluster::Cluster`]: database, processes, folders, all gone
//! when it is dropped, also after a panic. Waits are on conditions with a text
//! that says what was waited for, never on time.

pub mod api;
pub mod cluster;
pub mod haproxy;
pub mod history;
pub mod invariants;
pub mod irc;
pub mod pages;
pub mod pgbouncer;
pub mod played;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod repository;
pub mod slapd;
pub mod smtp;
pub mod wait;

pub use cluster::Cluster;
pub use pages::Pages;
pub use pgbouncer::PgBouncer;
pub use played::PlayedWorker;
pub use relay::Relay;
pub use repository::Repository;
pub use wait::{wait_until, wait_while_it_moves};
