//! Which addresses reporters may reach: [`tidemill_service::reach`] under the
//! notifiers' setting.

use tidemill_service::reach::Reach;
pub use tidemill_service::reach::Refused;
use url::Url;

/// The setting that lets reporters reach this machine.
pub const SETTING: &str = "notify.local_addresses";

fn reach(local: bool) -> Reach {
    Reach { local, setting: SETTING }
}

/// Checks what of an address is known before connecting.
pub fn check(url: &Url, local: bool) -> Result<(), Refused> {
    reach(local).check(url)
}

/// Why a host that is reached by another program must not be; none if it may, or if nobody knows
/// it: then that program says so.
pub async fn refused(host: &str, local: bool) -> Option<String> {
    let reach = reach(local);
    if let Ok(address) = host.parse() {
        return reach.refused(address).map(|why| format!("{host} is {why}"));
    }
    let error = reach.resolve(host).await.err()?;
    error.downcast_ref::<Refused>().map(ToString::to_string)
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
