//! A whole Tidemill for one test.

use crate::api::Api;
use crate::postgres::Postgres;
use crate::process::{Process, program};
use crate::wait::{holds, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use tidemill_schema::{Db, workers};

/// Database, masters and workers, and the folder that they live in.
pub struct Cluster {
    pub masters: Vec<Master>,
    pub workers: Vec<Worker>,
    pub notifiers: Vec<Process>,
    pub postgres: Postgres,
    pub db: Db,
    pub token: String,
    /// The role that masters use, if not the owner.
    pub master_role: Option<String>,
    /// The same of notifiers.
    pub notifier_role: Option<String>,
    /// More of the environment of masters that start after this.
    pub master_env: Vec<(String, String)>,
    /// The same of notifiers.
    pub notifier_env: Vec<(String, String)>,
    lease_seconds: u64,
    dir: PathBuf,
    /// The folder, if it goes with the cluster; last, as the others have files there.
    temporary: Option<tempfile::TempDir>,
}

pub struct Master {
    pub address: SocketAddr,
    pub process: Process,
}

pub struct Worker {
    pub name: String,
    pub base: PathBuf,
    pub process: Process,
}

impl Cluster {
    /// A migrated database, no master, no worker.
    pub async fn start() -> Cluster {
        Cluster::with(false, 60).await
    }

    /// With leases of so many seconds.
    pub async fn with(durable: bool, lease_seconds: u64) -> Cluster {
        let dir = tempfile::Builder::new().prefix("tm-").tempdir().expect("a temporary folder can be made");
        let mut cluster = Cluster::in_folder(dir.path(), durable, lease_seconds).await;
        cluster.temporary = Some(dir);
        cluster
    }

    /// In a folder that stays, with the database that is there or a new one. Its path is to be short:
    /// that of a Unix socket below it is limited.
    pub async fn in_folder(dir: &Path, durable: bool, lease_seconds: u64) -> Cluster {
        tidemill_service::install_tls();
        open_up(dir);
        let postgres = Postgres::start(&dir.join("pg"), durable);
        let db = Db::connect(postgres.url(), 10).await.expect("the database accepts connections");
        tidemill_sql::migrate(&db).await.expect("migrations run");
        let token = tidemill_service::token::generate(tidemill_service::token::Kind::Local);
        std::fs::write(dir.join("token"), &token).expect("the test's folder is writable");
        Cluster {
            masters: Vec::new(),
            workers: Vec::new(),
            notifiers: Vec::new(),
            postgres,
            db,
            token,
            master_role: None,
            notifier_role: None,
            master_env: Vec::new(),
            notifier_env: Vec::new(),
            lease_seconds,
            dir: dir.to_owned(),
            temporary: None,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A shell script in the place of a program that is not there: masters and
    /// workers that start after this find it before all others.
    pub fn stand_in(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.stand_ins().join(name);
        std::fs::create_dir_all(self.stand_ins()).expect("the test's folder is writable");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the test's folder is writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("the script can be made a program");
    }

    fn stand_ins(&self) -> PathBuf {
        self.dir().join("bin")
    }

    /// PATH with the stand-ins, if there are any.
    fn path(&self) -> Option<OsString> {
        let mut folders = vec![self.stand_ins()];
        folders.extend(std::env::split_paths(&std::env::var_os("PATH")?));
        self.stand_ins().is_dir().then(|| std::env::join_paths(folders).expect("no folder has a colon"))
    }

    /// Starts a master on a free port and waits until it is ready.
    pub async fn master(&mut self) -> usize {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        self.master_at(address).await
    }

    pub async fn master_at(&mut self, address: SocketAddr) -> usize {
        let n = self.masters.len();
        let process = self.master_process(n, address);
        self.masters.push(Master { address, process });
        self.master_ready(n).await;
        n
    }

    /// A secret that masters know.
    pub fn secret(&self, name: &str, value: &str) {
        write_secret(&self.dir().join("secrets"), name, value);
    }

    /// A secret that worker `n` has for its builds.
    pub fn worker_secret(&self, n: usize, name: &str, value: &str) {
        write_secret(&self.workers[n].base.join("secrets"), name, value);
    }

    fn master_process(&self, n: usize, address: SocketAddr) -> Process {
        let mut command = Command::new(program("tidemill"));
        command
            .arg("master")
            .env("TIDEMILL_DATABASE_URL", self.database_of(&self.master_role))
            .env("TIDEMILL_MASTER_LISTEN", address.to_string())
            .env("TIDEMILL_MASTER_NAME", format!("master{n}"))
            .env("TIDEMILL_MASTER_LEASE_SECONDS", self.lease_seconds.to_string())
            .env("TIDEMILL_MASTER_LOCAL_TOKEN_FILE", self.dir().join("token"))
            .env("TIDEMILL_MASTER_POLL_LOCAL_ADDRESSES", "true")
            .env("TIDEMILL_MASTER_SECRETS_DIR", self.dir().join("secrets"))
            .env("TIDEMILL_MASTER_CACHE_DIR", self.dir().join(format!("cache{n}")))
            .envs(self.master_env.iter().cloned())
            .envs(self.path().map(|path| ("PATH", path)));
        Process::start(&format!("master{n}"), command, &self.dir().join(format!("master{n}.log")))
    }

    fn database_of(&self, role: &Option<String>) -> String {
        match role {
            Some(role) => self.database_as(role),
            None => self.postgres.url().to_owned(),
        }
    }

    /// The database's address for a role of it.
    pub fn database_as(&self, role: &str) -> String {
        self.postgres.url_as(role)
    }

    /// Starts master `n` again, where it was or elsewhere.
    pub async fn master_restart(&mut self, n: usize, address: SocketAddr) {
        self.masters[n].process = self.master_process(n, address);
        self.masters[n].address = address;
        self.master_ready(n).await;
    }

    async fn master_ready(&self, n: usize) {
        let url = format!("http://{}/readyz", self.masters[n].address);
        let client = reqwest::Client::new();
        wait_until("the master to be ready", || async {
            let status = client.get(&url).send().await.map_err(|e| e.to_string())?.status();
            holds(status.is_success(), status)
        })
        .await;
    }

    /// Starts a notifier that sends by these ways (all, if none is named) and waits until it runs.
    /// It knows the secrets of the masters, and gives up what it holds after a few seconds of silence.
    pub async fn notifier(&mut self, ways: &[&str]) -> usize {
        let n = self.notifiers.len();
        self.notifiers.push(self.notifier_process(n, ways));
        self.notifier_ready(n).await;
        n
    }

    /// Starts notifier `n` again.
    pub async fn notifier_restart(&mut self, n: usize, ways: &[&str]) {
        self.notifiers[n] = self.notifier_process(n, ways);
        self.notifier_ready(n).await;
    }

    fn notifier_process(&self, n: usize, ways: &[&str]) -> Process {
        let mut command = Command::new(program("tidemill"));
        let log = self.dir().join(format!("notifier{n}.log"));
        // What an earlier one said is not this one's word that it runs.
        let _ = std::fs::remove_file(&log);
        command
            .arg("notify")
            .args(ways)
            .env("TIDEMILL_DATABASE_URL", self.database_of(&self.notifier_role))
            .env("TIDEMILL_NOTIFY_SECRETS_DIR", self.dir().join("secrets"))
            .env("TIDEMILL_NOTIFY_LEASE_SECONDS", "3")
            .env("TIDEMILL_NOTIFY_LOCAL_ADDRESSES", "true")
            .env("TIDEMILL_NOTIFY_PUBLIC_URL", "http://ci.example.org")
            .envs(self.notifier_env.iter().cloned())
            .envs(self.path().map(|path| ("PATH", path)));
        Process::start(&format!("notifier{n}"), command, &log)
    }

    async fn notifier_ready(&self, n: usize) {
        wait_until("the notifier to run", || async {
            let said = self.notifiers[n].output();
            holds(said.contains("notifier is running"), said)
        })
        .await;
    }

    pub fn master_url(&self, n: usize) -> String {
        format!("http://{}", self.masters[n].address)
    }

    /// The API of a master.
    pub fn api(&self, n: usize) -> Api {
        Api::new(&self.master_url(n), &self.token)
    }

    /// Enrols a worker and starts it against an address (a master's, a
    /// balancer's, a proxy's); waits until it is connected.
    pub async fn worker(&mut self, name: &str, url: &str, slots: u32) -> usize {
        let token = workers::worker_enrol(&self.db, name).await.expect("the worker can be enrolled");
        let base = self.dir().join(format!("worker-{name}"));
        std::fs::create_dir_all(&base).expect("the test's folder is writable");
        std::fs::write(base.join("token"), token).expect("the worker's folder is writable");
        let process = self.worker_process(name, url, slots, &base);
        self.workers.push(Worker { name: name.into(), base, process });
        let n = self.workers.len() - 1;
        wait_until("the worker to be connected", || async {
            let open: i64 = sqlx::query_scalar(
                "select count(*) from worker_sessions s join workers w on w.id = s.worker_id where w.name = $1 and s.state = 'open'",
            )
            .bind(name)
            .fetch_one(self.db.pool())
            .await
            .map_err(|e| e.to_string())?;
            holds(open > 0, "no session")
        })
        .await;
        n
    }

    fn worker_process(&self, name: &str, url: &str, slots: u32, base: &Path) -> Process {
        let mut command = Command::new(program("tidemill-worker"));
        command
            .env("TIDEMILL_WORKER_MASTER", url)
            .env("TIDEMILL_WORKER_NAME", name)
            .env("TIDEMILL_WORKER_BASE", base)
            .env("TIDEMILL_WORKER_SLOTS", slots.to_string())
            .env("TIDEMILL_WORKER_TOKEN_FILE", base.join("token"))
            .envs(self.path().map(|path| ("PATH", path)));
        Process::start(&format!("worker {name}"), command, &self.dir().join(format!("worker-{name}.log")))
    }

    /// Starts worker `n` again on its folder.
    pub fn worker_restart(&mut self, n: usize, url: &str, slots: u32) {
        let (name, base) = (self.workers[n].name.clone(), self.workers[n].base.clone());
        self.workers[n].process = self.worker_process(&name, url, slots, &base);
    }

    /// Applies a project file through a master.
    pub async fn configure(&self, n: usize, text: &str) {
        let files = BTreeMap::from([("master.star".to_owned(), text.to_owned())]);
        self.configure_files(n, &files).await.expect("the project file is good");
    }

    /// Applies all files of a project; the answer has revision and warnings.
    pub async fn configure_files(&self, n: usize, files: &BTreeMap<String, String>) -> Result<Value, String> {
        self.api(n).post("config", json!({ "files": files })).await
    }

    /// Waits until the change source was polled for the first time: what is pushed later is a change.
    pub async fn polled(&self) {
        wait_until("the first poll", || async {
            let polled: Option<bool> = sqlx::query_scalar("select polled_at is not null from change_sources")
                .fetch_optional(self.db.pool())
                .await
                .map_err(|e| e.to_string())?;
            holds(polled == Some(true), "not polled")
        })
        .await;
    }

    /// Forces a build; returns the request's id.
    pub async fn force(&self, n: usize, builder: &str) -> i64 {
        let answer = self.api(n).post(&format!("builders/{builder}/force"), json!({ "reason": "test" })).await;
        answer.expect("the build can be forced")["buildrequestids"][0].as_i64().expect("an id")
    }

    /// Waits until a request has a build in this state; returns the build's id.
    pub async fn build_of(&self, request: i64, state: &str) -> i64 {
        wait_until(&format!("a build of request {request} to be {state}"), || async {
            let found: Option<i64> = sqlx::query_scalar(
                "select id from builds where request_id = $1 and state = $2 order by id desc limit 1",
            )
            .bind(request)
            .bind(state)
            .fetch_optional(self.db.pool())
            .await
            .map_err(|e| e.to_string())?;
            found.ok_or_else(|| "none".to_owned())
        })
        .await
    }

    /// Waits until a request is complete; returns its result's code.
    pub async fn result_of(&self, request: i64) -> i16 {
        wait_until(&format!("request {request} to be complete"), || async {
            let results: Option<i16> = sqlx::query_scalar("select results from build_requests where id = $1")
                .bind(request)
                .fetch_one(self.db.pool())
                .await
                .map_err(|e| e.to_string())?;
            results.ok_or_else(|| "still open".to_owned())
        })
        .await
    }

    /// A build as the API gives it.
    pub async fn build(&self, n: usize, id: i64) -> Value {
        self.api(n).list(&format!("builds/{id}")).await.expect("the build is there").remove(0)
    }

    /// stdout and stderr of a build's first log of this step, from the rows of a master.
    pub async fn log(&self, n: usize, build: i64, step: i64, name: &str) -> Vec<u8> {
        let api = self.api(n);
        let path = format!("builds/{build}/steps/{step}/logs/{name}/raw");
        api.bytes(&path).await.expect("the log can be read")
    }
}

fn write_secret(folder: &Path, name: &str, value: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder).expect("the test's folder is writable");
    std::fs::write(folder.join(name), value).expect("the test's folder is writable");
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600))
        .expect("the file is the test's own");
}

/// Postgres may run as another user, who must reach its folder.
fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755));
}

/// A port that was free a moment ago: below those that the kernel gives to whoever connects or
/// asks for any, and never the same twice in a process.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    let next = || FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports = (0..COUNT).map(|_| next() as u16);
    ports.into_iter().find(free).expect("a loopback port can be bound")
}
