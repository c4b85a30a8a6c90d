//! The notifier of `up`: there as soon as the project has somebody to tell.

use super::supervise::{Plan, Supervised};
use crate::output::{Output, Style};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A notifier that may come later, when the project gets its first reporter.
pub struct Notifier(JoinHandle<Option<Supervised>>);

impl Notifier {
    /// Starts it once it is wanted, unless the end comes first.
    pub fn when(wanted: Arc<Notify>, end: CancellationToken, plan: Plan, out: Output) -> Notifier {
        Notifier(tokio::spawn(async move {
            tokio::select! {
                _ = wanted.notified() => {}
                _ = end.cancelled() => return None,
            }
            let text =
                format!("The project has reporters: a notifier sends what they say, its log is {}", plan.log.display());
            eprintln!("{}", out.err().paint(Style::Dim, &text));
            Some(Supervised::start(plan, out))
        }))
    }

    /// Lets it send what it has in hand. What is not sent yet waits in rows for the next.
    pub async fn end(self, now: &CancellationToken) {
        if let Ok(Some(notifier)) = self.0.await {
            notifier.end(now).await;
        }
    }
}
