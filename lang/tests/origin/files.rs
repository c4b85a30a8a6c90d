//! Finding files on the worker, and what the worker can do (C-91 to C-95).

use crate::build::Build;
use crate::example::load;
use serde_json::json;
use tidemill_model::Results;

#[test]
fn files_are_found_by_stat_listdir_and_glob() {
    let build = Build::of(&load("c-91-file-discovery"), "demo");
    let expected = "\
d: folder
d/f: file
l: link
nothing: absent
in d: a.txt b.txt f
texts: build/d/a.txt build/d/b.txt
nothing failed: True
";
    assert_eq!(build.step("Look").log("found"), expected);
}

#[test]
fn compiled_files_are_the_steps_text_and_no_folder_fails_or_warns() {
    let build = Build::of(&load("c-94-find-compiled"), "demo");
    let told = |name: &str| {
        let step = build.step(name);
        (step.results, step.summary.clone().unwrap_or_else(|| step.error.clone()))
    };
    assert_eq!(told("full"), (Results::Success, "compiled: build/full/a.pyc build/full/b.pyc".into()));
    assert_eq!(told("empty"), (Results::Success, "nothing compiled".into()));
    assert_eq!(told("plain"), (Results::Warnings, "build/plain is no folder".into()));
    assert_eq!(told("absent"), (Results::Failure, "there is no build/absent".into()));
    assert_eq!(build.results, Results::Failure);
}

#[test]
fn a_step_asks_what_the_worker_can_do_and_refuses_clearly() {
    let build = Build::of(&load("c-95-worker-capabilities"), "demo");
    assert_eq!(build.step("fits").results, Results::Success);
    assert_eq!(build.host.property("glob"), Some(json!("3.1")));
    let old = build.step("too new");
    assert_eq!((old.results, old.summary.as_deref()), (Results::Skipped, Some("the worker is too old")));
    let unknown = build.step("unknown");
    assert_eq!(unknown.results, Results::Exception);
    assert!(unknown.error.contains("teleport") && unknown.error.contains("too old"), "{}", unknown.error);
}
