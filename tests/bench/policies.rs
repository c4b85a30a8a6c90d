//! [policies] 10,000 pending requests of one builder, claimed one poll after the
//! other: with `nextBuild`, `nextWorker` and `canStartBuild` beside the built-in
//! order.

use crate::meter::percentile;
use crate::{Line, Size};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_model::wire::{Hello, HelloReply, Poll, PollReply};
use tidemill_schema::workers;
use tidemill_tests::Cluster;

const NAME: &str = "policies";

/// Looks at every request of its window, as the examples of users do.
const FUNCTIONS: &str = r#"
def smallest(builder, requests):
    best = requests[0]
    for request in requests:
        if request.properties.get("rank", 100) < best.properties.get("rank", 100) and request.source.branch != "none":
            best = request
    return best
def anybody(builder, workers, request):
    return workers[0]
def can(builder, worker, request):
    return request.reason != "never"
"#;

fn project(functions: bool) -> String {
    let arguments = if functions { "nextBuild = smallest, nextWorker = anybody, canStartBuild = can" } else { "" };
    format!(
        r#"
{FUNCTIONS}
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c = {{}}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f, {arguments})]
"#
    )
}

pub async fn run(size: Size) -> Vec<Line> {
    let pending = size.pick(1_000, 10_000);
    let claims = size.pick(100, 1_000);
    let mut t = Cluster::with(true, 600).await;
    let m = t.master().await;
    let mut lines = Vec::new();
    let mut measured = Vec::new();
    for functions in [false, true] {
        t.configure(m, &project(functions)).await;
        submit(&t, pending).await;
        measured.push(poll(&t, m, if functions { "chosen" } else { "plain" }, claims).await);
    }
    for (p, what) in [(0.5, "p50"), (0.99, "p99")] {
        let (plain, chosen) = (percentile(&mut measured[0], p), percentile(&mut measured[1], p));
        lines.push(Line::time(
            NAME,
            format!(
                "{what} of a claim by functions at {pending} pending, from poll to answer, beside the built-in order"
            ),
            chosen,
            "ms",
            plain,
        ));
    }
    let failed: i64 =
        sqlx::query_scalar("select count(*) from policy_failures").fetch_one(t.db.pool()).await.expect("read");
    assert_eq!(failed, 0, "every function was asked");
    lines
}

/// Requests of as many buildsets, on fifty branches.
async fn submit(t: &Cluster, n: i32) {
    sqlx::raw_sql("delete from request_queue").execute(t.db.pool()).await.expect("emptied");
    sqlx::query(
        "with stamps as (
             insert into sourcestamps (hash, codebase, repository, project, branch)
             select decode(md5('bench' || i), 'hex'), '', 'r', '', 'branch' || i from generate_series(1, 50) i
             on conflict (hash) do update set branch = excluded.branch returning id
         ), numbered as (select id, row_number() over (order by id) as n from stamps), sets as (
             insert into buildsets (reason, properties)
             select 'bench', jsonb_build_object('rank', jsonb_build_array(i * 7919 % 97, 'bench'))
               from generate_series(1, $1) i returning id
         ), linked as (
             insert into buildset_sourcestamps select s.id, k.id from sets s join numbered k on k.n = 1 + s.id % 50
         ), made as (
             insert into build_requests (buildset_id, builder_id)
             select s.id, b.id from sets s, builders b where b.name = 'b' order by s.id
             returning id, builder_id, buildset_id
         )
         insert into request_queue (lane, request_id, buildset_id)
         select l.id, m.id, m.buildset_id from made m join lanes l on l.builder_id = m.builder_id and l.priority = 0
          order by m.id",
    )
    .bind(n)
    .execute(t.db.pool())
    .await
    .expect("queued");
    sqlx::raw_sql("analyze").execute(t.db.pool()).await.expect("analyzed");
}

/// Milliseconds from a poll with one free slot to its answer with a build, again and again.
async fn poll(t: &Cluster, m: usize, name: &str, claims: u64) -> Vec<f64> {
    let url = t.master_url(m);
    let client = reqwest::Client::new();
    let token = workers::worker_enrol(&t.db, name).await.expect("enrolled");
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        name: name.into(),
        instance: name.into(),
        release: "bench".into(),
        vocabulary: tidemill_model::wire::VOCABULARY,
        slots: claims as u32 + 10,
        info: BTreeMap::new(),
        labels: Default::default(),
    };
    let hello = client.post(format!("{url}/worker/v1/hello")).bearer_auth(&token).json(&hello).send().await;
    let hello: HelloReply = hello.expect("the master answers").json().await.expect("hello is accepted");
    let mut times = Vec::new();
    let mut newest = 0;
    // The first polls fill caches and connections.
    let warm = 20;
    for number in 1..=claims {
        let wait_us = Duration::from_secs(30).as_micros() as u64;
        let body = Poll { session: hello.session, poll: number, free: 1, newest, held: vec![], wait_us };
        let begun = Instant::now();
        let answer = client.post(format!("{url}/worker/v1/poll")).bearer_auth(&token).json(&body).send().await;
        let reply: PollReply = answer.expect("the master answers").json().await.expect("a poll's answer");
        if number > warm {
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        newest = reply.claims.last().expect("something waits").build;
    }
    times
}
