//! A master replica: stateless, one of any number behind a load balancer.
//!
//! What it holds in memory (waiting polls, evaluated projects, low bounds of
//! lanes) can be lost at any moment: it is found again in rows. Two replicas
//! doing the same thing at once is correct; locks only save work.
//!
//! - [`http`]: worker API, REST, hooks, pages; [`http::routes`] lists every route.
//! - [`loops`]: what happens without being asked: claiming for waiting polls,
//!   committing what workers report, scheduling, polling, reaping, beating.
//! - [`triggers`]: what a running build starts.
//! - [`policies`]: what the functions of the project file are asked.
//! - [`hooks`]: what forges send, dialect by dialect.
//! - [`live`]: the event stream and log tails for people who watch.

pub mod app;
pub mod hooks;
pub mod http;
pub mod live;
pub mod loops;
pub mod policies;
pub mod pollers;
pub mod projects;
pub mod schedulers;
pub mod secret_providers;
pub mod settings;
pub mod triggers;

use crate::app::App;
use std::sync::Arc;
use tidemill_schema::Db;
use tidemill_service::Lifecycle;

pub use settings::Settings;
pub(crate) use tidemill_model::pages as paths;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Schema(#[from] tidemill_schema::Error),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: std::net::SocketAddr, error: std::io::Error },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Runs a replica until it has drained. The listener is bound before anything
/// else, so that a caller who gave port 0 can learn the address from `bound`.
pub async fn run(settings: Settings, life: Lifecycle) -> Result<(), Error> {
    run_on(bind(&settings).await?, settings, life).await
}

/// Binds the address of the settings.
pub async fn bind(settings: &Settings) -> Result<tokio::net::TcpListener, Error> {
    let address = settings.listen;
    tokio::net::TcpListener::bind(address).await.map_err(|error| Error::Listen { address, error })
}

/// Runs a replica on a bound listener.
pub async fn run_on(listener: tokio::net::TcpListener, settings: Settings, life: Lifecycle) -> Result<(), Error> {
    tidemill_service::install_tls();
    let address = listener.local_addr()?;
    let db = Db::connect(&settings.database_url, settings.max_connections).await?;
    tidemill_schema::wake::probe(&db).await?;
    tidemill_schema::migrate::check(&db).await?;
    let people = Db::connect_people(&settings.database_url, settings.people_connections())?;
    let app = App::start(Arc::new(settings), address, db, people, life.clone()).await?;
    if app.settings.loops {
        loops::start(&app);
    }
    tracing::info!(%address, master = %app.settings.name, "master is listening");
    http::serve(listener, app.clone()).await?;
    life.ended().await;
    app.stopped().await;
    Ok(())
}
