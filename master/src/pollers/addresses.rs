//! Which addresses a poller's function may reach (A10). Names are judged by what
//! they resolve to, at the moment of connecting: a name that changes its answer
//! between a check and its use gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Services of clouds that give away the machine's own rights, outside of the
/// link-local range where most of them are.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Why an address is refused; none if it may be reached. `local` allows this
/// machine itself.
pub fn refused(address: IpAddr, local: bool) -> Option<&'static str> {
    let v4 = match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => embedded(v6),
    };
    let (link_local, metadata) = match (v4, address) {
        (Some(v4), _) => (v4.is_link_local(), METADATA_V4.contains(&v4)),
        (None, IpAddr::V6(v6)) => (v6.is_unicast_link_local(), v6 == METADATA_V6),
        (None, IpAddr::V4(_)) => (false, false),
    };
    let of = |test4: fn(&Ipv4Addr) -> bool, test: fn(&IpAddr) -> bool| v4.as_ref().is_some_and(test4) || test(&address);
    if metadata || link_local {
        Some("a link-local or metadata address")
    } else if of(Ipv4Addr::is_multicast, IpAddr::is_multicast) || v4.is_some_and(|a| a.is_broadcast()) {
        Some("no address of one machine")
    } else if !local
        && (of(Ipv4Addr::is_loopback, IpAddr::is_loopback)
            || v4.is_some_and(|a| a.octets()[0] == 0)
            || address.is_unspecified())
    {
        Some("an address of this machine; the setting `master.poll_local_addresses` allows those")
    } else {
        None
    }
}

/// The IPv4 address that a translator or the kernel makes of an IPv6 one.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // Mapped, and the old compatible form but for `::` and `::1`.
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Checks what of an address is known before connecting: its scheme, and its
/// host where that is a number.
pub fn check(url: &Url, local: bool) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme of an address is http or https, not {}", url.scheme()));
    }
    let number = match url.host() {
        None => return Err("the address names no host".into()),
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
    };
    match number.and_then(|n| refused(n, local)) {
        Some(why) => Err(format!("{} is {why}", url.host_str().unwrap_or_default())),
        None => Ok(()),
    }
}

/// Resolves names, and keeps the addresses that may be reached.
pub struct Resolver {
    pub local: bool,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let local = self.local;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let why = found.iter().find_map(|a| refused(a.ip(), local));
            let allowed: Vec<SocketAddr> = found.into_iter().filter(|a| refused(a.ip(), local).is_none()).collect();
            match why {
                Some(why) if allowed.is_empty() => Err(format!("{} is {why}", name.as_str()).into()),
                _ => Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_only_where_the_setting_allows_and_metadata_never() {
        let this_machine =
            ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"];
        for a in this_machine {
            let a: IpAddr = a.parse().unwrap();
            assert!(refused(a, false).is_some_and(|why| why.contains("poll_local_addresses")), "{a}");
            assert_eq!(refused(a, true), None, "{a}");
        }
        let never = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ];
        for a in never {
            let a: IpAddr = a.parse().unwrap();
            assert!(refused(a, false).is_some() && refused(a, true).is_some(), "{a}");
        }
        for a in ["10.1.2.3", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd12::1"] {
            assert_eq!(refused(a.parse().unwrap(), false), None, "{a}");
        }
    }

    #[test]
    fn addresses_that_are_no_web_addresses_are_refused() {
        let check = |url: &str| super::check(&Url::parse(url).unwrap(), false);
        assert!(check("https://example.org/x").is_ok());
        assert!(check("file:///etc/passwd").unwrap_err().contains("http or https"));
        // Numbers in any notation of the URL standard.
        for url in
            ["http://127.1/", "http://2130706433/", "http://0x7f.0.0.1/", "http://[::1]/", "http://[::ffff:7f00:1]/"]
        {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
