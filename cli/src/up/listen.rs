//! The address of the page.

use crate::error::{Failure, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// A free address: the one asked for, or from the default port upwards. The
/// master binds it a moment later, and again after a restart, hence a fixed port.
pub fn choose(asked: Option<SocketAddr>, preferred: SocketAddr) -> Result<SocketAddr> {
    if let Some(address) = asked {
        return match bind(address) {
            Ok(free) => Ok(free),
            Err(e) => Err(Failure::usage(format!("cannot listen on {address}: {e}"))
                .hint("give another port with --listen; port 0 takes a free one")),
        };
    }
    for port in preferred.port()..preferred.port().saturating_add(50) {
        if let Ok(free) = bind(SocketAddr::new(preferred.ip(), port)) {
            return Ok(free);
        }
    }
    Err(Failure::usage(format!("no free port from {preferred} on")).hint("give one with --listen ADDR"))
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

    #[test]
    fn a_taken_default_port_leads_to_the_next_and_a_taken_asked_one_to_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let free = choose(None, address).unwrap();
        assert_ne!(free.port(), address.port());
        let error = choose(Some(address), address).unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
        assert_eq!(reach("0.0.0.0:5".parse().unwrap()), "http://127.0.0.1:5");
    }
}
