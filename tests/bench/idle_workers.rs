//! [idle-workers] A thousand workers that wait for work.

use crate::meter::{cpu_tree, memory_mib};
use crate::{Line, Size};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_model::wire::{Hello, HelloReply, Poll, PollReply};
use tidemill_schema::workers;
use tidemill_tests::Cluster;

const NAME: &str = "idle-workers";

pub async fn run(size: Size) -> Vec<Line> {
    let n = size.pick(200, 1000);
    let seconds = size.pick(10, 40);
    let mut t = Cluster::with(false, 60).await;
    let m = t.master().await;
    t.configure(
        m,
        r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#,
    )
    .await;
    let seconds_f = seconds as f64;
    settle().await;
    let before = statements(&t).await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // One of them is this look itself.
    let alone = (statements(&t).await - before - 1) as f64 / seconds_f;
    let url = t.master_url(m);
    let client = reqwest::Client::new();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..n {
        let name = format!("idle{i}");
        let token = workers::worker_enrol(&t.db, &name).await.expect("enrolled");
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            name: name.clone(),
            instance: name,
            release: "bench".into(),
            vocabulary: tidemill_model::wire::VOCABULARY,
            slots: 1,
            info: BTreeMap::new(),
            labels: Default::default(),
        };
        let reply: HelloReply = client
            .post(format!("{url}/worker/v1/hello"))
            .bearer_auth(&token)
            .json(&hello)
            .send()
            .await
            .expect("the master answers")
            .json()
            .await
            .expect("hello is accepted");
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            for poll in 1.. {
                let body = Poll { session: reply.session, poll, free: 1, newest: 0, held: vec![], wait_us: 30_000_000 };
                let answer = client.post(format!("{url}/worker/v1/poll")).bearer_auth(&token).json(&body).send().await;
                let Ok(answer) = answer else { return };
                let _: Option<PollReply> = answer.json().await.ok();
            }
        });
    }
    // All have polled once and wait.
    settle().await;
    let pid = t.masters[m].process.pid();
    let (before, cpu) = (statements(&t).await, cpu_tree(pid));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let done = (statements(&t).await - before - 1) as f64 / seconds_f;
    let used = (cpu_tree(pid) - cpu).as_secs_f64() * 1000.0 / seconds_f;
    let lines = vec![
        Line::time(
            NAME,
            format!("transactions of one replica with {n} idle workers, against none"),
            done,
            "a second",
            alone,
        ),
        Line::alone(NAME, "master memory", memory_mib(pid, "VmRSS"), "MiB"),
        Line::alone(NAME, "master CPU", used, "ms a second"),
    ];
    tasks.abort_all();
    lines
}

/// A backend that falls idle reports what it did within ten seconds.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(12)).await;
}

async fn statements(t: &Cluster) -> i64 {
    sqlx::query_scalar("select xact_commit + xact_rollback from pg_stat_database where datname = current_database()")
        .fetch_one(t.db.pool())
        .await
        .expect("statistics can be read")
}
