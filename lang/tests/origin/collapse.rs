//! Which waiting requests become one (C-04 to C-08).

use crate::example::{builder, load, request};
use serde_json::json;
use tidemill_lang::definition::Collapse;
use tidemill_lang::policies::{NoHost, RequestView};

fn with(mut request: RequestView, property: &str, value: &str) -> RequestView {
    request.properties.set(property, json!(value), "Change");
    request
}

#[test]
fn requests_of_one_branch_become_one_whatever_their_revision() {
    let project = load("c-05-merge-on-same-branch");
    let policies = project.policies();
    assert_eq!(policies.collapse_kind("nightlies"), Collapse::Predicate);
    let older = [request(1, Some("main")), request(2, Some("next")), request(3, Some("main")), request(4, None)];
    let merged = |branch| policies.collapsible(&builder("nightlies"), &request(9, branch), &older, &NoHost).unwrap();
    assert_eq!(merged(Some("main")), [1, 3]);
    assert_eq!(merged(None), [4]);
    assert!(merged(Some("other")).is_empty());
    assert_eq!(policies.collapse_kind("bisect"), Collapse::Never, "the builder says no itself");
}

#[test]
fn forced_builds_with_different_reasons_stay_apart() {
    let project = load("c-06-merge-on-same-reason");
    let policies = project.policies();
    let forced = |id, branch, reason: &str| RequestView { reason: reason.into(), ..request(id, Some(branch)) };
    let may = |a: &RequestView, b: &RequestView| policies.may_collapse(&builder("linux"), a, b, &NoHost).unwrap();
    assert!(may(&forced(1, "main", "flaky?"), &forced(2, "main", "flaky?")));
    assert!(!may(&forced(1, "main", "flaky?"), &forced(2, "main", "for the demo")));
    assert!(!may(&forced(1, "main", "flaky?"), &forced(2, "next", "flaky?")), "the built-in rule says no");
    let mut patched = forced(2, "main", "flaky?");
    patched.sources[0].patch = true;
    assert!(!may(&forced(1, "main", "flaky?"), &patched), "nothing merges with a patch");
}

#[test]
fn facts_for_the_predicate_come_with_the_request() {
    let project = load("c-07-merge-on-fetched-facts");
    let policies = project.policies();
    let about = |id, branch, component| with(request(id, Some(branch)), "component", component);
    let older = [about(1, "main", "engine"), about(2, "main", "manual"), about(3, "next", "engine"), request(4, None)];
    let merged = |new: RequestView| policies.collapsible(&builder("all"), &new, &older, &NoHost).unwrap();
    assert_eq!(merged(about(9, "main", "engine")), [1, 3], "whatever the branch: the fact alone decides");
    assert_eq!(merged(about(9, "main", "pages")), [0; 0]);
}

#[test]
fn the_source_of_the_changes_fetches_those_facts_once() {
    let project = load("c-07-merge-on-fetched-facts");
    let host = crate::changes::Outside::answering(
        "https://example.org/commits.json",
        r#"[{"id": 5, "author": "ada", "files": ["src/a.c", "src/b.c"]}, {"id": 6, "author": "bob", "files": ["docs/x", "web/y"]}]"#,
    );
    let found = project.policies().poll("feed", Default::default(), &host).unwrap();
    let components: Vec<_> = found.changes.iter().map(|c| c.properties.get("component").unwrap().clone()).collect();
    assert_eq!(components, ["engine", "several"]);
    let first = &found.changes[0];
    assert_eq!((first.author.as_str(), first.revision.as_deref(), first.files.len()), ("ada", Some("5"), 2));
    assert_eq!(found.state, json!({"last": 6}));
    let input = tidemill_lang::policies::PollInput { now_us: 0, state: found.state };
    assert!(project.policies().poll("feed", input, &host).unwrap().changes.is_empty());
}

#[test]
fn requests_with_an_equal_key_merge_and_one_without_a_key_stays_alone() {
    let project = load("c-08-merge-by-key");
    let policies = project.policies();
    assert_eq!(policies.collapse_kind("busy"), Collapse::Key);
    let key = |r: &RequestView| policies.collapse_key(&builder("busy"), r, &NoHost).unwrap();
    assert!(key(&request(1, Some("main"))).is_some());
    assert_eq!(key(&request(1, Some("main"))), key(&request(2, Some("main"))));
    assert_ne!(key(&request(1, Some("main"))), key(&request(1, Some("next"))));
    let urgent = RequestView { priority: 99, ..request(3, Some("main")) };
    assert_eq!(key(&urgent), None, "an urgent request merges with none");
    let older = [request(1, Some("main")), request(2, Some("next")), urgent];
    assert_eq!(policies.collapsible(&builder("busy"), &request(9, Some("main")), &older, &NoHost).unwrap(), [1]);
}
