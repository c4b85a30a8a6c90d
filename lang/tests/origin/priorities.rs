//! Which builder and which request goes first (C-09 to C-13).

use crate::example::{builder, load, request};
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::sync::Arc;
use tidemill_lang::policies::{NoHost, Pick, PolicyHost, Query, RequestView, Resource};

/// A master that knows how the last builds ended.
struct History {
    failing: &'static [&'static str],
    asked: RefCell<Vec<Query>>,
}

impl PolicyHost for History {
    fn query(&self, query: &Query) -> Result<Vec<Json>, String> {
        self.asked.borrow_mut().push(query.clone());
        let builder =
            query.filters.iter().find(|(name, _)| name == "builder").and_then(|(_, b)| b.as_str()).unwrap_or("");
        let results = if self.failing.contains(&builder) { 2 } else { 0 };
        Ok((0..query.limit).map(|n| json!({"number": n, "results": results})).collect())
    }
}

#[test]
fn a_builder_that_is_left_out_starts_nothing() {
    let project = load("c-09-builders-left-out");
    let host = History { failing: &["wild"], asked: RefCell::default() };
    let order = |names: &[&str]| {
        let all: Vec<_> = names.iter().map(|n| builder(n)).collect();
        project.policies().prioritize_builders(&all, &host).unwrap().unwrap()
    };
    assert_eq!(order(&["doctor", "stable", "wild"]), ["doctor", "stable"]);
    let asked = host.asked.borrow().clone();
    assert_eq!(asked.len(), 3);
    assert_eq!((asked[0].resource, asked[0].limit), (Resource::Builds, 3));
    assert_eq!(order(&["stable", "wild"]), ["stable", "wild"], "the doctor has nothing to do");
    assert_eq!(host.asked.borrow().len(), 3, "nobody was asked in vain");
}

#[test]
fn builders_go_by_rank_and_an_unknown_name_has_rank_zero() {
    let project = load("c-10-builder-ranks");
    assert!(project.definition().prioritize_builders);
    let order = |names: &[&str]| {
        let all: Vec<_> = names.iter().map(|n| builder(n)).collect();
        project.policies().prioritize_builders(&all, &NoHost).unwrap().unwrap()
    };
    assert_eq!(
        order(&["packages", "tests", "hotfix", "final-release"]),
        ["hotfix", "final-release", "tests", "packages"],
        "the sort is stable"
    );
    assert_eq!(order(&["final-release", "hotfix"]), ["final-release", "hotfix"]);
}

#[test]
fn a_release_goes_before_older_requests() {
    let project = load("c-12-release-first");
    assert!(project.definition().builders[0].policies.next_build);
    let pick = |all: &[RequestView]| {
        let all: Vec<Arc<RequestView>> = all.iter().cloned().map(Arc::new).collect();
        project.policies().next_build(&builder("ship"), &all, &NoHost).unwrap()
    };
    let waiting = [request(1, Some("main")), request(2, Some("release")), request(3, Some("release"))];
    assert_eq!(pick(&waiting), Pick::One(2));
    assert_eq!(pick(&waiting[..1]), Pick::One(1), "without one, the first of all");
}

#[test]
fn the_smallest_number_goes_first_and_no_number_last() {
    let project = load("c-13-smallest-number-first");
    let asks = |id, minutes: i64| {
        let mut request = request(id, Some("main"));
        request.properties.set("patience", minutes, "Force");
        request
    };
    let pick = |all: &[RequestView]| {
        let all: Vec<Arc<RequestView>> = all.iter().cloned().map(Arc::new).collect();
        project.policies().next_build(&builder("shared"), &all, &NoHost).unwrap()
    };
    assert_eq!(pick(&[request(1, None), asks(2, 60), asks(3, 5), asks(4, 5)]), Pick::One(3));
    assert_eq!(pick(&[request(1, None), request(2, None)]), Pick::One(1));
    assert_eq!(pick(&[]), Pick::Nothing);
}
