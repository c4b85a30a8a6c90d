//! Steps that start other builds and wait for them, whatever masters answer.

use crate::master::{Master, project, sh};
use crate::worker::Worker;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{Event, TriggerState, TriggeredBuild, TriggeredRequest, TriggeredSet};
use tidemill_model::{Results, SourceStamp};

/// A build with these steps, of a project with the triggerable schedulers `one` and `two`.
fn build(master: &Master, steps: &str) -> i64 {
    let text = project(steps)
        + "c[\"schedulers\"] = [schedulers.Triggerable(name = n, builderNames = [\"b\"]) for n in [\"one\", \"two\"]]\n";
    let stamp = SourceStamp { branch: Some("main".into()), ..SourceStamp::default() };
    master.build_with(&text, "b", vec![stamp])
}

/// Of one scheduler; with the numbers of builds that have begun.
fn state(version: &str, results: Option<Results>, builds: &[i64]) -> TriggerState {
    let build = |n: &i64| TriggeredBuild {
        build: 100 + n,
        number: *n,
        state: "running".into(),
        results: None,
        url: format!("https://ci.example.org/builders/child/builds/{n}"),
    };
    let request = TriggeredRequest {
        request: 1,
        builder: "child".into(),
        complete: results.is_some(),
        results,
        builds: builds.iter().map(build).collect(),
    };
    let set = TriggeredSet {
        scheduler: "one".into(),
        unimportant: false,
        buildset: Some(1),
        complete: results.is_some(),
        results,
        requests: vec![request],
    };
    TriggerState { version: version.into(), sets: vec![set], blocked: vec![] }
}

fn links(events: &[Event]) -> Vec<String> {
    let link = |e: &Event| match e {
        Event::StepUrl { name, url, .. } => Some(format!("{name} {url}")),
        _ => None,
    };
    events.iter().filter_map(link).collect()
}

fn words(events: &[Event]) -> Vec<String> {
    let said = |e: &Event| match e {
        Event::Summary { step: Some(_), text } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(said).collect()
}

const WAITING: &str = "steps.Trigger(schedulerNames = [\"one\"], waitForFinish = True)";

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_links_each_build_as_it_begins_says_what_it_waits_for_and_ends_as_they_do() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    master.set(|m| m.triggered = state("1", None, &[]));
    let build = build(&master, &format!("{WAITING}, {}", sh("echo after")));
    master.until("it waits", |m| (m.watches >= 2).then_some(())).await;
    master.set(|m| m.triggered = state("2", None, &[7]));
    master.until("a link", |m| (links(&m.builds[&build].events()).len() == 1).then_some(())).await;
    let blocked = TriggerState { blocked: vec!["child".into()], ..state("3", None, &[7, 8]) };
    master.set(|m| m.triggered = blocked);
    master.until("another", |m| (links(&m.builds[&build].events()).len() == 2).then_some(())).await;
    master.set(|m| m.triggered = state("4", Some(Results::Failure), &[7, 8]));
    assert_eq!(master.finished(build).await.0, Results::Failure);
    master.with(build, |b| {
        let steps = b.steps();
        assert_eq!((steps[0].1, steps[0].2.as_str()), (Results::Failure, "triggered one (failure)"));
        assert_eq!(steps[1].1, Results::Success, "it halts the build only where it is told to");
        assert_eq!(links(&b.events())[1], "child #8 https://ci.example.org/builders/child/builds/8");
        let words = words(&b.events());
        assert!(words.contains(&"triggered one; waiting for 1".into()), "{words:?}");
        assert!(words.last().unwrap().contains("child cannot start"), "{words:?}");
    });
    let call = master.lock().triggers.values().next().cloned().unwrap();
    assert_eq!((call.build, call.step, call.nth, call.wait, call.inherits), (build, 1, 1, true, true));
    assert_eq!(call.sourcestamps[0]["branch"], Some("main".into()));
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_and_absent_masters_make_a_trigger_wait_and_never_fire_another() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    master.set(|m| (m.swallow_triggers, m.triggered) = (2, state("1", None, &[])));
    // Two triggers of one step, and one of another.
    let twice = "util.BuildStep(name = \"twice\", implementation = lambda self: [self.trigger(schedulers = [n]) for n in \
                 [\"one\", \"two\"]][0])()";
    let build = build(&master, &format!("{twice}, {WAITING}"));
    master.until("it waits", |m| (m.watches >= 1).then_some(())).await;
    master.set(|m| m.down = true);
    master.until("it asks in vain", |m| (m.watches >= 3).then_some(())).await;
    assert_eq!(master.with(build, |b| b.finish()), None);
    master.set(|m| (m.down, m.triggered) = (false, state("2", Some(Results::Success), &[])));
    assert_eq!(master.finished(build).await.0, Results::Success);
    let keys: Vec<_> = master.lock().triggers.keys().copied().collect();
    assert_eq!(keys, [(build, 1, 1), (build, 1, 2), (build, 2, 1)]);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait_and_so_does_a_lost_lease() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    master.set(|m| m.triggered = state("1", None, &[]));
    let always = "steps.Trigger(schedulerNames = [\"two\"], alwaysRun = True)";
    let stopped = build(&master, &format!("{WAITING}, {}, {always}", sh("echo no")));
    master.until("it waits", |m| (m.watches >= 2).then_some(())).await;
    master.stop(stopped, Results::Cancelled);
    assert_eq!(master.finished(stopped).await.0, Results::Cancelled);
    let results = master.with(stopped, |b| b.step_results().into_iter().map(|(_, r)| r).collect::<Vec<_>>());
    assert_eq!(results, [Results::Cancelled, Results::Success], "what always runs may trigger, too");

    let watches = master.lock().watches;
    let lost = build(&master, WAITING);
    master.until("it waits", |m| (m.watches >= watches + 2).then_some(())).await;
    master.set(|m| m.builds.get_mut(&lost).unwrap().lost = true);
    let next = build(&master, &sh("echo next"));
    assert_eq!(master.finished(next).await.0, Results::Success, "the slot is free again");
    assert_eq!(master.with(lost, |b| b.finish()), None);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_exception_with_the_masters_words() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    master.set(|m| m.refuse_trigger = Some((kinds::TRIGGER_REFUSED, "there is no scheduler named `x`")));
    let build = build(&master, "steps.Trigger(schedulerNames = [util.Interpolate(\"x\")])");
    assert_eq!(master.finished(build).await.0, Results::Exception);
    let text = master.with(build, |b| b.text(1, "err.text", tidemill_model::log::Channel::Stdout));
    assert!(text.contains("there is no scheduler named `x`"), "{text}");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_triggers_nothing_while_its_command_runs() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let step = "util.BuildStep(name = \"sly\", implementation = lambda self: [self.addLogObserver(\"stdio\", \
                util.LogLineObserver(outLineReceived = lambda o, line: o.step.trigger(schedulers = [\"one\"]))), \
                self.shell(\"echo line\"), SUCCESS][2])()";
    let build = build(&master, step);
    assert_eq!(master.finished(build).await.0, Results::Exception);
    let text = master.with(build, |b| b.text(1, "err.text", tidemill_model::log::Channel::Stdout));
    assert!(text.contains("an observer cannot trigger builds"), "{text}");
    assert!(master.lock().triggers.is_empty());
    worker.end(&master).await;
}
