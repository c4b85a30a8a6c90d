//! What all tasks of a worker share.

use crate::base::Base;
use crate::client::{CallError, Client};
use crate::exec::env::Environment;
use crate::exec::process::Processes;
use crate::order::{self, Order};
use crate::revision::Revisions;
use crate::session::{HelloError, Session};
use crate::settings::Settings;
use crate::slot::Slots;
use crate::spool::{Budget, Journal};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidemill_model::problem::kinds;
use tidemill_service::Lifecycle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(crate) struct Shared {
    pub settings: Settings,
    pub base: Base,
    pub client: Client,
    pub session: Session,
    pub revisions: Revisions,
    pub budget: Arc<Budget>,
    pub journal: Journal,
    pub processes: Arc<Processes>,
    pub own_env: Environment,
    pub life: Lifecycle,
    /// Done when everything is to end now: a stop of the process, or an error
    /// after which this worker may do no more.
    pub ending: CancellationToken,
    pub slots: Mutex<Slots>,
    pub orders: Mutex<HashMap<i64, watch::Sender<Order>>>,
    /// For the poll loop: slots changed.
    pub changed: Notify,
    pub fatal: Mutex<Option<HelloError>>,
    /// No call succeeded since the last one that found no master.
    pub offline: AtomicBool,
    /// A master answers again.
    pub online: Notify,
}

impl Shared {
    pub fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().expect("no panic while holding the slots")
    }

    /// Makes the channel on which a build gets its orders.
    pub fn orders_for(&self, build: i64) -> (watch::Sender<Order>, watch::Receiver<Order>) {
        let (sender, receiver) = watch::channel(Order::Run);
        if self.ending.is_cancelled() {
            order::give(&sender, Order::Quit);
        }
        self.orders.lock().expect("no panic while holding the orders").insert(build, sender.clone());
        (sender, receiver)
    }

    /// Gives an order to a build, if it is still here.
    pub fn order(&self, build: i64, order: Order) {
        if let Some(orders) = self.orders.lock().expect("no panic while holding the orders").get(&build) {
            order::give(orders, order);
        }
    }

    pub fn order_all(&self, order: &Order) {
        for orders in self.orders.lock().expect("no panic while holding the orders").values() {
            order::give(orders, order.clone());
        }
    }

    /// The build is over for this worker.
    pub fn build_ended(&self, build: i64) {
        self.orders.lock().expect("no panic while holding the orders").remove(&build);
        self.slots().ended(build);
        self.changed.notify_one();
    }

    /// Ends the worker with an error; builds are killed and left to the next life.
    pub fn fail(&self, error: HelloError) {
        self.fatal.lock().expect("no panic while holding the error").get_or_insert(error);
        self.ending.cancel();
    }

    /// A wait between two tries, cut short when another task reached a master.
    pub async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.online.notified()).await;
    }

    /// Notes how a call went, and deals with what concerns the whole session.
    /// To be called after each call that is tried again until it succeeds.
    pub async fn called(&self, session: i64, error: Option<&CallError>) {
        let Some(error) = error else {
            if self.offline.load(Ordering::Relaxed) && self.offline.swap(false, Ordering::Relaxed) {
                tracing::info!("a master answers again");
                self.online.notify_waiters();
            }
            return;
        };
        match error.kind() {
            Some(kinds::SESSION_UNKNOWN) => match self.session.renew(&self.client, session).await {
                Ok(_) => self.changed.notify_one(),
                Err(error) => self.fail(error),
            },
            Some(kinds::SESSION_SUPERSEDED) => self.fail(self.session.superseded()),
            _ => self.offline.store(true, Ordering::Relaxed),
        }
    }
}
