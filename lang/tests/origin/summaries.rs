//! The words that are shown for a step (C-58 to C-62, C-96).

use crate::build::{Build, context};
use crate::example::load;
use crate::host::TestHost;

#[test]
fn summaries_are_renewed_at_the_systems_rate_and_end_with_one_for_step_and_build() {
    let project = load("c-60-summaries");
    let host = TestHost::new();
    host.due.set(3);
    let build = Build::with(&project, "demo", context(&project, "demo"), host);
    let step = build.step("Compile");
    assert_eq!(step.summary.as_deref(), Some("compiled 500 files"), "{}", step.error);
    assert_eq!(step.build_summary.as_deref(), Some("500 files"));
    let shown = build.host.summaries.borrow();
    assert!((1..=3).contains(&shown.len()), "asked 500 times, shown as often as it was due: {shown:?}");
    assert!(shown.iter().all(|text| text.starts_with("compiling file") && text.ends_with(".c")), "{shown:?}");
}

#[test]
fn a_step_that_only_cleans_says_nothing_for_the_build() {
    let project = load("c-60-summaries");
    let clean = project.steps("demo").unwrap()[1].render(&context(&project, "demo")).unwrap();
    assert_eq!(clean.update_build_summary.as_deref(), Some([].as_slice()));
}

#[test]
fn a_step_sets_its_own_words() {
    let build = Build::of(&load("c-96-step-text"), "demo");
    assert_eq!(build.step("Tell").summary.as_deref(), Some("time began in 1970"));
}
