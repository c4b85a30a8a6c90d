//! `tidemill worker`, and enrolling one.

use super::token::NewToken;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use std::path::PathBuf;
use std::time::Duration;
use tidemill_service::Lifecycle;
use tidemill_service::settings::Layers;

/// How long running builds may take to end after the first SIGTERM.
const GRACE: Duration = Duration::from_secs(3600);

/// Run a worker, or enrol one.
///
/// The first SIGTERM lets running builds finish, the second stops them.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  tidemill worker add linux1 --token-file linux1.token        beside the database
  tidemill worker --master https://ci.example.org --name linux1 --token-file linux1.token
Every option can stand in tidemill.toml, section [worker]."
)]
pub struct Worker {
    #[command(subcommand)]
    pub command: Option<WorkerCommand>,
    /// Address of the masters
    #[arg(long, value_name = "URL")]
    master: Option<String>,
    /// The name that the token belongs to
    #[arg(long)]
    name: Option<String>,
    /// Folder of its builds and spool
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Builds at once [default: number of processors]
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// What builders may require of it, as in os=linux,mem=16,gpu
    #[arg(long, value_name = "NAME=VALUE,…")]
    labels: Option<String>,
    /// File with the token (or TIDEMILL_WORKER_TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
pub enum WorkerCommand {
    /// Enrol a worker, or give it a new token; it is shown once
    #[command(after_help = "\
Examples:
  tidemill worker add linux1
  tidemill worker add linux1 --token-file linux1.token")]
    Add(NewToken),
}

/// `worker add`
pub async fn add(command: WorkerCommand, mut layers: Layers, out: Output) -> Result<Exit> {
    let WorkerCommand::Add(new) = command;
    let db = new.connect(&mut layers).await?;
    let secret = tidemill_schema::workers::worker_enrol(&db, &new.name).await.map_err(|e| match e {
        tidemill_schema::Error::Conflict(text) => Failure::usage(text),
        e => e.into(),
    })?;
    new.give(&secret, out)
}

/// The worker itself.
pub async fn run(args: Worker, mut layers: Layers) -> Result<Exit> {
    layers.flag("worker.master", args.master, "--master");
    layers.flag("worker.name", args.name, "--name");
    layers.flag("worker.base", args.base.map(|p| p.display().to_string()), "--base");
    layers.flag("worker.slots", args.slots, "--slots");
    layers.flag("worker.labels", args.labels, "--labels");
    layers.flag("worker.token_file", args.token_file.map(|p| p.display().to_string()), "--token-file");
    let settings = layers.load()?.settings;
    tidemill_service::telemetry::init(settings.log.format, "info");
    let worker = settings.worker;
    let missing = |what: &str, flag: &str| {
        Failure::usage(format!("the worker does not know {what}"))
            .hint(format!("give {flag}, or set it in tidemill.toml"))
    };
    let variable = std::env::var(tidemill_worker::TOKEN_VARIABLE).ok();
    let token = tidemill_worker::read_token(worker.token_file.as_deref(), variable)
        .map_err(|e| Failure::usage(e.to_string()))?;
    let settings = tidemill_worker::Settings {
        master: worker.master.ok_or_else(|| missing("where the masters are", "--master URL"))?,
        token,
        name: worker.name.ok_or_else(|| missing("its name", "--name NAME"))?,
        base: worker.base.ok_or_else(|| missing("where to build", "--base DIR"))?,
        slots: worker.slots.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u32)),
        labels: tidemill_model::requires::labels(worker.labels.as_deref().unwrap_or_default())
            .map_err(Failure::usage)?,
        spool_max: worker.spool_max_bytes,
        secrets_dir: std::env::var_os(tidemill_worker::SECRETS_VARIABLE).map(Into::into),
        tree: None,
    };
    settings.check().map_err(|e| Failure::usage(e.to_string()))?;
    tidemill_worker::own_process();
    // The memory of this process holds the token: builds of the same user must
    // not read it through /proc.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "builds of this user may be able to read the worker's memory");
    }
    let life = Lifecycle::new();
    life.watch_signals(GRACE).doing(|| "listen for signals".into())?;
    tidemill_worker::run(settings, life).await.map_err(|e| Failure::usage(e.to_string()))?;
    Ok(Exit::Success)
}
