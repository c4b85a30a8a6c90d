//! Which addresses of the net a project file may have reached (A10): by its
//! pollers, hooks of ours and reporters. Names are judged by what they resolve
//! to, at the moment of connecting: a name that changes its answer between a
//! check and its use gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;
use url::{Host, Url};

/// Services of clouds that give away the machine's own rights, outside of the
/// link-local range where most of them are.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What one kind of requests may reach.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Whether this machine itself may be reached.
    pub local: bool,
    /// The setting that says so, for people.
    pub setting: &'static str,
}

/// An address was found and must not be reached.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Refused(pub String);

impl Reach {
    /// Why an address is refused; none if it may be reached.
    pub fn refused(&self, address: IpAddr) -> Option<String> {
        let v4 = match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) => embedded(v6),
        };
        let (link_local, metadata) = match (v4, address) {
            (Some(v4), _) => (v4.is_link_local(), METADATA_V4.contains(&v4)),
            (None, IpAddr::V6(v6)) => (v6.is_unicast_link_local(), v6 == METADATA_V6),
            (None, IpAddr::V4(_)) => (false, false),
        };
        let of =
            |test4: fn(&Ipv4Addr) -> bool, test: fn(&IpAddr) -> bool| v4.as_ref().is_some_and(test4) || test(&address);
        if metadata || link_local {
            Some("a link-local or metadata address".into())
        } else if of(Ipv4Addr::is_multicast, IpAddr::is_multicast) || v4.is_some_and(|a| a.is_broadcast()) {
            Some("no address of one machine".into())
        } else if !self.local
            && (of(Ipv4Addr::is_loopback, IpAddr::is_loopback)
                || v4.is_some_and(|a| a.octets()[0] == 0)
                || address.is_unspecified())
        {
            Some(format!("an address of this machine; the setting `{}` allows those", self.setting))
        } else {
            None
        }
    }

    /// Checks what of an address is known before connecting: its scheme, and its
    /// host where that is a number.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused(format!("the scheme of an address is http or https, not {}", url.scheme())));
        }
        let number = match url.host() {
            None => return Err(Refused("the address names no host".into())),
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) => None,
        };
        match number.and_then(|n| self.refused(n)) {
            Some(why) => Err(Refused(format!("{} is {why}", url.host_str().unwrap_or_default()))),
            None => Ok(()),
        }
    }

    /// Resolves a name, and keeps the addresses that may be reached.
    ///
    /// # Errors
    /// [`Refused`] if none of them may, or what the system says of the name.
    pub async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        let why = found.iter().find_map(|a| self.refused(a.ip()));
        let allowed: Vec<SocketAddr> = found.into_iter().filter(|a| self.refused(a.ip()).is_none()).collect();
        match why {
            Some(why) if allowed.is_empty() => Err(Box::new(Refused(format!("{name} is {why}")))),
            _ => Ok(allowed),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: IpAddr, local: bool) -> Option<String> {
        Reach { local, setting: "x.local" }.refused(address)
    }

    #[test]
    fn this_machine_is_reached_only_where_the_setting_allows_and_metadata_never() {
        let this_machine =
            ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"];
        for a in this_machine {
            let a: IpAddr = a.parse().unwrap();
            assert!(refused(a, false).is_some_and(|why| why.contains("`x.local`")), "{a}");
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
        let reach = Reach { local: false, setting: "x.local" };
        let check = |url: &str| reach.check(&Url::parse(url).unwrap()).map_err(|e| e.to_string());
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
