//! A Postgres of a test's own, which it may kill.

use std::path::Path;
use tidemill_service::postgres::{Cluster, Options};

pub struct Postgres {
    options: Options,
    cluster: Option<Cluster>,
    url: String,
}

impl Postgres {
    /// Durable as in production where `durable` is set; else without fsync,
    /// which a kill of the server survives all the same.
    pub fn start(dir: &Path, durable: bool) -> Postgres {
        let options = Options::new(dir).set("max_connections", "300");
        let options = if durable { options } else { options.throw_away() };
        let cluster = Cluster::open(&options).expect("PostgreSQL can be started: are its server programs installed?");
        Postgres { url: cluster.url(), options, cluster: Some(cluster) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> i32 {
        self.cluster.as_ref().map_or(0, Cluster::pid)
    }

    /// `kill -9` of the postmaster.
    pub fn kill9(&mut self) {
        self.cluster.take().expect("the server runs").kill();
    }

    /// Starts it again; returns after recovery.
    pub fn restart(&mut self) {
        self.cluster = Some(Cluster::open(&self.options).expect("PostgreSQL recovers"));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let cluster = self.cluster.take();
        // One left by a panic between kill and restart has no server; its folder goes anyway.
        if let Some(cluster) = cluster {
            let _ = cluster.stop();
        }
    }
}
