//! People on IRC.

use super::servers::{PATIENCE, Server};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_notifiers::irc::message::Line;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinHandle;

/// Somebody with a client that writes down every byte.
pub struct Person {
    pub nick: String,
    write: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    lines: Arc<Mutex<Vec<Vec<u8>>>>,
    reader: JoinHandle<()>,
}

impl Drop for Person {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Person {
    pub async fn connect(server: &Server, nick: &str) -> Person {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let (read, write) = stream.into_split();
        let write = Arc::new(tokio::sync::Mutex::new(write));
        let answers = write.clone();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let reader = tokio::spawn(async move {
            let mut read = BufReader::new(read);
            loop {
                let mut line = Vec::new();
                if read.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                // Servers throw out who is silent for long.
                if let Some(ping) = Line::parse(&line).filter(|l| l.command == "PING") {
                    let _ = answers.lock().await.write_all(format!("PONG :{}\r\n", ping.last()).as_bytes()).await;
                }
                kept.lock().unwrap().push(line);
            }
        });
        let mut person = Person { nick: nick.to_owned(), write, lines, reader };
        person.send(&format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}")).await;
        person.until("the welcome", |l| l.command == "001").await;
        person
    }

    pub async fn send(&mut self, line: &str) {
        self.write.lock().await.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    pub async fn join(&mut self, channel: &str) {
        self.send(&format!("JOIN {channel}")).await;
        let me = self.nick.clone();
        self.until("my JOIN", |l| l.command == "JOIN" && from(l) == me).await;
    }

    /// Takes another nick.
    pub async fn rename(&mut self, nick: &str) {
        self.send(&format!("NICK {nick}")).await;
        self.until("the other nick", |l| l.command == "NICK" && l.param(0) == nick).await;
        nick.clone_into(&mut self.nick);
    }

    pub async fn say(&mut self, to: &str, text: &str) {
        self.send(&format!("PRIVMSG {to} :{text}")).await;
    }

    /// Says it and waits for what the bot says next to the same place.
    pub async fn ask(&mut self, to: &str, text: &str) -> String {
        let seen = self.lines.lock().unwrap().len();
        self.say(to, text).await;
        let here = if to.starts_with('#') { to } else { &self.nick };
        let bot =
            |l: &Line| from(l).starts_with("tide") && matches!(&*l.command, "PRIVMSG" | "NOTICE") && l.param(0) == here;
        self.until_after(seen, "an answer", bot).await.last().to_owned()
    }

    pub async fn until(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        self.until_after(0, what, wanted).await
    }

    /// The first such line after so many.
    pub async fn until_after(&self, seen: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let found = async {
            loop {
                if let Some(line) = self.parsed().into_iter().skip(seen).find(&wanted) {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(line) => line,
            Err(_) => panic!("{} waited for {what}; heard:\n{}", self.nick, self.raw().join("\n")),
        }
    }

    /// The server has hung up, and everything it sent is here.
    pub async fn is_cut(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.reader).await.expect("the server hangs up").expect("without a panic");
    }

    pub fn seen(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    pub fn raw(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|l| String::from_utf8_lossy(l).trim_end().to_owned()).collect()
    }

    /// The longest line's bytes, CR LF included.
    pub fn longest(&self) -> usize {
        self.lines.lock().unwrap().iter().map(Vec::len).max().unwrap_or(0)
    }

    fn parsed(&self) -> Vec<Line> {
        self.lines.lock().unwrap().iter().filter_map(|l| Line::parse(l)).collect()
    }

    /// What this nick said to here, as a transcript.
    pub fn heard_of(&self, nick: &str, to: &str) -> Vec<String> {
        let lines = self.parsed().into_iter();
        lines
            .filter(|l| matches!(&*l.command, "PRIVMSG" | "NOTICE") && from(l) == nick && l.param(0) == to)
            .map(|l| l.last().to_owned())
            .collect()
    }

    /// The same of whoever's nick begins so: who reconnects may have to take another one.
    pub fn heard_of_any(&self, nicks: &str, to: &str) -> Vec<String> {
        let lines = self.parsed().into_iter();
        lines
            .filter(|l| l.command == "PRIVMSG" && from(l).starts_with(nicks) && l.param(0) == to)
            .map(|l| l.last().to_owned())
            .collect()
    }
}

pub fn from(line: &Line) -> &str {
    line.prefix.as_ref().map_or("", |p| &p.nick)
}
