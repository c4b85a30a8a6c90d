//! Transports of a process: made once for each way to reach somebody, kept while they are used.

use crate::app::App;
use crate::mail::transport::{Relay, RelaySettings, RelayTls};
use crate::verify::Verify;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidemill_lang::definition::{self, MailDef, MailTls, SecretText};

/// Kept at most; more are those of revisions that went.
const KEPT: usize = 64;

#[derive(Default)]
pub(crate) struct Transports {
    relays: Mutex<HashMap<String, Arc<Relay>>>,
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
        let mut relays = self.relays.lock().expect("no panic while locked");
        if let Some(relay) = relays.get(&key) {
            return Ok(relay.clone());
        }
        if relays.len() >= KEPT {
            relays.clear();
        }
        let relay = Arc::new(Relay::new(settings)?);
        relays.insert(key, relay.clone());
        Ok(relay)
    }
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
