//! Transports of a process: made once for each way to reach somebody, kept while they are used.

use super::lately::Lately;
use super::mail::Written;
use crate::app::App;
use crate::forge::OAuth;
use crate::http::{Access, Auth, Client, ClientCert};
use crate::mail::transport::{Relay, RelaySettings, RelayTls};
use crate::verify::Verify;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_lang::definition::{self, Login, MailDef, MailTls, SecretText};

/// Kept at most; more are those of revisions that went.
const KEPT: usize = 64;

/// Whole time of one request.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Transports {
    relays: Mutex<HashMap<String, Arc<Relay>>>,
    clients: Mutex<HashMap<Access, Client>>,
    /// By address, key and secret.
    consumers: Mutex<HashMap<[String; 3], Arc<OAuth>>>,
    /// Mails in words, for all who get the same.
    pub written: Lately<Written>,
}

impl Transports {
    pub fn new(_app: &App) -> Transports {
        Transports::default()
    }

    /// The relay of these settings, with its pool. The password is read anew each time, so that a
    /// changed one is another relay.
    pub async fn relay(&self, app: &App, mail: &MailDef) -> Result<Arc<Relay>, String> {
        let mut settings = RelaySettings::new(&mail.relayhost, mail.port);
        settings.tls = match mail.tls {
            MailTls::None => RelayTls::None,
            MailTls::Opportunistic => RelayTls::Opportunistic,
            MailTls::Required => RelayTls::Required,
            MailTls::Smtps => RelayTls::Wrapped,
        };
        settings.verify = verify(&mail.verify);
        if let (Some(user), Some(password)) = (&mail.user, &mail.password) {
            settings.credentials = Some((secret(app, user).await?, secret(app, password).await?));
        }
        let key = format!("{settings:?} {:?} {:?}", settings.credentials, settings.verify);
        kept(&self.relays, key, || Relay::new(settings).map(Arc::new))
    }

    /// The client that reaches services so, with its connections.
    pub fn client(
        &self,
        app: &App,
        verify: &definition::Verify,
        cert: Option<&definition::ClientCert>,
    ) -> Result<Client, String> {
        let access = Access {
            verify: self::verify(verify),
            cert: cert.map(|c| ClientCert { cert: (&c.cert).into(), key: c.key.as_ref().map(PathBuf::from) }),
            within: WITHIN,
            local: app.settings.local_addresses,
        };
        kept(&self.clients, access.clone(), || Client::new(access))
    }

    /// The consumer of these, with its token.
    pub async fn consumer(&self, app: &App, url: &str, login: &Login) -> Result<Arc<OAuth>, String> {
        let (key, secret) = (secret(app, &login.username).await?, secret(app, &login.password).await?);
        let made = || Ok(Arc::new(OAuth::new(url, key.clone(), secret.clone())));
        kept(&self.consumers, [url.to_owned(), key.clone(), secret.clone()], made)
    }
}

/// The one that is there, or a new one.
fn kept<K: Eq + std::hash::Hash, V: Clone>(
    all: &Mutex<HashMap<K, V>>,
    key: K,
    make: impl FnOnce() -> Result<V, String>,
) -> Result<V, String> {
    let mut all = all.lock().expect("no panic while locked");
    if let Some(found) = all.get(&key) {
        return Ok(found.clone());
    }
    if all.len() >= KEPT {
        all.clear();
    }
    let made = make()?;
    all.insert(key, made.clone());
    Ok(made)
}

/// Basic authentication, if there is a login.
pub(crate) async fn basic(app: &App, login: Option<&Login>) -> Result<Auth, String> {
    let Some(login) = login else { return Ok(Auth::None) };
    Ok(Auth::Basic { user: secret(app, &login.username).await?, password: secret(app, &login.password).await? })
}

/// As a transport takes it.
fn verify(given: &definition::Verify) -> Verify {
    match given {
        definition::Verify::Yes => Verify::Yes,
        definition::Verify::No => Verify::No,
        definition::Verify::Authorities(file) => Verify::Authorities(PathBuf::from(file)),
    }
}

/// A value, read off the async threads.
pub(crate) async fn secret(app: &App, text: &SecretText) -> Result<String, String> {
    let (app, text) = (app.clone(), text.clone());
    let read = tokio::task::spawn_blocking(move || app.secrets.resolve(&text)).await;
    read.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
