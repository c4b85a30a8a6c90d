//! Factories, work folders, and steps as values (C-38 to C-49).

use crate::build::{Build, context};
use crate::example::{load, refusal};
use tidemill_lang::plan::Action;
use tidemill_model::Results::{Failure, Success, Warnings};

#[test]
fn steps_run_in_order_and_each_may_change_the_result() {
    let build = Build::of(&load("c-38-fixed-sequence"), "demo");
    let outcome = [("prepare", Success), ("lint", Failure), ("compile", Success), ("clean", Success)];
    assert_eq!(build.outcome(), outcome);
    assert_eq!(build.step("clean").log("stdio"), "one\ntwo\nthree\n");
    assert_eq!(build.results, Warnings, "the failure of lint only warns");
}

#[test]
fn a_step_decides_which_steps_its_build_has() {
    let project = load("c-39-dynamic-build");
    assert_eq!(project.definition().builders[0].steps, ["make parts", "Plan", "report"]);
    let build = Build::of(&project, "demo");
    assert_eq!(build.names(), ["make parts", "Plan", "check ink", "check paper", "report", "sum up"]);
    assert_eq!(build.step("check paper").log("stdio"), "paper is fine\n");
    assert_eq!(build.step("sum up").log("stdio"), "2 parts\n");
    assert_eq!(build.step("Plan").summary.as_deref(), Some("2 parts"));
}

#[test]
fn each_repository_has_a_work_folder_of_its_own_for_ever() {
    let project = load("c-40-workdir-function");
    let folder = |repository: &str, step: usize| {
        let mut ctx = context(&project, "many-repositories");
        ctx.sourcestamps[0].repository = repository.into();
        match project.steps("many-repositories").unwrap()[step].render(&ctx).unwrap().action {
            Action::Git(git) => git.workdir,
            Action::Shell(shell) => shell.workdir,
            other => panic!("{other:?}"),
        }
    };
    let (one, two) = (folder("https://example.org/one.git", 0), folder("https://example.org/two.git", 0));
    assert_ne!(one, two);
    for name in [&one, &two] {
        assert!(name.len() == 8 && name.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    }
    assert_eq!(folder("https://example.org/one.git", 1), one, "for each step, whenever it is asked");
    assert_eq!(folder("https://example.org/one.git", 2), "notes", "a step's own folder wins");
}

#[test]
fn a_builder_may_be_a_dict_with_the_old_names() {
    let project = load("c-40-workdir-function");
    let builder = &project.definition().builders[0];
    assert_eq!(
        (builder.name.as_str(), builder.workernames.as_slice()),
        ("many-repositories", ["ada".to_owned()].as_slice())
    );
    assert_eq!(builder.folders.builddir.as_deref(), Some("many"));
    assert!(project.warnings()[0].message.contains("`slavename`"), "{:?}", project.warnings());
}

#[test]
fn one_configured_step_serves_many_builds() {
    let project = load("c-45-step-values");
    for _ in 0..2 {
        let build = Build::of(&project, "double");
        assert_eq!(build.steps.len(), 2);
        assert!(build.steps.iter().all(|s| s.log("turns") == "clock: turn 1\n"), "each begins anew");
    }
    assert_eq!(Build::of(&project, "single").step("tick").log("turns"), "clock: turn 1\n");
}

#[test]
fn arguments_are_checked_and_others_are_the_bases() {
    let name = "c-48-frobnify";
    let project = load(name);
    let build = Build::of(&project, "demo");
    let first = build.step("Frobnify");
    assert_eq!(first.runs.len(), 2);
    assert_eq!(first.argv(1), ["echo", "gently", "foo", "1"]);
    assert_eq!(first.runs[0].shell.timeout_us, Some(60_000_000), "another default of the base");
    assert_eq!(first.runs[0].shell.env["LANG"].as_deref(), Some("C"), "an argument of the base");
    let second = build.step("roughly");
    assert_eq!(second.argv(0), ["echo", "roughly", "bar", "0"], "arguments are rendered");
    assert_eq!(second.runs[0].shell.timeout_us, Some(5_000_000));
    let missing = refusal(name, "Frobnify(what = \"foo\", how_many = 2, ", "Frobnify(what = \"foo\", ");
    assert!(missing.contains("Frobnify needs `how_many`"), "{missing}");
    let unknown = refusal(name, "haltOnFailure = True", "haltOnFailur = True");
    assert!(unknown.contains("did you mean `haltOnFailure`?"), "{unknown}");
    let refused = refusal(name, "haltOnFailure = True", "command = \"x\"");
    assert!(refused.contains("Frobnify does not take `command`"), "{refused}");
}

#[test]
fn a_step_builds_on_a_step_and_adds_an_argument_with_a_default() {
    let project = load("c-49-fast-frobnify");
    let build = Build::of(&project, "demo");
    let one = build.step("FastFrobnify");
    assert_eq!((one.log("frobbed"), one.log("speed")), ("foo x 1", "5"));
    let two = build.step("faster");
    assert_eq!((two.log("frobbed"), two.log("speed")), ("foo x 3", "9"));
    let rendered = project.steps("demo").unwrap()[0].render(&context(&project, "demo")).unwrap();
    assert!(rendered.flags.halt_on_failure, "the base's default holds");
    let wrong = refusal("c-49-fast-frobnify", "speed = 9", "speed = \"high\"");
    assert!(wrong.contains("`speed` of FastFrobnify must be an int"), "{wrong}");
}
