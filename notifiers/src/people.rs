//! Names of people in a page of events, as addresses: each asked once.

use crate::line::one_line;
use crate::mail::addresses::{Lookup, who};
use crate::plan::{Found, Names, Notice, To};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemill_lang::Project;
use tidemill_lang::definition::{LookupDef, MailDef, ReporterKind};
use tidemill_schema::Result;
use tidemill_schema::notices::people::opted_out;

/// By reporter and name.
#[derive(Default)]
pub struct People(BTreeMap<(String, String), Option<Found>>);

impl Names for People {
    fn find(&self, reporter: &str, name: &str) -> Option<Found> {
        self.0.get(&(reporter.to_owned(), name.to_owned()))?.clone()
    }
}

impl People {
    /// Those whom these notices name. Who has opted out has no address.
    pub async fn of<'n>(
        c: &mut PgConnection,
        project: &Arc<Project>,
        notices: impl Iterator<Item = &'n Notice>,
    ) -> Result<People> {
        let mut wanted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for notice in notices {
            for to in &notice.to {
                if let To::Person { name, .. } = to {
                    wanted.entry(notice.reporter).or_default().insert(name.clone());
                }
            }
        }
        let mut people = People::default();
        for (reporter, names) in wanted {
            let reporter = &project.definition().reporters[reporter];
            let ReporterKind::Mail(mail) = &reporter.kind else { continue };
            let found = addresses(project, &reporter.name, mail, names).await;
            let address = |found: &Found| match found {
                Found::Address(address) => plain(address),
                Found::Name => String::new(),
            };
            let all: Vec<String> = found.values().flatten().map(address).collect();
            let out: BTreeSet<String> = opted_out(c, &all, &reporter.name).await?.into_iter().collect();
            for (name, one) in found {
                let one = one.filter(|f| !out.contains(&address(f)));
                people.0.insert((reporter.name.clone(), name), one);
            }
        }
        Ok(people)
    }
}

/// The address alone, in small letters.
pub fn plain(mailbox: &str) -> String {
    let address = mailbox.rsplit_once('<').map_or(mailbox, |(_, rest)| rest.trim_end_matches('>'));
    address.trim().to_lowercase()
}

async fn addresses(
    project: &Arc<Project>,
    reporter: &str,
    mail: &MailDef,
    names: BTreeSet<String>,
) -> BTreeMap<String, Option<Found>> {
    let (project, reporter) = (project.clone(), reporter.to_owned());
    let directory = matches!(mail.lookup, Some(LookupDef::Ldap(_)));
    // Functions of the project are not for async threads.
    let asked = tokio::task::spawn_blocking(move || {
        let ask = |name: &str| -> std::result::Result<Found, String> {
            if directory {
                // Asked when the mail is sent: a directory that is away holds up nobody else's notices.
                return Ok(who(name, &Lookup::None).map_or(Found::Name, |mailbox| Found::Address(mailbox.to_string())));
            }
            let found = project.policies().lookup(&reporter, name).map_err(|e| e.to_string())?;
            who(name, &Lookup::Answer(found.as_deref())).map(|mailbox| Found::Address(mailbox.to_string()))
        };
        let answer = |name: String| {
            let address = ask(&name).inspect_err(|why| {
                tracing::info!(reporter, name = %one_line(&name, 100), %why, "cannot be told by mail");
            });
            (name, address.ok())
        };
        names.into_iter().map(answer).collect()
    });
    asked.await.unwrap_or_default()
}
