//! Schedulers of a file: what they become, and what is told of wrong ones.

use tidemill_lang::definition::{CronDef, NightlyDef, SchedulerKind, TimedDef};
use tidemill_lang::{Limits, Project, Severity};
use tidemill_model::revision::Files;

/// Schedulers after a builder `b`, on the fourth line.
fn files(schedulers: &str) -> Files {
    Files::single(format!(
        "c = {{}}\nf = util.BuildFactory([steps.ShellCommand(command = 'x')])\nc['builders'] = [util.BuilderConfig(name = 'b', workernames = ['*'], factory = f)]\n{schedulers}\n"
    ))
}

/// Lines of everything that is told: severity, message, notes and hint.
fn told(schedulers: &str) -> Vec<String> {
    let all = match Project::evaluate(&files(schedulers), &Limits::default()) {
        Ok(project) => project.warnings().to_vec(),
        Err(errors) => errors.0,
    };
    all.iter()
        .map(|d| {
            let kind = if d.severity == Severity::Error { "error" } else { "warning" };
            format!("{kind} {}: {}", d.location(), d.message)
        })
        .collect()
}

fn kind(scheduler: &str) -> SchedulerKind {
    let project = Project::evaluate(&files(&format!("c['schedulers'] = [{scheduler}]")), &Limits::default());
    project.unwrap_or_else(|e| panic!("{e}")).definition().schedulers[0].kind.clone()
}

#[test]
fn a_priority_of_zero_that_is_given_is_not_the_same_as_none() {
    let priority = |more: &str| {
        let scheduler = format!("schedulers.Triggerable(name = 't', builderNames = ['b']{more})");
        let project = Project::evaluate(&files(&format!("c['schedulers'] = [{scheduler}]")), &Limits::default());
        project.unwrap_or_else(|e| panic!("{e}")).definition().schedulers[0].priority
    };
    assert_eq!([priority(""), priority(", priority = 0"), priority(", priority = -3")], [None, Some(0), Some(-3)]);
}

#[test]
fn a_nightly_has_its_times_as_text_and_a_zone() {
    let found = kind(
        "schedulers.Nightly(name = 'n', builderNames = ['b'], hour = [3, 15], dayOfWeek = 'mon-fri', branch = None, \
         onlyIfChanged = True, force_at_hour = 5, timezone = 'europe/berlin', jitter = 1.5)",
    );
    let berlin = |hour: &str| CronDef { hour: hour.into(), timezone: "Europe/Berlin".into(), ..CronDef::default() };
    let timed = TimedDef { only_if_changed: true, branch_given: true, ..TimedDef::default() };
    let at = CronDef { day_of_week: "mon-fri".into(), ..berlin("3,15") };
    assert_eq!(
        found,
        SchedulerKind::Nightly(NightlyDef { at, force_at: Some(berlin("5")), jitter_us: 1_500_000, timed })
    );
    assert_eq!(
        kind("schedulers.NightlyTriggerable(name = 'n', builderNames = ['b'], minute = '*/5')"),
        SchedulerKind::NightlyTriggerable { at: CronDef { minute: "*/5".into(), ..CronDef::default() } }
    );
    let project = Project::evaluate(
        &files(
            "c['timezone'] = 'America/New_York'\nc['schedulers'] = [schedulers.Nightly(name = 'n', builderNames = ['b'])]",
        ),
        &Limits::default(),
    );
    match &project.unwrap().definition().schedulers[0].kind {
        SchedulerKind::Nightly(nightly) => assert_eq!(nightly.at.timezone, "America/New_York"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_time_that_is_none_is_told_at_its_argument() {
    let nightly = |arguments: &str| {
        told(&format!("c['schedulers'] = [schedulers.Nightly(name = 'n', builderNames = ['b'], {arguments})]"))
    };
    assert_eq!(nightly("hour = 24"), ["error master.star:4:73: `hour`: \"24\" is no such time"]);
    assert_eq!(nightly("minute = [0, 60]"), ["error master.star:4:73: `minute`: \"60\" is no such time"]);
    assert_eq!(
        nightly("hour = []"),
        [
            "error master.star:4:73: `hour` of schedulers.Nightly must be a number, a list of numbers, or a text such as \"*/15\", got list []"
        ]
    );
    assert_eq!(
        nightly("onlyIfChanged = True, force_at_day_of_week = 'someday'"),
        ["error master.star:4:95: `force_at_day_of_week`: \"someday\" is no such time"]
    );
    assert_eq!(
        nightly("dayOfMonth = 31, month = 'feb,apr'"),
        ["error master.star:4:73: no month of `feb,apr` has a day `31`: the time never comes"]
    );
    assert_eq!(
        nightly("timezone = 'Europe/Berlni'"),
        ["error master.star:4:73: there is no time zone \"Europe/Berlni\""]
    );
    assert_eq!(
        nightly("dayOfWeek = '1-5', force_at_hour = 3"),
        [
            "warning master.star:4:73: `dayOfWeek` counts from Monday = 0 also in \"1-5\", where Buildbot's counts from Sunday = 0",
            "warning master.star:4:92: `force_at_hour` has no effect without `onlyIfChanged`: it builds at all its times",
        ]
    );
    assert_eq!(told("c['timezone'] = 'Mars'"), ["error master.star:4:1: there is no time zone \"Mars\""]);
}

#[test]
fn those_that_ask_people_have_a_list_of_builders_and_no_function() {
    for kind in ["ForceScheduler", "Try_Userpass"] {
        let said = told(&format!("c['schedulers'] = [schedulers.{kind}(name = 's', builderNames = lambda c: ['b'])]"));
        assert_eq!(
            said.iter().filter(|s| s.starts_with("error")).collect::<Vec<_>>(),
            [&format!(
                "error master.star:4:{}: `builderNames` of scheduler `s` is a function, and there is no change to ask it about",
                31 + kind.len() + "(name = 's', ".len()
            )]
        );
    }
}

#[test]
fn schedulers_that_wait_for_each_other_are_an_error_with_all_places() {
    let dependent = |name: &str, upstream: &str| {
        format!("    schedulers.Dependent(name = '{name}', upstream = '{upstream}', builderNames = ['b']),\n")
    };
    let list = |all: &[(&str, &str)]| {
        let items: String = all.iter().map(|(name, upstream)| dependent(name, upstream)).collect();
        format!(
            "c['schedulers'] = [\n    schedulers.SingleBranchScheduler(name = 'first', builderNames = ['b']),\n{items}]"
        )
    };
    assert_eq!(told(&list(&[("one", "first"), ("two", "one"), ("three", "one")])), Vec::<String>::new());
    let circle = list(&[("one", "three"), ("two", "one"), ("three", "two"), ("four", "three"), ("self", "self")]);
    assert_eq!(
        told(&circle),
        [
            "error master.star:6:40: schedulers wait for each other: `one` → `three` → `two` → `one`",
            "error master.star:10:41: scheduler `self` waits for itself",
        ]
    );
    let errors = Project::evaluate(&files(&circle), &Limits::default()).unwrap_err().to_string();
    assert!(errors.contains("`three` is at master.star:8") && errors.contains("`two` is at master.star:7"), "{errors}");
    let unknown = list(&[("one", "frist")]);
    let errors = Project::evaluate(&files(&unknown), &Limits::default()).unwrap_err().to_string();
    assert!(errors.contains("master.star:6:") && errors.contains("`frist`"), "{errors}");
    assert!(errors.contains("did you mean `first`, defined at master.star:5"), "{errors}");
}
