//! Mail: who is meant ([`addresses`]), what is written ([`compose`],
//! [`excerpt`]), and how a relay gets it ([`transport`]). One delivery is one
//! mail to one mailbox with an envelope of its own, so that what a relay says
//! of one reader concerns nobody else.

pub mod addresses;
pub mod attachments;
pub mod compose;
pub mod excerpt;
mod headers;
mod stream;
pub mod transport;

pub use addresses::{Lookup, Mailmap, mailbox};
pub use attachments::{Attachment, Kind};
pub use compose::{Letter, compose, message_id};
pub use excerpt::{Excerpt, excerpt};
pub use transport::{Relay, RelaySettings, RelayTls};
