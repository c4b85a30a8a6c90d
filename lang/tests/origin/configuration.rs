//! The file as a program, and what it only declares (C-02, C-03, C-37, C-97).

use crate::build::Build;
use crate::example::{load, refusal};
use serde_json::json;
use std::collections::BTreeSet;
use tidemill_lang::Project;
use tidemill_lang::definition::{Mode, ReporterKind, SecretText};
use tidemill_model::Results;

fn warnings(project: &Project) -> Vec<&str> {
    project.warnings().iter().map(|d| d.message.as_str()).collect()
}

#[test]
fn a_loop_makes_a_builder_for_each_interpreter_on_one_pool() {
    let project = load("c-02-generated-builders");
    let definition = project.definition();
    assert_eq!((definition.workers.len(), definition.builders.len()), (10, 6));
    let names: BTreeSet<_> = definition.builders.iter().map(|b| b.name.as_str()).collect();
    assert!(names.contains("test-python3.12") && names.contains("test-pypy3") && names.len() == 6, "{names:?}");
    for builder in &definition.builders {
        assert_eq!(builder.workernames.len(), 10, "all share the pool");
        assert_eq!(builder.steps, ["version", "test"]);
        let interpreter = builder.name.strip_prefix("test-").unwrap();
        assert_eq!(builder.step_defs[1].args["command"], json!([interpreter, "-m", "unittest", "discover"]));
    }
}

#[test]
fn namespaces_are_there_without_an_import_and_load_brings_other_peoples() {
    let project = load("c-03-namespaces");
    let build = Build::of(&project, "hello");
    assert_eq!(build.outcome(), [("shell", Results::Success), ("Greet", Results::Success)]);
    assert_eq!(build.step("Greet").log("greeting"), "hello, everybody");
    let error = refusal("c-03-namespaces", "steps.ShellCommand(", "steps.ShelCommand(");
    assert!(error.contains("ShellCommand"), "the nearest name: {error}");
}

#[test]
fn a_latent_worker_is_declared_with_its_arguments() {
    let project = load("c-37-latent-workers");
    let workers = &project.definition().workers;
    assert!(workers[0].latent.is_none());
    let latent = workers[1].latent.as_ref().unwrap();
    assert_eq!((latent.kind.as_str(), &latent.args["ami"]), ("EC2LatentWorker", &json!("ami-12345")));
    assert_eq!(workers[1].max_builds, Some(1));
    assert_eq!(warnings(&project), ["worker.EC2LatentWorker is accepted but not run by this release"]);
}

#[test]
fn a_notifier_is_a_service_with_its_report_and_never_a_secrets_value() {
    let project = load("c-97-status-services");
    let reporter = &project.definition().reporters[0];
    let ReporterKind::Mail(mail) = &reporter.kind else { panic!("{reporter:?}") };
    assert_eq!(mail.password, Some(SecretText::Secret { name: "smtp".into() }));
    assert_eq!(reporter.generators[0].modes, [Mode::Problem]);
    assert_eq!(project.definition().secrets, ["smtp"]);
    assert_eq!(warnings(&project), [] as [&str; 0]);
}
