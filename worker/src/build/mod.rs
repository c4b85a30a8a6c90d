//! A build: its steps in order, and what they make of it.
//!
//! Each step is rendered just before it starts (RF-11), then `doStepIf` is asked
//! (D-06). Evaluation runs on blocking threads, commands on this task. Nothing
//! here is stored: what happened is in the spool, and a build that was cut off
//! by the end of the worker ends as a retry.

mod git;
mod outcome;
mod shell;
mod step;
mod text;

use crate::clock;
use crate::exec::env::Layer;
use crate::order::Order;
use crate::revision::Evaluated;
use crate::shared::Shared;
use crate::spool::Spool;
use outcome::{Outcome, StepNames};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use step::{Done, StepRun};
use tidemill_lang::plan::{BuildContext, Flags, RenderedStep};
use tidemill_lang::{Project, Step};
use tidemill_model::Results;
use tidemill_model::wire::{Claim, Event, Stop};
use tidemill_service::Backoff;
use tokio::sync::watch;

/// What does not change while a build runs.
pub(crate) struct Site<'a> {
    pub claim: &'a Claim,
    pub spool: &'a Arc<Spool>,
    /// The builder's folder.
    pub folder: &'a Path,
}

/// How a build ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Finished {
        results: Results,
        summary: String,
    },
    /// Nothing of it counts any more.
    Over,
}

/// Runs the build to its end, except for the last event.
pub(crate) async fn execute(shared: &Arc<Shared>, site: Site<'_>, mut orders: watch::Receiver<Order>) -> Verdict {
    let evaluated = tokio::select! {
        evaluated = revision(shared, &site.claim.revision) => evaluated,
        order = stopped(&mut orders) => return match order {
            Order::Stop(stop) => cancelled(&stop),
            _ => Verdict::Over,
        },
    };
    let mut build = Build {
        context: context(shared, site.claim, site.folder),
        shared,
        site,
        orders: &mut orders,
        outcome: Outcome::new(),
        names: StepNames::default(),
        steps: 0,
        logs: 0,
        stop: None,
    };
    build.run(evaluated).await
}

/// Waits for the project as long as it takes; only an order ends that.
async fn revision(shared: &Shared, hash: &str) -> Evaluated {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match shared.revisions.get(&shared.client, hash).await {
            Ok(evaluated) => return evaluated,
            Err(error) => {
                tracing::warn!(%error, "cannot fetch the revision {hash}; trying again");
                shared.pause(backoff.wait()).await;
            }
        }
    }
}

async fn stopped(orders: &mut watch::Receiver<Order>) -> Order {
    let order = orders.wait_for(|o| *o != Order::Run).await.map(|o| o.clone());
    // Without anybody who gives orders the worker is at its end.
    order.unwrap_or(Order::Quit)
}

fn cancelled(stop: &Stop) -> Verdict {
    let summary = match stop.reason.as_str() {
        "" => stop.results.name().to_owned(),
        reason => text::line(&format!("{}: {reason}", stop.results)),
    };
    Verdict::Finished { results: stop.results, summary }
}

/// What placeholders see. Properties that only the worker knows, or that a
/// master may leave out, are added without being reported.
fn context(shared: &Shared, claim: &Claim, folder: &Path) -> BuildContext {
    let mut properties = claim.properties.clone();
    let mut default = |name: &str, value: serde_json::Value, source: &str| {
        if properties.get(name).is_none() {
            properties.set(name, value, source);
        }
    };
    default("buildername", claim.builder.as_str().into(), "Builder");
    default("buildnumber", claim.number.into(), "Build");
    default("workername", shared.settings.name.as_str().into(), "Worker");
    default("builddir", folder.to_string_lossy().into(), "Worker");
    if let [stamp] = claim.sourcestamps.as_slice() {
        default("branch", stamp.branch.clone().into(), "Build");
        default("revision", stamp.revision.clone().into(), "Build");
        default("repository", stamp.repository.as_str().into(), "Build");
        default("project", stamp.project.as_str().into(), "Build");
        default("codebase", stamp.codebase.as_str().into(), "Build");
    }
    BuildContext {
        builder: claim.builder.clone(),
        number: claim.number,
        worker: shared.settings.name.clone(),
        reason: claim.reason.clone(),
        properties,
        sourcestamps: claim.sourcestamps.clone(),
        results: None,
    }
}

/// A step that is to run, or why not.
enum Prepared {
    Run(Box<RenderedStep>),
    Skip(Box<RenderedStep>),
    Broken { name: String, error: String },
}

fn prepare(project: &Project, context: &BuildContext, index: usize) -> Prepared {
    let step = &project.steps(&context.builder).expect("the builder was found before")[index];
    let broken = |error: String| Prepared::Broken { name: step.name().to_owned(), error };
    let rendered = match step.render(context) {
        Ok(rendered) => Box::new(rendered),
        Err(error) => return broken(error.to_string()),
    };
    match step.do_step_if(context) {
        Ok(true) => Prepared::Run(rendered),
        Ok(false) => Prepared::Skip(rendered),
        Err(error) => broken(error.to_string()),
    }
}

struct Build<'a> {
    shared: &'a Arc<Shared>,
    site: Site<'a>,
    orders: &'a mut watch::Receiver<Order>,
    context: BuildContext,
    outcome: Outcome,
    names: StepNames,
    steps: u32,
    logs: u32,
    /// The order that stopped it.
    stop: Option<Stop>,
}

impl Build<'_> {
    async fn run(&mut self, evaluated: Evaluated) -> Verdict {
        let project = match evaluated {
            Ok(project) => project,
            Err(text) => return self.broken(&text),
        };
        let builder = self.site.claim.builder.clone();
        let Some(count) = project.steps(&builder).map(<[Step]>::len) else {
            return self.broken(&format!("the revision {} has no builder {builder:?}", self.site.claim.revision));
        };
        // Together with the first step: a switch to a blocking thread costs more than most evaluations.
        let begun = self.evaluate(&project, move |project, context| {
            (project.builder_env(&builder, context), (count > 0).then(|| prepare(project, context, 0)))
        });
        let (env, mut first) = match begun.await {
            Ok((Ok(env), first)) => (env, first),
            Ok((Err(error), _)) => return self.broken(&error.to_string()),
            Err(text) => return self.broken(&text),
        };
        for index in 0..count {
            if self.look_at_orders() {
                return Verdict::Over;
            }
            if (self.outcome.is_halted() || self.stop.is_some()) && !self.always_runs(&project, index) {
                continue;
            }
            let prepared = match first.take().filter(|_| index == 0) {
                Some(prepared) => prepared,
                None => self.prepare(&project, index).await,
            };
            if self.step(&project, index, prepared, &env).await == Ran::Over {
                return Verdict::Over;
            }
        }
        if self.orders.borrow().is_over() {
            return Verdict::Over;
        }
        match &self.stop {
            Some(stop) => cancelled(stop),
            None => Verdict::Finished { results: self.outcome.results(), summary: self.outcome.summary() },
        }
    }

    /// True if nothing of the build counts any more.
    fn look_at_orders(&mut self) -> bool {
        let order = self.orders.borrow_and_update().clone();
        if let Order::Stop(stop) = &order
            && self.stop.is_none()
        {
            self.stop = Some(stop.clone());
        }
        order.is_over()
    }

    fn always_runs(&self, project: &Project, index: usize) -> bool {
        project.steps(&self.site.claim.builder).is_some_and(|steps| steps[index].always_run())
    }

    /// The build cannot run its steps: an infrastructure error, shown as a step.
    fn broken(&mut self, text: &str) -> Verdict {
        let name = "evaluate project";
        let number = self.step_started(name);
        let env = Layer::new();
        self.step_run(number, &env).text_log("err.text", text);
        self.step_finished(number, Results::Exception, "the project cannot be evaluated (exception)".into(), false);
        self.outcome.step(name, Results::Exception, &Flags::default());
        Verdict::Finished { results: Results::Exception, summary: self.outcome.summary() }
    }

    /// Calls into the project on a blocking thread. The error is for people.
    async fn evaluate<R: Send + 'static>(
        &mut self,
        project: &Arc<Project>,
        call: impl FnOnce(&Project, &BuildContext) -> R + Send + 'static,
    ) -> Result<R, String> {
        let (project, context) = (project.clone(), std::mem::take(&mut self.context));
        let done = tokio::task::spawn_blocking(move || {
            let called = std::panic::AssertUnwindSafe(|| call(&project, &context));
            (std::panic::catch_unwind(called), context)
        });
        let (result, context) = done.await.map_err(|_| "the worker is ending".to_owned())?;
        self.context = context;
        result.map_err(|_| "the evaluation panicked; this is a mistake in the worker".into())
    }

    async fn step(&mut self, project: &Arc<Project>, index: usize, prepared: Prepared, env: &Layer) -> Ran {
        let (rendered, skip) = match prepared {
            Prepared::Run(rendered) => (rendered, false),
            Prepared::Skip(rendered) => (rendered, true),
            Prepared::Broken { name, error } => {
                let name = self.names.unique(&name);
                let number = self.step_started(&name);
                self.step_run(number, env).text_log("err.text", &error);
                self.step_finished(number, Results::Exception, text::line(&format!("{name} (exception)")), false);
                self.outcome.step(&name, Results::Exception, &Flags::default());
                return Ran::Done;
            }
        };
        let name = self.names.unique(&rendered.name);
        let number = self.step_started(&name);
        let (mut results, mut note) = (Results::Skipped, String::new());
        if !skip {
            let live = text::running(&rendered);
            if !live.is_empty() {
                self.site.spool.event(Event::Summary { step: Some(number), text: live });
            }
            match self.act(number, &name, &rendered, env).await {
                Some(done) => (results, note) = done,
                None => return Ran::Over,
            }
        }
        let hidden = match self.hidden(project, index, results).await {
            Ok(hidden) => hidden,
            Err(error) => {
                self.step_run(number, env).text_log("err.text", &error);
                results = results.worst(Results::Exception);
                false
            }
        };
        self.step_finished(number, results, text::done(&rendered, results, &note), hidden);
        self.outcome.step(&name, results, &rendered.flags);
        self.context.results = Some(self.outcome.results());
        Ran::Done
    }

    async fn prepare(&mut self, project: &Arc<Project>, index: usize) -> Prepared {
        let prepared = self.evaluate(project, move |project, context| prepare(project, context, index)).await;
        prepared.unwrap_or_else(|error| Prepared::Broken { name: format!("step {}", index + 1), error })
    }

    async fn hidden(&mut self, project: &Arc<Project>, index: usize, results: Results) -> Result<bool, String> {
        let hidden = self.evaluate(project, move |project, context| {
            let step = &project.steps(&context.builder).expect("the builder was found before")[index];
            step.hide_step_if(context, results).map_err(|e| e.to_string())
        });
        hidden.await?
    }

    /// Runs the step's action; none if nothing of the build counts any more.
    async fn act(
        &mut self,
        number: u32,
        name: &str,
        rendered: &RenderedStep,
        env: &Layer,
    ) -> Option<(Results, String)> {
        let mut run = self.step_run(number, env);
        let done = run.act(name, rendered.action.clone()).await.unwrap_or_else(|error| {
            run.text_log("err.text", &error.to_string());
            Done::with(Results::Exception)
        });
        let was_stopped = self.stop.is_some();
        if self.look_at_orders() || done == Done::Over {
            return None;
        }
        let (mut results, note) = match done {
            Done::Results { results, note } => (results, note),
            Done::Stopped => (Results::Cancelled, String::new()),
            Done::Over => return None,
        };
        if let Some(stop) = self.stop.clone().filter(|_| !was_stopped) {
            // D-08: what ended by itself while it was to be stopped cannot be trusted.
            if !matches!(results, Results::Cancelled | Results::Retry) {
                results = Results::Exception;
            }
            self.step_run(number, env).text_log("cancelled", &stop.reason);
        }
        Some((results, note))
    }

    fn step_run<'s>(&'s mut self, number: u32, env: &'s Layer) -> StepRun<'s> {
        StepRun {
            shared: self.shared,
            site: &self.site,
            orders: self.orders,
            context: &mut self.context,
            builder_env: env,
            number,
            next_log: &mut self.logs,
        }
    }

    fn step_started(&mut self, name: &str) -> u32 {
        self.steps += 1;
        let event = Event::StepStarted { step: self.steps, name: name.to_owned(), at_us: clock::now_us() };
        self.site.spool.event(event);
        self.steps
    }

    fn step_finished(&self, step: u32, results: Results, summary: String, hidden: bool) {
        self.site.spool.event(Event::StepFinished { step, results, summary, hidden, at_us: clock::now_us() });
    }
}

#[derive(PartialEq)]
enum Ran {
    Done,
    Over,
}
