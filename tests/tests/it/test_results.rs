//! Results of single tests, all the way: from the files of a command on the worker to rows,
//! REST, the page and the reports.

use crate::facts::told;
use serde_json::{Value, json};
use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::run_tx;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

const PROJECT: &str = r#"
c = {}
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], collapseRequests = False, factory = util.BuildFactory([
    steps.Test(command = ["sh", "SCRIPT"], test_reports = ["out/*.xml"], flunkOnFailure = True),
]))]
"#;

/// Writes a report of four tests; `flaky` and `bad` fail if there is a file of that name.
const SCRIPT: &str = r#"
mkdir -p out
code=0
test_() {
    if [ -e "DIR/$1" ]; then
        code=1
        printf '<testcase classname="app" name="%s" time="0.25"><failure message="expected &lt;1&gt;">at line 7</failure></testcase>' $1
    else
        printf '<testcase classname="app" name="%s" time="0.25"/>' $1
    fi
}
{ echo '<testsuite>'; test_ good; test_ flaky; test_ bad; echo '<testcase name="later"><skipped/></testcase></testsuite>'; } > out/a.xml
echo '<testsuite><testcase name="' > out/broken.xml
exit $code
"#;

async fn change(t: &Cluster, author: &str, revision: &str) {
    let (author, revision) = (author.to_owned(), Some(revision.to_owned()));
    let change = NewChange { author, revision, ..NewChange::default() };
    run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(&change), None).await).unwrap();
}

/// Waits for the end of the build of that number.
async fn build(t: &Cluster, number: i64) -> (i64, i16) {
    wait_until(&format!("build {number} to end"), || async {
        let ended = "select id, results from builds where number = $1 and state = 'finished'";
        let found: Option<(i64, i16)> =
            sqlx::query_as(ended).bind(number).fetch_optional(t.db.pool()).await.map_err(|e| e.to_string())?;
        found.ok_or_else(|| "it goes on".to_owned())
    })
    .await
}

/// Waits for the sets of a build; they come some moments after its end.
async fn sets(t: &Cluster, m: usize, build: i64) -> Vec<Value> {
    wait_until("results of tests", || async {
        let sets = t.api(m).list(&format!("builds/{build}/test_result_sets")).await?;
        holds(!sets.is_empty(), "none yet").map(|()| sets)
    })
    .await
}

async fn page(t: &Cluster, m: usize, number: i64) -> String {
    reqwest::get(format!("{}/builders/b/builds/{number}", t.master_url(m))).await.unwrap().text().await.unwrap()
}

/// Rows of a report.
async fn report(t: &Cluster, m: usize, name: &str) -> Vec<Value> {
    t.api(m).get(&format!("reports/{name}")).await.unwrap()["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_and_flaky_tests_are_in_rest_on_the_page_and_in_reports() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.worker("w", &t.master_url(m), 1).await;
    let script = t.dir().join("script");
    std::fs::write(&script, SCRIPT.replace("DIR", &t.dir().display().to_string())).unwrap();
    t.configure(m, &PROJECT.replace("SCRIPT", &script.display().to_string())).await;

    change(&t, "Ann", "r1").await;
    let (first, results) = build(&t, 1).await;
    assert_eq!(results, 0);
    let set = sets(&t, m, first).await.remove(0);
    let counts = ["tests_passed", "tests_failed", "tests_errors", "tests_skipped"].map(|k| set[k].clone());
    assert_eq!(counts, [3, 0, 0, 1].map(|n| json!(n)), "{set}");
    assert_eq!((&set["name"], &set["step"]), (&json!("tests"), &json!(1)));
    let step = t.api(m).list(&format!("builds/{first}/steps")).await.unwrap().remove(0);
    assert_eq!(step["stepid"], set["stepid"]);
    let said = step["state_string"].as_str().unwrap();
    assert!(said.ends_with("(4 tests, 1 skipped, 1 test report not readable)"), "{said}");
    let notes = String::from_utf8(t.log(m, first, 1, "test reports").await).unwrap();
    assert!(notes.contains("build/out/broken.xml: line 1: "), "{notes}");

    // The same sources again: what fails now is flaky.
    std::fs::write(t.dir().join("flaky"), "").unwrap();
    t.api(m).post(&format!("builds/{first}/rebuild"), json!({})).await.unwrap();
    let (second, results) = build(&t, 2).await;
    assert_eq!(results, 2);
    sets(&t, m, second).await;
    std::fs::remove_file(t.dir().join("flaky")).unwrap();
    std::fs::write(t.dir().join("bad"), "").unwrap();
    change(&t, "Bob", "r2").await;
    let (third, _) = build(&t, 3).await;
    let set = sets(&t, m, third).await.remove(0);
    let id = &set["test_result_setid"];
    let failed = t.api(m).list(&format!("test_result_sets/{id}/results?result=failed")).await.unwrap();
    assert_eq!(failed.len(), 1);
    let failed = ["number", "test_name", "duration_ms", "message"].map(|k| failed[0][k].clone());
    assert_eq!(failed, [json!(3), json!("app.bad"), json!(250), json!("expected <1>\nat line 7")]);
    let all = t.api(m).get(&format!("test_result_sets/{id}/results?limit=2")).await.unwrap();
    assert_eq!(all["meta"]["total"], json!(4), "{all}");
    let next = all["meta"]["next"].as_str().unwrap().trim_start_matches("/api/v2/").to_owned();
    assert_eq!(t.api(m).list(&next).await.unwrap()[0]["test_name"], "app.bad");
    let step = &set["stepid"];
    for below in [format!("steps/{step}"), "builders/b".to_owned()] {
        let listed = t.api(m).list(&format!("{below}/test_result_sets?order=-test_result_setid")).await.unwrap();
        assert_eq!(&listed[0]["test_result_setid"], id, "{below}");
    }

    let shown = page(&t, m, 3).await;
    for text in ["<code>app.bad</code>", "began here", "expected &#60;1&#62;", "at line 7"] {
        assert!(shown.contains(text), "{text:?} is missing in {shown}");
    }
    assert!(!shown.contains(">flaky</span>"), "{shown}");
    let shown = page(&t, m, 2).await;
    assert!(shown.contains("<code>app.flaky</code>") && shown.contains(">flaky</span>"), "{shown}");

    told(&t).await;
    let flaky = report(&t, m, "flaky-tests").await;
    assert_eq!(flaky.len(), 1, "{flaky:?}");
    assert_eq!((&flaky[0]["test"], &flaky[0]["runs"]), (&json!("app.flaky"), &json!(3)));
    let bad = report(&t, m, "test-first-bad").await;
    assert_eq!(bad.len(), 1, "{bad:?}");
    let of_bad = ["test", "number", "good_number", "changes"].map(|k| bad[0][k].clone());
    assert_eq!(of_bad, [json!("app.bad"), json!(3), json!(2), json!("Bob r2")]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_result_is_stored_once_though_masters_are_killed() {
    const TESTS: i64 = 2_500;
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let write =
        format!("(echo '<testsuite>'; seq -f '<testcase name=\"t%.0f\"/>' {TESTS}; echo '</testsuite>') > a.xml");
    t.configure(
        a,
        &format!(
            "c = {{}}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], collapseRequests = False, \
             factory = util.BuildFactory([steps.ShellCommand(command = {write:?}, test_reports = [\"a.xml\"])]))]\n"
        ),
    )
    .await;
    for (name, n) in [("w1", a), ("w2", b)] {
        let url = t.master_url(n);
        t.worker(name, &url, 2).await;
    }
    let mut requests = vec![];
    for killed in [a, b, a] {
        let other = if killed == a { b } else { a };
        for _ in 0..4 {
            requests.push(t.force(other, "b").await);
        }
        let first = requests[requests.len() - 4];
        t.result_of(first).await;
        t.masters[killed].process.kill9();
        let address = t.masters[killed].address;
        t.master_restart(killed, address).await;
    }
    for request in &requests {
        assert_eq!(t.result_of(*request).await, 0);
    }
    // Attempts that were lost gave all or nothing.
    wait_until("all sets to be stored", || async {
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from test_parts)
                  + (select count(*) from builds b where b.results = 0
                        and not exists (select from test_sets s where s.build_id = b.id))",
        )
        .fetch_one(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        holds(left == 0, format!("{left} are left"))
    })
    .await;
    let stored: (i64, i64, i64) = sqlx::query_as(
        "select count(*), min(n), max(n) from (select count(distinct name_id) as n from test_results group by set_id) x",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert!(stored.0 >= requests.len() as i64, "{stored:?}");
    assert_eq!((stored.1, stored.2), (TESTS, TESTS));
    invariants::check(&t.db).await;
}
