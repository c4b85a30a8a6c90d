//! Where a poller's program may go (A10, A11): repositories by URL, by the short
//! form of ssh, or by path. What would be an option or another protocol is
//! refused, and so are addresses that [`super::addresses`] refuses.

use super::{PollError, addresses};
use std::net::SocketAddr;
use tidemill_model::repository::public_url;
use url::Url;

/// A checked place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// None is a path on this machine.
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// What the host's name meant when it was checked; empty where it is for the program to find out.
    pub addresses: Vec<SocketAddr>,
}

/// Checks a repository's place. `schemes` are the allowed ones; `short` is
/// whether `user@host:path` is another way to say ssh.
pub async fn check(place: &str, schemes: &[&str], short: bool, local: bool) -> Result<Place, PollError> {
    let refused = |why: &str| PollError::Refused(format!("`{}` {why}", public_url(place)));
    if place.is_empty() || place.starts_with('-') || place.chars().any(char::is_control) {
        return Err(refused("is not the address of a repository"));
    }
    let before_slash = place.split('/').next().unwrap_or_default();
    if before_slash.contains("::") && !before_slash.starts_with('[') {
        return Err(refused("names a helper program; those are not run"));
    }
    let found = if let Some((scheme, _)) = place.split_once("://") {
        if !schemes.contains(&scheme) {
            return Err(refused(&format!("is not of an allowed protocol: {}", schemes.join(", "))));
        }
        if scheme == "file" {
            return Ok(Place { scheme: Some(scheme.to_owned()), ..Place::default() });
        }
        // Programs and this parser read these in different ways, and would mean different hosts.
        if place.contains(['\\', ' ']) {
            return Err(refused("holds a backslash or a space"));
        }
        let url = Url::parse(place).map_err(|e| refused(&format!("cannot be read: {e}")))?;
        if url.username().starts_with('-') {
            return Err(refused("has a user that would be an option"));
        }
        Place {
            scheme: Some(scheme.to_owned()),
            host: url.host_str().map(|h| h.trim_matches(['[', ']']).to_owned()),
            port: url.port_or_known_default().or(url.port()),
            addresses: vec![],
        }
    } else if short && before_slash.contains(':') {
        let (host, _) = place.split_once(':').unwrap_or((place, ""));
        let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
        if host.starts_with('[') || user.starts_with('[') {
            return Err(refused("has its host in brackets: write ssh://[…]/…"));
        }
        if user.starts_with('-') {
            return Err(refused("has a user that would be an option"));
        }
        Place { scheme: Some("ssh".into()), host: Some(host.to_owned()), port: None, addresses: vec![] }
    } else {
        return Ok(Place::default());
    };
    let host = found.host.clone().filter(|h| !h.is_empty()).ok_or_else(|| refused("names no host"))?;
    if host.starts_with('-') {
        return Err(refused("has a host that would be an option"));
    }
    if host.contains('%') {
        return Err(refused("has a host with escapes"));
    }
    let known: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), found.port.unwrap_or(0))).await {
        Ok(known) => known.collect(),
        Err(_) => vec![],
    };
    let allowed: Vec<SocketAddr> =
        known.iter().copied().filter(|a| addresses::refused(a.ip(), local).is_none()).collect();
    match known.iter().find_map(|a| addresses::refused(a.ip(), local)) {
        Some(why) if allowed.is_empty() => Err(refused(&format!("is {why}"))),
        // A name that ssh alone knows, from its own configuration, resolves for ssh alone.
        // Of any other nobody would judge what the program finds a moment later.
        None if known.is_empty() && !found.scheme.as_deref().is_some_and(|s| s.ends_with("ssh")) && !behind_proxy() => {
            Err(refused("has a host that cannot be looked up"))
        }
        _ => Ok(Place { addresses: allowed, ..found }),
    }
}

/// Where programs of this machine reach the web through a proxy, it looks names up.
fn behind_proxy() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].into_iter().any(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIT: &[&str] = &["file", "git", "http", "https", "ssh"];

    async fn ask(place: &str) -> Result<Place, String> {
        check(place, GIT, true, false).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn options_and_helper_programs_and_other_protocols_are_refused() {
        let bad = [
            "",
            "--upload-pack=touch /tmp/x",
            "-x",
            "ext::sh -c touch% /tmp/x",
            "fd::17",
            "ftp://host.example/x",
            "ssh://-oProxyCommand=x/y",
            "ssh://-oProxyCommand=x@host.example/y",
            "-oProxyCommand=x:y",
            "-u@host.example:y",
            "https://host.example/a\nb",
            "http://host.example\\@169.254.169.254/x",
            "git://169.254.169.%32%35%34/x",
            "ssh://%2doProxyCommand=x/y",
            "[-oProxyCommand=x]:y",
            "git@[::1]:y",
        ];
        for place in bad {
            assert!(ask(place).await.is_err(), "{place}");
        }
        for place in ["/srv/a.git", "file:///srv/a.git", "../a", "a@b/c:d"] {
            assert_eq!(ask(place).await.unwrap().host, None, "{place}");
        }
    }

    #[tokio::test]
    async fn this_machine_is_refused_unless_the_setting_allows_it_and_metadata_always() {
        for place in ["http://127.0.0.1/x", "git@localhost:x", "ssh://git@[::1]:22/x", "http://2130706433/x"] {
            let error = ask(place).await.unwrap_err();
            assert!(error.contains("poll_local_addresses"), "{place}: {error}");
            assert!(!check(place, GIT, true, true).await.unwrap().addresses.is_empty(), "{place}");
        }
        let error = check("http://u:geheim@169.254.169.254/x", GIT, true, true).await.unwrap_err().to_string();
        assert!(error.contains("metadata") && !error.contains("geheim"), "{error}");
    }
}
