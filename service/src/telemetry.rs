//! Logs of our own: lines for people on a terminal, JSON lines for machines.
//!
//! A message reads alone; fields are for queries. `TIDEMILL_LOG` filters as
//! `RUST_LOG` does elsewhere (default `info`).

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging to stderr. Calling again does nothing.
pub fn init(format: Format, default_filter: &str) {
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        Format::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        Format::Json => registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    // Only «already set» can fail here, in tests that start several daemons.
    drop(result);
}
