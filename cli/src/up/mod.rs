//! `tidemill up`: all of it on one machine, for one repository.
//!
//! One process starts the others and outlives none of them in order: database,
//! master, workers, a notifier if the project tells anybody; at the end workers
//! first (they finish what runs), then the notifier and the master, the database last. Children that die are started again; the
//! database too. If `up` itself is killed, its children get SIGTERM from the
//! kernel and drain, the database goes on, and the next `up` adopts it: nothing
//! that was accepted is lost, because all state is rows.

mod apply;
mod database;
mod first;
mod follow;
mod listen;
mod notifier;
mod run;
mod state;
mod stop;
mod supervise;
mod watch;

pub use apply::plural;
pub use follow::show_tail;
pub use run::up;

/// `tidemill up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill up                       build the repository around this folder
  tidemill up https://host/x.git    build a repository elsewhere
  tidemill up --once                build its newest commit, exit with the result
  tidemill up --database postgres://me@db/ci --listen 127.0.0.1:9000

Commits are built, not uncommitted work. Ctrl-C lets running builds finish and
stops everything; Ctrl-C again stops them too.")]
pub struct Up {
    /// A folder in a git work tree, or the URL of a git repository
    #[arg(value_name = "PATH|URL", default_value = ".")]
    pub target: String,
    /// Use this PostgreSQL instead of a private one (TIDEMILL_DATABASE_URL keeps it out of the process list)
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Address and port of the page [default: 127.0.0.1:8480, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<std::net::SocketAddr>,
    /// Builds at once [default: number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
    /// Build the newest commit, stop, and exit with the worst result
    #[arg(long)]
    pub once: bool,
    /// Where the database, tokens and builds lie
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<std::path::PathBuf>,
    /// Move the database of an older PostgreSQL to the installed one first; the old folder is kept
    #[arg(long)]
    pub upgrade_database: bool,
}
