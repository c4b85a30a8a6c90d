//! A connection with its bot, brought in line with the project file: joined and
//! left channels, other rules and words at once; another host or nick by a new connection.

use super::Wanted;
use super::rows::Rows;
use crate::app::App;
use crate::irc::backend::{Membership, Place};
use crate::irc::client::State;
use crate::irc::message::{Folding, is_channel};
use crate::irc::{Bot, Channel, Client, Fence, Heard, Hidden, Network, definition};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_schema::notices::networks as rows_of;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Messages of people that wait for the bot.
const HEARD: usize = 100;
/// After the goodbye's own time the connection is dropped.
const PATIENCE: Duration = crate::irc::client::GOODBYE.saturating_add(Duration::from_millis(500));

pub(super) struct Running {
    pub client: Client,
    pub states: watch::Receiver<State>,
    /// As it was connected, without channels.
    network: Network,
    /// By folded name.
    channels: BTreeMap<String, Channel>,
    /// What it was last brought in line with.
    wanted: Wanted,
    /// What the bot goes by for the next message.
    shared: Arc<Mutex<Wanted>>,
    stop: CancellationToken,
    life: JoinHandle<()>,
    bot: JoinHandle<()>,
}

impl Running {
    /// Does what is needed so that `running` is as wanted; why not, for people.
    pub async fn brought_in_line(
        app: &App,
        name: &str,
        wanted: &Wanted,
        fence: &Fence,
        running: &mut Option<Running>,
    ) -> Result<(), String> {
        // A connection that does not come about may lack a secret that is there by now.
        let settled =
            running.as_ref().is_some_and(|r| r.wanted == *wanted && !matches!(r.client.state(), State::Down { .. }));
        if settled {
            return Ok(());
        }
        let mut network = resolved(app, name, wanted).await?;
        let channels = channels(app, name, std::mem::take(&mut network.channels)).await?;
        if let Some(same) = running.as_mut().filter(|r| r.network == network && !r.life.is_finished()) {
            same.change(wanted, channels);
            return Ok(());
        }
        if let Some(old) = running.take() {
            app.networks.set(name, None);
            old.end().await;
        }
        let new = Running::start(app, name, wanted, network, channels, fence);
        app.networks.set(name, Some(new.client.clone()));
        *running = Some(new);
        Ok(())
    }

    fn start(
        app: &App,
        name: &str,
        wanted: &Wanted,
        network: Network,
        channels: BTreeMap<String, Channel>,
        fence: &Fence,
    ) -> Running {
        let (say, heard) = mpsc::channel(HEARD);
        let stop = CancellationToken::new();
        let full = Network { channels: channels.values().cloned().collect(), ..network.clone() };
        let (client, life) = Client::fenced(full, say, stop.clone(), fence.clone());
        let shared = Arc::new(Mutex::new(wanted.clone()));
        let bot = tokio::spawn(listen(app.clone(), name.to_owned(), shared.clone(), client.clone(), heard));
        Running {
            states: client.states(),
            client,
            network,
            channels,
            wanted: wanted.clone(),
            shared,
            stop,
            life: tokio::spawn(life),
            bot,
        }
    }

    /// What can change without another connection.
    fn change(&mut self, wanted: &Wanted, channels: BTreeMap<String, Channel>) {
        *self.shared.lock().expect("no panic while locked") = wanted.clone();
        for (key, channel) in &channels {
            if self.channels.get(key) != Some(channel) {
                self.client.join(&channel.name, channel.key.clone());
            }
        }
        for gone in self.channels.iter().filter(|(key, _)| !channels.contains_key(*key)) {
            self.client.leave(&gone.1.name);
        }
        self.channels = channels;
        self.wanted = wanted.clone();
    }

    /// Says goodbye. The connection is closed when this returns.
    pub async fn end(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(PATIENCE, &mut self.life).await.is_err() {
            self.life.abort();
            let _ = (&mut self.life).await;
        }
    }
}

impl Drop for Running {
    /// Nothing of it outlives it, whoever was cut off while ending it.
    fn drop(&mut self) {
        self.stop.cancel();
        self.life.abort();
        self.bot.abort();
    }
}

/// Answers people, each message by the rules of then.
async fn listen(app: App, name: String, shared: Arc<Mutex<Wanted>>, client: Client, mut heard: mpsc::Receiver<Heard>) {
    while let Some(message) = heard.recv().await {
        let wanted = shared.lock().expect("no panic while locked").clone();
        let settings = definition::bot(&wanted.irc);
        let backend = Rows { app: app.clone(), network: name.clone(), wanted };
        Bot { settings, backend, presence: client.clone() }.hear(&message).await;
    }
}

/// With its secrets, read off the async threads.
async fn resolved(app: &App, name: &str, wanted: &Wanted) -> Result<Network, String> {
    let (app, name, irc) = (app.clone(), name.to_owned(), wanted.irc.clone());
    let read = tokio::task::spawn_blocking(move || definition::network(&name, &irc, |text| app.secrets.resolve(text)));
    read.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Where it is to be: the channels of the project file, without those it was told to leave, and those it was told
/// to join.
async fn channels(app: &App, name: &str, configured: Vec<Channel>) -> Result<BTreeMap<String, Channel>, String> {
    let read = async {
        let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
        rows_of::places(&mut c, &[name.to_owned()]).await
    };
    let settled = read.await.map_err(|e| format!("cannot read what channels settled: {e}"))?;
    let mut all: BTreeMap<String, Channel> =
        configured.into_iter().map(|c| (Folding::default().fold(&c.name), c)).collect();
    for row in settled {
        let place: Option<Place> = row.settled.and_then(|s| serde_json::from_value(s).ok());
        match place.and_then(|p| p.membership) {
            Some(Membership::Left) => {
                all.remove(&row.place);
            }
            Some(Membership::Joined { key }) if is_channel(&row.place) => {
                let key = key.map(Hidden);
                let known = all.entry(row.place.clone()).or_insert(Channel { name: row.place, key: None });
                known.key = key.or(known.key.take());
            }
            Some(Membership::Joined { .. }) | None => {}
        }
    }
    Ok(all)
}
