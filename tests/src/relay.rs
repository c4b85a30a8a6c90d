//! A mail relay that keeps what it gets in memory, and misbehaves while it is
//! told to: it refuses connections, says «later», hangs, and drops connections
//! in the middle of a mail, and after a mail before its answer.
//!
//! What it takes, it took: a mail whose answer was lost has arrived.

use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it does to one mail, or to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misdeed {
    /// Nobody listens for a moment.
    Refuse,
    /// `421` instead of a greeting.
    Closing,
    HangAtGreeting,
    LaterAtSender,
    LaterAtRecipient,
    DropAtRecipient,
    LaterAtData,
    /// Within the text.
    DropInData,
    LaterAfterData,
    /// The mail is not kept.
    DropAfterData,
    /// The mail is kept, and nobody told.
    KeepAndDrop,
    KeepAndHang,
}

use Misdeed::*;

impl Misdeed {
    pub const ALL: [Misdeed; 12] = [
        Refuse,
        Closing,
        HangAtGreeting,
        LaterAtSender,
        LaterAtRecipient,
        DropAtRecipient,
        LaterAtData,
        DropInData,
        LaterAfterData,
        DropAfterData,
        KeepAndDrop,
        KeepAndHang,
    ];

    /// Done to a connection, and not to a mail.
    fn of_connection(self) -> bool {
        matches!(self, Refuse | Closing | HangAtGreeting)
    }
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub to: String,
    /// As it came, without the dots of the transport.
    pub mail: Vec<u8>,
    /// Whether its sender was told.
    pub answered: bool,
}

pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    taken: Mutex<Vec<Taken>>,
    /// Misdeeds still to do before all come again, in any order.
    ahead: Mutex<Vec<Misdeed>>,
    done: Mutex<BTreeMap<Misdeed, usize>>,
    /// Mails in good order between two misdeeds; none: it behaves.
    good: watch::Sender<Option<u32>>,
    since: Mutex<u32>,
}

impl Relay {
    /// Behaves until it is told otherwise.
    pub async fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared {
            taken: Mutex::default(),
            ahead: Mutex::default(),
            done: Mutex::default(),
            good: watch::channel(None).0,
            since: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, port, shared.clone()));
        Relay { port, shared, task }
    }

    /// From now on each so manieth mail, or connection, is treated badly.
    pub fn misbehave(&self, every: u32) {
        self.shared.good.send_replace(Some(every));
    }

    /// Behaves; connections that hang are closed.
    pub fn heal(&self) {
        self.shared.good.send_replace(None);
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("no panic while locked").clone()
    }

    /// How often it did what.
    pub fn misdeeds(&self) -> BTreeMap<Misdeed, usize> {
        self.shared.done.lock().expect("no panic while locked").clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.good.send_replace(None);
    }
}

impl Shared {
    /// What is done to this connection, or to this mail.
    fn next(&self, connection: bool) -> Option<Misdeed> {
        let every = (*self.good.borrow())?;
        let mut since = self.since.lock().expect("no panic while locked");
        *since += 1;
        if *since < every {
            return None;
        }
        let mut ahead = self.ahead.lock().expect("no panic while locked");
        if ahead.is_empty() {
            ahead.extend(Misdeed::ALL);
            ahead.shuffle(&mut rand::rng());
        }
        // The next of its kind; of the other kind wait for theirs.
        let at = ahead.iter().position(|m| m.of_connection() == connection)?;
        *since = 0;
        let misdeed = ahead.remove(at);
        *self.done.lock().expect("no panic while locked").entry(misdeed).or_default() += 1;
        Some(misdeed)
    }

    fn keep(&self, to: &str, mail: &[u8], answered: bool) {
        let mut taken = self.taken.lock().expect("no panic while locked");
        taken.push(Taken { to: to.to_owned(), mail: mail.to_owned(), answered });
    }

    /// Says nothing until it is healed or the other side leaves.
    async fn hang(&self, from: &mut BufReader<OwnedReadHalf>) {
        let mut good = self.good.subscribe();
        let mut line = String::new();
        tokio::select! {
            _ = good.wait_for(Option::is_none) => {}
            _ = from.read_line(&mut line) => {}
        }
    }
}

async fn serve(mut listener: TcpListener, port: u16, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let misdeed = shared.next(true);
        if misdeed == Some(Refuse) {
            drop((client, listener));
            tokio::time::sleep(Duration::from_millis(300)).await;
            listener = loop {
                match TcpListener::bind(("127.0.0.1", port)).await {
                    Ok(again) => break again,
                    // Somebody has it for a moment.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move { talk(client, misdeed, &shared).await });
    }
}

/// One connection. None: it is over.
async fn talk(client: TcpStream, misdeed: Option<Misdeed>, shared: &Shared) -> Option<()> {
    let (from, mut to) = client.into_split();
    let mut from = BufReader::new(from);
    match misdeed {
        Some(Closing) => return say(&mut to, "421 4.3.2 not now").await,
        Some(HangAtGreeting) => {
            shared.hang(&mut from).await;
            return None;
        }
        _ => say(&mut to, "220 relay of a test").await?,
    }
    let (mut misdeed, mut recipient) = (None, String::new());
    loop {
        let mut line = String::new();
        if !from.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            return None;
        }
        let command: String = line.chars().take(4).collect::<String>().to_uppercase();
        match (command.as_str(), misdeed) {
            ("EHLO", _) => say(&mut to, "250-relay\r\n250-8BITMIME\r\n250 SMTPUTF8").await?,
            ("MAIL", _) => {
                misdeed = shared.next(false);
                let later = misdeed == Some(LaterAtSender);
                say(&mut to, if later { "451 4.3.0 later" } else { "250 2.1.0 ok" }).await?;
            }
            ("RCPT", Some(LaterAtRecipient)) => say(&mut to, "450 4.2.1 later").await?,
            ("RCPT", Some(DropAtRecipient)) => return None,
            ("RCPT", _) => {
                recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                say(&mut to, "250 2.1.5 ok").await?;
            }
            ("DATA", Some(LaterAtData)) => say(&mut to, "451 4.3.0 later").await?,
            ("DATA", _) => {
                say(&mut to, "354 go on").await?;
                let mail = text(&mut from, misdeed == Some(DropInData)).await?;
                match misdeed {
                    Some(LaterAfterData) => say(&mut to, "452 4.3.1 later").await?,
                    Some(DropAfterData) => return None,
                    Some(KeepAndDrop) => {
                        shared.keep(&recipient, &mail, false);
                        return None;
                    }
                    Some(KeepAndHang) => {
                        shared.keep(&recipient, &mail, false);
                        shared.hang(&mut from).await;
                        return None;
                    }
                    _ => {
                        shared.keep(&recipient, &mail, true);
                        say(&mut to, "250 2.0.0 ok").await?;
                    }
                }
            }
            ("QUIT", _) => return say(&mut to, "221 2.0.0 bye").await,
            _ => say(&mut to, "250 2.0.0 ok").await?,
        }
    }
}

async fn say(to: &mut OwnedWriteHalf, words: &str) -> Option<()> {
    to.write_all(format!("{words}\r\n").as_bytes()).await.ok()
}

/// A mail up to its dot; none where the connection ends before, or is dropped after two lines.
async fn text(from: &mut BufReader<OwnedReadHalf>, dropped: bool) -> Option<Vec<u8>> {
    let mut mail = vec![];
    for n in 0.. {
        let mut line = vec![];
        if from.read_until(b'\n', &mut line).await.ok()? == 0 || (dropped && n > 1) {
            return None;
        }
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return Some(mail),
            Some(rest) => mail.extend_from_slice(rest),
            None => mail.extend_from_slice(&line),
        }
    }
    None
}
