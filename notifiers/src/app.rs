//! What the planner and the senders of a process share.

use crate::networks::Networks;
use crate::projects::Projects;
use crate::settings::Settings;
use std::ops::Deref;
use std::sync::Arc;
use tidemill_schema::wake::Wakes;
use tidemill_schema::{Db, Result};
use tidemill_service::Lifecycle;
use tidemill_service::secrets::Secrets;

/// Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    pub settings: Settings,
    pub db: Db,
    pub wakes: Wakes,
    pub life: Lifecycle,
    pub projects: Projects,
    pub secrets: Secrets,
    /// IRC networks whose connection this process holds.
    pub networks: Networks,
    /// Who this process is, for leases of deliveries and networks.
    pub holder: String,
    /// Signs what people follow from a mail.
    pub link_key: String,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub async fn start(settings: Settings, db: Db, life: Lifecycle) -> Result<App> {
        let wakes = Wakes::default();
        wakes.start(&db, &life);
        let secrets = Secrets::new(settings.secrets_dir.clone()).set_by("notify.secrets_dir");
        let link_key = tidemill_schema::beats::link_key(&mut *db.pool().acquire().await?).await?;
        Ok(App(Arc::new(Shared {
            settings,
            db,
            wakes,
            life,
            projects: Projects::default(),
            secrets,
            networks: Networks::default(),
            holder: tidemill_service::token::random_hex(8),
            link_key,
        })))
    }
}
