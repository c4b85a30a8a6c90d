//! IRC: notices to channels and nicks, and a bot that answers there.
//!
//! Bottom up: `text` (any text made one line), `message` (lines of the
//! protocol), `session` (what a connection knows and does next, without IO;
//! with `register`, `rooms`, `outbox`, `whois`), `connection` (sockets),
//! `client` (one network for as long as it is wanted; what the rest calls).
//! Beside it: `bot` with `commands` (words of people), which reaches builds
//! through `backend`, and `events` (what a channel hears of a build; many at once: `digest`); `definition` reads
//! all of it from the project's `reporters.IRC`.
//!
//! Guaranteed: one text is one line, whatever it holds; a notice counts as
//! sent only after the server answered a PING that followed it; dangerous
//! commands are for accounts that services vouch for, never for a nick.

pub mod args;
pub mod authz;
pub mod backend;
pub mod bot;
pub mod client;
pub mod commands;
mod connection;
pub mod definition;
pub mod digest;
pub mod events;
pub mod fence;
mod flood;
pub mod message;
mod outbox;
mod register;
mod rooms;
mod session;
pub mod settings;
pub mod text;
mod whois;

pub use authz::{Allowed, Authz};
pub use backend::Backend;
pub use bot::{Bot, BotSettings, Presence};
pub use client::{Client, State, Voice};
pub use events::NotifyEvent;
pub use fence::Fence;
pub use session::{Account, Heard, Speaker};
pub use settings::{Channel, Hidden, Network, Pace, Sasl};
