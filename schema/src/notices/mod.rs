//! Notices: what became of builds, for those who are to be told.
//!
//! [`facts`] is what a plan needs to know of a page of events, [`plan`] the
//! deliveries that come of it, [`send`] how one is claimed and what became of
//! it, [`content`] what a notice may say, [`people`] who looks after them. Of
//! IRC: [`networks`] is who speaks there and what its channels settled, [`chat`]
//! what people ask about, [`control`] what they ask for.

pub mod chat;
pub mod content;
pub mod control;
pub mod facts;
pub mod networks;
pub mod people;
pub mod plan;
pub mod send;

use serde::{Deserialize, Serialize};

/// By which way somebody is reached; which senders claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Mail,
    Irc,
    Http,
    Forge,
}

impl Way {
    pub const ALL: [Way; 4] = [Way::Mail, Way::Irc, Way::Http, Way::Forge];

    pub fn name(self) -> &'static str {
        match self {
            Way::Mail => "mail",
            Way::Irc => "irc",
            Way::Http => "http",
            Way::Forge => "forge",
        }
    }

    pub fn named(name: &str) -> Option<Way> {
        Way::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A build began.
    Start,
    /// A build ended.
    End,
    /// All builds of a buildset ended.
    Buildset,
    /// A request was made, or cancelled before it had a build.
    Request,
    /// A worker stays away.
    Worker,
    /// Somebody tries whether a notice arrives.
    Test,
}

impl Moment {
    pub const ALL: [Moment; 6] =
        [Moment::Start, Moment::End, Moment::Buildset, Moment::Request, Moment::Worker, Moment::Test];

    pub fn name(self) -> &'static str {
        match self {
            Moment::Start => "start",
            Moment::End => "end",
            Moment::Buildset => "buildset",
            Moment::Request => "request",
            Moment::Worker => "worker",
            Moment::Test => "test",
        }
    }

    pub fn named(name: &str) -> Option<Moment> {
        Moment::ALL.into_iter().find(|moment| moment.name() == name)
    }
}
