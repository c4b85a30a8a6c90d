//! Logs of a step (C-57, C-63 to C-75).

use crate::build::Build;
use crate::example::load;
use tidemill_model::Results;
use tidemill_model::wire::LogKind;

#[test]
fn output_goes_to_the_log_that_a_command_was_given() {
    let build = Build::of(&load("c-57-use-log"), "demo");
    let step = build.step("TwoLogs");
    assert_eq!((step.log("listing"), step.log("stdio")), ("a.c\nb.c\n", "plain\n"));
    assert_eq!(step.logs.len(), 2, "there is no log named files");
    assert!(step.logs.iter().all(|l| l.finished));
}

#[test]
fn text_has_a_channel_and_a_step_any_number_of_logs() {
    let build = Build::of(&load("c-64-channels"), "demo");
    let step = build.step("Speak");
    assert_eq!(step.results, Results::Success, "{}", step.error);
    assert_eq!(step.log("saw header"), "the talk begins");
    assert_eq!((step.log("saw out"), step.log("saw err")), ("a word", "a sigh"));
    assert_eq!(step.log("talk"), "the talk begins\na word\na sigh\n");
    assert_eq!(step.log("warnings"), "none so far\n");
}

#[test]
fn a_log_is_found_by_its_name_and_an_unknown_name_is_an_error() {
    let build = Build::of(&load("c-69-get-log"), "demo");
    let step = build.step("work");
    assert_eq!(step.log("notes"), "first\nsecond\n");
    assert_eq!(step.log("stdio"), "working\nthat was all\n");
    let careless = build.step("careless");
    assert_eq!(careless.results, Results::Exception);
    assert!(careless.error.contains("no log `note`; it has notes"), "{}", careless.error);
}

#[test]
fn a_summary_is_a_whole_log() {
    let build = Build::of(&load("c-70-lint-summary"), "demo");
    let step = build.step("Lint");
    assert_eq!(step.log("summary"), "style: 2\nunused: 1\n");
    assert_eq!(step.results, Results::Warnings);
}

#[test]
fn a_long_log_grows_line_by_line() {
    let build = Build::of(&load("c-72-growing-log"), "demo");
    let log = build.step("Update").log("updates");
    assert_eq!(log.lines().count(), 33);
    assert!(log.starts_with("round 1: größer ☃\nround 2: größer ☃\n"), "{log}");
    assert!(log.ends_with("30 rounds are done\n"), "{log}");
}

#[test]
fn a_log_may_be_html() {
    let build = Build::of(&load("c-73-html-log"), "demo");
    let step = build.step("Measure");
    let log = step.logs.iter().find(|l| l.name == "sizes").expect(&step.error);
    assert_eq!(log.kind, LogKind::Html);
    let rows = "<tr><td>a</td><td>5</td></tr><tr><td>b</td><td>3</td></tr><tr><td>total</td><td>8</td></tr>";
    assert_eq!(log.text, format!("<table>{rows}</table>"));
}

#[test]
fn a_file_on_the_worker_is_followed_into_a_log() {
    let build = Build::of(&load("c-74-watched-files"), "demo");
    let step = build.step("Check");
    assert_eq!((step.log("details"), step.log("stdio")), ("passed 1\npassed 2\npassed 3\n", "done\n"));
    let seen: Vec<f64> = build.host.progress.borrow().iter().map(|(_, n)| *n).collect();
    assert_eq!(seen, [1.0, 2.0, 3.0], "its lines are on the channel of standard output");
}
