//! The bot among people.

use crate::fake::Fake;
use std::time::Duration;
use tidemill_notifiers::irc::{Bot, BotSettings, Channel, Client, Network, Pace, State};
pub use tidemill_tests::irc::person::{Person, from};
use tidemill_tests::irc::servers::{PATIENCE, Server};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The bot with its connection.
pub struct Tide {
    pub client: Client,
    pub backend: Fake,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// To the server's plain port, in `#ci`, faster than real networks allow.
pub fn network(server: &Server) -> Network {
    let ms = Duration::from_millis;
    let pace = Pace {
        every: ms(20),
        lost_delay: ms(50),
        failed_delay: ms(50),
        longest_delay: ms(400),
        rejoin: (ms(50), ms(400)),
        ..Pace::default()
    };
    let channels = vec![Channel { name: "#ci".into(), key: None }];
    Network { channels, pace, ..Network::new("testnet", "127.0.0.1", server.port, "tide") }
}

impl Tide {
    pub fn start(network: Network, settings: BotSettings) -> Tide {
        let (say, heard) = mpsc::channel(100);
        let stop = CancellationToken::new();
        let (client, life) = Client::new(network, say, stop.clone());
        let backend = Fake::default();
        let bot = Bot { settings, backend: backend.clone(), presence: client.clone() };
        let tasks = vec![tokio::spawn(life), tokio::spawn(bot.run(heard))];
        Tide { client, backend, stop, tasks }
    }

    /// Waits until it is in these channels.
    pub async fn is_in(&self, channels: &[&str]) {
        self.state("to be in its channels", |s| matches!(s, State::Up { channels: c, .. } if c == channels)).await;
    }

    pub async fn state(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        match tokio::time::timeout(PATIENCE, self.client.until(wanted)).await {
            Ok(Some(state)) => state,
            _ => panic!("waited for the bot {what}; it is {:?}", self.client.state()),
        }
    }

    /// Says goodbye; everything of it has ended afterwards.
    pub async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await.expect("the bot ends").expect("without a panic");
        }
    }
}
