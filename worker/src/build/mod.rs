//! A build: its steps in order, and what they make of it.
//!
//! A step may add steps while it runs (C-39): they come right after it, or last.
//!
//! Each step is rendered just before it starts (RF-11), then `doStepIf` is asked
//! (D-06). Evaluation runs on blocking threads, commands on this task. Nothing
//! here is stored: what happened is in the spool, and a build that was cut off
//! by the end of the worker ends as a retry.

mod command;
mod git;
mod locks;
mod outcome;
mod properties;
mod script;
mod shell;
mod source;
mod step;
mod test_results;
mod text;

use crate::clock;
use crate::exec::env::Layer;
use crate::order::Order;
use crate::revision::Evaluated;
use crate::secrets::Secrets;
use crate::shared::Shared;
use crate::spool::Spool;
use crate::tree;
use locks::Got;
use outcome::{Outcome, StepNames};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use step::{Done, LogNames, StepError, StepRun};
use test_results::TestResults;
use tidemill_lang::Step;
use tidemill_lang::custom::{AddAt, Added, Statistic};
use tidemill_lang::plan::{Action, BuildContext, Flags, RenderedStep};
use tidemill_model::Results;
use tidemill_model::wire::{Claim, Event, Stop};
use tidemill_service::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

/// What does not change while a build runs.
pub(crate) struct Site<'a> {
    pub claim: &'a Claim,
    pub spool: &'a Arc<Spool>,
    /// The builder's folder.
    pub folder: &'a Path,
    pub secrets: Arc<Secrets>,
}

/// Most steps of one build, with those that steps add.
const STEPS_MAX: usize = 10_000;

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
        context: context(shared, &site),
        secrets: site.secrets.clone(),
        shared,
        site,
        orders: &mut orders,
        outcome: Outcome::new(),
        names: StepNames::default(),
        steps: 0,
        logs: Arc::default(),
        tests: Arc::new(TestResults::new()),
        statistics: vec![],
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
fn context(shared: &Shared, site: &Site<'_>) -> BuildContext {
    let (claim, folder) = (site.claim, site.folder);
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
        changes: claim.changes.clone(),
        worker_info: worker_info(shared),
        url: claim.url.clone(),
        secret_mark: site.secrets.mark().to_owned(),
    }
}

/// What `%(worker:NAME)s` finds.
fn worker_info(shared: &Shared) -> std::collections::BTreeMap<String, serde_json::Value> {
    let mut info: std::collections::BTreeMap<String, serde_json::Value> =
        crate::info().into_iter().map(|(k, v)| (k, v.into())).collect();
    info.insert("name".into(), shared.settings.name.as_str().into());
    info.insert("release".into(), env!("CARGO_PKG_VERSION").into());
    info
}

/// A step that is to run, or why not.
enum Prepared {
    Run(Box<RenderedStep>),
    /// With the reason.
    Skip(Box<RenderedStep>, String),
    Broken {
        name: String,
        error: String,
    },
}

fn prepare(step: &Step, context: &BuildContext) -> Prepared {
    let broken = |error: String| Prepared::Broken { name: step.name().to_owned(), error };
    let rendered = match step.render(context) {
        Ok(rendered) => Box::new(rendered),
        Err(error) => return broken(error.to_string()),
    };
    match step.condition(context) {
        Ok(condition) if condition.runs => Prepared::Run(rendered),
        Ok(condition) => Prepared::Skip(rendered, condition.reason),
        Err(error) => broken(error.to_string()),
    }
}

struct Build<'a> {
    shared: &'a Arc<Shared>,
    site: Site<'a>,
    orders: &'a mut watch::Receiver<Order>,
    context: BuildContext,
    /// As the step at hand may use them.
    secrets: Arc<Secrets>,
    outcome: Outcome,
    names: StepNames,
    steps: u32,
    logs: Arc<LogNames>,
    tests: Arc<TestResults>,
    /// Numbers that its steps set.
    statistics: Vec<Statistic>,
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
        let Some(mut steps) = project.steps(&builder).map(|s| s.iter().cloned().collect::<VecDeque<_>>()) else {
            return self.broken(&format!("the revision {} has no builder {builder:?}", self.site.claim.revision));
        };
        let (name, spool) = (&self.shared.settings.name, self.site.spool);
        properties::of_worker(project.definition(), name, &mut self.context.properties, spool);
        // Together with the first step: a switch to a blocking thread costs more than most evaluations.
        let front = steps.front().cloned();
        let begun = self.evaluate(move |context| {
            let wanted = project.do_build_if(&builder, context);
            let env = project.builder_env(&builder, context);
            let first = front.filter(|_| matches!(wanted, Ok(true))).map(|step| prepare(&step, context));
            (wanted, env, first)
        });
        let (env, mut first) = match begun.await {
            Ok((Ok(false), _, _)) => {
                let summary = "build skipped (doBuildIf)".into();
                return Verdict::Finished { results: Results::Skipped, summary };
            }
            Ok((Ok(true), Ok(env), first)) => (env, first),
            Ok((Err(error), _, _) | (_, Err(error), _)) => return self.broken(&error.to_string()),
            Err(text) => return self.broken(&text),
        };
        while let Some(step) = steps.pop_front() {
            if self.look_at_orders() {
                return Verdict::Over;
            }
            if (self.outcome.is_halted() || self.stop.is_some()) && !step.always_run() {
                first = None;
                continue;
            }
            self.secrets = match step.allowed_secrets() {
                None => self.site.secrets.clone(),
                Some(names) => Arc::new(self.site.secrets.of_tree(names)),
            };
            let prepared = match first.take() {
                Some(prepared) => prepared,
                None => self.prepare(&step).await,
            };
            let secrets = self.secrets.clone();
            match self.step(&step, prepared, &secrets.layer(&env)).await {
                Ran::Over => return Verdict::Over,
                Ran::Done(added) => splice(&mut steps, added),
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

    /// The build cannot run its steps: an infrastructure error, shown as a step.
    fn broken(&mut self, text: &str) -> Verdict {
        let name = "evaluate project";
        let number = self.step_started(name);
        let env = Layer::new();
        self.step_run(number, &env).text_log("err.text", text);
        self.step_finished(number, Results::Exception, "the project cannot be evaluated (exception)".into(), false);
        self.outcome.step(name, Results::Exception, &Flags::default(), None, None);
        Verdict::Finished { results: Results::Exception, summary: self.outcome.summary() }
    }

    /// Calls into the project on a blocking thread. The error is for people.
    async fn evaluate<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&BuildContext) -> R + Send + 'static,
    ) -> Result<R, String> {
        let context = std::mem::take(&mut self.context);
        let done = tokio::task::spawn_blocking(move || {
            let called = std::panic::AssertUnwindSafe(|| call(&context));
            (std::panic::catch_unwind(called), context)
        });
        let (result, context) = done.await.map_err(|_| "the worker is ending".to_owned())?;
        self.context = context;
        result.map_err(|_| "the evaluation panicked; this is a mistake in the worker".into())
    }

    async fn step(&mut self, step: &Step, prepared: Prepared, env: &Layer) -> Ran {
        let (mut rendered, skip) = match prepared {
            Prepared::Run(rendered) => (rendered, None),
            Prepared::Skip(rendered, reason) => (rendered, Some(reason)),
            Prepared::Broken { name, error } => {
                let name = self.names.unique(&name);
                let number = self.step_started(&name);
                self.step_run(number, env).text_log("err.text", &error);
                self.step_finished(number, Results::Exception, text::line(&format!("{name} (exception)")), false);
                self.outcome.step(&name, Results::Exception, &Flags::default(), None, None);
                return Ran::Done(vec![]);
            }
        };
        self.unmark(&mut rendered);
        let name = self.names.unique(&rendered.name);
        let number = self.step_started(&name);
        let mut waited = None;
        let mut ended = match skip {
            Some(reason) => StepResult::plain(Results::Skipped, reason),
            None => {
                let live = text::running(&rendered);
                if !live.is_empty() {
                    self.site.spool.event(Event::Summary { step: Some(number), text: live });
                }
                rendered.name.clone_from(&name);
                let begun = Instant::now();
                let got = self.locks(number, &rendered).await;
                waited = (!rendered.locks.is_empty()).then(|| begun.elapsed());
                let ended = match got {
                    Got::Locks => self.act(number, step, &rendered, env).await,
                    Got::Over => None,
                    Got::Stopped => {
                        self.look_at_orders();
                        Some(StepResult::plain(Results::Cancelled, "stopped while it waited for locks".into()))
                    }
                    Got::Refused(why) => {
                        self.step_run(number, env).text_log("err.text", &why);
                        Some(StepResult::plain(Results::Exception, String::new()))
                    }
                };
                match ended {
                    Some(ended) => ended,
                    None => return Ran::Over,
                }
            }
        };
        let hidden = match self.hidden(step, ended.results).await {
            Ok(hidden) => hidden,
            Err(error) => {
                self.step_run(number, env).text_log("err.text", &error);
                ended.results = ended.results.worst(Results::Exception);
                false
            }
        };
        let summary = text::done(&rendered, ended.summary.as_deref(), ended.results, &ended.note);
        self.step_over(number, ended.results, self.secrets.shown(&summary), hidden, waited);
        let said = ended.build_summary.map(|t| text::line(&self.secrets.shown(&t)));
        let policy = rendered.update_build_summary.as_deref();
        self.outcome.step(&name, ended.results, &rendered.flags, policy, said.as_deref());
        self.context.results = Some(self.outcome.results());
        Ran::Done(ended.added)
    }

    /// Secrets show as their names in what people read of a step, wherever a value comes from.
    fn unmark(&self, step: &mut RenderedStep) {
        let texts = [&mut step.name, &mut step.description, &mut step.description_done, &mut step.description_suffix];
        for text in texts {
            *text = self.secrets.shown(text);
        }
    }

    async fn prepare(&mut self, step: &Step) -> Prepared {
        let (name, step) = (step.name().to_owned(), step.clone());
        let secrets = self.secrets.clone();
        let prepared = self.evaluate(move |context| prepare(&step, &secrets.context(context))).await;
        prepared.unwrap_or_else(|error| Prepared::Broken { name, error })
    }

    async fn hidden(&mut self, step: &Step, results: Results) -> Result<bool, String> {
        let (step, secrets) = (step.clone(), self.secrets.clone());
        let hidden = move |context: &BuildContext| step.hide_step_if(&secrets.context(context), results);
        self.evaluate(move |context| hidden(context).map_err(|e| e.to_string())).await?
    }

    /// Waits for the step's locks, if it has any. What it waits for shows as its text.
    async fn locks(&mut self, number: u32, rendered: &RenderedStep) -> Got {
        if rendered.locks.is_empty() {
            return Got::Locks;
        }
        let (claim, spool) = (self.site.claim, self.site.spool);
        let ask = locks::Ask {
            shared: self.shared,
            build: claim.build,
            token: &claim.token,
            step: number,
            locks: &rendered.locks,
            always: self.stop.is_some(),
        };
        let show = |text: &str| spool.event(Event::Summary { step: Some(number), text: text.to_owned() });
        let mut waited = false;
        let got = ask
            .wait(self.orders, |says| {
                waited = true;
                show(says);
            })
            .await;
        if waited && got == Got::Locks {
            let live = text::running(rendered);
            show(if live.is_empty() { "running" } else { &live });
        }
        got
    }

    /// Runs the step's action; none if nothing of the build counts any more.
    async fn act(&mut self, number: u32, step: &Step, rendered: &RenderedStep, env: &Layer) -> Option<StepResult> {
        let was_stopped = self.stop.is_some();
        self.secrets.bring(&rendered.action, env).await;
        let refused = tree::refuses_step(self.site.folder, rendered);
        let (mut ended, done) = match (&rendered.action, refused) {
            (_, Some(why)) => (StepResult::plain(Results::Exception, String::new()), Err(StepError::Other(why))),
            (Action::Script(_), None) => self.script(number, step, rendered, env).await,
            (action, None) => {
                let mut run = self.step_run(number, env);
                let done = run.act(&rendered.name, action.clone()).await;
                (StepResult::plain(Results::Success, String::new()), done)
            }
        };
        let done = done.unwrap_or_else(|error| {
            self.step_run(number, env).text_log("err.text", &error.to_string());
            Done::with(Results::Exception)
        });
        if self.look_at_orders() || done == Done::Over {
            return None;
        }
        let words = test_results::close(&mut self.step_run(number, env)).await;
        if self.look_at_orders() {
            return None;
        }
        (ended.results, ended.note) = match done {
            Done::Results { results, note } => (results, note),
            Done::Stopped => (Results::Cancelled, String::new()),
            Done::Over => return None,
        };
        ended.note = [ended.note, words].into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
        if let Some(stop) = self.stop.clone().filter(|_| !was_stopped) {
            // D-08: what ended by itself while it was to be stopped cannot be trusted.
            if !matches!(ended.results, Results::Cancelled | Results::Retry) {
                ended.results = Results::Exception;
            }
            self.step_run(number, env).text_log("cancelled", &stop.reason);
        }
        Some(ended)
    }

    /// A step whose work is a function.
    async fn script(
        &mut self,
        number: u32,
        step: &Step,
        rendered: &RenderedStep,
        env: &Layer,
    ) -> (StepResult, Result<Done, StepError>) {
        let before = std::mem::take(&mut self.statistics);
        let (ended, statistics) = script::run(&mut self.step_run(number, env), step.clone(), rendered, &before).await;
        self.statistics = if statistics.is_empty() { before } else { statistics };
        let mut result = StepResult::plain(Results::Success, String::new());
        let done = ended.and_then(|ended| match ended {
            script::Ended::As(done) => Ok(done),
            script::Ended::By(end) => {
                let added: usize = end.added.iter().map(|a| a.steps.len()).sum();
                if added + self.steps as usize > STEPS_MAX {
                    return Err(StepError::Other(format!("the build has more than {STEPS_MAX} steps")));
                }
                result.summary = end.summary;
                result.build_summary = end.build_summary;
                result.added = end.added;
                Ok(Done::with(end.results))
            }
        });
        (result, done)
    }

    fn step_run<'s>(&'s mut self, number: u32, env: &'s Layer) -> StepRun<'s> {
        StepRun {
            shared: self.shared,
            site: &self.site,
            orders: self.orders,
            context: &mut self.context,
            secrets: &self.secrets,
            builder_env: env,
            number,
            log_names: &self.logs,
            tests: &self.tests,
        }
    }

    fn step_started(&mut self, name: &str) -> u32 {
        self.steps += 1;
        let event = Event::StepStarted { step: self.steps, name: name.to_owned(), at_us: clock::now_us() };
        self.site.spool.event(event);
        self.steps
    }

    fn step_finished(&self, step: u32, results: Results, summary: String, hidden: bool) {
        self.step_over(step, results, summary, hidden, None);
    }

    /// `waited`: for its locks, which are given back.
    fn step_over(&self, step: u32, results: Results, summary: String, hidden: bool, waited: Option<Duration>) {
        let lock_wait_us = waited.map(|w| w.as_micros() as u64);
        let at_us = clock::now_us();
        self.site.spool.event(Event::StepFinished { step, results, summary, hidden, lock_wait_us, at_us });
    }
}

enum Ran {
    /// With the steps that it adds.
    Done(Vec<Added>),
    Over,
}

/// How a step ended.
struct StepResult {
    results: Results,
    /// For the summary, such as why a limit ended the command.
    note: String,
    /// Its own words; none takes the default.
    summary: Option<String>,
    build_summary: Option<String>,
    added: Vec<Added>,
}

impl StepResult {
    fn plain(results: Results, note: String) -> StepResult {
        StepResult { results, note, summary: None, build_summary: None, added: vec![] }
    }
}

/// Puts added steps in their place: in their order right after the current one, or at the end.
fn splice(steps: &mut VecDeque<Step>, added: Vec<Added>) {
    let (mut now, mut last) = (vec![], vec![]);
    for Added { at, steps } in added {
        match at {
            AddAt::AfterCurrent => now.extend(steps),
            AddAt::Last => last.extend(steps),
        }
    }
    for step in now.into_iter().rev() {
        steps.push_front(step);
    }
    steps.extend(last);
}
