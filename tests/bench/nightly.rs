//! [nightly-burst] Ten thousand Nightly schedulers whose time is the same minute,
//! on one replica: how long until each has fired, and what claims cost meanwhile,
//! beside the same claims with nothing else to do.

use crate::meter::percentile;
use crate::{Line, Size};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_model::wire::{Hello, HelloReply, Poll, PollReply};
use tidemill_schema::workers;
use tidemill_tests::Cluster;

const NAME: &str = "nightly-burst";

pub async fn run(size: Size) -> Vec<Line> {
    let schedulers = size.pick(300_i64, 10_000);
    let idle_claims = size.pick(100, 1_000);
    let mut t = Cluster::with(true, 600).await;
    let m = t.master().await;
    let text = format!(
        r#"
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c = {{}}
c["builders"] = [
    util.BuilderConfig(name = name, workernames = ["*" if name == "b" else "nobody"], factory = f)
    for name in ["b"] + ["night%d" % i for i in range(100)]
]
c["schedulers"] = [
    schedulers.Nightly(name = "n%d" % i, builderNames = ["night%d" % (i % 100)], month = 2, dayOfMonth = 29, hour = 0)
    for i in range({schedulers})
]
"#
    );
    t.configure(m, &text).await;
    until(&t, "select count(*) from schedulers where next_at > tidemill_now()", schedulers).await;
    queue(&t, size.pick(5_000, 100_000)).await;
    let mut claims = Claims::begin(&t, m).await;
    // The first polls fill caches and connections.
    for _ in 0..20 {
        claims.one().await;
    }
    let mut idle = Vec::new();
    for _ in 0..idle_claims {
        idle.push(claims.one().await);
    }
    // The minute comes.
    sqlx::raw_sql(
        "update schedulers set next_at = tidemill_now() + interval '1 second',
                state = jsonb_set(state, '{next_us}',
                    to_jsonb((extract(epoch from tidemill_now() + interval '1 second') * 1000000)::bigint))",
    )
    .execute(t.db.pool())
    .await
    .expect("the time is moved");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let mut busy = Vec::new();
    let fired = "select count(*) from buildsets where scheduler like 'n%'";
    let mut looked = Instant::now();
    loop {
        busy.push(claims.one().await);
        if looked.elapsed() > Duration::from_millis(200) {
            if count(&t, fired).await >= schedulers {
                break;
            }
            looked = Instant::now();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(count(&t, fired).await, schedulers, "each fires once");
    let mut lines = vec![
        Line::alone(NAME, format!("{schedulers} Nightly schedulers of one minute, until all have fired"), took, "s"),
        Line::alone(NAME, "schedulers that fire", schedulers as f64 / took, "1/s"),
    ];
    for (share, what) in [(0.5, "p50"), (0.99, "p99")] {
        let (idle, busy) = (percentile(&mut idle, share), percentile(&mut busy, share));
        lines.push(Line::time(NAME, format!("{what} of a claim meanwhile, beside idle"), busy, "ms", idle));
    }
    lines
}

async fn count(t: &Cluster, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(t.db.pool()).await.expect("counted")
}

async fn until(t: &Cluster, sql: &'static str, wanted: i64) {
    tidemill_tests::wait_until(sql, || async {
        let found = count(t, sql).await;
        tidemill_tests::wait::holds(found == wanted, found)
    })
    .await;
}

/// Requests that wait for the worker, all of one buildset.
async fn queue(t: &Cluster, n: i32) {
    sqlx::query(
        "with a_set as (insert into buildsets (reason) values ('bench') returning id), made as (
             insert into build_requests (buildset_id, builder_id)
             select s.id, b.id from a_set s, builders b, generate_series(1, $1) where b.name = 'b'
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

/// A worker that asks for one build after the other.
struct Claims {
    client: reqwest::Client,
    url: String,
    token: String,
    session: i64,
    polls: u64,
    newest: i64,
}

impl Claims {
    async fn begin(t: &Cluster, m: usize) -> Claims {
        let url = t.master_url(m);
        let client = reqwest::Client::new();
        let token = workers::worker_enrol(&t.db, "w").await.expect("enrolled");
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            name: "w".into(),
            instance: "w".into(),
            release: "bench".into(),
            vocabulary: tidemill_model::wire::VOCABULARY,
            slots: 1_000_000,
            info: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        let said = client.post(format!("{url}/worker/v1/hello")).bearer_auth(&token).json(&hello).send().await;
        let hello: HelloReply = said.expect("the master answers").json().await.expect("hello is accepted");
        Claims { client, url, token, session: hello.session, polls: 0, newest: 0 }
    }

    /// Milliseconds from a poll with one free slot to its answer with a build.
    async fn one(&mut self) -> f64 {
        self.polls += 1;
        let wait_us = Duration::from_secs(30).as_micros() as u64;
        let (session, poll, newest) = (self.session, self.polls, self.newest);
        let body = Poll { session, poll, free: 1, newest, held: vec![], wait_us };
        let begun = Instant::now();
        let asked = self.client.post(format!("{}/worker/v1/poll", self.url)).bearer_auth(&self.token).json(&body);
        let answer = asked.send().await.expect("the master answers");
        let reply: PollReply = answer.json().await.expect("a poll's answer");
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        self.newest = reply.claims.last().expect("something waits").build;
        took
    }
}
