//! Commands beside the database, without a running master: a replica of their
//! own, in this process, for as long as the command takes.
//!
//! It answers and does what the command asks, and nothing by itself: its loops do
//! not run, so no poll of a repository and no build is begun that it would not
//! see the end of. It listens on loopback with a token that nobody else has.

use super::migrate::resolve;
use crate::client::Client;
use crate::error::{Doing, Failure, Result};
use crate::locate::{self, Location};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tidemill_service::settings::Layers;
use tidemill_service::{Lifecycle, token};
use tokio::task::JoinHandle;

static LAYERS: OnceLock<Layers> = OnceLock::new();
static REPLICA: Mutex<Option<(Lifecycle, JoinHandle<()>)>> = Mutex::new(None);

/// How long its loops may take to end by themselves, and then to be cut.
const END_WITHIN: Duration = Duration::from_millis(300);

/// The settings of this process, for a database that is named nowhere else.
pub fn set_layers(layers: Layers) {
    let _ = LAYERS.set(layers);
}

/// A client of a replica in this process. An empty URL is the settings' one.
pub async fn client(url: &str) -> Result<Client> {
    let mut layers = LAYERS.get().cloned().unwrap_or_default();
    layers.flag("database.url", (!url.is_empty()).then_some(url), "--database");
    let database_url = resolve(&layers)?;
    let cache_dir = locate::state_home()?.join("cache");
    std::fs::create_dir_all(&cache_dir).doing(|| format!("create {}", cache_dir.display()))?;
    let secret = token::generate(token::Kind::Local);
    let settings = tidemill_master::Settings {
        database_url,
        max_connections: 4,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        name: format!("command-{}", std::process::id()),
        public_url: None,
        lease: Duration::from_secs(60),
        local_token: Some(secret.clone()),
        loops: false,
        cache_dir,
        poll_local_addresses: false,
        secrets_dir: None,
        hook_body_max: tidemill_master::Settings::HOOK_BODY_MAX,
        reports: Default::default(),
    };
    let failed = |e: tidemill_master::Error| Failure::unreachable(format!("database: {e}"));
    let listener = tidemill_master::bind(&settings).await.map_err(failed)?;
    let address = listener.local_addr().doing(|| "ask for the port".into())?;
    let life = Lifecycle::new();
    let ended = life.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(e) = tidemill_master::run_on(listener, settings, life).await {
            let _ = tell.send(e);
        }
    });
    *REPLICA.lock().expect("no panic while locked") = Some((ended, task));
    let client = Client::new(Location { url: format!("http://{address}"), token: Some(secret), origin: "--database" })?;
    tokio::select! {
        Ok(e) = told => Err(failed(e)),
        () = ready(&client) => Ok(client),
    }
}

async fn ready(client: &Client) {
    while !client.ready().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends the replica, if there is one.
pub async fn end() {
    let replica = REPLICA.lock().expect("no panic while locked").take();
    if let Some((life, mut task)) = replica {
        life.drain();
        if tokio::time::timeout(END_WITHIN, &mut task).await.is_err() {
            life.stop();
            let _ = tokio::time::timeout(END_WITHIN, task).await;
        }
    }
}
