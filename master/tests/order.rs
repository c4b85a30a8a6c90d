//! What starts next and where: the decision alone, by tables.

use std::collections::HashMap;
use std::sync::Arc;
use tidemill_lang::policies::{BuilderView, NoHost, RequestView, WorkerView};
use tidemill_lang::{Limits, Project};
use tidemill_master::policies::order::{Decision, Free, Round, Shares, Waits};
use tidemill_model::revision::Files;
use tidemill_model::{BuilderId, RequestId, SessionId, WorkerId};
use tidemill_schema::window::{Candidate, Queued};

/// Builders `a` and `b`, the first with these arguments, and more of the file.
fn project(arguments: &str, more: &str) -> Project {
    let text = format!(
        r#"
c = {{}}
{more}
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c["builders"] = [
    util.BuilderConfig(name = "a", workernames = ["*"], factory = f, {arguments}),
    util.BuilderConfig(name = "b", workernames = ["*"], factory = f),
]
"#
    );
    Project::evaluate(&Files::single(text), &Limits::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// A builder whose requests are (id, priority); the lane is the builder's first letter.
fn waits(name: &str, requests: &[(i64, i32)], workers: &[usize]) -> Waits {
    let lane = i64::from(name.as_bytes()[0]);
    let queue = requests.iter().map(|&(id, priority)| {
        let queued =
            Queued { lane, ticket: id, builder: BuilderId(lane), priority, request: RequestId(id), attempt: 1 };
        (queued, Some(Arc::new(RequestView { id, builder: name.into(), priority, ..RequestView::default() })))
    });
    Waits {
        view: BuilderView { name: name.into(), pending: requests.len() as u64, ..BuilderView::default() },
        queue: queue.collect(),
        workers: workers.to_vec(),
        apart: HashMap::new(),
    }
}

/// Workers `w0`, `w1` …, each with one free slot; those from `elsewhere` on poll another replica.
fn workers(count: usize, elsewhere: usize) -> Vec<Free> {
    (0..count)
        .map(|n| Free {
            session: SessionId(n as i64),
            view: WorkerView { name: format!("w{n}"), free: 1, ..WorkerView::default() },
            here: n < elsewhere,
        })
        .collect()
}

fn decide(project: &Project, builders: Vec<Waits>, workers: Vec<Free>) -> Decision {
    shared(project, builders, workers, None)
}

fn shared(project: &Project, builders: Vec<Waits>, workers: Vec<Free>, shares: Option<Shares>) -> Decision {
    Round { project, host: &NoHost, resting: &|_, _| false, builders, workers, shares }.decide()
}

/// (request, worker) in the order of the decision.
fn pairs(decision: &Decision) -> Vec<(i64, i64)> {
    decision.picks.iter().map(|p| (p.ticket, p.session.0)).collect()
}

fn requests(decision: &Decision) -> Vec<i64> {
    decision.picks.iter().map(|p| p.ticket).collect()
}

#[test]
fn without_functions_builders_go_by_priority_then_age_then_name() {
    let project = project("", "");
    let three = |a, b| decide(&project, vec![waits("b", b, &[0, 1, 2]), waits("a", a, &[0, 1, 2])], workers(3, 3));
    assert_eq!(requests(&three(&[(1, 0), (2, 0)], &[(3, 9), (4, 9)])), [3, 4, 1]);
    assert_eq!(requests(&three(&[(2, 0)], &[(1, 0), (3, 0)])), [1, 3, 2]);
}

#[test]
fn a_builder_that_is_left_out_is_settled_and_starts_nothing() {
    let project = project(
        "",
        "def order(master, builders):\n    return [b for b in builders if b.name == 'b']\nc['prioritizeBuilders'] = order",
    );
    let decision = decide(&project, vec![waits("a", &[(1, 0)], &[0]), waits("b", &[(2, 0)], &[0])], workers(1, 1));
    assert_eq!(pairs(&decision), [(2, 0)]);
    assert!(decision.done.contains(&i64::from(b'a')) && !decision.more);
}

#[test]
fn next_build_that_names_nothing_ends_the_builders_turn_and_not_the_others() {
    let project = project(
        "nextBuild = pick",
        "def pick(builder, requests):\n    return None if builder.building else requests[-1]",
    );
    let decision = decide(
        &project,
        vec![waits("a", &[(1, 5), (2, 5), (3, 5)], &[0, 1, 2]), waits("b", &[(4, 0)], &[0, 1, 2])],
        workers(3, 3),
    );
    assert_eq!(requests(&decision), [3, 4]);
}

#[test]
fn a_refused_worker_is_followed_by_the_others_and_a_refused_request_by_the_next() {
    let project = project(
        "canStartBuild = can",
        "def can(builder, worker, request):\n    return request.id != 1 and worker.name == 'w1'",
    );
    let decision = decide(&project, vec![waits("a", &[(1, 9), (2, 0), (3, 0)], &[0, 1])], workers(2, 2));
    assert_eq!(pairs(&decision), [(2, 1)]);
}

#[test]
fn what_goes_to_a_worker_of_another_replica_is_left_to_it_and_the_next_request_stays_here() {
    let project = project(
        "nextWorker = choose",
        "def choose(builder, workers, request):\n    return workers[-1] if request.id == 1 else workers[0]",
    );
    let decision = decide(&project, vec![waits("a", &[(1, 0), (2, 0)], &[0, 1])], workers(2, 1));
    assert_eq!(pairs(&decision), [(2, 0)]);
}

#[test]
fn a_function_that_fails_is_asked_once_a_round_and_the_built_in_order_follows() {
    let project = project(
        "nextBuild = broken, nextWorker = broken, canStartBuild = broken",
        "def broken(*args):\n    fail('no')",
    );
    let decision = decide(&project, vec![waits("a", &[(1, 0), (2, 0)], &[0, 1])], workers(2, 2));
    assert_eq!(requests(&decision), [1, 2]);
    let mut failed: Vec<&str> = decision.failures.iter().map(|(_, policy, _)| *policy).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["canStartBuild", "nextBuild", "nextWorker"]);
}

#[test]
fn workers_that_may_not_build_it_or_poll_elsewhere_get_nothing_by_chance() {
    let project = project("", "");
    for _ in 0..50 {
        let decision = decide(&project, vec![waits("a", &[(1, 0), (2, 0)], &[1, 2])], workers(3, 2));
        assert_eq!(pairs(&decision), [(1, 1)]);
    }
}

/// Else the functions would be asked again and again about a worker to which the claim gives nothing.
#[test]
fn a_worker_has_no_more_free_slots_than_its_definition_leaves() {
    let text = r#"
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c = {
    "workers": [worker.Worker("few", max_builds = 2), worker.Worker("many")],
    "builders": [util.BuilderConfig(name = "a", workernames = ["few", "many"], factory = f)],
}
"#;
    let project = Project::evaluate(&Files::single(text), &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let free = |name: &str, building: u32| {
        let candidate = Candidate {
            session: SessionId(1),
            worker: WorkerId(1),
            name: name.into(),
            slots: 4,
            building,
            info: Default::default(),
        };
        tidemill_master::policies::views::worker(project.definition(), &candidate).free
    };
    assert_eq!([free("few", 0), free("few", 1), free("few", 3)], [2, 1, 0]);
    assert_eq!([free("many", 1), free("other", 4)], [3, 0]);
}

#[test]
fn what_is_for_one_worker_goes_to_no_other_and_holds_up_nothing() {
    let project = project("", "");
    let mut a = waits("a", &[(1, 5), (2, 0)], &[0, 1]);
    a.queue[0].0.lane = 77;
    a.apart.insert(77, vec![1]);
    let decision = decide(&project, vec![a], workers(2, 1));
    assert_eq!(pairs(&decision), [(2, 0)]);
}

#[test]
fn what_functions_refuse_is_told_with_the_shortest_wait() {
    let project = project(
        "canStartBuild = can",
        "def can(builder, worker, request):\n    return {1: (False, 'out of ' + worker.name, 60 if worker.name == 'w0' else 30), \
         2: True, 3: False}[request.id]",
    );
    let decision = decide(&project, vec![waits("a", &[(1, 9), (2, 5), (3, 0)], &[0, 1, 2])], workers(3, 3));
    assert_eq!(requests(&decision), [2]);
    let refused: Vec<_> = decision.refused.iter().map(|r| (r.request.map(|q| q.0), r.policy, r.wait_seconds)).collect();
    assert_eq!(refused, [(Some(1), "canStartBuild", Some(30)), (Some(3), "canStartBuild", None)]);
    assert!(decision.refused[0].said.starts_with("out of w"));
    assert_eq!(decision.allowed, [RequestId(2)]);
    assert!(decision.looked.contains(&i64::from(b'a')));
}

#[test]
fn a_builder_as_a_whole_is_refused_by_the_functions_that_choose_nothing() {
    let order = "c['prioritizeBuilders'] = lambda master, builders: [b for b in builders if b.name == 'b']";
    let all = |p: &Project| {
        let decision = decide(p, vec![waits("a", &[(1, 0)], &[0]), waits("b", &[(2, 0)], &[0])], workers(1, 1));
        decision.refused.iter().map(|r| (r.builder, r.request, r.policy)).collect::<Vec<_>>()
    };
    let a = i64::from(b'a');
    assert_eq!(all(&project("", order)), [(a, None, "prioritizeBuilders")]);
    assert_eq!(all(&project("nextBuild = lambda b, rs: None", "")), [(a, None, "nextBuild")]);
    assert_eq!(all(&project("nextWorker = lambda b, ws, r: None", "")), [(a, None, "nextWorker")]);
}

#[test]
fn builds_are_dealt_out_by_shares_after_priority_and_functions_order_goes_before() {
    let builders = |count: usize| {
        let all: Vec<usize> = (0..count).collect();
        let of = |name: &str, project: &str, requests: &[(i64, i32)]| {
            let mut waits = waits(name, requests, &all);
            waits.view.project = project.into();
            waits
        };
        vec![of("a", "x", &[(1, 0), (2, 0), (3, 0), (4, 0)]), of("b", "y", &[(5, 0), (6, 0), (7, 0)])]
    };
    let shares = |x: f64, running: &[(&str, u64)]| {
        let running = running.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect();
        Some(Shares { of: HashMap::from([("x".to_owned(), x)]), running })
    };
    let plain = project("", "");
    assert_eq!(requests(&shared(&plain, builders(5), workers(5, 5), shares(1.0, &[]))), [1, 5, 2, 6, 3]);
    assert_eq!(requests(&shared(&plain, builders(5), workers(5, 5), shares(3.0, &[]))), [1, 5, 2, 3, 4]);
    assert_eq!(requests(&shared(&plain, builders(3), workers(3, 3), shares(1.0, &[("x", 2)]))), [5, 6, 1]);
    let mut urgent = builders(3);
    urgent[0].queue[0].0.priority = 1;
    assert_eq!(requests(&shared(&plain, urgent, workers(3, 3), shares(1.0, &[("x", 9)]))), [1, 5, 6]);
    let ordered = project("", "c['prioritizeBuilders'] = lambda master, builders: builders");
    assert_eq!(requests(&shared(&ordered, builders(5), workers(5, 5), shares(1.0, &[]))), [1, 2, 3, 4, 5]);
    // A function that is asked again and again fails once a round.
    let broken = project("nextBuild = broken", "def broken(*args):\n    fail('no')");
    let decision = shared(&broken, builders(5), workers(5, 5), shares(1.0, &[]));
    assert_eq!((decision.picks.len(), decision.failures.len()), (5, 1));
}
