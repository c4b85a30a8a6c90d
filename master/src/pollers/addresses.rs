//! Which addresses a poller's function may reach: [`tidemill_service::reach`]
//! under the masters' setting.

use std::net::IpAddr;
use tidemill_service::reach::Reach;
use url::Url;

fn reach(local: bool) -> Reach {
    Reach { local, setting: "master.poll_local_addresses" }
}

/// Why an address is refused; none if it may be reached. `local` allows this
/// machine itself.
pub fn refused(address: IpAddr, local: bool) -> Option<String> {
    reach(local).refused(address)
}

/// Checks what of an address is known before connecting.
pub fn check(url: &Url, local: bool) -> Result<(), String> {
    reach(local).check(url).map_err(|refused| refused.to_string())
}

/// Resolves names, and keeps the addresses that may be reached.
pub struct Resolver {
    pub local: bool,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let reach = reach(self.local);
        Box::pin(async move {
            let allowed = reach.resolve(name.as_str()).await?;
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}
