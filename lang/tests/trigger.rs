//! `steps.Trigger`, and the trigger of custom steps: what they ask of the worker,
//! and what is wrong before a build runs.

#[path = "support/host.rs"]
mod host;
mod support;

use host::TestHost;
use serde_json::json;
use std::collections::BTreeMap;
use support::{context, errors, evaluate, one_error, project};
use tidemill_lang::BuildContext;
use tidemill_lang::custom::{RunError, Trigger};
use tidemill_model::{Results, SourceStamp};

/// A project with the triggerables `a` and `b`, an ordinary scheduler, and a builder with this step.
fn with(step: &str) -> String {
    format!(
        "c = {{}}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = \
         util.BuildFactory([{step}]))]\nc[\"schedulers\"] = [\n    schedulers.Triggerable(name = \"a\", builderNames = [\"b\"]),\n    \
         schedulers.Triggerable(name = \"b\", builderNames = [\"b\"]),\n    \
         schedulers.SingleBranchScheduler(name = \"main\", builderNames = [\"b\"]),\n]\n"
    )
}

fn run(step: &str, context: &BuildContext, host: &TestHost) -> Result<(Results, Option<String>), RunError> {
    let project = project(&with(step));
    let step = &project.steps("b").unwrap()[0];
    let rendered = step.render(context).unwrap_or_else(|e| panic!("{e}"));
    step.run(&rendered, context, host).map(|end| (end.results, end.summary))
}

fn asked(step: &str, context: &BuildContext) -> Trigger {
    let host = TestHost::new();
    host.triggers.set(Some(Results::Success));
    run(step, context, &host).unwrap();
    host.triggered.take().remove(0)
}

fn stamp(fields: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    fields.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect()
}

#[test]
fn a_trigger_asks_for_its_schedulers_with_the_sources_of_the_build_and_ends_as_they_do() {
    let host = TestHost::new();
    host.triggers.set(Some(Results::Warnings));
    let mut context = context();
    context.properties.set("got_revision", "def", "Git");
    let step = "steps.Trigger(schedulerNames = ['a', 'b'], unimportantSchedulerNames = ['b'], waitForFinish = True, \
                set_properties = {'x': util.Property('branch', 'none'), 'y': 2}, copy_properties = ['got_revision', 'gone'], \
                parent_relationship = 'Packages of')";
    assert_eq!(run(step, &context, &host).unwrap(), (Results::Warnings, Some("triggered a, b".into())));
    let asked = host.triggered.take().remove(0);
    let names: Vec<_> = asked.schedulers.iter().map(|s| (s.scheduler.as_str(), s.unimportant)).collect();
    assert_eq!(names, [("a", false), ("b", true)]);
    let properties = &asked.schedulers[1].properties;
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["got_revision", "x", "y"]);
    assert_eq!((&properties["got_revision"], &properties["y"]), (&json!("def"), &json!(2)));
    let own = [("branch", Some("main")), ("codebase", Some("")), ("project", Some("")), ("revision", Some("def"))];
    let mut own = stamp(&own);
    own.insert("repository".into(), Some("https://example.org/r.git".into()));
    assert_eq!(asked.sourcestamps, [own]);
    assert!(asked.wait && asked.inherits);
    assert_eq!(asked.parent_relationship.as_deref(), Some("Packages of"));
}

#[test]
fn the_sources_are_those_of_the_build_or_given_or_left_to_the_scheduler() {
    let mut context = context();
    let revision = |t: &Trigger| t.sourcestamps.iter().map(|s| s["revision"].clone()).collect::<Vec<_>>();
    context.properties.set("got_revision", "def", "Git");
    let plain = asked("steps.Trigger(schedulerNames = ['a'])", &context);
    assert_eq!((revision(&plain), plain.inherits, plain.wait), (vec![Some("def".into())], true, false));
    let kept = asked("steps.Trigger(schedulerNames = 'a', updateSourceStamp = False)", &context);
    assert_eq!((revision(&kept), kept.inherits), (vec![Some("abc".into())], true));
    let latest = asked("steps.Trigger(schedulerNames = ['a'], alwaysUseLatest = True)", &context);
    assert_eq!((latest.sourcestamps, latest.inherits), (vec![], false));
    let given =
        asked("steps.Trigger(schedulerNames = ['a'], sourceStamp = {'branch': 'x', 'revision': None})", &context);
    assert_eq!(
        (given.sourcestamps, given.inherits),
        (vec![stamp(&[("branch", Some("x")), ("revision", None)])], false)
    );
    let many =
        "steps.Trigger(schedulerNames = ['a'], sourceStamps = [{'codebase': 'l'}, {'codebase': 'm', 'revision': 7}])";
    let many = asked(many, &context);
    assert_eq!(many.sourcestamps[1], stamp(&[("codebase", Some("m")), ("revision", Some("7"))]));
    // Of several codebases each has its own revision.
    let of = |name: &str| SourceStamp { codebase: name.into(), revision: Some("old".into()), ..SourceStamp::default() };
    context.sourcestamps = vec![of("l"), of("m")];
    context.properties.set("got_revision", json!({"m": "new"}), "Git");
    let several = asked("steps.Trigger(schedulerNames = ['a'])", &context);
    assert_eq!(revision(&several), [Some("old".into()), Some("new".into())]);
}

#[test]
fn one_scheduler_may_be_triggered_several_times_each_with_properties_of_its_own() {
    let step = "steps.Trigger(schedulerNames = [{'name': 'a', 'properties': {'n': n}, 'unimportant': n == 2} for n in [1, 2]] \
                + ['b'], set_properties = {'n': 0, 'all': True})";
    let asked = asked(step, &context());
    let all: Vec<_> =
        asked.schedulers.iter().map(|s| (s.scheduler.as_str(), s.properties["n"].clone(), s.unimportant)).collect();
    assert_eq!(all, [("a", json!(1), false), ("a", json!(2), true), ("b", json!(0), false)]);
    assert!(asked.schedulers.iter().all(|s| s.properties["all"] == json!(true)));
}

#[test]
fn a_custom_step_triggers_too_and_may_go_on_after_it() {
    let host = TestHost::new();
    host.triggers.set(Some(Results::Failure));
    let step = "util.BuildStep(implementation = lambda self: WARNINGS if self.trigger(schedulers = ['a'], wait = True, \
                properties = {'x': 1}) == FAILURE else SUCCESS)()";
    assert_eq!(run(step, &context(), &host).unwrap().0, Results::Warnings);
    let failed = |step: &str| match run(step, &context(), &host) {
        Err(RunError::Failed(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let call = |args: &str| failed(&format!("util.BuildStep(implementation = lambda self: self.trigger({args}))()"));
    assert!(call("names = ['a']").contains("`trigger` has no argument `names`"));
    assert!(call("schedulers = []").contains("names no scheduler"));
    assert!(call("schedulers = ['a'], sourcestamps = [{'patch': 1}]").contains("not `patch`"));
    assert!(call("schedulers = [{'name': 'a', 'weight': 1}]").contains("`weight`"));
    assert!(call("schedulers = ['a'], unimportant = ['b']").contains("`b` is unimportant"));
    assert!(
        call("schedulers = ['a'], sourcestamps = [{'branch': 'x'}], always_use_latest = True").contains("not both")
    );
    // Names that a function gives are known when it runs.
    let step = "steps.Trigger(schedulerNames = util.renderer(lambda props: []))";
    assert!(failed(step).contains("names no scheduler"));
}

#[test]
fn a_trigger_of_what_is_not_there_or_cannot_be_triggered_is_an_error_with_both_places() {
    let unknown = one_error(&with("steps.Trigger(schedulerNames = ['aa', 'b'])"));
    assert_eq!(
        unknown.message,
        "a step of builder `b` triggers the scheduler `aa`, which c[\"schedulers\"] does not have"
    );
    assert_eq!((unknown.line, unknown.hint.as_deref()), (2, Some("did you mean `a`, defined at master.star:4?")));
    let wrong = one_error(&with("steps.Trigger(schedulerNames = [{'name': 'main'}])"));
    assert!(wrong.message.ends_with("triggers the scheduler `main`, which is a SingleBranchScheduler"), "{wrong}");
    assert_eq!(wrong.notes, ["`main` is defined at master.star:6"]);
    let none = "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = \
                util.BuildFactory([steps.Trigger(schedulerNames = [\"x\"])]))]\n";
    assert!(one_error(none).hint.unwrap().starts_with("add schedulers.Triggerable(name = \"x\""));
    // What a build will say is not guessed at.
    evaluate(&with("steps.Trigger(schedulerNames = [util.Interpolate('%(prop:x)s'), util.Property('y')])")).unwrap();
    evaluate(&with("steps.Trigger(schedulerNames = util.Property('y'))")).unwrap();
}

#[test]
fn arguments_of_a_trigger_that_exclude_each_other_are_told() {
    for (arguments, said) in [
        ("alwaysUseLatest = True, sourceStamp = {'branch': 'x'}", "`alwaysUseLatest` and `sourceStamp`"),
        ("sourceStamp = {'branch': 'x'}, sourceStamps = [{'codebase': 'x'}]", "`sourceStamp` and `sourceStamps`"),
        ("alwaysUseLatest = True, updateSourceStamp = True", "`updateSourceStamp` and `alwaysUseLatest`"),
        ("unimportantSchedulerNames = ['b']", "`b` is unimportant, but it is not among"),
    ] {
        let found = errors(&with(&format!("steps.Trigger(schedulerNames = ['a'], {arguments})")));
        assert!(found.iter().any(|e| e.message.contains(said)), "{arguments}: {found:?}");
    }
    assert!(one_error(&with("steps.Trigger(schedulerNames = [])")).message.contains("is empty"));
}
