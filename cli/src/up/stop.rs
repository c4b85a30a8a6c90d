//! How `up` is told to end: the first signal drains, the second stops.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
pub struct Stop {
    /// Take nothing new, finish what runs.
    pub drain: CancellationToken,
    /// End what runs too.
    pub now: CancellationToken,
}

impl Stop {
    /// Listens from now on, so that a Ctrl-C during the start is not lost.
    pub fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let this = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = int.recv() => {}
                    Some(()) = term.recv() => {}
                    Some(()) = hangup.recv() => {}
                    else => return,
                }
                if this.drain.is_cancelled() {
                    this.now.cancel();
                }
                this.drain.cancel();
            }
        });
        Ok(stop)
    }
}
