//! [noop-builds] The whole system on builds that do nothing.

use crate::meter::cpu_tree;
use crate::{Line, Size};
use std::time::{Duration, Instant};
use tidemill_model::{BuilderId, BuildsetId};
use tidemill_schema::requests::requests_insert_bulk;
use tidemill_schema::run_tx;
use tidemill_schema::wake::{Wake, Wakes};
use tidemill_service::Lifecycle;
use tidemill_tests::Cluster;

const NAME: &str = "noop-builds";

pub async fn run(size: Size) -> Vec<Line> {
    let n = size.pick(500, 6_000);
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    let text = r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(name = "true", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#;
    t.configure(m, text).await;
    for i in 0..4 {
        t.worker(&format!("w{i}"), &t.master_url(m), 8).await;
    }
    // One build each warms what is fetched and evaluated once.
    for _ in 0..40 {
        let request = t.force(m, "b").await;
        t.result_of(request).await;
    }
    let floor = cycles(&t, size).await;

    let pids: Vec<(&str, Vec<i32>)> = vec![
        ("master", vec![t.masters[m].process.pid()]),
        ("worker", t.workers.iter().map(|w| w.process.pid()).collect()),
        ("Postgres", vec![t.postgres.pid()]),
    ];
    let cpu = |pids: &[i32]| pids.iter().map(|p| cpu_tree(*p)).sum::<Duration>();
    let before: Vec<Duration> = pids.iter().map(|(_, p)| cpu(p)).collect();
    let transactions = commits(&t).await;
    let started = Instant::now();
    submit(&t, n).await;
    loop {
        let open: i64 = sqlx::query_scalar("select count(*) from build_requests where complete_at is null")
            .fetch_one(t.db.pool())
            .await
            .expect("the database answers");
        if open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = started.elapsed().as_secs_f64();
    let rate = n as f64 / took;
    let mut lines = vec![
        Line::rate(
            NAME,
            "builds, against bare enqueue+claim+complete cycles of one row on 4 connections",
            rate,
            "builds/s",
            floor,
        ),
        Line::alone(NAME, "transactions", (commits(&t).await - transactions) as f64 / n as f64, "a build"),
    ];
    let mut total = 0.0;
    for ((name, p), before) in pids.iter().zip(before) {
        let ms = (cpu(p) - before).as_secs_f64() * 1000.0 / n as f64;
        total += ms;
        lines.push(Line::alone(NAME, format!("CPU of {name}"), ms, "ms a build"));
    }
    lines.push(Line::alone(NAME, "CPU of all three", total, "ms a build"));
    tidemill_tests::invariants::check(&t.db).await;
    lines
}

/// Queues builds, a hundred to a buildset.
pub(crate) async fn submit(t: &Cluster, n: usize) {
    let builder =
        BuilderId(sqlx::query_scalar("select id from builders").fetch_one(t.db.pool()).await.expect("a builder"));
    let mut lanes = Vec::new();
    for part in (0..n).step_by(100) {
        let set = sqlx::query_scalar("insert into buildsets (reason) values ('bench') returning id")
            .fetch_one(t.db.pool())
            .await
            .expect("a buildset");
        let count = (n - part).min(100);
        lanes = run_tx!(t.db, "bench", |c| requests_insert_bulk(c, BuildsetId(set), builder, count).await)
            .expect("requests can be queued")
            .1;
    }
    let (wakes, life) = (Wakes::default(), Lifecycle::new());
    wakes.start(&t.db, &life);
    wakes.send(Wake::Work(lanes));
    tokio::time::sleep(Duration::from_millis(100)).await;
    life.stop();
}

async fn commits(t: &Cluster) -> i64 {
    sqlx::query_scalar("select xact_commit from pg_stat_database where datname = current_database()")
        .fetch_one(t.db.pool())
        .await
        .expect("statistics can be read")
}

/// The floor: insert, claim and complete one row, a commit each, 4 connections.
async fn cycles(t: &Cluster, size: Size) -> f64 {
    sqlx::raw_sql(
        "create table floor_job (id bigint generated always as identity primary key, state int not null default 0);
         create index on floor_job (id) where state = 0",
    )
    .execute(t.db.pool())
    .await
    .expect("a table can be made");
    let end = Instant::now() + Duration::from_secs(size.pick(1, 5));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let db = t.db.clone();
        tasks.spawn(async move {
            let mut c = db.pool().acquire().await.expect("a connection");
            let mut n = 0;
            while Instant::now() < end {
                sqlx::query("insert into floor_job default values").execute(&mut *c).await.expect("insert");
                let id: Option<i64> = sqlx::query_scalar(
                    "update floor_job set state = 1 where id = (select id from floor_job where state = 0 order by id for update skip locked limit 1) returning id",
                )
                .fetch_optional(&mut *c)
                .await
                .expect("claim");
                sqlx::query("update floor_job set state = 2 where id = $1").bind(id).execute(&mut *c).await.expect("complete");
                n += 1;
            }
            n
        });
    }
    let mut total = 0;
    while let Some(n) = tasks.join_next().await {
        total += n.expect("no panic");
    }
    total as f64 / size.pick(1.0, 5.0)
}
