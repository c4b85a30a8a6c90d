//! What a replica needs to know to start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone)]
pub struct Settings {
    pub database_url: String,
    /// Connections for claims, ingest and loops.
    pub max_connections: u32,
    pub listen: SocketAddr,
    /// Name of this replica, for people.
    pub name: String,
    /// Address that people and workers use, if it is not the listener's.
    pub public_url: Option<String>,
    /// Term of a build's lease.
    pub lease: Duration,
    /// Lets the people of this machine control without users; see [`crate::http::access`].
    pub local_token: Option<String>,
    /// Whether it runs the loops. Without them it is no member of the cluster, only
    /// a way to ask the database: it claims, schedules, polls and reaps nothing, and
    /// adds no beat, which would say that workers can be heard.
    pub loops: bool,
    /// Where pollers keep their copies of repositories. Losing it costs time only.
    pub cache_dir: PathBuf,
    /// Whether functions that poll may reach addresses of this machine over HTTP.
    pub poll_local_addresses: bool,
    /// A folder with the values of secrets, a file each.
    pub secrets_dir: Option<PathBuf>,
    /// Most bytes of what a hook is sent.
    pub hook_body_max: usize,
    pub reports: Reports,
}

/// How reports are run: apart from all else, and within bounds.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Connections of the pool that only reports use.
    pub connections: u32,
    /// A report that takes longer is ended.
    pub time: Duration,
    /// A folder of own reports.
    pub folder: Option<PathBuf>,
}

impl Default for Reports {
    fn default() -> Self {
        Reports { connections: 2, time: Duration::from_secs(10), folder: None }
    }
}

impl Settings {
    /// Of [`Settings::hook_body_max`], where nothing else is said.
    pub const HOOK_BODY_MAX: usize = 10 << 20;

    /// Pages and REST have a pool of their own: however dear a page, claims keep theirs (F26).
    pub fn people_connections(&self) -> u32 {
        self.max_connections.div_ceil(2).max(4)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the database's address, which may hold a password, nor the token.
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("name", &self.name)
            .field("public_url", &self.public_url)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
