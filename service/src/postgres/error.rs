//! What can go wrong with a private cluster, each with its remedy.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no PostgreSQL server programs found (looked for `initdb` and `postgres` of release {oldest} or newer in: {tried}).\n\
         Install them (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
         Arch: pacman -S postgresql), or unpack them and set TIDEMILL_POSTGRES_BIN to their bin folder, \
         or use a server of your own with --database URL"
    )]
    NoBinaries { oldest: u32, tried: String },

    #[error(
        "{path} has no `{program}`: it is not the bin folder of a PostgreSQL server; correct TIDEMILL_POSTGRES_BIN"
    )]
    NotABinFolder { path: PathBuf, program: &'static str },

    #[error("{program} does not run: {detail}")]
    Program { program: PathBuf, detail: String },

    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },

    #[error(
        "the database folder {path} belongs to user id {owner}, and this process runs as {me}; run as that user or as root, or choose another --state-dir"
    )]
    Owner { path: PathBuf, owner: u32, me: u32 },

    #[error(
        "no way to start PostgreSQL from root: it refuses to run as root, {why}.\n\
         Run as a normal user, or add a user for it (useradd --system tidemill), or use a server of your own with --database URL"
    )]
    NoIdentity { why: String },

    #[error("initdb in {path} failed:\n{detail}")]
    Initdb { path: PathBuf, detail: String },

    #[error("PostgreSQL did not start. The end of {log}:\n{tail}")]
    Start { log: PathBuf, tail: String },

    #[error(
        "PostgreSQL was not ready after {seconds} s (it may still recover from a crash; try again). The end of {log}:\n{tail}"
    )]
    Slow { seconds: u64, log: PathBuf, tail: String },

    #[error(
        "the data in {path} was made by PostgreSQL {data}, and the programs in {bin} are release {binaries}.\n\
         {remedy}"
    )]
    Older { path: PathBuf, data: u32, binaries: u32, bin: PathBuf, remedy: String },

    #[error(
        "the data in {path} was made by PostgreSQL {data}, and the newest programs found (in {bin}) are release {binaries}.\n\
         Install PostgreSQL {data} or newer (Debian: apt-get install postgresql-{data}), or set TIDEMILL_POSTGRES_BIN to its bin folder"
    )]
    Newer { path: PathBuf, data: u32, binaries: u32, bin: PathBuf },

    #[error("{path} does not say which PostgreSQL release made it: {detail}")]
    Damaged { path: PathBuf, detail: String },

    #[error(
        "PostgreSQL (process {pid}) did not stop within {seconds} s; see {log}, and stop it with: kill -QUIT {pid}"
    )]
    Stop { pid: i32, seconds: u64, log: PathBuf },

    #[error("{0}")]
    Upgrade(String),
}

impl Error {
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { doing, path, source }
    }
}
