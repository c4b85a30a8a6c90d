//! What others want of a running build.

use tidemill_model::wire::Stop;
use tokio::sync::watch;

/// Only ever rises: stop overrides run, and what ends the build here and now
/// overrides a stop.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    Run,
    /// End the current step, run what always runs, and report.
    Stop(Stop),
    /// The lease is gone: kill, forget, report nothing.
    Lost,
    /// The worker ends: kill, leave the rest to its next life.
    Quit,
}

impl Order {
    fn rank(&self) -> u8 {
        match self {
            Order::Run => 0,
            Order::Stop(_) => 1,
            Order::Lost => 2,
            Order::Quit => 3,
        }
    }

    /// Whether nothing of the build counts any more.
    pub fn is_over(&self) -> bool {
        self.rank() >= 2
    }
}

/// Gives an order unless one at least as strong was given.
pub(crate) fn give(orders: &watch::Sender<Order>, order: Order) {
    orders.send_if_modified(|now| {
        let stronger = order.rank() > now.rank();
        if stronger {
            *now = order;
        }
        stronger
    });
}

/// Until nothing of the build counts any more.
pub(crate) async fn over(orders: &mut watch::Receiver<Order>) {
    if orders.wait_for(Order::is_over).await.is_err() {
        // Nobody is left who could give orders.
        std::future::pending::<()>().await;
    }
}
