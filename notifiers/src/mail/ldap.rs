//! A directory of people: from a name to a mail address by LDAP. Names are
//! escaped, so that none is a filter of its own.

use crate::line::one_line;
use ldap3::{LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, ldap_escape};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Looked at of what is found; more are no one person.
const ENTRIES: i32 = 10;
/// The codes of LDAP for an answer, and for one that was cut at its size.
const FOUND: [u32; 2] = [0, 4];

#[derive(Clone)]
pub struct Directory {
    /// `ldap://host:port` or `ldaps://…`.
    pub url: String,
    /// User (a DN) and password; none asks as nobody.
    pub bind: Option<(String, String)>,
    pub base: String,
    /// `%s` in it is the name, as in `(uid=%s)`.
    pub filter: String,
    /// That holds the address.
    pub attribute: String,
    /// Time for one step: to connect, and for each answer.
    pub within: Duration,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.url, self.base, self.filter)
    }
}

impl Directory {
    /// The addresses of these people over one connection; none has whom the
    /// directory does not know, or knows several times.
    ///
    /// # Errors
    /// If the directory cannot be asked now: why. Nothing is known then of anybody.
    pub async fn addresses(&self, names: &[String]) -> Result<BTreeMap<String, Option<String>>, String> {
        let wrong = |why: String| one_line(&format!("the directory {}: {why}", self.url), 300);
        let scheme = Url::parse(&self.url).map(|u| u.scheme().to_owned()).unwrap_or_default();
        if !matches!(scheme.as_str(), "ldap" | "ldaps") {
            return Err(wrong("its address is not ldap://host or ldaps://host".into()));
        }
        if !self.filter.contains("%s") {
            return Err(wrong("the filter has no `%s` for the name".into()));
        }
        let settings = LdapConnSettings::new().set_conn_timeout(self.within);
        let connected = timeout(self.within, LdapConnAsync::with_settings(settings, &self.url)).await;
        let (connection, mut ldap) =
            connected.map_err(|_| wrong("no answer in time".into()))?.map_err(|e| wrong(e.to_string()))?;
        let driver = Driver(tokio::spawn(connection.drive()));
        if let Some((user, password)) = &self.bind {
            let bound = ldap.with_timeout(self.within).simple_bind(user, password).await.and_then(|r| r.success());
            bound.map_err(|e| wrong(format!("it does not let {} in: {e}", one_line(user, 80))))?;
        }
        let mut found = BTreeMap::new();
        for name in names {
            let filter = self.filter.replace("%s", &ldap_escape(name.as_str()));
            let options = SearchOptions::new().sizelimit(ENTRIES);
            let answer = ldap
                .with_search_options(options)
                .with_timeout(self.within)
                .search(&self.base, Scope::Subtree, &filter, [self.attribute.as_str()])
                .await
                .map_err(|e| wrong(e.to_string()))?;
            if !FOUND.contains(&answer.1.rc) {
                return Err(wrong(format!("{} below {}", answer.1, one_line(&self.base, 80))));
            }
            let entries = answer.0.into_iter().map(SearchEntry::construct);
            let addresses: Vec<String> = entries.filter_map(|mut e| self.first(&mut e)).collect();
            let one = match addresses.as_slice() {
                [one] => Some(one.clone()),
                _ => None,
            };
            found.insert(name.clone(), one);
        }
        // It may have closed meanwhile; what was asked is answered.
        _ = ldap.unbind().await;
        drop(driver);
        Ok(found)
    }

    /// The first of the values; names of attributes have no case.
    fn first(&self, entry: &mut SearchEntry) -> Option<String> {
        let (_, values) = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.attribute))?;
        values.first().cloned()
    }
}

/// The connection's task, which ends with the question.
struct Driver<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
