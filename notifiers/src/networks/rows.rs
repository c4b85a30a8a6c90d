//! What the bot knows and may ask for: reading from rows, changing by a row that a
//! master answers, so that a notifier's role can change no build.

use super::Wanted;
use crate::app::App;
use crate::irc::backend::{
    About, Backend, BackendError, Builder, Commit, Finished, Force, Place, Running, Status, Worker,
};
use crate::irc::definition;
use crate::irc::message::Folding;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::pages;
use tidemill_schema::notices::control::{Answer as Answered, Wish, control_answer, control_ask};
use tidemill_schema::notices::{chat, networks};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long a master may take; what people asked for is not done later than [`KEPT`].
const PATIENCE: Duration = Duration::from_secs(20);
const KEPT: Duration = Duration::from_secs(120);
/// The look underneath the wakes.
const LOOK: Duration = Duration::from_millis(250);

type Answer<T> = Result<T, BackendError>;

pub(super) struct Rows {
    pub app: App,
    pub network: String,
    pub wanted: Wanted,
}

fn unavailable(error: Error) -> BackendError {
    tracing::warn!(%error, "IRC: the database cannot be asked");
    BackendError::Unavailable("the database cannot be asked just now; try again in a moment".to_owned())
}

impl Rows {
    async fn read(&self) -> Answer<PoolConnection<Postgres>> {
        self.app.db.pool().acquire().await.map_err(|e| unavailable(e.into()))
    }

    /// The builder of this name. Tags only choose what is listed and told by itself.
    async fn builder(&self, c: &mut sqlx::PgConnection, name: &str) -> Answer<chat::Builder> {
        let found = chat::builders(c, &[], Some(name)).await.map_err(unavailable)?;
        found.into_iter().next().ok_or_else(|| BackendError::NotFound(format!("there is no builder «{name}»")))
    }

    fn build_url(&self, builder: &str, number: i64) -> Option<String> {
        Some(format!("{}{}", self.wanted.url, pages::build_path(builder, number)))
    }

    fn finished(&self, builder: &str, build: chat::Finished) -> Finished {
        let url = self.build_url(builder, build.number);
        Finished { number: build.number, results: build.results, ago: build.ago, state: build.state, url }
    }

    /// Asks the masters, and waits for one of them.
    async fn asked(&self, builder: &str, wish: &Wish, who: &str) -> Answer<Answered> {
        // A wrong name is known without a master.
        self.builder(&mut *self.read().await?, builder).await?;
        let woken = Arc::new(Notify::new());
        let mut wakes = self.app.wakes.subscribe();
        let bell = woken.clone();
        let listen = tokio::spawn(async move {
            while let Ok(wake) = wakes.recv().await {
                if matches!(wake, Wake::Control | Wake::All) {
                    bell.notify_one();
                }
            }
        });
        let by = format!("irc:{who}");
        let answer = async {
            let asked = run_tx!(self.app.db, "control.ask", |c| control_ask(c, builder, wish, &by, KEPT).await);
            let id = asked.map_err(unavailable)?;
            self.app.wakes.send(Wake::Control);
            let end = Instant::now() + PATIENCE;
            loop {
                if let Some(answer) = control_answer(&mut *self.read().await?, id).await.map_err(unavailable)? {
                    return Ok(answer);
                }
                if Instant::now() >= end {
                    let why = "no master has answered; it is done if one comes within two minutes".to_owned();
                    return Err(BackendError::Unavailable(why));
                }
                // Woken or not, the next look decides.
                let _ = timeout(LOOK, woken.notified()).await;
            }
        };
        let answer = answer.await;
        listen.abort();
        match answer? {
            Answered::Refused(why) => Err(BackendError::Refused(why)),
            Answered::Expired => Err(BackendError::Unavailable("no master came in time".to_owned())),
            done => Ok(done),
        }
    }

    /// Refuses where too many have settled something; channels of the project file always may.
    async fn room(&self, place: &str) -> Answer<()> {
        let configured = self.wanted.irc.channels.iter().any(|c| self.key(&c.name) == place);
        let mut c = self.read().await?;
        if configured || networks::place_room(&mut c, &self.network, place).await.map_err(unavailable)? {
            return Ok(());
        }
        let most = networks::PLACES_MAX;
        Err(BackendError::Refused(format!("{most} channels and nicks have settled something already; no more fit")))
    }

    fn key(&self, place: &str) -> String {
        Folding::default().fold(place)
    }
}

impl Backend for Rows {
    async fn about(&self) -> Answer<About> {
        let (title, url) = (self.wanted.title.clone(), self.wanted.url.clone());
        Ok(About { version: env!("CARGO_PKG_VERSION").to_owned(), title, url })
    }

    async fn builders(&self, tags: &[String]) -> Answer<Vec<Builder>> {
        let found = chat::builders(&mut *self.read().await?, tags, None).await.map_err(unavailable)?;
        let builder = |b: chat::Builder| Builder {
            name: b.name,
            offline: b.offline,
            running: usize::try_from(b.running).unwrap_or_default(),
            waiting: usize::try_from(b.waiting).unwrap_or_default(),
        };
        Ok(found.into_iter().map(builder).collect())
    }

    async fn workers(&self) -> Answer<Vec<Worker>> {
        let found = chat::workers(&mut *self.read().await?).await.map_err(unavailable)?;
        let worker = |w: chat::Worker| Worker { name: w.name, connected: w.connected, paused: w.paused };
        Ok(found.into_iter().map(worker).collect())
    }

    async fn status(&self, builder: &str) -> Answer<Status> {
        let mut c = self.read().await?;
        let found = self.builder(&mut c, builder).await?;
        let running = chat::running(&mut c, found.id).await.map_err(unavailable)?;
        let last = chat::last(&mut c, found.id, 1).await.map_err(unavailable)?;
        let running = running.into_iter().map(|r| Running {
            url: self.build_url(&found.name, r.number),
            number: r.number,
            since: r.since,
            step: r.step,
        });
        Ok(Status {
            offline: found.offline,
            running: running.collect(),
            waiting: usize::try_from(found.waiting).unwrap_or_default(),
            last: last.into_iter().next().map(|build| self.finished(&found.name, build)),
            builder: found.name,
        })
    }

    async fn last(&self, builder: &str, count: usize) -> Answer<Vec<Finished>> {
        let mut c = self.read().await?;
        let found = self.builder(&mut c, builder).await?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let builds = chat::last(&mut c, found.id, count).await.map_err(unavailable)?;
        Ok(builds.into_iter().map(|build| self.finished(&found.name, build)).collect())
    }

    async fn commits(&self, builder: Option<&str>, count: usize) -> Answer<Vec<Commit>> {
        let mut c = self.read().await?;
        let id = match builder {
            Some(name) => Some(self.builder(&mut c, name).await?.id),
            None => None,
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let changes = chat::commits(&mut c, id, count).await.map_err(unavailable)?;
        let commit = |c: chat::Commit| Commit {
            revision: c.revision,
            branch: c.branch,
            author: c.author,
            comments: c.comments,
            ago: c.ago,
        };
        Ok(changes.into_iter().map(commit).collect())
    }

    async fn force(&self, force: &Force) -> Answer<String> {
        let wish = Wish::Force {
            branch: force.branch.clone(),
            revision: force.revision.clone(),
            codebase: force.codebase.clone(),
            project: force.project.clone(),
            properties: force.properties.clone(),
            reason: force.reason.clone(),
        };
        match self.asked(&force.builder, &wish, &force.who).await? {
            Answered::Requests(ids) => {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                let first = ids.first().map(|id| format!(" | {}/buildrequests/{id}", self.wanted.url));
                Ok(format!("request {}{}", ids.join(", "), first.unwrap_or_default()))
            }
            _ => Err(BackendError::Refused("a master answered something else".to_owned())),
        }
    }

    async fn stop(&self, builder: &str, reason: &str, who: &str) -> Answer<Vec<i64>> {
        match self.asked(builder, &Wish::Stop { reason: reason.to_owned() }, who).await? {
            Answered::Stopping(numbers) => Ok(numbers),
            _ => Err(BackendError::Refused("a master answered something else".to_owned())),
        }
    }

    async fn watch(&self, builder: &str, place: &str) -> Answer<Vec<i64>> {
        let found = self.builder(&mut *self.read().await?, builder).await?;
        let (network, place) = (&self.network, self.key(place));
        self.room(&place).await?;
        let watched = run_tx!(self.app.db, "irc.watch", |c| networks::place_watch(c, network, &place, found.id).await);
        // Who wanted to plan meanwhile passed by.
        self.app.wakes.send(Wake::Events);
        watched.map_err(unavailable)
    }

    async fn place(&self, place: &str) -> Answer<Place> {
        let mut c = self.read().await?;
        let settled = networks::place(&mut c, &self.network, &self.key(place)).await.map_err(unavailable)?;
        let settled = settled.and_then(|s| serde_json::from_value(s).ok());
        Ok(settled.unwrap_or_else(|| definition::place(&self.wanted.irc, place)))
    }

    async fn set_place(&self, place: &str, settled: &Place) -> Answer<()> {
        let document = serde_json::to_value(settled)
            .map_err(|e| unavailable(Error::Inconsistent(format!("what a channel settled: {e}"))))?;
        let (network, holder, place) = (&self.network, &self.app.holder, self.key(place));
        self.room(&place).await?;
        let kept =
            run_tx!(self.app.db, "irc.place", |c| networks::place_set(c, network, holder, &place, &document).await);
        if kept.map_err(unavailable)? {
            return Ok(());
        }
        Err(BackendError::Unavailable("another notifier speaks here now; say it again".to_owned()))
    }
}
