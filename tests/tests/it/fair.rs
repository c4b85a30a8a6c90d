//! Who gets what, on real masters and workers: a chosen worker, a worker for
//! trusted changes, shares of projects, virtual builders, and functions that
//! refuse and say why.

use serde_json::{Value, json};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// A builder for each name and project, whose step takes no time.
fn project(builders: &[(&str, &str)], step: &str, more: &str) -> String {
    let mut text = format!("c = {{}}\nf = util.BuildFactory([{step}])\nc[\"builders\"] = []\n{more}\n");
    for (name, project) in builders {
        text += &format!(
            "c[\"builders\"].append(util.BuilderConfig(name = \"{name}\", project = \"{project}\", workernames = [\"*\"], \
             factory = f, collapseRequests = False{}))\n",
            if more.contains("def can(") { ", canStartBuild = can" } else { "" }
        );
    }
    text
}

const QUICK: &str = r#"steps.ShellCommand(name = "show", command = ["true"])"#;

async fn force(t: &Cluster, master: usize, builder: &str, body: Value) -> i64 {
    let answer = t.api(master).post(&format!("builders/{builder}/force"), body).await.expect("the build can be forced");
    answer["buildrequestids"][0].as_i64().expect("an id")
}

async fn worker_of(t: &Cluster, request: i64) -> String {
    let name = "select w.name from builds b join workers w on w.id = b.worker_id where b.request_id = $1";
    sqlx::query_scalar(name).bind(request).fetch_one(t.db.pool()).await.unwrap()
}

async fn waits_for(t: &Cluster, master: usize, request: i64) -> String {
    let row = t.api(master).list(&format!("buildrequests/{request}")).await.unwrap().remove(0);
    row["waits_for"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_to_the_worker_that_was_chosen_whoever_is_free() {
    let mut t = Cluster::start().await;
    let (one, two) = (t.master().await, t.master().await);
    t.configure(one, &project(&[("b", "")], QUICK, "")).await;
    t.worker("other", &t.master_url(one), 2).await;
    let picked = force(&t, one, "b", json!({ "properties": { "workername": "picked" } })).await;
    let open = force(&t, two, "b", json!({})).await;
    assert_eq!(t.result_of(open).await, 0);
    assert_eq!(waits_for(&t, two, picked).await, "worker picked, which was chosen for it and is not connected");
    t.worker("picked", &t.master_url(two), 1).await;
    assert_eq!(t.result_of(picked).await, 0);
    assert_eq!((worker_of(&t, picked).await, worker_of(&t, open).await), ("picked".into(), "other".into()));
    // Also where a replica met the lane for the first time before its worker asked there.
    let again = force(&t, one, "b", json!({ "properties": { "workername": "picked" }, "priority": 3 })).await;
    assert_eq!(t.result_of(again).await, 0);
    assert_eq!(worker_of(&t, again).await, "picked");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outsider_announced_is_built_by_no_worker_for_trusted_changes() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(
        m,
        &project(
            &[("b", "")],
            QUICK,
            "c[\"workers\"] = [worker.Worker(\"signer\", trusted_only = True), worker.Worker(\"plain\")]",
        ),
    )
    .await;
    sqlx::query(
        "insert into held_changes (dialect, pull, repository, revision, change, why)
         values ('github', '1', 'r', 'evil', '{}', 'a stranger')",
    )
    .execute(t.db.pool())
    .await
    .unwrap();
    t.worker("signer", &t.master_url(m), 2).await;
    let evil = force(&t, m, "b", json!({ "repository": "r", "revision": "evil" })).await;
    let good = force(&t, m, "b", json!({ "repository": "r", "revision": "good" })).await;
    assert_eq!(t.result_of(good).await, 0);
    let said = waits_for(&t, m, evil).await;
    assert!(
        said.starts_with("a worker that builds what outsiders sent: ") && said.ends_with(" trusted changes only"),
        "{said}"
    );
    t.worker("plain", &t.master_url(m), 2).await;
    assert_eq!(t.result_of(evil).await, 0);
    assert_eq!((worker_of(&t, good).await, worker_of(&t, evil).await), ("signer".into(), "plain".into()));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_refuses_is_told_and_rests_as_long_as_it_says() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let more = r#"
def can(builder, worker, request):
    if request.properties.get("never"):
        return (False, "the board is out")
    if request.properties.get("later"):
        built = builder.master.builds(builder = "b", complete = True, limit = 1)
        return bool(built) or (False, "nothing is built yet", 1)
    return True
"#;
    t.configure(m, &project(&[("b", "")], QUICK, more)).await;
    t.worker("w", &t.master_url(m), 1).await;
    let never = force(&t, m, "b", json!({ "properties": { "never": true } })).await;
    let later = force(&t, m, "b", json!({ "properties": { "later": true } })).await;
    let (refused, rests) =
        ("its function canStartBuild, which said no: the board is out (since ", "is asked again at ");
    wait_until("both reasons are told", || async {
        let said = [waits_for(&t, m, never).await, waits_for(&t, m, later).await];
        let told = said[1].contains("which said no: nothing is built yet; it ") && said[1].contains(rests);
        holds(said[0].starts_with(refused) && told, said.join(" | "))
    })
    .await;
    let page = reqwest::get(format!("{}/buildrequests/{never}", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("It waits for its function canStartBuild, which said no: the board is out"), "{page}");
    let plain = force(&t, m, "b", json!({})).await;
    assert_eq!(t.result_of(plain).await, 0);
    assert_eq!(t.result_of(later).await, 0);
    let rows: i64 = sqlx::query_scalar("select count(*) from policy_refusals").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(rows, 1);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_get_their_shares_of_the_workers() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let gate = t.dir().join("gate");
    let step = format!(
        r#"steps.ShellCommand(name = "wait", command = ["sh", "-c", "while ! test -e {}; do sleep 0.05; done"])"#,
        gate.display()
    );
    let shares = r#"c["projects"] = [util.Project(name = "big", share = 3), util.Project(name = "small", share = 1)]"#;
    t.configure(m, &project(&[("a1", "big"), ("a2", "big"), ("b", "small")], &step, shares)).await;
    let mut asked = vec![];
    for builder in ["a1", "a2", "b"] {
        for _ in 0..8 {
            asked.push(force(&t, m, builder, json!({})).await);
        }
    }
    t.worker("w", &t.master_url(m), 8).await;
    let running = "select string_agg(project || ' ' || n, ', ' order by project)
                     from (select b.project, count(*) as n from leases l join builders b on b.id = l.builder_id group by 1) x";
    wait_until("all slots are used", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from leases").fetch_one(t.db.pool()).await.unwrap();
        holds(n == 8, n)
    })
    .await;
    let shared: String = sqlx::query_scalar(running).fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(shared, "big 6, small 2");
    std::fs::write(&gate, "").unwrap();
    for request in asked {
        assert_eq!(t.result_of(request).await, 0);
    }
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_appear_under_virtual_builders_with_pages_and_numbers_of_their_own() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project(&[("spawner", "")], QUICK, "")).await;
    t.worker("w", &t.master_url(m), 2).await;
    let named = |name: &str| {
        json!({ "properties": { "virtual_builder_name": name, "virtual_builder_description": "of a repository",
                                "virtual_builder_project": "hosted", "virtual_builder_tags": ["hosted"] } })
    };
    for name in ["acme/tool", "acme/tool", "other"] {
        let request = force(&t, m, "spawner", named(name)).await;
        assert_eq!(t.result_of(request).await, 0);
    }
    let api = t.api(m);
    let row = api.list("builders/acme-tool").await.unwrap().remove(0);
    assert_eq!(
        (&row["virtual"], &row["project"], &row["tags"], &row["description"]),
        (&json!(true), &json!("hosted"), &json!(["hosted", "_virtual_"]), &json!("of a repository"))
    );
    // One that never knew it does not retire it.
    t.configure(m, &project(&[("spawner", ""), ("more", "")], QUICK, "")).await;
    let builds = api.list("builders/acme-tool/builds").await.unwrap();
    assert_eq!(builds.iter().map(|b| b["number"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(api.list("builders/spawner/builds").await.unwrap().len(), 0);
    let page = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", t.master_url(m))).await.unwrap();
        assert!(answer.status().is_success(), "{path}");
        answer.text().await.unwrap()
    };
    assert!(page("/builders").await.contains("acme-tool"));
    let own = page("/builders/acme-tool").await;
    assert!(own.contains("This builder is virtual") && own.contains("#2"), "{own}");
    page("/builders/acme-tool/builds/2").await;
    let refused = api.post("builders/acme-tool/force", json!({})).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("is virtual"), "{refused}");
    // To build it again is asked of its builder, and it appears where it was.
    let id = builds[0]["buildid"].as_i64().unwrap();
    let again = api.post(&format!("builds/{id}/rebuild"), json!({})).await.unwrap();
    assert_eq!(t.result_of(again["buildrequestids"][0].as_i64().unwrap()).await, 0);
    assert_eq!(api.list("builders/acme-tool/builds").await.unwrap().len(), 3);
    invariants::check(&t.db).await;
}
