//! Bounded waits on a level, never on an edge.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Long, because machines are
/// slow and a passing test never waits that long.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Looks until `look` gives a value. The error of the last look is in the
/// panic if it never does.
pub async fn wait_until<T, E, F, Fut>(what: &str, look: F) -> T
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    wait_for(PATIENCE, what, look).await
}

pub async fn wait_for<T, E, F, Fut>(patience: Duration, what: &str, mut look: F) -> T
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(last) if started.elapsed() > patience => {
                panic!("waited {patience:?} for {what}; the last look said: {last}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Waits for long work as long as it moves: patience begins anew whenever a look tells something else.
pub async fn wait_while_it_moves<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let (mut moved, mut last) = (Instant::now(), String::new());
    loop {
        match look().await {
            Ok(value) => return value,
            Err(now) if now != last => (moved, last) = (Instant::now(), now),
            Err(_) if moved.elapsed() > PATIENCE => {
                panic!("{what}: nothing has moved for {PATIENCE:?}; the last look said: {last}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// `Ok` if the condition holds, for [`wait_until`].
pub fn holds(condition: bool, otherwise: impl Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_string()) }
}
