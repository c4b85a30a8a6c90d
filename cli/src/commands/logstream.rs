//! The bytes of a log, as they come, until it is complete.

use crate::client::Client;
use crate::error::{Failure, Result};
use base64::Engine;
use serde::Deserialize;
use std::time::Duration;
use tidemill_service::Backoff;

#[derive(Deserialize)]
struct Piece {
    /// Where the next piece begins, bytes.
    next: u64,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    c: String,
    b64: String,
}

/// Where a limit left bytes out: a text that says so.
const GAP: &str = "g";

/// Whether a channel is what a command wrote (or a gap in it), not a header.
pub fn is_output(channel: &str) -> bool {
    matches!(channel, "o" | "e" | GAP)
}

/// Hands on every run of a log once and in order: the channel's letter and its
/// bytes. A stream that is cut (a master restarted) goes on where it was.
pub async fn follow(client: &Client, log: i64, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
    let mut offset = 0;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let path = format!("logs/{log}/stream?offset={offset}");
        match client.events(&path, None).await {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    match event.event.as_str() {
                        "end" => return Ok(()),
                        "runs" => {
                            let piece = parse(&event.data)?;
                            // A piece that was sent again after a cut is not shown again.
                            if piece.next <= offset {
                                continue;
                            }
                            for (channel, bytes) in piece.runs {
                                each(&channel, &bytes);
                            }
                            offset = piece.next;
                            backoff.reset();
                        }
                        _ => {}
                    }
                }
            }
            Err(f) if f.exit != crate::exit::Exit::Unreachable => return Err(f),
            // Running builds outlive masters; so does the wish to see them.
            Err(_) => {}
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

struct Parsed {
    next: u64,
    runs: Vec<(String, Vec<u8>)>,
}

fn parse(data: &str) -> Result<Parsed> {
    let bad = |e: String| Failure::internal(format!("the master's log stream is not understood: {e}"));
    let piece: Piece = serde_json::from_str(data).map_err(|e| bad(e.to_string()))?;
    let mut runs = Vec::with_capacity(piece.runs.len());
    for run in piece.runs {
        let mut bytes = base64::engine::general_purpose::STANDARD.decode(&run.b64).map_err(|e| bad(e.to_string()))?;
        if run.c == GAP {
            // A line of its own, as in the raw log.
            bytes.insert(0, b'\n');
            bytes.push(b'\n');
        }
        runs.push((run.c, bytes));
    }
    Ok(Parsed { next: piece.next, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_carries_bytes_of_each_channel() {
        let piece = parse(r#"{"next": 5, "runs": [{"c": "o", "b64": "aGkK"}, {"c": "e", "b64": "//4="}]}"#).unwrap();
        assert_eq!(piece.next, 5);
        assert_eq!(piece.runs, [("o".to_owned(), b"hi\n".to_vec()), ("e".to_owned(), vec![0xff, 0xfe])]);
        assert!(parse("{}").is_err());
    }
}
