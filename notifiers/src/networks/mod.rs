//! IRC networks: for each IRC reporter of the active configuration one process of
//! all notifiers has the connection and answers there.
//!
//! [`keeper`] takes a network's lease, runs client and bot while it has it, and
//! ends them before the lease could be another's; [`rows`] is what the bot
//! knows and may ask for. A holder that is killed is followed within the term;
//! one that drains, at once.

mod keeper;
mod rows;
mod running;

use crate::app::App;
use crate::irc::Client;
use crate::irc::backend::Place;
use crate::irc::client::State;
use crate::plan::Settled;
use crate::render::{self, context::Site};
use keeper::Keeper;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_lang::definition::{IrcDef, ReporterDef, ReporterKind};
use tidemill_schema::notices::Way;
use tidemill_schema::notices::networks::{self as rows_of, networks_orphaned};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::{Notify, watch};

/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(5);

/// The connections of this process, by the names of their reporters. Clones are the same.
#[derive(Clone, Default)]
pub struct Networks(Arc<Mutex<BTreeMap<String, Client>>>);

impl Networks {
    /// Those that can be spoken on now.
    pub fn up(&self) -> Vec<String> {
        let held = self.0.lock().expect("no panic while locked");
        held.iter().filter(|(_, client)| matches!(client.state(), State::Up { .. })).map(|(n, _)| n.clone()).collect()
    }

    pub fn client(&self, network: &str) -> Option<Client> {
        self.0.lock().expect("no panic while locked").get(network).cloned()
    }

    fn set(&self, network: &str, client: Option<Client>) {
        let mut held = self.0.lock().expect("no panic while locked");
        match client {
            Some(client) => held.insert(network.to_owned(), client),
            None => held.remove(network),
        };
    }
}

/// What a keeper is to keep.
#[derive(Clone, PartialEq)]
struct Wanted {
    irc: Arc<IrcDef>,
    title: String,
    url: String,
}

/// Starts what keeps the networks, where this process sends by IRC.
pub fn start(app: &App) {
    if !app.settings.ways.contains(&Way::Irc) {
        return;
    }
    let wake = Arc::new(Notify::new());
    app.wakes.forward(&app.life, wake.clone(), |w| matches!(w, Wake::Config | Wake::All));
    let this = app.clone();
    let keepers: Arc<Mutex<BTreeMap<String, watch::Sender<Option<Wanted>>>>> = Arc::default();
    reconcile::spawn(&app.life, "notices.networks", PERIOD, wake, move || {
        let (app, keepers) = (this.clone(), keepers.clone());
        async move {
            let Some((revision, project)) = app.projects.active(&app.db).await? else { return Ok(Next::Idle) };
            let Site { url, title, .. } = render::site(&project, &app.settings.public_url);
            let reporters = &project.definition().reporters;
            let wanted: BTreeMap<String, Wanted> = reporters
                .iter()
                .filter_map(|r| match &r.kind {
                    ReporterKind::Irc(irc) => {
                        let irc = Arc::new(irc.clone());
                        Some((r.name.clone(), Wanted { irc, title: title.clone(), url: url.clone() }))
                    }
                    _ => None,
                })
                .collect();
            align(&app, &mut keepers.lock().expect("no panic while locked"), wanted);
            let names = names(reporters);
            let parked = run_tx!(app.db, "notices.orphaned", |c| networks_orphaned(c, revision, &names).await)?;
            if parked > 0 {
                tracing::warn!(parked, "notices of IRC reporters that the project file has no more were given up");
            }
            Ok::<_, Error>(Next::Idle)
        }
    });
}

/// Brings the keepers in line with what is wanted.
fn align(
    app: &App,
    keepers: &mut BTreeMap<String, watch::Sender<Option<Wanted>>>,
    mut wanted: BTreeMap<String, Wanted>,
) {
    // A keeper stays, with nothing to keep: a second one of its name would hold the same lease.
    for (name, keeper) in keepers.iter() {
        let wanted = wanted.remove(name);
        keeper.send_if_modified(|now| {
            let changed = *now != wanted;
            *now = wanted;
            changed
        });
    }
    for (name, wanted) in wanted {
        let (say, hear) = watch::channel(Some(wanted));
        let keeper = Keeper::new(app.clone(), name.clone(), hear);
        app.life.spawn("notices.network", keeper.run());
        keepers.insert(name, say);
    }
}

/// Names of the IRC reporters.
pub(crate) fn names(reporters: &[ReporterDef]) -> Vec<String> {
    let irc = reporters.iter().filter(|r| matches!(r.kind, ReporterKind::Irc(_)));
    irc.map(|r| r.name.clone()).collect()
}

/// What the places of these networks settled.
pub(crate) async fn places(
    c: &mut PgConnection,
    networks: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, Settled>>> {
    let mut all: BTreeMap<String, BTreeMap<String, Settled>> = BTreeMap::new();
    for row in rows_of::places(c, networks).await? {
        // What another release kept and this one cannot read counts as not settled.
        let place: Option<Place> = row.settled.and_then(|s| serde_json::from_value(s).ok());
        let settled = Settled { place, watched: row.watched.into_iter().collect() };
        all.entry(row.network).or_default().insert(row.place, settled);
    }
    Ok(all)
}
