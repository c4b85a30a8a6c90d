//! Data of an older release into a new cluster: dump, load, exchange. The old
//! folder is kept as `data.<release>`.
//!
//! The new cluster grows in `data.upgrade`. Only when it is whole and stopped
//! is `data` moved away, and then the new one moved in. A crash before that
//! leaves the old data in place; a crash between the two moves is finished by
//! the next `open`.

use super::cluster::{lock, prepare, release_of, remove};
use super::{Binaries, Cluster, DATABASE, Error, Identity, Options, init, socket};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What an upgrade did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    pub from: u32,
    pub to: u32,
    /// The old data, to be removed by a person when all is well.
    pub kept: PathBuf,
}

/// What to tell a person whose programs are newer than the data.
pub(super) fn remedy(data: u32, binaries: u32) -> String {
    let convert = "tidemill up --upgrade-database";
    match Binaries::of_major(data) {
        Some(old) => format!(
            "To move the data to release {binaries} (the old folder is kept), run: {convert}\n\
             To stay with release {data}, run with TIDEMILL_POSTGRES_BIN={}",
            old.dir.display()
        ),
        None => format!(
            "To move the data to release {binaries} (the old folder is kept), run: {convert}\n\
             That needs the server programs of release {data} once more \
             (Debian: apt-get install --no-install-recommends postgresql-{data})"
        ),
    }
}

/// Moves a cluster's data to the release of the programs that
/// [`Binaries::choose`] gives. `None` if it already has that release. The
/// server must not be in use; one left running is stopped.
pub fn upgrade(options: &Options) -> Result<Option<Upgraded>, Error> {
    let dir = prepare(&options.dir)?;
    let _lock = lock(&dir)?;
    finish_interrupted(&dir)?;
    let data = dir.join("data");
    let new = Binaries::choose(options.bin.as_deref())?;
    if !data.join("PG_VERSION").exists() {
        return Ok(None);
    }
    let from = release_of(&data)?;
    if from >= new.major {
        return Ok(None);
    }
    let old = Binaries::of_major(from).ok_or_else(|| {
        Error::Upgrade(format!(
            "reading the data in {} needs the server programs of PostgreSQL {from}, and they are not installed.\n\
             Install them (Debian: apt-get install --no-install-recommends postgresql-{from}) and run this again",
            data.display()
        ))
    })?;
    for program in ["pg_dump", "pg_dumpall", "psql"] {
        if !new.has(program) {
            return Err(Error::Upgrade(format!(
                "{} has no `{program}`: install the client programs of PostgreSQL {} too",
                new.dir.display(),
                new.major
            )));
        }
    }
    let identity = Identity::choose(&dir, &new.dir)?;

    let grown = dir.join("data.upgrade");
    remove(&grown)?;
    init::initdb(&new, &identity, &grown, true, false)?;

    // Each server on its own socket, or they would take each other's.
    let start = |binaries: &Binaries, data: &Path, name: &str| -> Result<Cluster, Error> {
        let home = dir.join(name);
        remove(&home)?;
        std::fs::create_dir(&home).map_err(Error::io("create", &home))?;
        identity.own(&home)?;
        let socket = socket::folder(&home, &identity)?;
        let mut cluster = Cluster::offline(home, data.to_owned(), socket, binaries.clone(), identity.clone());
        cluster.start(&Options::default())?;
        Ok(cluster)
    };
    let source = start(&old, &data, "upgrade.from")?;
    let moved = start(&new, &grown, "upgrade.to").and_then(|target| {
        let copied = copy(&source, &target, &new);
        target.stop()?;
        copied
    });
    source.stop()?;
    moved?;

    let kept = free_name(&dir, from);
    std::fs::rename(&data, &kept).map_err(Error::io("rename", &data))?;
    std::fs::rename(&grown, &data).map_err(Error::io("rename", &grown))?;
    for name in ["upgrade.from", "upgrade.to"] {
        remove(&dir.join(name))?;
    }
    Ok(Some(Upgraded { from, to: new.major, kept }))
}

/// Ends an exchange that a crash cut between its two moves: `data` moves away
/// only after `data.upgrade` is whole.
pub(super) fn finish_interrupted(dir: &Path) -> Result<(), Error> {
    let (data, grown) = (dir.join("data"), dir.join("data.upgrade"));
    if !data.exists() && grown.join("PG_VERSION").exists() {
        std::fs::rename(&grown, &data).map_err(Error::io("rename", &grown))?;
    }
    Ok(())
}

/// Roles, then each database of its own. The newer release's programs read the
/// older server.
fn copy(source: &Cluster, target: &Cluster, new: &Binaries) -> Result<(), Error> {
    let mut globals = source.client(&new.program("pg_dumpall"));
    globals.arg("--globals-only");
    // The bootstrap role exists on both sides, so this load meets that one error.
    pipe(globals, target, new, "postgres", false)?;
    let names = source.psql(
        "postgres",
        "select datname from pg_database where datallowconn and not datistemplate and datname <> 'postgres' order by 1",
    )?;
    for name in names.lines().filter(|n| !n.is_empty()) {
        let mut dump = source.client(&new.program("pg_dump"));
        dump.args(["--create", "-d"]).arg(format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'")));
        pipe(dump, target, new, "postgres", true)?;
    }
    if names.lines().any(|n| n == DATABASE) {
        target.psql(DATABASE, "analyze")?;
    }
    Ok(())
}

/// `dump | psql`, with both ends' words in the error.
fn pipe(
    mut dump: std::process::Command,
    target: &Cluster,
    new: &Binaries,
    database: &str,
    strict: bool,
) -> Result<(), Error> {
    let failed = |what: &str, said: &str| Error::Upgrade(format!("{what} failed, the old data is untouched:\n{said}"));
    let mut dump =
        dump.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| failed("the dump", &e.to_string()))?;
    let rows = dump.stdout.take().expect("stdout is piped");
    let mut errors = dump.stderr.take().expect("stderr is piped");
    let words = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        text
    });
    let mut load = target.client(&new.program("psql"));
    load.args(["-X", "-q", "-v", if strict { "ON_ERROR_STOP=1" } else { "ON_ERROR_STOP=0" }, "-d", database]);
    let loaded = load.stdin(rows).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let ended = dump.wait().map_err(|e| failed("the dump", &e.to_string()))?;
    let words = words.join().unwrap_or_default();
    let loaded = loaded.map_err(|e| failed("the load", &e.to_string()))?;
    if !loaded.status.success() {
        return Err(failed("the load", String::from_utf8_lossy(&loaded.stderr).trim()));
    }
    if !ended.success() {
        return Err(failed("the dump", words.trim()));
    }
    Ok(())
}

/// `data.15`, or `data.15.2` where that is taken.
fn free_name(dir: &Path, release: u32) -> PathBuf {
    let first = dir.join(format!("data.{release}"));
    if !first.exists() {
        return first;
    }
    (2..).map(|n| dir.join(format!("data.{release}.{n}"))).find(|p| !p.exists()).expect("some number is free")
}
