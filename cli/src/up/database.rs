//! The database of `up`: one's own, or a private cluster that is kept alive.

use super::stop::Stop;
use crate::error::{Failure, Result};
use crate::output::{Output, Style};
use std::path::PathBuf;
use std::time::Duration;
use tidemill_service::Backoff;
use tidemill_service::postgres::{Cluster, Error, Options, upgrade};
use tokio::task::{JoinHandle, spawn_blocking};

pub struct Database {
    pub url: String,
    private: Option<Private>,
}

struct Private {
    keeper: JoinHandle<Option<Cluster>>,
    stop: Stop,
}

impl Database {
    pub fn given(url: String) -> Database {
        Database { url, private: None }
    }

    /// Opens the private cluster in a folder.
    pub async fn private(dir: PathBuf, convert: bool, out: Output) -> Result<Database> {
        let options = Options::new(dir);
        if convert {
            let options = options.clone();
            let done = blocking(move || upgrade(&options)).await?;
            match done {
                None => eprintln!("The database already has the release of the installed PostgreSQL."),
                Some(done) => eprintln!(
                    "The database moved from PostgreSQL {} to {}. The old folder is {}; remove it when all is well.",
                    done.from,
                    done.to,
                    done.kept.display()
                ),
            }
        }
        if !options.dir.join("data").exists() {
            eprintln!("Making a private PostgreSQL in {} …", options.dir.display());
        }
        let cluster = blocking({
            let options = options.clone();
            move || Cluster::open(&options)
        })
        .await?;
        let how = if cluster.adopted() { "is already running" } else { "runs" };
        eprintln!(
            "{}",
            out.err().paint(
                Style::Dim,
                &format!("PostgreSQL {} {how} (process {})", cluster.binaries().major, cluster.pid())
            )
        );
        let url = cluster.url();
        let stop = Stop::default();
        let keeper = tokio::spawn(keep(options, cluster, stop.clone(), out));
        Ok(Database { url, private: Some(Private { keeper, stop }) })
    }

    /// Stops the private cluster; another's is left alone.
    pub async fn end(self) -> Result<()> {
        let Some(private) = self.private else { return Ok(()) };
        private.stop.drain.cancel();
        match private.keeper.await {
            Ok(Some(cluster)) => blocking(move || cluster.stop()).await,
            _ => Ok(()),
        }
    }
}

/// Starts the server again when it was killed. Masters and workers wait for it.
async fn keep(options: Options, mut cluster: Cluster, stop: Stop, out: Output) -> Option<Cluster> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        tokio::select! {
            _ = stop.drain.cancelled() => return Some(cluster),
            _ = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        if cluster.alive() {
            continue;
        }
        eprintln!("{}", out.err().paint(Style::Yellow, "PostgreSQL ended; starting it again"));
        cluster = loop {
            let options = options.clone();
            match blocking(move || Cluster::open(&options)).await {
                Ok(cluster) => break cluster,
                Err(e) => {
                    eprintln!("{e}");
                    tokio::select! {
                        _ = stop.drain.cancelled() => return None,
                        _ = tokio::time::sleep(backoff.wait()) => {}
                    }
                }
            }
        };
        backoff.reset();
        eprintln!("{}", out.err().paint(Style::Dim, &format!("PostgreSQL runs again (process {})", cluster.pid())));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(Failure::from),
        Err(e) => Err(Failure::internal(e.to_string())),
    }
}
