//! Steps whose work is a function of the project or of the library.
//!
//! Each runs on a thread of its own: its calls block there, so a step of hours
//! costs a small stack and no thread of the runtime. An order to stop raises a
//! flag that the evaluator polls, and ends what the step runs or waits for.

mod commands;
pub(super) mod files;
mod host;
mod logs;
mod progress;
mod trigger;
pub(super) mod walk;

use super::step::{Done, StepError, StepRun};
use host::Host;
use logs::Logs;
use progress::{Progress, Told};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tidemill_lang::Step;
use tidemill_lang::custom::{RunError, Statistic, StepEnd};
use tidemill_lang::plan::RenderedStep;
use tokio::sync::{oneshot, watch};

use crate::order::Order;

/// How often open logs are looked at for bytes that should be shown.
const TICK: Duration = Duration::from_millis(250);

/// Whether the step is to end; polled by the evaluator.
#[derive(Debug, Default)]
pub(super) struct Ending(AtomicU8);

impl Ending {
    const STOP: u8 = 1;
    const OVER: u8 = 2;

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    fn follow(&self, order: &Order) {
        let level = match order {
            Order::Run => 0,
            order if order.is_over() => Self::OVER,
            _ => Self::STOP,
        };
        self.0.fetch_max(level, Ordering::Relaxed);
    }
}

/// What the thread gives back.
type Outcome = (std::thread::Result<Result<StepEnd, RunError>>, Told);

/// Runs the step's function to its end. Gives what it asked of the build, too.
pub(super) async fn run(
    run: &mut StepRun<'_>,
    step: Step,
    rendered: &RenderedStep,
    before: &[Statistic],
) -> (Result<Ended, StepError>, Vec<Statistic>) {
    let ending = Arc::new(Ending::default());
    let logs = Arc::new(Logs::default());
    let progress = Arc::new(Progress::default());
    let thread = start(run, step, rendered, before, ending.clone(), logs.clone(), progress.clone());
    let tick = || {
        logs.tick();
        progress.tell(run.site.spool, run.secrets, run.number, false);
    };
    let outcome = match thread {
        // The receiver stays as it is: each command sees an order given since.
        Ok(end) => wait(end, run.orders.clone(), &ending, tick).await,
        Err(error) => return (Err(StepError::Other(format!("cannot start a thread for the step: {error}"))), vec![]),
    };
    let Some((result, told)) = outcome else {
        return (Err(StepError::Other("the thread of the step broke off".into())), vec![]);
    };
    logs.close_all();
    for (name, (value, source)) in told.properties {
        run.context.properties.set(name, run.secrets.left(&value).into_owned(), source);
    }
    let ended = match result {
        Ok(Ok(end)) => Ok(Ended::By(Box::new(end))),
        Ok(Err(RunError::Cancelled)) => Ok(Ended::As(Done::Stopped)),
        Ok(Err(RunError::Over)) => Ok(Ended::As(Done::Over)),
        Ok(Err(RunError::Failed(error))) => Err(StepError::Other(run.secrets.shown(&error.to_string()))),
        Err(_) => Err(StepError::Other("the step panicked; this is a mistake in the worker".into())),
    };
    (ended, told.statistics)
}

/// How a step function ended.
pub(super) enum Ended {
    By(Box<StepEnd>),
    As(Done),
}

fn start(
    run: &StepRun<'_>,
    step: Step,
    rendered: &RenderedStep,
    before: &[Statistic],
    ending: Arc<Ending>,
    logs: Arc<Logs>,
    progress: Arc<Progress>,
) -> std::io::Result<oneshot::Receiver<Outcome>> {
    let (done, end) = oneshot::channel();
    let (rendered, context) = (rendered.clone(), run.secrets.context(run.context).into_owned());
    let ground = host::Ground {
        shared: run.shared.clone(),
        spool: run.site.spool.clone(),
        handle: tokio::runtime::Handle::current(),
        folder: run.site.folder.to_owned(),
        builder_env: run.builder_env.clone(),
        secrets: run.secrets.clone(),
        maker: run.log_maker(),
        mark: run.mark(),
        build: run.site.claim.build,
        token: run.site.claim.token.clone(),
        step: run.number,
        orders: run.orders.clone(),
        ending,
        logs,
        progress,
        tests: run.tests(),
    };
    let told = Told::new(rendered.name.clone(), before.to_vec());
    let name: String = format!("step {}", rendered.name).chars().filter(|c| *c != '\0').take(15).collect();
    std::thread::Builder::new().name(name).stack_size(tidemill_lang::STACK).spawn(move || {
        let host = Host::new(ground, told);
        let result = catch_unwind(AssertUnwindSafe(|| step.run(&rendered, &context, &host)));
        // Nobody waits any more where the whole worker ends.
        let _ = done.send((result, host.into_told()));
    })?;
    Ok(end)
}

async fn wait(
    mut end: oneshot::Receiver<Outcome>,
    mut orders: watch::Receiver<Order>,
    ending: &Ending,
    show: impl Fn(),
) -> Option<Outcome> {
    let mut tick = tokio::time::interval(TICK);
    let mut masters = true;
    loop {
        tokio::select! {
            outcome = &mut end => return outcome.ok(),
            changed = orders.changed(), if masters => {
                if changed.is_err() {
                    // Nobody is left who could give orders: the worker is at its end.
                    masters = false;
                    ending.follow(&Order::Quit);
                } else {
                    ending.follow(&orders.borrow_and_update());
                }
            }
            _ = tick.tick() => show(),
        }
    }
}
