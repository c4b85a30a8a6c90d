//! Waiting on a condition, never on time.

use std::time::Duration;

/// Looks again and again until there is something. What never came is in the panic.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(300);
    tokio::time::timeout(patience, found).await.unwrap_or_else(|_| panic!("waited {patience:?} for {what}"))
}
