//! A small HTTP server: answers each request with what a function makes of it.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;

pub struct Asked {
    pub method: String,
    target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, unescaped.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        url::form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == name).map(|(_, v)| v.into_owned())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: vec![], body: vec![] }
    }

    pub fn bytes(body: Vec<u8>) -> Reply {
        Reply { body, ..Reply::status(200) }
    }

    pub fn json(value: serde_json::Value) -> Reply {
        Reply::bytes(value.to_string().into_bytes())
    }

    pub fn of_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Reply {
        self.headers.push((name, value));
        self
    }
}

/// Ends with the test.
pub struct Server {
    port: u16,
    task: AbortHandle,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        match stream.read_buf(&mut head).await {
                            Ok(n) if n > 0 => {}
                            _ => return,
                        }
                    }
                    let end = head.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_default() + 4;
                    let mut body = head.split_off(end);
                    let text = String::from_utf8_lossy(&head);
                    let mut lines = text.lines();
                    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
                    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    let header = |l: &str| l.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned()));
                    let mut asked = Asked { method, target, headers: lines.filter_map(header).collect(), body: vec![] };
                    let length = asked.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
                    while body.len() < length {
                        match stream.read_buf(&mut body).await {
                            Ok(n) if n > 0 => {}
                            _ => return,
                        }
                    }
                    asked.body = body;
                    log.lock().unwrap().push(asked.target.clone());
                    let reply = answer(&asked);
                    let extra: String = reply.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
                    let head = format!(
                        "HTTP/1.1 {} x\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n",
                        reply.status,
                        reply.body.len()
                    );
                    let _ = stream.write_all(&[head.as_bytes(), &reply.body].concat()).await;
                });
            }
        });
        Server { port, task: task.abort_handle(), asked }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
