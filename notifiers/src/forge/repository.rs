//! Which repository of a forge an address of git means.

use crate::line::one_line;
use url::Url;

/// The place of a repository on its forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub host: String,
    /// Without `.git`; at least two.
    pub path: Vec<String>,
}

impl Repository {
    /// Reads `https://host/owner/name.git`, `ssh://git@host:22/owner/name` and
    /// `git@host:owner/name.git`, with groups in groups.
    ///
    /// # Errors
    /// If it names no owner and repository.
    pub fn parse(address: &str) -> Result<Repository, String> {
        let shown = || one_line(&tidemill_model::repository::public_url(address), 120);
        let wrong = || format!("`{}` names no owner and repository of a forge", shown());
        let address = address.trim();
        let (host, path) = if address.contains("://") {
            let url = Url::parse(address).map_err(|_| wrong())?;
            let known = ["http", "https", "ssh", "git", "git+ssh", "git+https", "git+http"];
            if !known.contains(&url.scheme()) {
                return Err(wrong());
            }
            (url.host_str().unwrap_or_default().to_owned(), url.path().to_owned())
        } else {
            let (host, path) = address.split_once(':').ok_or_else(wrong)?;
            if host.contains('/') {
                return Err(wrong());
            }
            (host.rsplit('@').next().unwrap_or_default().to_owned(), path.to_owned())
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let plain = |s: &String| {
            !s.is_empty()
                && s != "."
                && s != ".."
                && s.len() <= 255
                && s.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '~' | '@'))
        };
        if host.is_empty() || path.len() < 2 || !path.iter().all(plain) {
            return Err(wrong());
        }
        Ok(Repository { host, path })
    }

    /// Owner and name, where owners have no groups.
    pub fn owner_and_name(&self) -> (&str, &str) {
        let n = self.path.len();
        (&self.path[n - 2], &self.path[n - 1])
    }

    /// All of it, as GitLab and Gerrit name projects.
    pub fn whole(&self) -> String {
        self.path.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_from_each_form_of_address() {
        for address in [
            "https://github.com/owner/name.git",
            "https://github.com/owner/name",
            "https://user:token@github.com:8443/owner/name.git/",
            "http://github.com/owner/name/",
            "ssh://git@github.com:22/owner/name.git",
            "git://github.com/owner/name.git",
            "git@github.com:owner/name.git",
            "github.com:owner/name",
            "git@github.com:/owner/name.git",
        ] {
            let found = Repository::parse(address).unwrap();
            assert_eq!((found.host.as_str(), found.owner_and_name()), ("github.com", ("owner", "name")), "{address}");
        }
        let nested = Repository::parse("git@gitlab.example.org:group/sub/deep/name.git").unwrap();
        assert_eq!(nested.whole(), "group/sub/deep/name");
        assert_eq!(Repository::parse("https://h/a/na.me.git").unwrap().owner_and_name(), ("a", "na.me"));
        assert_eq!(Repository::parse("https://h/scm/~ann/x.git").unwrap().owner_and_name(), ("~ann", "x"));
    }

    #[test]
    fn what_names_none_is_refused_without_its_password() {
        for address in [
            "",
            "name",
            "/srv/git/owner/name.git",
            "file:///srv/owner/name.git",
            "https://github.com/",
            "https://github.com/name.git",
            "https://user:geheim@github.com/name",
            "https://h/owner/na me",
            "https://h/owner/../../name%2f..",
            "git@h:owner/na\r\nme",
            "git@h:owner/..",
            "ext::sh -c x/y",
            "./a:b/c",
        ] {
            let why = Repository::parse(address).expect_err(address);
            assert!(why.contains("names no owner") && !why.contains("geheim") && !why.contains('\n'), "{why}");
        }
    }
}
