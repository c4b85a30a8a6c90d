//! The address of the page.

use crate::error::{Failure, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

/// A master of an `up` that was killed needs a moment to end.
const FREE_WITHIN: Duration = Duration::from_secs(4);

/// A free address: the one asked for; else the one of the last time, so that
/// links and workers of an earlier life find it again; else from the preferred
/// port upwards. The master binds it a moment later, and again after a
/// restart, hence a fixed port. `memory` is the file that remembers it.
pub async fn choose(asked: Option<SocketAddr>, preferred: SocketAddr, memory: &Path) -> Result<SocketAddr> {
    let chosen = match asked {
        Some(address) => bind(address).map_err(|e| {
            Failure::usage(format!("cannot listen on {address}: {e}"))
                .hint("give another port with --listen; port 0 takes a free one")
        })?,
        None => again(preferred, memory).await.or_else(|| next(preferred)).ok_or_else(|| {
            Failure::usage(format!("no free port from {preferred} on")).hint("give one with --listen ADDR")
        })?,
    };
    // Only a convenience: without it the next start may get another port.
    let _ = std::fs::write(memory, chosen.to_string());
    Ok(chosen)
}

async fn again(preferred: SocketAddr, memory: &Path) -> Option<SocketAddr> {
    let last: SocketAddr = std::fs::read_to_string(memory).ok()?.trim().parse().ok()?;
    if last.ip() != preferred.ip() {
        return None;
    }
    let begun = Instant::now();
    loop {
        match bind(last) {
            Ok(free) => return Some(free),
            Err(_) if begun.elapsed() > FREE_WITHIN => return None,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn next(preferred: SocketAddr) -> Option<SocketAddr> {
    let ports = preferred.port()..preferred.port().saturating_add(50);
    ports.into_iter().find_map(|port| bind(SocketAddr::new(preferred.ip(), port)).ok())
}

fn bind(address: SocketAddr) -> std::io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

/// The address that this machine reaches it by.
pub fn reach(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(a) if a.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(a) if a.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_default_port_leads_to_the_next_and_a_taken_asked_one_to_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("address");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let free = choose(None, address, &memory).await.unwrap();
        assert_ne!(free.port(), address.port());
        let error = choose(Some(address), address, &memory).await.unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
        drop(taken);
        assert_eq!(choose(None, address, &memory).await.unwrap(), free, "the address of the last time");
        assert_eq!(reach("0.0.0.0:5".parse().unwrap()), "http://127.0.0.1:5");
    }
}
