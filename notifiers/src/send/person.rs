//! Who somebody is whom a notice only names: a directory is asked when the
//! mail is sent, so that one that is away delays its own people alone.

use super::dispatch::secret;
use crate::app::App;
use crate::mail::Directory;
use crate::mail::addresses::{Lookup, who};
use crate::outcome::Outcome;
use std::time::Duration;
use tidemill_lang::definition::{LdapDef, LookupDef, MailDef};
use tidemill_schema::notices::send::{Delivery, delivery_addressed};
use tidemill_schema::{Result, run_tx};

/// For one step of the directory: to connect, and for each answer.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) enum Person {
    /// The delivery has an address.
    Known,
    /// It has one now.
    Found(String),
    /// There is none: what becomes of the delivery.
    Not(Outcome),
}

pub(super) async fn of(app: &App, settings: &MailDef, delivery: &Delivery) -> Result<Person> {
    if delivery.told.facts["lookup"] != true {
        return Ok(Person::Known);
    }
    let Some(LookupDef::Ldap(ldap)) = &settings.lookup else {
        let why = "its words ask no directory any more: somebody has to say who this is".into();
        return Ok(Person::Not(Outcome::Refused { why }));
    };
    let name = &delivery.address;
    let address = match ask(app, ldap, name).await {
        Ok(answer) => answer,
        Err(why) => return Ok(Person::Not(Outcome::Again { why, after: None })),
    };
    let address = match who(name, &Lookup::Answer(address.as_deref())) {
        Ok(mailbox) => mailbox.to_string(),
        // As with other lookups: who has no address is told nothing, and nobody has to look after it.
        Err(why) => return Ok(Person::Not(Outcome::Sent { answer: format!("nothing: {why}") })),
    };
    let (holder, id) = (&app.holder, delivery.id);
    if run_tx!(app.db, "notices.addressed", |c| delivery_addressed(c, id, holder, &address).await)? {
        Ok(Person::Found(address))
    } else {
        Ok(Person::Not(Outcome::Sent { answer: format!("nothing: {address} is told of it already") }))
    }
}

async fn ask(app: &App, ldap: &LdapDef, name: &str) -> std::result::Result<Option<String>, String> {
    let bind = match (&ldap.bind_user, &ldap.bind_password) {
        (Some(user), Some(password)) => Some((user.clone(), secret(app, password).await?)),
        _ => None,
    };
    let directory = Directory {
        url: ldap.url.clone(),
        bind,
        base: ldap.base.clone(),
        filter: ldap.filter.clone(),
        attribute: ldap.attribute.clone(),
        within: PATIENCE,
    };
    Ok(directory.addresses(&[name.to_owned()]).await?.remove(name).flatten())
}
