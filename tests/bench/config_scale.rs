//! [config-scale] A project of 1,000 builders made by a loop: what evaluation
//! takes, what it takes until three replicas work by it, and what a claim costs
//! before and after.

use crate::meter::percentile;
use crate::{Line, Size};
use std::time::Instant;
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;
use tidemill_tests::{Cluster, wait_until};

const NAME: &str = "config-scale";

/// So many builders, their factories of three steps each, and two schedulers.
fn project(builders: usize, word: &str) -> String {
    format!(
        r#"
def factory(i):
    f = util.BuildFactory()
    f.addStep(steps.ShellCommand(name = "configure", command = ["true", "--prefix", "/opt/%d" % i]))
    f.addStep(steps.ShellCommand(name = "compile", command = ["true", util.Interpolate("%(prop:buildername)s")], haltOnFailure = True))
    f.addStep(steps.ShellCommand(name = "test", command = "true", timeout = 600, env = {{"N": str(i)}}))
    return f

c = {{}}
c["builders"] = [util.BuilderConfig(
    name = "b%d" % i,
    workernames = ["*"],
    tags = ["even" if i % 2 == 0 else "odd"],
    description = {word:?},
    properties = {{"os": "os%d" % (i % 7)}},
    factory = factory(i),
) for i in range({builders})]
c["schedulers"] = [
    schedulers.SingleBranchScheduler(name = "all", builderNames = ["b%d" % i for i in range({builders})],
        change_filter = util.ChangeFilter(branch = "never")),
    schedulers.SingleBranchScheduler(name = "one", builderNames = ["b0"], change_filter = util.ChangeFilter(branch = "nor")),
]
"#
    )
}

/// Milliseconds from posting to the last of the replicas having it ready.
async fn apply(t: &Cluster, masters: &[usize], text: &str) -> f64 {
    let begun = Instant::now();
    let answer = t.api(masters[0]).post("config", serde_json::json!({ "files": { "master.star": text } })).await;
    let revision = answer.expect("the project is good")["revision"].as_i64().expect("an id");
    for m in masters {
        let api = t.api(*m);
        wait_until("a replica to have the revision ready", || async {
            let active = api.get("config").await?;
            let good = active["revision"] == revision && active["ready"] == true;
            if good { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
    begun.elapsed().as_secs_f64() * 1000.0
}

/// Builds of one builder a second, from the first claim to the last, over one worker.
async fn claims(t: &Cluster, n: i32) -> f64 {
    let first: i64 = sqlx::query_scalar("select coalesce(max(id), 0) from builds")
        .fetch_one(t.db.pool())
        .await
        .expect("builds can be read");
    sqlx::query(
        "with s as (insert into buildsets (reason) values ('bench') returning id), made as (
             insert into build_requests (buildset_id, builder_id)
             select s.id, b.id from s, builders b, generate_series(1, $1) where b.name = 'b0'
             returning id, builder_id, buildset_id)
         insert into request_queue (lane, request_id, buildset_id)
         select l.id, m.id, m.buildset_id from made m join lanes l on l.builder_id = m.builder_id and l.priority = 0",
    )
    .bind(n)
    .execute(t.db.pool())
    .await
    .expect("queued");
    wait_until("all builds to be claimed", || async {
        let claimed: i64 = sqlx::query_scalar("select count(*) from builds where id > $1")
            .bind(first)
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if claimed >= i64::from(n) { Ok(()) } else { Err(format!("{claimed} of {n}")) }
    })
    .await;
    let seconds: f64 = sqlx::query_scalar(
        "select extract(epoch from max(started_at) - min(started_at))::float8 from builds where id > $1",
    )
    .bind(first)
    .fetch_one(t.db.pool())
    .await
    .expect("builds can be read");
    f64::from(n) / seconds.max(0.001)
}

pub async fn run(size: Size) -> Vec<Line> {
    let builders = size.pick(200, 1000);
    let n = size.pick(60, 1000);
    let files = Files::single(project(builders, "first"));
    let mut evaluation: Vec<f64> = (0..size.pick(3, 15))
        .map(|_| {
            let begun = Instant::now();
            Project::evaluate(&files, &Limits::default()).expect("the project is good");
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let mut t = Cluster::with(true, 60).await;
    let masters = [t.master().await, t.master().await, t.master().await];
    apply(&t, &masters, &project(1, "first")).await;
    t.worker("w", &t.master_url(masters[1]), 16).await;
    claims(&t, n / 4).await;
    let mut before: Vec<f64> = Vec::new();
    let mut after: Vec<f64> = Vec::new();
    for _ in 0..3 {
        before.push(claims(&t, n).await);
    }
    let first = apply(&t, &masters, &project(builders, "first")).await;
    let mut again = Vec::new();
    for i in 0..size.pick(2, 5) {
        again.push(apply(&t, &masters, &project(builders, &format!("word {i}"))).await);
    }
    let mut small = Vec::new();
    for i in 0..size.pick(2, 5) {
        let one = format!("{}\nc[\"title\"] = \"{i}\"\n", project(builders, "last"));
        small.push(apply(&t, &masters, &one).await);
    }
    claims(&t, n / 4).await;
    for _ in 0..3 {
        after.push(claims(&t, n).await);
    }
    let median = |v: &mut Vec<f64>| percentile(v, 0.5);
    vec![
        Line::alone(NAME, format!("evaluation of {builders} builders"), median(&mut evaluation), "ms"),
        Line::alone(NAME, format!("posted to ready on three replicas, {builders} new builders"), first, "ms"),
        Line::alone(NAME, "the same, every builder changed", median(&mut again), "ms"),
        Line::alone(NAME, "the same, no builder changed", median(&mut small), "ms"),
        Line::rate(
            NAME,
            format!("builds claimed by a worker of 16 slots, {builders} builders, against 1"),
            median(&mut after),
            "builds/s",
            median(&mut before),
        ),
    ]
}
