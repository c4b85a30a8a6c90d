//! What the function of a step does (C-44, C-50 to C-56, C-78, C-86 to C-90).

use crate::build::{Build, context};
use crate::example::{edited, evaluate, load, refusal};
use crate::host::TestHost;
use serde_json::json;
use tidemill_model::Results;

#[test]
fn a_step_that_understands_its_results_tells_more_than_an_exit_code() {
    let build = Build::of(&load("c-44-test-results"), "demo");
    let step = build.step("check");
    assert_eq!(step.results, Results::Failure, "although the command went well");
    assert_eq!(step.summary.as_deref(), Some("2 of 3 tests passed"));
    assert_eq!(step.build_summary.as_deref(), Some("2 of 3 tests passed"));
    assert_eq!(step.log("failed"), "prints\n");
    let lost = build.step("lost");
    assert_eq!((lost.results, lost.summary.as_deref()), (Results::Failure, Some("no report")));
    let numbers: Vec<_> = build.host.statistics.borrow().iter().map(|s| (s.name.clone(), s.value.clone())).collect();
    assert_eq!(numbers, [("tests-total".to_owned(), json!(3)), ("tests-failed".to_owned(), json!(1))]);
}

#[test]
fn what_the_function_returns_is_the_result() {
    use Results::*;
    let build = Build::of(&load("c-50-run"), "demo");
    let outcome = [
        ("quiet", Success),
        ("success", Success),
        ("warnings", Warnings),
        ("failure", Failure),
        ("skipped", Skipped),
        ("exception", Exception),
    ];
    assert_eq!(build.outcome(), outcome);
    assert_eq!(build.step("quiet").log("done"), "nothing to say");
}

#[test]
fn commands_of_the_worker_are_run_by_name() {
    let build = Build::of(&load("c-52-remote-command"), "demo");
    let step = build.step("Housekeeping");
    assert_eq!(step.results, Results::Success, "{}", step.error);
    assert_eq!(step.log("there"), "store/today\nbackup/today\nbackup/today\n");
}

#[test]
fn the_second_command_runs_only_if_the_first_failed() {
    let name = "c-56-cleanup-with-force";
    let build = Build::of(&load(name), "demo");
    let step = build.step("RunCleanup");
    assert_eq!(step.results, Results::Success);
    assert_eq!(step.log("stdio"), "cleaning in attic with 0 words\ncleaning in attic with 1 words\n");
    assert_eq!(step.argv(1), ["sh", "./cleanup.sh", "--force"]);
    assert_eq!(step.runs[1].shell.timeout_us, Some(30_000_000), "both have the step's options");
    assert!(step.runs[0].shell.log_environ && !step.runs[1].shell.log_environ);
    let stubborn = evaluate(&edited(name, "master.star", "test \"$1\" = --force", "exit 1"));
    assert_eq!(Build::of(&stubborn, "demo").step("RunCleanup").results, Results::Failure);
    let refused = refusal(name, "timeout = 30", "command = \"rm\"");
    assert!(refused.contains("RunCleanup does not take `command`"), "{refused}");
}

#[test]
fn a_small_output_is_a_text_afterwards() {
    let build = Build::of(&load("c-78-collect-stdout"), "demo");
    assert_eq!(build.host.property("version"), Some(json!("2.7-rc1")));
    assert_eq!(build.step("Describe").log("stdio"), "2.7-rc1\n", "it is in the log too");
    assert_eq!(build.step("tell").log("stdio"), "building 2.7-rc1\n");
}

#[test]
fn a_property_chooses_the_command_and_any_json_value_is_set() {
    let project = load("c-86-make-tarball");
    let build = Build::of(&project, "demo");
    assert_eq!(build.step("MakeTarball").argv(0), ["tar", "-cf", "src.tar", "src"]);
    let tarball = json!({"name": "src.tar", "parts": ["src"], "good": true, "size": null});
    assert_eq!(build.host.property("tarball"), Some(tarball));
    assert!(build.host.folder.path().join("build/src.tar").exists());
    let mut ctx = context(&project, "demo");
    ctx.properties.set("os", "win", "Worker");
    let build = Build::with(&project, "demo", ctx, TestHost::new());
    assert_eq!(build.step("MakeTarball").argv(0)[0], "zip");
}

#[test]
fn what_a_step_sets_is_rendered_only_for_later_steps() {
    let build = Build::of(&load("c-87-property-visibility"), "demo");
    assert_eq!(build.steps[0].log("levels"), "rendered 1, before 1, now 2");
    assert_eq!(build.steps[1].log("levels"), "rendered 2, before 2, now 3");
}

#[test]
fn numbers_of_steps_are_folded_over_the_build() {
    let build = Build::of(&load("c-88-statistics"), "demo");
    let outcome =
        [("a", Results::Warnings), ("b", Results::Success), ("c", Results::Warnings), ("total", Results::Success)];
    assert_eq!(build.outcome(), outcome);
    assert_eq!(build.host.property("warnings"), Some(json!({"sum": 7, "most": 4})));
    assert_eq!(build.step("total").summary.as_deref(), Some("7 warnings"));
}

#[test]
fn a_step_has_several_named_links() {
    let build = Build::of(&load("c-90-step-urls"), "demo");
    let page = "https://reports.example.org/demo/1".to_owned();
    let links = [("coverage".to_owned(), page.clone()), ("coverage (87 %)".to_owned(), page + "/summary")];
    assert_eq!(*build.host.urls.borrow(), links);
}
