//! What one network needs to be told.

use crate::verify::Verify;
use std::fmt;
use std::time::Duration;

/// A network and our place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What logs and people call it.
    pub name: String,
    pub host: String,
    pub port: u16,
    /// TLS, and how the server proves who it is; none: in the clear.
    pub tls: Option<Verify>,
    /// The wanted nick; with a tail if somebody has it, until it is free.
    pub nick: String,
    /// The part before `@` that servers show.
    pub user: String,
    pub real_name: String,
    pub channels: Vec<Channel>,
    /// Said with PASS before anything else.
    pub server_password: Option<Hidden>,
    /// Said to NickServ once connected, before channels are joined.
    pub nickserv_password: Option<Hidden>,
    /// Logs in while connecting. Without success there is no connection.
    pub sasl: Option<Sasl>,
    /// Whether formatting codes in texts go out.
    pub colours: bool,
    pub pace: Pace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub name: String,
    pub key: Option<Hidden>,
}

/// SASL PLAIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    pub user: String,
    pub password: Hidden,
}

/// A text that `{:?}` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Hidden {
        Hidden(text.to_owned())
    }
}

/// How fast, how patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Lines that may go at once, and how often one more after them. Servers cut who is faster.
    pub burst: u32,
    pub every: Duration,
    /// Time for TCP, TLS and logging in together.
    pub connect_within: Duration,
    /// A quiet server is asked whether it is there.
    pub keep_alive: Duration,
    /// A PING unanswered for this long means that the connection is dead.
    pub answer_within: Duration,
    /// First wait after a connection was lost (lostDelay).
    pub lost_delay: Duration,
    /// First wait after no connection came about (failedDelay).
    pub failed_delay: Duration,
    /// Longest wait of both.
    pub longest_delay: Duration,
    /// First and longest wait before a channel is joined again.
    pub rejoin: (Duration, Duration),
    /// How often the wanted nick is tried while another is used.
    pub nick_retry: Duration,
    /// How long NickServ may take before channels are joined anyway.
    pub identify_within: Duration,
    /// How long a notice may wait for its turn.
    pub deliver_within: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let s = Duration::from_secs;
        Pace {
            burst: 5,
            every: s(2),
            connect_within: s(30),
            keep_alive: s(60),
            answer_within: s(30),
            lost_delay: s(2),
            failed_delay: s(15),
            longest_delay: s(300),
            rejoin: (s(2), s(300)),
            nick_retry: s(60),
            identify_within: s(5),
            deliver_within: s(120),
        }
    }
}

impl Network {
    /// With everything at its default.
    pub fn new(name: &str, host: &str, port: u16, nick: &str) -> Network {
        Network {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            tls: None,
            nick: nick.to_owned(),
            user: "tidemill".to_owned(),
            real_name: "Tidemill".to_owned(),
            channels: Vec::new(),
            server_password: None,
            nickserv_password: None,
            sasl: None,
            colours: true,
            pace: Pace::default(),
        }
    }
}
