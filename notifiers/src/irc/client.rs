//! One network for as long as it is wanted: connected, lost, connected again.

use super::connection::Connection;
use super::fence::Fence;
use super::message::{is_channel, is_target};
use super::outbox::Batch;
pub use super::outbox::Voice;
use super::session::{Heard, Order, Session, Speaker};
use super::settings::{Channel, Hidden, Network};
use crate::outcome::Outcome;
use std::time::{Duration, Instant};
use tidemill_service::Backoff;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Orders that wait for the connection's task.
const ORDERS: usize = 256;
/// Time for the last words to arrive and for the goodbye.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

/// How a network stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Connecting,
    Up {
        nick: String,
        channels: Vec<String>,
    },
    /// Not now; tried again by itself.
    Down {
        why: String,
    },
}

/// What others hold of a network. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    deliver_within: Duration,
}

impl Client {
    /// Begins. What is heard goes to `heard`; if nobody takes it there, it is lost.
    /// The future is the network's life: it ends, with a QUIT said, after `stop`.
    pub fn new(
        network: Network,
        heard: mpsc::Sender<Heard>,
        stop: CancellationToken,
    ) -> (Client, impl Future<Output = ()> + Send + 'static) {
        Client::fenced(network, heard, stop, Fence::default())
    }

    /// The same, that says nothing more once the fence has passed.
    pub fn fenced(
        network: Network,
        heard: mpsc::Sender<Heard>,
        stop: CancellationToken,
        fence: Fence,
    ) -> (Client, impl Future<Output = ()> + Send + 'static) {
        let (orders, taken) = mpsc::channel(ORDERS);
        let (say, state) = watch::channel(State::Connecting);
        let client = Client { orders, state, deliver_within: network.pace.deliver_within };
        let life = Life { channels: network.channels.clone(), network, orders: taken, state: say, heard, stop, fence };
        (client, life.run())
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// To wait for another state.
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits for a state.
    pub async fn until(&self, wanted: impl FnMut(&State) -> bool) -> Option<State> {
        self.state.clone().wait_for(wanted).await.ok().map(|s| s.clone())
    }

    /// Says these lines to a channel or nick, and waits until the server has taken them.
    pub async fn deliver(&self, target: &str, lines: Vec<String>, voice: Voice) -> Outcome {
        if !is_target(target) {
            return Outcome::Refused {
                why: format!("«{}» is neither a channel nor a nick", super::text::clean(target)),
            };
        }
        let (reply, outcome) = oneshot::channel();
        let until = Instant::now() + self.deliver_within;
        let batch = Batch { target: target.to_owned(), voice, lines, reply: Some(reply), until };
        let down = || Outcome::Down { why: "the connection to the network has ended".to_owned() };
        if self.orders.send(Order::Say(batch)).await.is_err() {
            return down();
        }
        outcome.await.unwrap_or_else(|_| down())
    }

    /// Says something without caring whether it arrives: an answer of the bot.
    pub fn say(&self, target: &str, lines: Vec<String>, voice: Voice) {
        if is_target(target) {
            let until = Instant::now() + self.deliver_within;
            self.order(Order::Say(Batch { target: target.to_owned(), voice, lines, reply: None, until }));
        }
    }

    /// To be in a channel from now on, over reconnects too.
    pub fn join(&self, channel: &str, key: Option<Hidden>) {
        if is_target(channel) && is_channel(channel) {
            self.order(Order::Join { channel: channel.to_owned(), key });
        }
    }

    pub fn leave(&self, channel: &str) {
        self.order(Order::Leave { channel: channel.to_owned() });
    }

    /// The account of a speaker, where messages do not carry it. None also if nobody knows in time.
    pub async fn account_of(&self, speaker: &Speaker) -> Option<String> {
        let (reply, account) = oneshot::channel();
        self.order(Order::Whois { speaker: speaker.clone(), reply });
        tokio::time::timeout(Duration::from_secs(15), account).await.ok()?.ok().flatten()
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::warn!("the IRC connection is busy or has ended; an answer was left out");
        }
    }
}

struct Life {
    network: Network,
    /// The wanted ones, as joins and leaves left them.
    channels: Vec<Channel>,
    orders: mpsc::Receiver<Order>,
    state: watch::Sender<State>,
    heard: mpsc::Sender<Heard>,
    stop: CancellationToken,
    fence: Fence,
}

/// How a connection ended.
enum Ended {
    Stopped,
    /// After having been up.
    Lost(String),
    Failed(String),
}

impl Life {
    async fn run(mut self) {
        let pace = self.network.pace.clone();
        let mut lost = Backoff::new(pace.lost_delay, pace.longest_delay);
        let mut failed = Backoff::new(pace.failed_delay, pace.longest_delay);
        while !self.stop.is_cancelled() && !self.fence.has_passed() {
            self.show(State::Connecting);
            let begun = Instant::now();
            let (why, wait) = match self.connected().await {
                Ended::Stopped => break,
                Ended::Lost(why) => {
                    failed.reset();
                    // Let in and thrown out at once is no success.
                    if begun.elapsed() >= pace.longest_delay {
                        lost.reset();
                    }
                    (why, lost.wait())
                }
                Ended::Failed(why) => (why, failed.wait()),
            };
            tracing::warn!(network = self.network.name, why, ?wait, "IRC: not connected");
            self.show(State::Down { why: why.clone() });
            self.pause(wait, &why).await;
        }
        self.show(State::Down { why: "stopped".to_owned() });
    }

    fn show(&self, state: State) {
        self.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }

    /// Waits; whoever wants something meanwhile hears that nobody is there.
    async fn pause(&mut self, wait: Duration, why: &str) {
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = self.stop.cancelled() => return,
                order = self.orders.recv() => match order {
                    Some(order) => self.unconnected(order, why),
                    // Nobody can say anything any more, but others may listen.
                    None => { end.as_mut().await; return }
                },
            }
        }
    }

    fn unconnected(&mut self, order: Order, why: &str) {
        match order {
            Order::Say(Batch { reply: Some(reply), .. }) => {
                let _ = reply.send(Outcome::Down { why: why.to_owned() });
            }
            Order::Join { channel, key } => {
                self.channels.retain(|c| c.name != channel);
                self.channels.push(Channel { name: channel, key });
            }
            Order::Leave { channel } => self.channels.retain(|c| c.name != channel),
            Order::Say(_) | Order::Whois { .. } => {}
        }
    }

    async fn connected(&mut self) -> Ended {
        let opening = Connection::open(&self.network);
        let opened = tokio::select! {
            () = self.stop.cancelled() => return Ended::Stopped,
            opened = tokio::time::timeout(self.network.pace.connect_within, opening) => opened,
        };
        let place = format!("{}:{}", self.network.host, self.network.port);
        let mut connection = match opened {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => return Ended::Failed(format!("cannot connect to {place}: {e}")),
            Err(_) => return Ended::Failed(format!("cannot connect to {place}: no answer in time")),
        };
        let mut session = Session::new(&self.network, &self.channels, Instant::now());
        let mut was_ready = false;
        let why = loop {
            was_ready |= session.is_ready();
            match self.turn(&mut connection, &mut session).await {
                Ok(true) => {}
                Ok(false) => {
                    self.goodbye(&mut connection, &mut session).await;
                    connection.close().await;
                    return Ended::Stopped;
                }
                Err(why) => break format!("{place}: {why}"),
            }
        };
        self.channels = session.rooms().wanted();
        session.lost(&why);
        connection.close().await;
        if was_ready { Ended::Lost(why) } else { Ended::Failed(why) }
    }

    /// Writes what can be written, then waits for whatever comes first. False: to end.
    async fn turn(&mut self, connection: &mut Connection, session: &mut Session) -> Result<bool, String> {
        self.pump(connection, session).await?;
        if session.is_ready() {
            self.show(State::Up { nick: session.nick().to_owned(), channels: session.rooms().present() });
        }
        let wake = tokio::time::sleep_until(session.wake_at(Instant::now()).into());
        tokio::select! {
            () = self.stop.cancelled() => return Ok(false),
            line = connection.read() => match line {
                Ok(Some(line)) => {
                    session.line(&line, Instant::now())?;
                    for heard in session.take_heard() {
                        if self.heard.try_send(heard).is_err() {
                            tracing::warn!(network = self.network.name, "too much is said at once; a message was not heard");
                        }
                    }
                }
                Ok(None) => return Err("the server closed the connection".to_owned()),
                Err(e) => return Err(format!("the connection broke: {e}")),
            },
            Some(order) = self.orders.recv() => session.order(order, Instant::now()),
            () = wake => {}
        }
        session.tick(Instant::now())?;
        Ok(true)
    }

    async fn pump(&self, connection: &mut Connection, session: &mut Session) -> Result<(), String> {
        while let Some(line) = session.next_line(Instant::now()) {
            if self.fence.has_passed() {
                return Err("somebody else may speak here now".to_owned());
            }
            match tokio::time::timeout(self.network.pace.answer_within, connection.write(&line)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(format!("the connection broke: {e}")),
                Err(_) => return Err("the server takes nothing any more".to_owned()),
            }
        }
        Ok(())
    }

    /// Says QUIT and hears the server out, so that what it had taken counts as sent.
    async fn goodbye(&mut self, connection: &mut Connection, session: &mut Session) {
        session.quit("Tidemill stops here");
        let ending = async {
            self.pump(connection, session).await?;
            while let Ok(Some(line)) = connection.read().await {
                session.line(&line, Instant::now())?;
            }
            Ok::<(), String>(())
        };
        // However it ends, it ends.
        let _ = tokio::time::timeout(GOODBYE, ending).await;
        session.lost("the connection to the network has ended");
    }
}
