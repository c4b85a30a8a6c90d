//! Observers of logs (C-76, C-79 to C-85).

use crate::build::Build;
use crate::example::load;
use serde_json::json;
use tidemill_model::Results;

#[test]
fn an_observer_sees_what_another_observer_writes() {
    let build = Build::of(&load("c-76-chained-observers"), "demo");
    let step = build.step("Sift");
    assert_eq!(step.results, Results::Failure, "{}", step.error);
    assert_eq!(step.log("errors"), "error: one\nerror: two\n");
    assert_eq!(build.host.statistics.borrow()[0].value, json!(2));
}

#[test]
fn whole_lines_are_delivered_without_their_end_and_too_long_ones_are_not() {
    let build = Build::of(&load("c-80-line-observer"), "demo");
    let usual = build.step("usual");
    assert_eq!(usual.log("seen"), "3 lines, longest 4, complaints oops");
    assert!(usual.log("stdio").len() > 16385, "the log has it all");
    assert_eq!(build.step("wide").log("seen"), "4 lines, longest 16385, complaints oops");
}

#[test]
fn test_cases_are_counted_until_the_line_of_equals_signs() {
    let build = Build::of(&load("c-82-test-case-counter"), "demo");
    let step = build.step("Trial");
    assert_eq!(step.summary.as_deref(), Some("4 tests"), "{}", step.error);
    let progress = build.host.progress.borrow();
    assert_eq!(progress.len(), 4);
    assert_eq!(progress[3], ("tests".to_owned(), 4.0));
}
