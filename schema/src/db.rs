//! The pool, and [`run_tx!`](crate::run_tx), the only place where a transaction begins.

use crate::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres, Transaction};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often a transaction that lost against a concurrent one is tried.
const TRIES: u32 = 8;

/// Said on each new connection, and not when it is opened: PgBouncer lets no settings through then.
/// A replica that hangs must not hold locks or the horizon for ever.
///
/// Hot statements touch few rows of large tables by their keys. A plan made while a table was small,
/// and kept, must not scan it when it has grown.
const HOT: &str = "set idle_in_transaction_session_timeout = '30s'; set lock_timeout = '20s'; set jit = off; \
                   set enable_seqscan = off; set enable_mergejoin = off";
/// However dear a question of people, it ends: claims and logs need the machine too (F26, A17).
const PEOPLE: &str = "set idle_in_transaction_session_timeout = '30s'; set lock_timeout = '20s'; set jit = off; \
                      set statement_timeout = '15s'";

/// The database of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    options: PgConnectOptions,
}

impl Db {
    /// Opens a pool for hot statements. The first connection is made now, so that a wrong address
    /// fails here.
    pub async fn connect(url: &str, max_connections: u32) -> Result<Db> {
        let options = connect_options(url)?;
        let pool = pool_options(max_connections, HOT).connect_with(options.clone()).await?;
        Ok(Db { pool, options })
    }

    /// A pool for people's requests, made without connecting. A connection that
    /// died while idle (Postgres was restarted) is found before it is used, at
    /// the price of a round trip, so that nobody sees an error because of it.
    pub fn connect_people(url: &str, max_connections: u32) -> Result<Db> {
        let options = connect_options(url)?;
        let pool = pool_options(max_connections, PEOPLE).test_before_acquire(true).connect_lazy_with(options.clone());
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

    /// Begins a transaction. Only [`run_tx!`](crate::run_tx) calls it: there a
    /// transaction has a name and is tried again.
    #[doc(hidden)]
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(self.pool.begin().await?)
    }
}

/// Runs a body in a named transaction and commits:
/// `run_tx!(db, "reap", |c| leases_expired(c, term, 100).await)`. The body is an
/// expression of type `Result`, with `c: &mut PgConnection`.
///
/// Tried again when Postgres reports a serialization failure or a deadlock, so
/// the body must keep its effects in the database. A commit whose answer was
/// lost is an error: whoever calls knows whether doing it twice is harmless.
// A macro and not a function: a closure that lends its argument to a future
// cannot yet be said to give futures that are Send.
#[macro_export]
macro_rules! run_tx {
    ($db:expr, $name:literal, |$c:ident| $body:expr) => {{
        let db: &$crate::Db = &$db;
        let mut tries = $crate::db::Tries::new($name);
        loop {
            let result: $crate::Result<_> = async {
                let mut tx = db.begin().await?;
                let value = {
                    let $c: &mut ::sqlx::PgConnection = &mut tx;
                    $body?
                };
                tx.commit().await?;
                Ok(value)
            }
            .await;
            if let Some(result) = tries.settle(result).await {
                break result;
            }
        }
    }};
}

/// How often a transaction was tried, and for how long.
#[doc(hidden)]
pub struct Tries {
    name: &'static str,
    started: Instant,
    attempt: u32,
}

impl Tries {
    pub fn new(name: &'static str) -> Self {
        Tries { name, started: Instant::now(), attempt: 0 }
    }

    /// The result, or none if it is worth another try.
    pub async fn settle<T>(&mut self, result: Result<T>) -> Option<Result<T>> {
        self.attempt += 1;
        match result {
            Err(e) if e.is_serialization() && self.attempt < TRIES => {
                tracing::debug!(transaction = self.name, attempt = self.attempt, error = %e, "trying again");
                tokio::time::sleep(Duration::from_millis(self.attempt as u64)).await;
                None
            }
            settled => {
                let took = self.started.elapsed();
                if took > Duration::from_secs(1) {
                    tracing::warn!(transaction = self.name, ?took, "slow transaction");
                }
                Some(settled)
            }
        }
    }
}

fn connect_options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url).map_err(Error::from)?;
    // The digits are a server's default since Postgres 12, and PgBouncer refuses who asks for them.
    Ok(options.application_name("tidemill").extra_float_digits(None))
}

fn pool_options(max_connections: u32, first: &'static str) -> PgPoolOptions {
    PgPoolOptions::new()
        .after_connect(move |c, _| {
            Box::pin(async move {
                sqlx::raw_sql(first).execute(c).await?;
                Ok(())
            })
        })
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        // A connection that died while idle is found by its first statement,
        // which is tried again by its loop; asking each time costs a round trip.
        .test_before_acquire(false)
}
