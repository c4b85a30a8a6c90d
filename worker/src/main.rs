//! `tidemill-worker`: a worker and nothing else.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tidemill_service::{Lifecycle, telemetry};
use tidemill_worker::{SECRETS_VARIABLE, SPOOL_MAX, Settings, TOKEN_VARIABLE, WorkerError, read_token};

/// Runs builds for Tidemill masters.
///
/// The worker opens connections to the masters and needs no open port. Its
/// token comes from a file or from the environment variable
/// TIDEMILL_WORKER_TOKEN, never from a flag, which everybody could see in the
/// list of processes.
///
/// The first SIGTERM or SIGINT finishes what runs and takes nothing new; a
/// second one kills it, and the next start reports those builds as lost.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  tidemill-worker --master https://ci.example.org --name linux-1 \\\n      --token-file /etc/tidemill/worker.token --base /var/lib/tidemill-worker --slots 2"
)]
struct Args {
    /// Address of the masters, most often of their load balancer
    #[arg(long, env = "TIDEMILL_WORKER_MASTER", value_name = "URL")]
    master: String,

    /// The worker's name, as enrolled by `tidemill worker add NAME`
    #[arg(long, env = "TIDEMILL_WORKER_NAME")]
    name: String,

    /// File that holds the worker's token
    #[arg(long, env = "TIDEMILL_WORKER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Folder for builds and for output on its way; one for each worker
    #[arg(long, env = "TIDEMILL_WORKER_BASE", value_name = "FOLDER")]
    base: PathBuf,

    /// Builds at once (default: the number of processors)
    #[arg(long, env = "TIDEMILL_WORKER_SLOTS")]
    slots: Option<u32>,

    /// What builders may require of this worker, as in os=linux,mem=16,gpu
    #[arg(long, env = "TIDEMILL_WORKER_LABELS", value_name = "NAME=VALUE,…", value_parser = tidemill_model::requires::labels)]
    labels: Option<tidemill_model::requires::Labels>,

    /// Most output kept on disk while no master answers, in MiB; then commands wait
    #[arg(long, env = "TIDEMILL_WORKER_SPOOL_MAX", value_name = "MIB", default_value_t = SPOOL_MAX >> 20)]
    spool_max: u64,

    /// Folder with one file of mode 0600 for each secret (default: secrets below --base)
    #[arg(long, env = SECRETS_VARIABLE, value_name = "FOLDER")]
    secrets_dir: Option<PathBuf>,

    /// Seconds that running builds have to end after a SIGTERM; then they are killed
    #[arg(long, env = "TIDEMILL_WORKER_GRACE", value_name = "SECONDS", default_value_t = 3600)]
    grace: u64,

    /// How the worker's own log is written to stderr
    #[arg(long, env = "TIDEMILL_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    telemetry::init(
        match args.log_format {
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        },
        "info",
    );
    match work(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidemill-worker: {error:#}");
            // 2: it cannot work before somebody changes something.
            let usage = error.downcast_ref::<WorkerError>().is_some() || error.is::<tidemill_worker::SettingsError>();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn work(args: Args) -> anyhow::Result<()> {
    let token = read_token(args.token_file.as_deref(), std::env::var(TOKEN_VARIABLE).ok())?;
    tidemill_worker::own_process();
    // The memory and the first environment of this process hold the token:
    // builds of the same user must not read them through /proc.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "builds of this user may be able to read the worker's memory");
    }
    let settings = Settings {
        master: args.master,
        token,
        name: args.name,
        base: args.base,
        slots: args.slots.unwrap_or_else(processors),
        labels: args.labels.unwrap_or_default(),
        spool_max: args.spool_max << 20,
        secrets_dir: args.secrets_dir,
        tree: None,
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start the worker's threads")?;
    let result = runtime.block_on(async {
        let life = Lifecycle::new();
        life.watch_signals(Duration::from_secs(args.grace)).context("cannot watch for signals")?;
        tidemill_worker::run(settings, life).await.map_err(anyhow::Error::from)
    });
    // What still runs on blocking threads must not hold up the end.
    runtime.shutdown_background();
    result
}

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}
