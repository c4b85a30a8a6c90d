//! Notices: who is told what became of a build, by which way, exactly as often as it is due.
//!
//! [`planner`] and [`plan`] turn the event stream into rows of `deliveries`, once
//! for all notifiers; [`send`] claims them, has them put into words ([`render`])
//! and hands them to a transport ([`mail`], [`irc`] over the connections that [`networks`]
//! holds), and records what the other side said.
//!
//! A process may be killed at any instant: what was planned is in rows, what was
//! in hand is due again when its lease is over, under the same message id.

pub mod app;
pub mod forge;
pub mod http;
pub mod irc;
pub mod line;
pub mod links;
pub mod mail;
pub mod message;
pub mod networks;
pub mod outcome;
pub mod people;
pub mod plan;
pub mod planner;
pub mod projects;
pub mod render;
pub mod send;
pub mod settings;
pub mod verify;

pub use message::{Body, Message};
pub use outcome::Outcome;
pub use settings::Settings;
pub use verify::Verify;

use std::sync::Arc;
use tidemill_schema::Db;
use tidemill_service::Lifecycle;
use tokio::sync::Notify;

/// Runs a notifier until it has drained.
pub async fn run(settings: Settings, life: Lifecycle) -> Result<(), tidemill_schema::Error> {
    tidemill_service::install_tls();
    let db = Db::connect(&settings.database_url, settings.max_connections).await?;
    tidemill_schema::wake::probe(&db).await?;
    tidemill_schema::migrate::check(&db).await?;
    let app = app::App::start(settings, db, life.clone()).await?;
    planner::begin(&app).await?;
    let planned = Arc::new(Notify::new());
    planner::start(&app, planned.clone());
    send::start(&app, planned);
    networks::start(&app);
    let ways: Vec<&str> = app.settings.ways.iter().map(|w| w.name()).collect();
    tracing::info!(sends = ways.join(", "), "notifier is running");
    life.ended().await;
    Ok(())
}
