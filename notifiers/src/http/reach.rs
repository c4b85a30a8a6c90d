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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_another_program_may_not_reach_is_known_before_it_is_started() {
        for (host, local) in [("127.0.0.1", false), ("localhost", false), ("::1", false), ("169.254.169.254", true)] {
            let why = refused(host, local).await;
            assert!(why.as_ref().is_some_and(|why| why.starts_with(host)), "{host}: {why:?}");
        }
        for (host, local) in [("127.0.0.1", true), ("localhost", true), ("nowhere.invalid", false), ("10.1.2.3", false)]
        {
            assert_eq!(refused(host, local).await, None, "{host}");
        }
    }
}
