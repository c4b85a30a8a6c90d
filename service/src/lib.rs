//! What every daemon of Tidemill needs and none should write again: an orderly
//! end, back-off, loops that reconcile, tokens, secrets and their files, what may be
//! reached, and telemetry.

pub mod backoff;
pub mod lifecycle;
pub mod links;
pub mod pace;
pub mod postgres;
pub mod reach;
pub mod reconcile;
pub mod secret_file;
pub mod secrets;
pub mod settings;
pub mod telemetry;
pub mod token;

pub use backoff::Backoff;
pub use lifecycle::Lifecycle;

/// Chooses the one TLS provider of the process (ring). Call first in `main`;
/// calling again does nothing.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
