//! A real Postgres for tests, with a database for each test.
//!
//! The first test of a process starts a private server that is gone when the
//! process ends (a process that is killed leaves one behind; the next one ends
//! it). `TIDEMILL_TEST_DATABASE` names another server to use instead: the
//! address of a database whose role may create databases.

pub mod history;

use crate::Db;
use crate::migrate::{self, After};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use tidemill_model::wire::Hello;
use tidemill_service::postgres::{Cluster, Options};

static SERVER: Mutex<Option<Cluster>> = Mutex::new(None);
/// Of databases with tables alone, and with what follows the migrations.
static TEMPLATES: [tokio::sync::OnceCell<()>; 2] = [const { tokio::sync::OnceCell::const_new() }; 2];
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A migrated database of one's own.
pub struct TestDb {
    pub db: Db,
    pub url: String,
    name: String,
}

impl TestDb {
    pub async fn new() -> TestDb {
        TestDb::with(&[]).await
    }

    /// With what a crate below adds, which must be the same in all tests of a process.
    pub async fn with(after: &'static [After]) -> TestDb {
        let template = template(!after.is_empty());
        TEMPLATES[usize::from(!after.is_empty())].get_or_init(|| make_template(&template, after)).await;
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        admin(&format!("create database {name} template {template} strategy wal_log")).await;
        let url = url_of(&name);
        let db = Db::connect(&url, 20).await.expect("the new database accepts connections");
        TestDb { db, url, name }
    }

    /// Removes the database. A test that fails leaves it, to be looked at while the process lives.
    pub async fn drop(self) {
        self.db.pool().close().await;
        admin(&format!("drop database {} with (force)", self.name)).await;
    }
}

/// What a worker of this name says, the first time and again.
pub fn hello(name: &str) -> Hello {
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        name: name.into(),
        instance: name.into(),
        release: "test".into(),
        vocabulary: tidemill_model::wire::VOCABULARY,
        slots: 100,
        info: Default::default(),
        labels: Default::default(),
    }
}

async fn make_template(template: &str, after: &[After]) {
    admin(&format!("drop database if exists {template} with (force)")).await;
    admin(&format!("create database {template}")).await;
    let db = Db::connect(&url_of(template), 2).await.expect("the template accepts connections");
    migrate::migrate_with(&db, after).await.expect("migrations run on an empty database");
    db.pool().close().await;
}

fn template(with_more: bool) -> String {
    format!("template_{}{}", std::process::id(), if with_more { "_more" } else { "" })
}

async fn admin(statement: &str) {
    let mut c = PgConnection::connect(&url_of("postgres")).await.expect("the test server accepts connections");
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut c).await.expect(statement);
    let _ = c.close().await;
}

/// The address of a database on the test server.
fn url_of(database: &str) -> String {
    static BASE: OnceLock<Option<String>> = OnceLock::new();
    if let Some(base) = BASE.get_or_init(|| std::env::var("TIDEMILL_TEST_DATABASE").ok()) {
        let (before, query) = base.split_once('?').map_or((base.as_str(), None), |(b, q)| (b, Some(q)));
        let (server, _) = before.rsplit_once('/').expect("a database URL has a path");
        return format!("{server}/{database}{}", query.map(|q| format!("?{q}")).unwrap_or_default());
    }
    let mut server = SERVER.lock().expect("no panic while locked");
    server.get_or_insert_with(start).url_of(database)
}

fn start() -> Cluster {
    let root = std::env::temp_dir().join("tidemill-test");
    clean_up(&root);
    let dir = root.join(std::process::id().to_string());
    let options = Options::new(&dir).throw_away().set("max_connections", "400");
    let cluster = Cluster::open(&options).expect("PostgreSQL can be started: are its server programs installed?");
    // SAFETY: the function takes no argument, and touches only a static that is never dropped.
    unsafe { atexit(end) };
    cluster
}

unsafe extern "C" {
    fn atexit(f: extern "C" fn()) -> i32;
}

extern "C" fn end() {
    let server = SERVER.lock().ok().and_then(|mut s| s.take());
    if let Some(server) = server {
        let dir = std::env::temp_dir().join("tidemill-test").join(std::process::id().to_string());
        let _ = server.stop();
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Ends servers of test processes that were killed.
fn clean_up(root: &Path) {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    for dir in entries.map(|e| e.path()).filter(|d| !owner_lives(d)) {
        if dir.join("data/postmaster.pid").exists()
            && let Ok(left) = Cluster::open(&Options::new(&dir))
        {
            let _ = left.stop();
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}

fn owner_lives(dir: &Path) -> bool {
    dir.file_name().is_some_and(|pid| PathBuf::from("/proc").join(pid).exists())
}
