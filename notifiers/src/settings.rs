//! What a notifier's process is told; `tidemill notify` reads it from flags, environment and file.

use std::path::PathBuf;
use std::time::Duration;
use tidemill_schema::notices::Way;

#[derive(Clone, Debug)]
pub struct Settings {
    pub database_url: String,
    pub max_connections: u32,
    /// What this process sends. Whatever it sends, it plans for all.
    pub ways: Vec<Way>,
    /// Where people reach the pages, without a slash at its end, where the project file does not say.
    pub public_url: String,
    /// A folder with the values of secrets, a file each.
    pub secrets_dir: Option<PathBuf>,
    /// Sent at one time to one destination.
    pub each: usize,
    /// Sent at one time by this process.
    pub most: usize,
    /// First wait before a delivery is tried again; three times as long each time.
    pub again: Duration,
    /// How long a delivery is held without a word of its sender.
    pub term: Duration,
    /// Whether what the project file names may be this machine, or one of its network (A10).
    pub local_addresses: bool,
}
