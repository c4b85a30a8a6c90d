//! `tidemill master`

use super::migrate::{DatabaseUrl, resolve};
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use crate::locate;
use std::net::SocketAddr;
use std::time::Duration;
use tidemill_service::Lifecycle;
use tidemill_service::settings::{Layers, read_secret};

/// A drain that takes longer is cut: requests in flight are seconds long.
const GRACE: Duration = Duration::from_secs(60);

/// Run a master replica.
///
/// Any number of them may run on one database, behind any load balancer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  TIDEMILL_DATABASE_URL=postgres://me@db/ci tidemill master --listen 0.0.0.0:8480
Every option can stand in tidemill.toml, section [master]. Run `tidemill migrate` first.")]
pub struct Master {
    /// Address and port
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Name of this replica [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// The address that people use, for links
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    database: DatabaseUrl,
}

pub async fn run(args: Master, mut layers: Layers) -> Result<Exit> {
    layers.flag("master.listen", args.listen, "--listen");
    layers.flag("master.name", args.name, "--name");
    layers.flag("master.public_url", args.public_url, "--public-url");
    layers.flag("database.url", args.database.url, "--database");
    let settings = layers.load()?.settings;
    tidemill_service::telemetry::init(settings.log.format, "info");
    let database_url = resolve(&layers)?;
    let master = settings.master;
    let local_token = master.local_token_file.as_deref().map(read_secret).transpose()?;
    let cache_dir = match master.cache_dir {
        Some(dir) => dir,
        None => locate::state_home()?.join("cache"),
    };
    std::fs::create_dir_all(&cache_dir).doing(|| format!("create {}", cache_dir.display()))?;
    let settings = tidemill_master::Settings {
        database_url,
        max_connections: settings.database.max_connections,
        listen: master.listen,
        name: master.name.unwrap_or_else(host_name),
        public_url: master.public_url,
        lease: Duration::from_secs(master.lease_seconds.max(1)),
        local_token,
        loops: true,
        cache_dir,
        poll_local_addresses: master.poll_local_addresses,
        secrets_dir: master.secrets_dir,
        hook_body_max: usize::try_from(master.hook_body_max_bytes).unwrap_or(usize::MAX),
        reports: tidemill_master::settings::Reports {
            connections: settings.reports.connections,
            time: Duration::from_secs(settings.reports.timeout_seconds.max(1)),
            folder: settings.reports.folder,
        },
    };
    let life = Lifecycle::new();
    life.watch_signals(GRACE).doing(|| "listen for signals".into())?;
    tidemill_master::run(settings, life).await.map_err(|e| match e {
        tidemill_master::Error::Listen { .. } => {
            Failure::usage(e.to_string()).hint("another program may have the port; give another with --listen")
        }
        e => Failure::new(Exit::Unreachable, e.to_string()),
    })?;
    Ok(Exit::Success)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "master".to_owned() } else { name.to_owned() }
}
