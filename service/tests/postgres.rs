//! A private cluster with PostgreSQL's real programs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidemill_service::postgres::{Cluster, Error, Identity, Options};

/// A folder that a dropped user can reach too.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("tm-pg").tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    dir
}

fn options(dir: &tempfile::TempDir) -> Options {
    Options::new(dir.path().join("pg")).throw_away().set("shared_buffers", "16MB")
}

/// Connects as any client would.
fn sql(cluster: &Cluster, statement: &str) -> String {
    let psql = cluster.binaries().dir.join("psql");
    let output = Command::new(psql).args(["-XAtq", "-c", statement]).arg(cluster.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn gone(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_cluster_is_made_adopted_stopped_and_started_again() {
    let dir = folder();
    let first = Cluster::open(&options(&dir)).unwrap();
    assert!(!first.adopted());
    assert_eq!(sql(&first, "select current_user || ' ' || current_database()"), "tidemill tidemill");
    assert_eq!(sql(&first, "show listen_addresses"), "", "no TCP port is open");
    assert_eq!(sql(&first, "show fsync"), "off", "extra settings arrive");
    sql(&first, "create table t (x int); insert into t values (7)");

    let second = Cluster::open(&options(&dir)).unwrap();
    assert!(second.adopted());
    assert_eq!(second.pid(), first.pid());
    assert_eq!(sql(&second, "select x from t"), "7");
    drop(second);

    let pid = first.pid();
    first.stop().unwrap();
    assert!(gone(pid));
    let third = Cluster::open(&options(&dir)).unwrap();
    assert_eq!(sql(&third, "select x from t"), "7");
    sql(&third, "select 1");
    third.stop().unwrap();
}

#[test]
fn a_killed_server_recovers_with_what_was_committed() {
    let dir = folder();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    sql(&cluster, "set synchronous_commit = on; create table t (x int); insert into t values (1)");
    // A session that is busy when the postmaster dies.
    let psql = cluster.binaries().dir.join("psql");
    let mut busy = Command::new(psql).args(["-XAtq", "-c", "select pg_sleep(60)"]).arg(cluster.url()).spawn().unwrap();
    let begun = Instant::now();
    while sql(&cluster, "select count(*) from pg_stat_activity where query like '%pg_sleep(60)'") != "1" {
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    cluster.kill();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    assert!(!cluster.adopted());
    assert_eq!(sql(&cluster, "select x from t"), "1");
    cluster.stop().unwrap();
    let _ = busy.kill();
    let _ = busy.wait();
}

#[test]
fn an_initdb_that_was_killed_is_not_taken_for_a_cluster() {
    let dir = folder();
    let half = dir.path().join("pg/data.new");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    assert_eq!(sql(&cluster, "select 1"), "1");
    cluster.stop().unwrap();
}

#[test]
fn a_pid_file_whose_number_another_program_got_does_not_stop_the_start() {
    let dir = folder();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    let file = dir.path().join("pg/data/postmaster.pid");
    let text = std::fs::read_to_string(&file).unwrap();
    cluster.kill();
    let (_, rest) = text.split_once('\n').unwrap();
    // A process of the same user as the server, as after a restart of a container.
    let mut other = Command::new("sleep");
    other.arg("600");
    if let Identity::User { uid, gid, .. } = Cluster::open(&options(&dir))
        .map(|c| {
            let i = c.identity().clone();
            c.kill();
            i
        })
        .unwrap()
    {
        std::os::unix::process::CommandExt::uid(&mut other, uid);
        std::os::unix::process::CommandExt::gid(&mut other, gid);
    }
    let mut other = other.spawn().unwrap();
    std::fs::write(&file, format!("{}\n{rest}", other.id())).unwrap();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    assert_ne!(cluster.pid(), other.id() as i32);
    assert!(other.try_wait().unwrap().is_none(), "the other program lives");
    cluster.stop().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_database_that_somebody_dropped_is_made_again() {
    let dir = folder();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    let psql = cluster.binaries().dir.join("psql");
    let status = Command::new(psql)
        .args(["-XAtq", "-c", "drop database tidemill"])
        .arg(cluster.url_of("postgres"))
        .status()
        .unwrap();
    assert!(status.success());
    let again = Cluster::open(&options(&dir)).unwrap();
    assert_eq!(sql(&again, "select 1"), "1");
    drop(again);
    cluster.stop().unwrap();
}

#[test]
fn a_deep_folder_works_although_socket_paths_are_short() {
    let dir = folder();
    let deep = dir.path().join("d".repeat(90)).join("e".repeat(90));
    let cluster = Cluster::open(&Options::new(&deep).throw_away()).unwrap();
    assert_eq!(sql(&cluster, "select 1"), "1");
    let socket = cluster.socket_dir().to_owned();
    assert!(!socket.starts_with(&deep));
    cluster.stop().unwrap();
    std::fs::remove_dir_all(socket).unwrap();
}

#[test]
fn data_of_an_older_release_names_the_one_command_that_converts_it() {
    let dir = folder();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    cluster.stop().unwrap();
    let version = dir.path().join("pg/data/PG_VERSION");
    std::fs::write(&version, "11\n").unwrap();
    let older = Cluster::open(&options(&dir)).unwrap_err();
    assert!(matches!(older, Error::Older { data: 11, .. }));
    let text = older.to_string();
    assert!(text.contains("tidemill up --upgrade-database") && text.contains("postgresql-11"), "{text}");
    let text = tidemill_service::postgres::upgrade(&options(&dir)).unwrap_err().to_string();
    assert!(text.contains("postgresql-11"), "{text}");
    std::fs::write(&version, "99\n").unwrap();
    assert!(matches!(Cluster::open(&options(&dir)).unwrap_err(), Error::Newer { data: 99, .. }));
}

/// Needs the programs of two releases: the newer one's bin folder is named by
/// TIDEMILL_TEST_NEWER_POSTGRES_BIN; without it there is nothing to convert to.
#[test]
fn an_upgrade_carries_the_data_over_and_keeps_the_old_folder() {
    let Some(newer) = std::env::var_os("TIDEMILL_TEST_NEWER_POSTGRES_BIN") else { return };
    let dir = folder();
    let cluster = Cluster::open(&options(&dir)).unwrap();
    let old = cluster.binaries().major;
    sql(
        &cluster,
        "create role reader; create table t (x text); insert into t values ('kept'); grant select on t to reader",
    );
    // Left running, as after a kill of whoever started it.
    drop(cluster);

    let newer = Options { bin: Some(newer.into()), ..options(&dir) };
    let error = match Cluster::open(&newer) {
        Err(e) => e.to_string(),
        // It runs, so it is adopted whatever its release.
        Ok(adopted) => {
            adopted.stop().unwrap();
            Cluster::open(&newer).unwrap_err().to_string()
        }
    };
    assert!(error.contains("tidemill up --upgrade-database"), "{error}");
    let done = tidemill_service::postgres::upgrade(&newer).unwrap().unwrap();
    assert_eq!(done.from, old);
    assert!(done.kept.join("PG_VERSION").exists());
    let cluster = Cluster::open(&newer).unwrap();
    assert_eq!(cluster.binaries().major, done.to);
    assert_eq!(sql(&cluster, "select x from t"), "kept");
    assert_eq!(sql(&cluster, "select has_table_privilege('reader', 't', 'select')"), "t");
    cluster.stop().unwrap();
    assert_eq!(tidemill_service::postgres::upgrade(&newer).unwrap(), None, "nothing is left to do");
}

#[test]
fn two_at_once_make_one_cluster() {
    let dir = folder();
    let opened: Vec<_> = std::thread::scope(|s| {
        let both: Vec<_> = (0..2).map(|_| s.spawn(|| Cluster::open(&options(&dir)).unwrap())).collect();
        both.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(opened[0].pid(), opened[1].pid());
    assert_eq!(opened.iter().filter(|c| c.adopted()).count(), 1);
    // The starter reaps its child, so it is the one to stop it.
    let (adopted, started): (Vec<_>, Vec<_>) = opened.into_iter().partition(Cluster::adopted);
    drop(adopted);
    for c in started {
        c.stop().unwrap();
    }
}

#[test]
fn root_uses_a_namespace_where_no_other_user_can_reach_the_folder() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let dir = folder();
    let shut = dir.path().join("shut");
    std::fs::create_dir(&shut).unwrap();
    std::fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let cluster = match Cluster::open(&Options::new(shut.join("pg")).throw_away()) {
        // Some kernels forbid user namespaces: then the text says what to do.
        Err(e) => {
            assert!(matches!(e, Error::NoIdentity { .. }), "{e}");
            return;
        }
        Ok(cluster) => cluster,
    };
    assert_eq!(*cluster.identity(), Identity::Namespace);
    assert_eq!(sql(&cluster, "select 1"), "1");
    cluster.stop().unwrap();
}

/// The same tests as a user without privileges.
#[test]
fn a_normal_user_can_do_all_of_it() {
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
    let (true, Some(nobody)) = (nix::unistd::Uid::effective().is_root(), nobody) else { return };
    let home = folder();
    nix::unistd::chown(home.path(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    // The test program itself may lie where only root can go.
    let program = home.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args([format!("--reuid={}", nobody.uid), format!("--regid={}", nobody.gid), "--clear-groups".into()])
        .arg(&program)
        .args(["--test-threads=2", "--skip", "namespace"])
        .env("HOME", home.path())
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("10 passed"), "{said}");
}
