//! The pool, and the only place where a transaction begins.

use crate::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often a transaction that lost against a concurrent one is tried.
const TRIES: u32 = 8;

/// The database of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    options: PgConnectOptions,
}

impl Db {
    /// Opens a pool. The first connection is made now, so that a wrong address
    /// fails here.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Db> {
        let options = connect_options(url)?;
        let pool = pool_options(max_connections).connect_with(options.clone()).await?;
        Ok(Db { pool, options })
    }

    /// Opens a pool without connecting: for a daemon that must come up before
    /// its database does.
    pub fn connect_lazy(url: &str, max_connections: u32) -> Result<Db> {
        let options = connect_options(url)?;
        let pool = pool_options(max_connections).connect_lazy_with(options.clone());
        Ok(Db { pool, options })
    }

    /// For single statements that need no transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of one's own, outside the pool: for LISTEN.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Runs `body` in a transaction and commits. Tried again when Postgres
    /// reports a serialization failure or a deadlock: `body` must therefore
    /// keep its effects in the database. A commit whose answer was lost is an
    /// error: whoever calls knows whether doing it twice is harmless.
    pub async fn run_tx<T, F>(&self, name: &'static str, mut body: F) -> Result<T>
    where
        F: AsyncFnMut(&mut PgConnection) -> Result<T>,
    {
        let started = Instant::now();
        for attempt in 1.. {
            let result = self.once(&mut body).await;
            match &result {
                Err(e) if e.is_serialization() && attempt < TRIES => {
                    tracing::debug!(transaction = name, attempt, error = %e, "trying again");
                    tokio::time::sleep(Duration::from_millis(attempt as u64)).await;
                }
                _ => {
                    let took = started.elapsed();
                    if took > Duration::from_secs(1) {
                        tracing::warn!(transaction = name, ?took, "slow transaction");
                    }
                    return result;
                }
            }
        }
        unreachable!("the last try returns")
    }

    async fn once<T, F>(&self, body: &mut F) -> Result<T>
    where
        F: AsyncFnMut(&mut PgConnection) -> Result<T>,
    {
        let mut tx = self.pool.begin().await?;
        let value = body(&mut tx).await?;
        tx.commit().await?;
        Ok(value)
    }
}

fn connect_options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(Error::from)?;
    Ok(options.application_name("tidemill").options([
        // A replica that hangs must not hold locks or the horizon for ever.
        ("idle_in_transaction_session_timeout", "30s"),
        ("lock_timeout", "20s"),
        ("jit", "off"),
    ]))
}

fn pool_options(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        // A connection that died while idle is found by its first statement,
        // which is tried again by its loop; asking each time costs a round trip.
        .test_before_acquire(false)
}
