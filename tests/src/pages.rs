//! A web server on this machine that says what a test tells it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Pages by their path, shared by all clones; another path is answered with 404.
#[derive(Clone, Default)]
pub struct Pages(Arc<Mutex<BTreeMap<String, String>>>);

impl Pages {
    /// Serves them on a free port for as long as the test runs; gives the address.
    pub async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    let mut part = [0; 4096];
                    while !asked.windows(4).any(|w| w == b"\r\n\r\n") {
                        match stream.read(&mut part).await {
                            Ok(n) if n > 0 => asked.extend_from_slice(&part[..n]),
                            _ => return,
                        }
                    }
                    let asked = String::from_utf8_lossy(&asked).into_owned();
                    let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
                    let body = this.0.lock().expect("no panic while holding the pages").get(&path).cloned();
                    let answer = match body {
                        Some(body) if body == "nothing" => return std::future::pending().await,
                        Some(to) if to.starts_with("redirect ") => {
                            format!(
                                "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                                &to[9..]
                            )
                        }
                        Some(body) => {
                            format!(
                                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                                body.len()
                            )
                        }
                        None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        url
    }

    /// What this path says from now on; «redirect ADDRESS» leads elsewhere, «nothing» never answers.
    pub fn say(&self, path: &str, body: impl ToString) {
        self.0.lock().expect("no panic while holding the pages").insert(path.to_owned(), body.to_string());
    }

    /// The path is not there any more.
    pub fn forget(&self, path: &str) {
        self.0.lock().expect("no panic while holding the pages").remove(path);
    }
}
