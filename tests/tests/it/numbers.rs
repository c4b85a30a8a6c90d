//! What a custom step counts and sees, all the way: from its function on the
//! worker to SQL, REST and the page.

use serde_json::json;
use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::run_tx;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

const PROJECT: &str = r#"
def _line(self, line):
    self.count += 1
    self.step.setProgress("tests", self.count)

def _run(self):
    observer = self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, count = 0))
    self.shell("seq 1 40; [ ! -e HOLD ] || until [ -e GO ]; do sleep 0.05; done")
    self.setStatistic("tests", observer.count)
    self.setStatistic("ratio", 0.25)
    self.addCompleteLog("seen", "\n".join([c.author + " " + ",".join(c.files) for c in self.build.changes] + [self.build.url]))

Count = util.BuildStep(implementation = _run, progressMetrics = ["tests"])

c = {}
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = util.BuildFactory([Count(name = "count")]))]
"#;

async fn change(t: &Cluster, author: &str, file: &str) {
    let change = NewChange { author: author.into(), files: vec![file.into()], ..NewChange::default() };
    run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(&change), None).await).unwrap();
}

/// Waits for the build of that number to be so.
async fn build(t: &Cluster, number: i64, state: &str) -> i64 {
    wait_until(&format!("build {number} to be {state}"), || async {
        let found: Option<i64> = sqlx::query_scalar("select id from builds where number = $1 and state = $2")
            .bind(number)
            .bind(state)
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        found.ok_or_else(|| "none".to_owned())
    })
    .await
}

async fn page(t: &Cluster, m: usize, number: i64) -> String {
    let url = format!("{}/builders/b/builds/{number}", t.master_url(m));
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_counts_and_how_far_it_is_are_in_sql_rest_and_on_the_page() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.worker("w", &t.master_url(m), 1).await;
    let (hold, go) = (t.dir().join("hold"), t.dir().join("go"));
    let text = PROJECT.replace("HOLD", &hold.display().to_string()).replace("GO", &go.display().to_string());
    t.configure(m, &text).await;

    change(&t, "Ann", "a/b.c").await;
    let first = build(&t, 1, "finished").await;
    let stored: Vec<(i32, String, f64)> =
        sqlx::query_as("select step, name, value from step_statistics where build_id = $1 order by name")
            .bind(first)
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    assert_eq!(stored, [(1, "ratio".to_owned(), 0.25), (1, "tests".to_owned(), 40.0)]);
    let step = t.api(m).list(&format!("builds/{first}/steps")).await.unwrap().remove(0);
    assert_eq!(step["statistics"], json!({ "ratio": 0.25, "tests": 40 }));
    assert_eq!(step["progress"], json!({ "tests": 40 }));
    assert_eq!(step["estimated_complete_at"], json!(null));
    let shown = page(&t, m, 1).await;
    assert!(shown.contains("tests <strong class=\"num\">40</strong>"), "{shown}");
    assert!(!shown.contains(" left</span>"), "it is over: {shown}");
    let seen = String::from_utf8(t.log(m, first, 1, "seen").await).unwrap();
    assert_eq!(seen, format!("Ann a/b.c\n{}/builders/b/builds/1", t.master_url(m)));

    // The second one is to take as long, and stands still in its step.
    let hour = "update builds set started_at = complete_at - interval '1 hour' where id = $1";
    sqlx::query(hour).bind(first).execute(t.db.pool()).await.unwrap();
    std::fs::write(&hold, "").unwrap();
    change(&t, "Bob", "d").await;
    let second = build(&t, 2, "running").await;
    wait_until("progress in the API", || async {
        let steps = t.api(m).list(&format!("builds/{second}/steps")).await?;
        let progress = steps.first().map(|s| s["progress"].clone()).unwrap_or_default();
        holds(progress == json!({ "tests": 40 }), progress)
    })
    .await;
    let running = t.build(m, second).await;
    let left = running["estimated_complete_at"].as_i64().unwrap() - running["started_at"].as_i64().unwrap();
    assert!((3600..3660).contains(&left), "{running}");
    let shown = page(&t, m, 2).await;
    assert!(shown.contains("data-progress>tests <span class=\"num\">40</span>"), "{shown}");
    assert!(shown.contains("<dt>Ends</dt>") && shown.contains(" left</span>"), "{shown}");
    let past = "update builds set started_at = started_at - interval '2 hours' where id = $1";
    sqlx::query(past).bind(second).execute(t.db.pool()).await.unwrap();
    let shown = page(&t, m, 2).await;
    assert!(shown.contains(">overdue</span>"), "{shown}");
    std::fs::write(&go, "").unwrap();
    build(&t, 2, "finished").await;
    let seen = String::from_utf8(t.log(m, second, 1, "seen").await).unwrap();
    assert!(seen.starts_with("Bob d\n"), "{seen}");
    invariants::check(&t.db).await;
}
