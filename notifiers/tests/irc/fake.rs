//! A Tidemill of a few rows, so that what the bot says is known beforehand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_model::Results;
use tidemill_notifiers::irc::backend::{
    About, Backend, BackendError, Builder, Commit, Finished, Force, Place, Running, Status, Worker,
};

type Answer<T> = Result<T, BackendError>;

/// Clones share everything.
#[derive(Clone, Default)]
pub struct Fake {
    pub forced: Arc<Mutex<Vec<Force>>>,
    /// builder, reason, who
    pub stopped: Arc<Mutex<Vec<(String, String, String)>>>,
    /// builder, place
    pub watched: Arc<Mutex<Vec<(String, String)>>>,
    pub places: Arc<Mutex<BTreeMap<String, Place>>>,
    pub commits: Arc<Mutex<Vec<Commit>>>,
    /// Everything fails with this.
    pub broken: Arc<Mutex<Option<String>>>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Fake {
    fn up(&self) -> Answer<()> {
        match &*self.broken.lock().unwrap() {
            Some(why) => Err(BackendError::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    fn known(&self, builder: &str) -> Answer<()> {
        self.up()?;
        if ["linux", "my builder"].contains(&builder) {
            return Ok(());
        }
        Err(BackendError::NotFound(format!("there is no builder «{builder}»")))
    }
}

fn finished() -> Finished {
    Finished {
        number: 11,
        results: Results::Failure,
        ago: 5 * MINUTE,
        state: "2 tests failed".into(),
        url: Some("https://ci.test/b/1/11".into()),
    }
}

impl Backend for Fake {
    async fn about(&self) -> Answer<About> {
        self.up()?;
        Ok(About { version: "0.1.0".into(), title: "Pyramid".into(), url: "https://ci.test/".into() })
    }

    async fn builders(&self, tags: &[String]) -> Answer<Vec<Builder>> {
        self.up()?;
        let linux = Builder { name: "linux".into(), running: 1, waiting: 2, offline: false };
        let mine = Builder { name: "my builder".into(), offline: true, ..Builder::default() };
        Ok(if tags.is_empty() { vec![linux, mine] } else { vec![linux] })
    }

    async fn workers(&self) -> Answer<Vec<Worker>> {
        self.up()?;
        let worker = |name: &str, connected, paused| Worker { name: name.into(), connected, paused };
        Ok(vec![worker("w1", true, false), worker("w2", false, true)])
    }

    async fn status(&self, builder: &str) -> Answer<Status> {
        self.known(builder)?;
        let url = Some("https://ci.test/b/1/12".into());
        let running = Running { number: 12, since: 3 * MINUTE, step: Some("compile".into()), url };
        let last = Some(finished());
        Ok(match builder {
            "linux" => Status { builder: builder.into(), offline: false, running: vec![running], waiting: 2, last },
            _ => Status { builder: builder.into(), offline: true, ..Status::default() },
        })
    }

    async fn last(&self, builder: &str, count: usize) -> Answer<Vec<Finished>> {
        self.known(builder)?;
        let good = Finished { number: 10, results: Results::Success, ago: 60 * MINUTE, ..finished() };
        let all = if builder == "linux" { vec![finished(), good] } else { vec![] };
        Ok(all.into_iter().take(count).collect())
    }

    async fn commits(&self, builder: Option<&str>, count: usize) -> Answer<Vec<Commit>> {
        if let Some(builder) = builder {
            self.known(builder)?;
        }
        self.up()?;
        Ok(self.commits.lock().unwrap().iter().take(count).cloned().collect())
    }

    async fn force(&self, force: &Force) -> Answer<String> {
        self.known(&force.builder)?;
        self.forced.lock().unwrap().push(force.clone());
        Ok("request 7".into())
    }

    async fn stop(&self, builder: &str, reason: &str, who: &str) -> Answer<Vec<i64>> {
        self.known(builder)?;
        self.stopped.lock().unwrap().push((builder.into(), reason.into(), who.into()));
        Ok(vec![12])
    }

    async fn watch(&self, builder: &str, place: &str) -> Answer<Vec<i64>> {
        self.known(builder)?;
        self.watched.lock().unwrap().push((builder.into(), place.into()));
        Ok(if builder == "linux" { vec![12, 13] } else { vec![] })
    }

    async fn place(&self, place: &str) -> Answer<Place> {
        self.up()?;
        Ok(self.places.lock().unwrap().get(place).cloned().unwrap_or_default())
    }

    async fn set_place(&self, place: &str, settled: &Place) -> Answer<()> {
        self.up()?;
        self.places.lock().unwrap().insert(place.into(), settled.clone());
        Ok(())
    }
}
