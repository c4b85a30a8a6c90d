//! A Postgres of a test's own, which it may kill.

use nix::unistd::Uid;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
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
        Postgres::open(if durable { options } else { options.throw_away() })
    }

    fn open(options: Options) -> Postgres {
        let cluster = Cluster::open(&options).expect("PostgreSQL can be started: are its server programs installed?");
        Postgres { url: cluster.url(), options, cluster: Some(cluster) }
    }

    /// A streaming replica of it, which runs and replays. None, said loudly, where PostgreSQL's
    /// program for base backups is not installed.
    pub fn standby(&self, dir: &Path) -> Option<Postgres> {
        let first = self.cluster.as_ref().expect("the server runs");
        let program = first.binaries().program("pg_basebackup");
        if !program.is_file() {
            let said = b"SKIPPED, NOT TESTED: pg_basebackup is not installed (apt-get install postgresql-client)\n";
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said);
            return None;
        }
        let owner = std::fs::metadata(self.options.dir.join("data")).expect("the server has a data folder");
        std::fs::create_dir(dir).expect("the test's folder is writable");
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("the folder is the test's own");
        let mut command = Command::new(program);
        if Uid::effective().is_root() {
            // As the server, so that a second one may use the files.
            std::os::unix::fs::chown(dir, Some(owner.uid()), Some(owner.gid())).expect("root may give it away");
            command.uid(owner.uid()).gid(owner.gid());
        }
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username=tidemill", "--host"]);
        command.arg(first.socket_dir()).arg("--pgdata").arg(dir.join("data")).current_dir(dir);
        let output = command.output().expect("the program can be started");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        Some(Postgres::open(Options { dir: dir.into(), ..self.options.clone() }))
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same address for another role.
    pub fn url_as(&self, role: &str) -> String {
        let (_, at) = self.url.split_once('@').expect("the address names a user");
        format!("postgres://{role}@{at}")
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
