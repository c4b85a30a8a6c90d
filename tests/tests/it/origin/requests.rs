//! Which waiting requests of the examples merge, and which go first (C-05 to C-13).

use super::Origin;
use serde_json::{Value, json};
use tidemill_tests::invariants;

/// Examples whose requests are made while no worker is there, which comes then and takes one at a time.
struct Queue {
    o: Origin,
    worker: usize,
}

impl Queue {
    async fn start() -> Queue {
        let mut o = Origin::start().await;
        let worker = o.worker("w", 1).await;
        let mut this = Queue { o, worker };
        this.close();
        this
    }

    /// The worker goes.
    fn close(&mut self) {
        assert!(self.o.t.workers[self.worker].process.terminate().success());
    }

    async fn force(&self, builder: &str, asked: &[Value]) -> Vec<i64> {
        let mut requests = vec![];
        for body in asked {
            requests.push(self.o.force(builder, body.clone()).await);
        }
        requests
    }

    async fn collapsed_into(&self, request: i64) -> Value {
        let row = self.o.t.api(self.o.m).list(&format!("buildrequests/{request}")).await.unwrap().remove(0);
        row["collapsed_into"].clone()
    }

    /// The worker comes, builds all that waits, and goes again. The requests in the order of their builds.
    async fn built(&mut self, requests: &[i64]) -> Vec<i64> {
        let url = self.o.t.master_url(self.o.m);
        self.o.t.worker_restart(self.worker, &url, 1);
        for request in requests {
            self.o.t.result_of(*request).await;
        }
        self.close();
        let builds = self.o.t.api(self.o.m).list("builds?order=buildid&limit=1000").await.unwrap();
        let order = builds.iter().map(|b| b["buildrequestid"].as_i64().unwrap());
        order.filter(|r| requests.contains(r)).collect()
    }
}

fn at(branch: &str, revision: &str) -> Value {
    json!({ "branch": branch, "revision": revision })
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_of_the_examples_merge_as_their_functions_say() {
    let mut q = Queue::start().await;

    q.o.apply("c-05-merge-on-same-branch").await;
    let n = q.force("nightlies", &[at("main", "1"), at("next", "1"), at("main", "2")]).await;
    let b = q.force("bisect", &[at("main", "1"), at("main", "1")]).await;
    assert_eq!(q.collapsed_into(n[0]).await, n[2], "whatever the revision");
    for alone in [n[1], n[2], b[0], b[1]] {
        assert_eq!(q.collapsed_into(alone).await, Value::Null);
    }
    let built = q.built(&[n[0], n[1], n[2], b[0], b[1]]).await;
    assert!(built.len() == 4 && !built.contains(&n[0]), "{built:?} of {n:?} and {b:?}");

    q.o.apply("c-06-merge-on-same-reason").await;
    let why = |reason: &str, branch: &str| json!({ "reason": reason, "branch": branch });
    let asked = [why("flaky?", "main"), why("demo", "main"), why("flaky?", "next"), why("flaky?", "main")];
    let r = q.force("linux", &asked).await;
    assert_eq!(q.collapsed_into(r[0]).await, r[3]);
    assert_eq!(q.built(&r).await, r[1..], "another reason, or another branch, is another build");

    q.o.apply("c-07-merge-on-fetched-facts").await;
    let about = |component: &str, branch: &str| json!({ "properties": { "component": component }, "branch": branch });
    let r = q.force("all", &[about("engine", "main"), about("manual", "main"), about("engine", "next")]).await;
    assert_eq!(q.collapsed_into(r[0]).await, r[2], "the fact alone decides");
    assert_eq!(q.built(&r).await, r[1..]);

    q.o.apply("c-08-merge-by-key").await;
    let urgent = json!({ "branch": "main", "priority": 99 });
    let r = q.force("busy", &[at("main", "1"), at("next", "1"), urgent.clone(), urgent, at("main", "2")]).await;
    assert_eq!(q.collapsed_into(r[0]).await, r[4]);
    assert_eq!(q.built(&r).await, [r[2], r[3], r[1], r[4]], "an urgent request stays alone, and goes first");
    invariants::check(&q.o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_and_requests_of_the_examples_go_in_the_order_of_their_functions() {
    let mut q = Queue::start().await;

    q.o.apply("c-09-builders-left-out").await;
    let make = std::fs::read_to_string(q.o.t.dir().join("bin/make")).unwrap();
    q.o.t.stand_in("make", "exit 1");
    for n in 0..3 {
        let bad = q.force("wild", &[at("main", &n.to_string())]).await;
        q.built(&bad).await;
        assert_eq!(q.o.t.result_of(bad[0]).await, 2);
    }
    q.o.t.stand_in("make", &make);
    let mut r = vec![];
    for builder in ["wild", "stable", "doctor"] {
        r.extend(q.force(builder, &[at("main", "9")]).await);
    }
    let built = q.built(&r).await;
    assert!(
        built.iter().position(|x| *x == r[2]) < built.iter().position(|x| *x == r[0]),
        "the wild one was first and rests until the doctor has nothing to do: {built:?} of {r:?}"
    );

    q.o.apply("c-10-builder-ranks").await;
    let mut r = vec![];
    for builder in ["packages", "tests", "hotfix", "final-release"] {
        r.extend(q.force(builder, &[json!({})]).await);
    }
    assert_eq!(q.built(&r).await, [r[2], r[3], r[1], r[0]], "an unknown name has rank 0, and the sort is stable");

    q.o.apply("c-12-release-first").await;
    let r = q.force("ship", &[at("main", "1"), at("next", "1"), at("release", "1")]).await;
    assert_eq!(q.built(&r).await, [r[2], r[0], r[1]]);

    q.o.apply("c-13-smallest-number-first").await;
    let mut asked = [at("a", "1"), at("b", "1"), at("c", "1"), at("d", "1")];
    for (body, minutes) in asked[1..].iter_mut().zip([json!(60), json!("5"), json!(7)]) {
        body["properties"] = json!({ "patience": minutes });
    }
    let r = q.force("shared", &asked).await;
    assert_eq!(q.built(&r).await, [r[2], r[3], r[1], r[0]], "one without a number goes last");
    let failures = q.o.t.api(q.o.m).list("builders/shared/policyfailures").await.unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    invariants::check(&q.o.t.db).await;
}
