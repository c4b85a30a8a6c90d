//! A commit becomes a build, and everybody can see it.

use std::process::Command;
use tidemill_tests::process::program;
use tidemill_tests::{Cluster, Repository, invariants, wait_until};

fn polled(url: &str) -> String {
    format!(
        r#"
c = {{}}
c["change_source"] = changes.GitPoller(repourl = {url:?}, branches = True, pollInterval = 0.2, project = "demo")
c["schedulers"] = [schedulers.SingleBranchScheduler(
    name = "all",
    builderNames = ["check"],
    change_filter = util.ChangeFilter(branch = "main"),
)]
f = util.BuildFactory()
f.addStep(steps.Git(repourl = {url:?}, mode = "incremental"))
f.addStep(steps.ShellCommand(name = "show", command = ["cat", "README"]))
c["builders"] = [util.BuilderConfig(name = "check", workernames = ["*"], factory = f)]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_commit_is_built_with_no_human_act_and_shows_on_the_page_in_the_cli_and_in_sql() {
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    t.configure(m, &polled(&repo.url())).await;
    t.worker("w1", &t.master_url(m), 2).await;
    t.polled().await;

    let revision = repo.commit("README", "hello from a commit\n", "say hello <script>");
    // A commit on a branch that the filter leaves out becomes a change and no build.
    repo.git(&["checkout", "--quiet", "-b", "other"]);
    repo.commit("README", "elsewhere\n", "not for main");

    let build = wait_until("the build to be final", || async {
        let row: Option<(i64, i16)> = sqlx::query_as("select id, results from builds where state = 'finished'")
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        row.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    assert_eq!(build.1, 0, "{}", String::from_utf8_lossy(&t.log(m, build.0, 1, "stdio").await));

    // SQL: source, log, blame.
    let blamed: Vec<(String, String)> = sqlx::query_as(
        "select c.author, c.revision from builds b join build_requests r on r.id = b.request_id
           join buildset_changes x on x.buildset_id = r.buildset_id join changes c on c.id = x.change_id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(blamed, [("Ada <ada@example.org>".to_owned(), revision.clone())]);
    assert_eq!(t.log(m, build.0, 2, "stdio").await, b"hello from a commit\n");

    // API.
    let api = t.api(m);
    let properties = api.get(&format!("builds/{}/properties", build.0)).await.unwrap();
    assert!(properties.to_string().contains(&revision), "got_revision is missing in {properties}");
    let changes = api.list(&format!("builds/{}/changes", build.0)).await.unwrap();
    assert_eq!(changes[0]["author"], "Ada <ada@example.org>");

    // Page.
    let page = reqwest::get(format!("{}/builders/check/builds/1", t.master_url(m))).await.unwrap();
    assert!(page.status().is_success());
    let html = page.text().await.unwrap();
    for text in ["success", "Ada", &revision[..10]] {
        assert!(html.contains(text), "{text} is not on the page");
    }
    let log = sqlx::query_scalar::<_, i64>("select id from logs where step = 2").fetch_one(t.db.pool()).await.unwrap();
    assert!(html.contains(&format!("/logs/{log}")), "the page leads to the log");
    let page = reqwest::get(format!("{}/logs/{log}", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("hello from a commit"));
    assert!(!html.contains("<script>\""), "the comment's markup is text");
    assert!(html.contains("say hello &#60;script&#62;") || html.contains("say hello &lt;script&gt;"));

    // CLI.
    let cli = |args: &[&str]| {
        let output = Command::new(program("tidemill"))
            .args(args)
            .env("TIDEMILL_MASTER", t.master_url(m))
            .env("TIDEMILL_TOKEN", &t.token)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, out, err) = cli(&["watch", "check/1"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = cli(&["log", "check/1", "show"]);
    assert_eq!((code, out.contains("hello from a commit")), (Some(0), true), "{out}{err}");
    let (code, out, err) = cli(&["builds", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let listed: serde_json::Value = serde_json::from_str(&out).expect("--json prints JSON");
    assert!(listed.to_string().contains("\"check\""), "{listed}");
    let all: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(all, 1);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_schedule_each_of_many_changes_once() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(
        a,
        r#"
c = {}
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
f = util.BuildFactory([steps.ShellCommand(name = "run", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f, collapseRequests = False)]
"#,
    )
    .await;
    t.worker("w", &t.master_url(b), 4).await;
    let (one, two) = (t.api(a), t.api(b));
    let mut posts = tokio::task::JoinSet::new();
    for i in 0..100 {
        let api = if i % 2 == 0 { one.clone() } else { two.clone() };
        posts.spawn(async move {
            api.post("changes", serde_json::json!({ "revision": format!("r{i}"), "comments": "c" })).await
        });
    }
    while let Some(posted) = posts.join_next().await {
        posted.unwrap().unwrap();
    }
    wait_until("a hundred builds", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from builds where state = 'finished'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if n == 100 { Ok(()) } else { Err(format!("{n} are final")) }
    })
    .await;
    let twice: i64 = sqlx::query_scalar(
        "select count(*) from (select change_id from buildset_changes group by 1 having count(*) <> 1) x",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(twice, 0);
    invariants::check(&t.db).await;
}
