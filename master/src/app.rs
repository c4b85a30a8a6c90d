//! What handlers and loops of a replica share.

use crate::http::worker::KnownWorkers;
use crate::live::{Live, Watched};
use crate::loops::claim::Polls;
use crate::loops::ingest::Ingest;
use crate::policies::failures::Failures;
use crate::projects::Projects;
use crate::settings::Settings;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use tidemill_model::MasterId;
use tidemill_schema::wake::Wakes;
use tidemill_schema::{Db, beats};
use tidemill_service::Lifecycle;
use tidemill_service::secrets::Secrets;

/// Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    pub settings: Arc<Settings>,
    /// The address that the listener is bound to.
    pub address: SocketAddr,
    /// Where people reach the pages, without a slash at its end.
    pub url: String,
    /// Its row; none in one without loops.
    master: Option<MasterId>,
    /// For claims, ingest and loops.
    pub db: Db,
    /// For pages and REST.
    pub people: Db,
    /// For reports: however many ask for them, pages keep theirs.
    pub reports: Db,
    pub wakes: Wakes,
    pub life: Lifecycle,
    /// Evaluated revisions.
    pub projects: Projects,
    /// Values that a master itself needs, or gives to workers.
    pub secrets: Secrets,
    /// Functions of the project that failed.
    pub failures: Failures,
    pub known_workers: KnownWorkers,
    /// Polls that wait for work.
    pub polls: Polls,
    /// Batches that wait for a commit.
    pub ingest: Ingest,
    pub live: Arc<Live>,
    /// Logs that somebody watches.
    pub watched: Arc<Watched>,
    form_token: String,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub async fn start(
        settings: Arc<Settings>,
        address: SocketAddr,
        db: Db,
        people: Db,
        life: Lifecycle,
    ) -> Result<App, tidemill_schema::Error> {
        let reports = Db::connect_people(&settings.database_url, settings.reports.connections.max(1))?;
        let wakes = Wakes::default();
        wakes.start(&db, &life);
        let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let mut c = db.pool().acquire().await?;
        let mut master = None;
        if settings.loops {
            let id = beats::master_insert(&mut c, &settings.name, &url).await?;
            beats::beat(&mut c, id).await?;
            master = Some(id);
        }
        let form_token = beats::form_key(&mut c).await?;
        drop(c);
        let live = Live::start(people.clone(), wakes.clone(), life.clone());
        let watched = Watched::start(wakes.clone(), life.clone());
        let secrets = Secrets::new(settings.secrets_dir.clone());
        Ok(App(Arc::new(Shared {
            settings,
            address,
            url: url.trim_end_matches('/').to_owned(),
            master,
            db,
            people,
            reports,
            wakes,
            life,
            projects: Projects::default(),
            secrets,
            failures: Failures::default(),
            known_workers: KnownWorkers::default(),
            polls: Polls::default(),
            ingest: Ingest::default(),
            live,
            watched,
            form_token,
        })))
    }

    /// Its row, for loops.
    pub fn master(&self) -> MasterId {
        self.master.expect("loops run in replicas that have a row")
    }

    /// Proof that a form came from a page of this cluster; the same on all replicas.
    pub fn form_token(&self) -> String {
        self.form_token.clone()
    }

    /// Says that this replica has ended in order.
    pub async fn stopped(&self) {
        let Some(master) = self.master else { return };
        let result = async {
            let mut c = self.db.pool().acquire().await?;
            beats::master_stopped(&mut c, master).await
        };
        if let Err(error) = result.await {
            tracing::debug!(%error, "could not record the end of this replica");
        }
    }
}
