//! Latent workers with functions of the project's own (C-34 to C-36).

use crate::changes::Outside;
use crate::example::{load, refusal};
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use tidemill_lang::policies::*;
use tidemill_lang::{BuildContext, Project};

/// A cloud for two machines that knows some images.
#[derive(Default)]
struct Cloud {
    machines: RefCell<BTreeMap<String, Json>>,
    ordered: RefCell<u32>,
}

impl PolicyHost for Cloud {
    fn query(&self, _query: &Query) -> Result<Vec<Json>, String> {
        Err("there is nothing to ask here".into())
    }
}

impl PollHost for Cloud {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        let path = request.url.strip_prefix("https://cloud.example.org/machines").ok_or("no such host")?;
        let mut machines = self.machines.borrow_mut();
        let (status, body) = match (request.method.as_str(), path) {
            ("POST", "") if machines.len() == 2 => (503, "full".to_owned()),
            ("POST", "") => {
                *self.ordered.borrow_mut() += 1;
                let order: Json = serde_json::from_str(&request.body).map_err(|e| e.to_string())?;
                match order["image"].as_str() {
                    Some("forbidden") => (403, "not yours".to_owned()),
                    Some(image) => {
                        let id = format!("m-{}", self.ordered.borrow());
                        let image = if image == "old" { "new" } else { image };
                        let machine = json!({"id": id, "image": image, "name": order["name"]});
                        machines.insert(id, machine.clone());
                        (201, machine.to_string())
                    }
                    None => (400, "which image?".to_owned()),
                }
            }
            ("DELETE", path) => match machines.remove(path.trim_start_matches('/')) {
                Some(_) => (204, String::new()),
                None => (404, String::new()),
            },
            _ => (405, String::new()),
        };
        Ok(HttpReply { status, body, ..HttpReply::default() })
    }

    fn command(&self, _command: &PollCommand) -> Result<PollCommandEnd, String> {
        Err("there is no program".into())
    }
}

/// A build that asks for an image, or for none.
fn wanted(image: Option<&str>, state: Json) -> LatentInput {
    let mut build = BuildContext { builder: "large".into(), worker: "rented".into(), ..BuildContext::default() };
    if let Some(image) = image {
        build.properties.set("image", image, "Builder");
    }
    LatentInput { now_us: 1_000_000, state, build: Some(build) }
}

fn input(state: Json) -> LatentInput {
    LatentInput { now_us: 1_000_000, state, build: None }
}

fn warnings(project: &Project) -> Vec<&str> {
    project.warnings().iter().map(|d| d.message.as_str()).collect()
}

#[test]
fn a_machine_is_started_for_a_build_and_named_for_people() {
    let project = load("c-34-start-instance");
    assert_eq!(warnings(&project), ["worker.CustomLatentWorker is accepted but not run by this release"]);
    let declared = project.definition().workers[0].latent.as_ref().unwrap();
    assert_eq!(declared.kind, "CustomLatentWorker");
    assert_eq!(declared.args["build_wait_timeout"], json!(300));
    let (policies, cloud) = (project.policies(), Cloud::default());
    let first = policies.start_instance("rented", wanted(Some("large"), Json::Null), &cloud);
    assert_eq!(first.result, Ok(Started::Yes(vec!["m-1".into(), "large".into()])));
    assert_eq!(cloud.machines.borrow()["m-1"]["name"], "rented");
    let second = policies.start_instance("rented", wanted(None, Json::Null), &cloud);
    assert_eq!(second.result, Ok(Started::Yes(vec!["m-2".into(), "plain".into()])));
    // It may say that there is none just now, which is no error.
    let full = policies.start_instance("rented", wanted(None, Json::Null), &cloud);
    assert_eq!((full.result, full.state), (Ok(Started::No), json!({})));
    let gone = policies.stop_instance("rented", false, input(first.state), &cloud);
    assert_eq!((gone.result, gone.state), (Ok(()), json!({})));
    assert_eq!(cloud.machines.borrow().keys().collect::<Vec<_>>(), ["m-2"]);
}

#[test]
fn a_start_that_fails_says_why_and_what_it_started_can_be_stopped() {
    let project = load("c-34-start-instance");
    let (policies, cloud) = (project.policies(), Cloud::default());
    let refused = policies.start_instance("rented", wanted(Some("forbidden"), Json::Null), &cloud);
    let error = refused.result.unwrap_err().to_string();
    assert!(error.contains("the cloud says 403: not yours") && error.contains("master.star"), "{error}");
    assert!(cloud.machines.borrow().is_empty());
    let half = policies.start_instance("rented", wanted(Some("old"), refused.state), &cloud);
    let error = half.result.unwrap_err().to_string();
    assert!(error.contains("the cloud took new instead of old"), "{error}");
    assert_eq!((cloud.machines.borrow().len(), &half.state), (1, &json!({"machine": "m-2"})));
    assert_eq!(policies.stop_instance("rented", false, input(half.state), &cloud).result, Ok(()));
    assert!(cloud.machines.borrow().is_empty(), "nothing is left that costs money");
}

/// Machines are files; each call of the program is a line.
const MACHINE: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
case "$1" in
start) touch "$here/$2-1"; echo "$2-1" ;;
state) if test -e "$here/$2"; then echo running; else echo gone; fi ;;
stop) rm "$here/$2" ;;
esac
"#;

#[test]
fn a_machine_is_stopped_and_at_once_when_the_master_ends() {
    let project = load("c-36-stop-instance");
    assert_eq!(warnings(&project), ["worker.CustomLatentWorker is accepted but not run by this release"]);
    let host = Outside::with_program("machine", MACHINE);
    let policies = project.policies();
    let calls = || std::fs::read_to_string(host.folder().join("calls")).unwrap();
    for (fast, words) in [(false, "stop debian-1\n"), (true, "stop debian-1 --no-wait\n")] {
        let started = policies.start_instance("tame", input(Json::Null), &host);
        assert_eq!(started.result, Ok(Started::Yes(vec!["debian-1".into()])));
        let checked = policies.check_instance("tame", input(started.state), &host);
        assert_eq!(checked.result, Ok(Checked { good: true, message: "it is running".into() }));
        let stopped = policies.stop_instance("tame", fast, input(checked.state), &host);
        assert_eq!((stopped.result, stopped.state), (Ok(()), json!({})));
        assert!(calls().ends_with(words), "{}", calls());
        assert!(!host.folder().join("debian-1").exists());
    }
    // To stop what was never started is no error, and asks nobody.
    let before = calls();
    assert_eq!(policies.stop_instance("tame", true, input(Json::Null), &host).result, Ok(()));
    assert_eq!(calls(), before);
}

#[test]
fn a_machine_that_died_is_seen_and_one_that_cannot_be_stopped_is_not_forgotten() {
    let project = load("c-36-stop-instance");
    let host = Outside::with_program("machine", MACHINE);
    let policies = project.policies();
    let started = policies.start_instance("tame", input(Json::Null), &host);
    std::fs::remove_file(host.folder().join("debian-1")).unwrap();
    let checked = policies.check_instance("tame", input(started.state), &host);
    assert_eq!(checked.result, Ok(Checked { good: false, message: "it is gone".into() }));
    let stopped = policies.stop_instance("tame", false, input(checked.state), &host);
    assert!(stopped.result.unwrap_err().to_string().contains("machine stop: "));
    assert_eq!(stopped.state, json!({"machine": "debian-1"}));
}

#[test]
fn a_latent_worker_of_ones_own_needs_both_functions() {
    let told = refusal("c-36-stop-instance", "        stop_instance = stop,\n", "");
    assert!(told.contains("worker.CustomLatentWorker needs `stop_instance`"), "{told}");
    let told = refusal("c-36-stop-instance", "build_wait_timeout = -1", "build_wait_timeout = \"never\"");
    assert!(told.contains("must be a number of seconds; below 0 it is for ever"), "{told}");
}
