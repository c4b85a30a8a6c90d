//! [change-latency] From the moment a change is posted to the first step of its
//! build, with nothing else to do.

use crate::meter::percentile;
use crate::{Line, Size};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidemill_tests::{Cluster, wait_until};

const NAME: &str = "change-latency";

pub async fn run(size: Size) -> Vec<Line> {
    let n = size.pick(30, 300);
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    let text = r#"
c = {}
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
f = util.BuildFactory([steps.ShellCommand(name = "true", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#;
    t.configure(m, text).await;
    t.worker("w", &t.master_url(m), 4).await;
    let api = t.api(m);
    let mut claimed = Vec::new();
    let mut started = Vec::new();
    let mut bare = Vec::new();
    sqlx::raw_sql("create table floor_change (id bigint generated always as identity primary key, text text)")
        .execute(t.db.pool())
        .await
        .expect("a table can be made");
    for i in 0..n + 10 {
        let t0 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        api.post("changes", serde_json::json!({ "revision": format!("r{i}") })).await.expect("the change is taken");
        let (c, s): (f64, f64) = wait_until("the build to be final", || async {
            let row: Option<(f64, f64)> = sqlx::query_as(
                "select extract(epoch from b.started_at)::float8, extract(epoch from s.started_at)::float8
                   from changes c join buildset_changes x on x.change_id = c.id
                   join build_requests r on r.buildset_id = x.buildset_id
                   join builds b on b.request_id = r.id join steps s on s.build_id = b.id
                  where c.revision = $1 and b.state = 'finished'",
            )
            .bind(format!("r{i}"))
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
            row.ok_or_else(|| "not yet".to_owned())
        })
        .await;
        let begun = Instant::now();
        // The floor: three commits stand between post and claim: change, buildset, claim.
        for _ in 0..3 {
            sqlx::query("insert into floor_change (text) values ('x')").execute(t.db.pool()).await.expect("insert");
        }
        if i >= 10 {
            bare.push(begun.elapsed().as_secs_f64() * 1000.0);
            claimed.push((c - t0) * 1000.0);
            started.push((s - t0) * 1000.0);
        }
    }
    let floor = percentile(&mut bare, 0.5);
    vec![
        Line::time(NAME, "post to claim, p50, against three bare commits", percentile(&mut claimed, 0.5), "ms", floor),
        Line::alone(NAME, "post to claim, p99", percentile(&mut claimed, 0.99), "ms"),
        Line::time(
            NAME,
            "post to first step, p50, against three bare commits",
            percentile(&mut started, 0.5),
            "ms",
            floor,
        ),
        Line::alone(NAME, "post to first step, p99", percentile(&mut started, 0.99), "ms"),
    ]
}
