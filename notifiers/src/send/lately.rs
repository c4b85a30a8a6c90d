//! What was put into words a moment ago: a notice to a thousand people is written once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// So long the same words serve others: rows may say something else later.
const KEPT: Duration = Duration::from_secs(2);
/// Most that is kept.
const MOST: usize = 256;

type Cell<T> = Arc<OnceCell<Option<Arc<T>>>>;

/// By what tells one from another. What failed is tried again by the next who asks.
pub(crate) struct Lately<T>(Mutex<HashMap<String, (Instant, Cell<T>)>>);

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Lately(Mutex::default())
    }
}

impl<T> Lately<T> {
    /// What `write` gives, asked once for all who want it now.
    pub async fn once<E, F>(&self, key: &str, write: impl FnOnce() -> F) -> Result<Option<Arc<T>>, E>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        let cell = self.cell(key);
        let made = cell.get_or_try_init(|| async { write().await.map(|made| made.map(Arc::new)) }).await?;
        Ok(made.clone())
    }

    fn cell(&self, key: &str) -> Cell<T> {
        let mut kept = self.0.lock().expect("no panic while locked");
        kept.retain(|_, (since, _)| since.elapsed() < KEPT);
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.entry(key.to_owned()).or_insert_with(|| (Instant::now(), Cell::default())).1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_many_want_at_once_is_made_once_and_a_failure_is_not_kept() {
        let (lately, made) = (&Lately::<usize>::default(), &AtomicUsize::new(0));
        let ask = |key: &'static str, good: bool| {
            lately.once(key, move || async move {
                let n = made.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if good { Ok(Some(n)) } else { Err("no") }
            })
        };
        assert_eq!(ask("a", false).await, Err("no"));
        let (one, two) = tokio::join!(ask("a", true), ask("a", true));
        assert_eq!((one.unwrap(), two.unwrap()), (Some(Arc::new(1)), Some(Arc::new(1))));
        assert_eq!(ask("b", true).await.unwrap(), Some(Arc::new(2)));
    }
}
