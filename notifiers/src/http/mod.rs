//! Documents for others over HTTP: to an address ([`push`]), signed
//! ([`webhook`]), to Zulip ([`zulip`]), and, with their own forms, to forges
//! ([`crate::forge`]). [`client`] asks and bounds, [`answer`] judges what came.

pub mod answer;
pub mod client;
pub mod hidden;
pub mod push;
pub mod reach;
pub mod webhook;
pub mod zulip;

pub use answer::Answer;
pub use client::{Access, Auth, Client, ClientCert, Request};
pub use hidden::Hidden;
pub use push::HttpPush;
pub use webhook::Webhook;
pub use zulip::Zulip;
