//! The worker: polls masters for builds, runs their steps, and reports what
//! happens.
//!
//! Guarantees, whatever is killed: a build runs until it ends or a master says
//! that its lease is lost, never because no master answers; what it says is
//! delivered in order and once; after it, and after a restart of the worker,
//! none of its processes is left. Everything that the worker writes is below
//! its base directory, and one process uses that at a time; commands may write
//! into the working tree of [`WorkingTree`], if that is set.
//!
//! docs/protocol.md describes the conversation with the masters.

mod base;
mod build;
mod client;
mod clock;
mod exec;
mod heard;
mod mask;
mod order;
mod poll;
mod provided;
mod revision;
mod secrets;
mod sender;
mod session;
mod settings;
mod shared;
mod slot;
mod spool;
mod steplog;
mod taken;
mod tree;

pub use base::BaseError;
pub use client::CallError;
pub use exec::process::own_process;
pub use session::HelloError;
pub use settings::{SECRETS_VARIABLE, SPOOL_MAX, Settings, SettingsError, TOKEN_VARIABLE, WorkingTree, read_token};

use base::Base;
use client::Client;
use exec::process::Processes;
use order::Order;
use session::Session;
use shared::Shared;
use slot::Slots;
use spool::{Budget, Journal};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_model::wire::{Goodbye, Hello, PROTOCOL, PROTOCOL_MIN, VOCABULARY};
use tidemill_service::Lifecycle;
use tokio_util::task::TaskTracker;

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error("cannot use the journal of builds in {path}: {error}")]
    Journal { path: PathBuf, error: std::io::Error },
    #[error("cannot make connections: {0}")]
    Client(#[from] CallError),
    #[error(transparent)]
    Hello(#[from] HelloError),
}

/// How long the end waits for the builds' processes to die.
const END: Duration = Duration::from_secs(15);

/// How long the last words to the masters may take: they only tell people sooner.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs a worker until the lifecycle drains and all builds are delivered, until
/// it stops, or until a master says that this worker may not go on.
pub async fn run(settings: Settings, life: Lifecycle) -> Result<(), WorkerError> {
    tidemill_service::install_tls();
    settings.check()?;
    let base = Base::open(&settings.base)?;
    let journal = Journal::open(&base.spool()).map_err(|error| WorkerError::Journal { path: base.spool(), error })?;
    let client = Client::new(&settings.master, &settings.token)?;
    let processes = Processes::new(base.instance());
    // Before anything else is done: two lives of one build must not overlap.
    processes.end_earlier_life().await;

    let session = tokio::select! {
        session = Session::open(&client, hello(&settings, &base)) => session?,
        () = life.draining().cancelled() => return Ok(()),
    };
    let ending = life.stopping().child_token();
    let shared = Arc::new(Shared {
        budget: Arc::new(Budget::new(settings.spool_max)),
        slots: Mutex::new(Slots::new(settings.slots)),
        own_env: exec::env::own(),
        revisions: Default::default(),
        orders: Default::default(),
        changed: Default::default(),
        fatal: Default::default(),
        offline: Default::default(),
        online: Default::default(),
        settings,
        base,
        client,
        session,
        journal,
        processes,
        life,
        ending,
    });
    let builds = TaskTracker::new();
    for delivery in taken::left_over(&shared) {
        builds.spawn(delivery);
    }
    poll::poll_loop(shared.clone(), builds.clone()).await;

    if shared.ending.is_cancelled() {
        shared.order_all(&Order::Quit);
    }
    builds.close();
    if tokio::time::timeout(END, builds.wait()).await.is_err() {
        tracing::error!("builds did not end in time; the next start of this worker ends what is left of them");
    }
    let fatal = shared.fatal.lock().expect("no panic while holding the error").take();
    if let Some(error) = fatal {
        return Err(error.into());
    }
    let goodbye = Goodbye { session: shared.session.now().id };
    if let Err(error) = shared.client.goodbye(&goodbye, GOODBYE).await {
        tracing::debug!("no master heard the goodbye: {error}");
    }
    Ok(())
}

fn hello(settings: &Settings, base: &Base) -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL,
        name: settings.name.clone(),
        instance: base.instance().to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        vocabulary: VOCABULARY,
        slots: settings.slots,
        info: info(),
        labels: settings.labels.clone(),
    }
}

/// What people want to know about the machine.
fn info() -> BTreeMap<String, String> {
    let mut info = BTreeMap::from([("arch".to_owned(), std::env::consts::ARCH.to_owned())]);
    if let Ok(names) = nix::sys::utsname::uname() {
        info.insert("host".into(), names.nodename().to_string_lossy().into_owned());
        let system = format!("{} {}", names.sysname().to_string_lossy(), names.release().to_string_lossy());
        info.insert("system".into(), system);
    }
    info
}
