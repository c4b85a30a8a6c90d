//! A form with a patch: what a person pastes on the page is what the builds are of.

use tidemill_tests::{Cluster, Repository, invariants};

fn project(url: &str) -> String {
    format!(
        r#"
f = util.BuildFactory([
    steps.Git(repourl = {url:?}, mode = "full", method = "fresh"),
    steps.ShellCommand(name = "show", command = "cat README lib/new"),
])
c = {{
    "builders": [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)],
    "schedulers": [schedulers.ForceScheduler(
        name = "fix", builderNames = ["b"],
        codebases = [util.CodebaseParameter("", branch = "main", patch = util.PatchParameter())],
    )],
}}
"#
    )
}

/// Against the README that [`Repository::create`] commits.
const PATCH: &str = "diff --git a/README b/README\n--- a/README\n+++ b/README\n@@ -1 +1 @@\n-first\n+second <b>\n\
                     diff --git a/lib/new b/lib/new\nnew file mode 100644\n--- /dev/null\n+++ b/lib/new\n@@ -0,0 +1 @@\n+new\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_pasted_into_a_form_is_stored_applied_by_the_build_and_shown_on_its_page() {
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    t.configure(m, &project(&repo.url())).await;
    t.worker("w", &t.master_url(m), 1).await;
    let url = t.master_url(m);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let page = async |path: &str| client.get(format!("{url}{path}")).send().await.unwrap().text().await.unwrap();

    // What a browser sends: the fields of the page, lines of the text area with CR LF.
    let form = page("/forceschedulers/fix").await;
    let token = form.split("name=\"token\" value=\"").nth(1).and_then(|s| s.split('"').next()).unwrap().to_owned();
    let post = async |patch: &str, level: &str| {
        let fields = [
            ("token", token.as_str()),
            ("builderNames", "b"),
            ("branch", "main"),
            ("patch_body", &patch.replace('\n', "\r\n")),
            ("patch_level", level),
            ("patch_author", "Ada <ada@example.org>"),
            ("patch_comment", "try <this>"),
            ("patch_subdir", ""),
        ];
        for (name, _) in &fields[3..] {
            assert!(form.contains(&format!("name=\"{name}\"")), "{name} is a field of {form}");
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client.post(format!("{url}/forceschedulers/fix/force"));
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap()
    };
    let forced = post(PATCH, "1").await;
    assert_eq!(forced.status(), 303, "{}", forced.text().await.unwrap());
    assert_eq!(t.result_of(1).await, 0);
    let log = String::from_utf8(t.log(m, 1, 2, "stdio").await).unwrap();
    assert!(log.contains("second <b>\nnew\n"), "{log}");

    // Stored as it was, but for what the text area did to it.
    let stamp = t.api(m).list("buildsets/1/sourcestamps").await.unwrap().remove(0);
    let patch = &stamp["patch"];
    assert_eq!(
        (patch["author"].as_str(), patch["comment"].as_str()),
        (Some("Ada <ada@example.org>"), Some("try <this>"))
    );
    let body = t.api(m).bytes(&format!("patches/{}/body", patch["id"])).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&body), PATCH);
    let shown = page("/builders/b/builds/1").await;
    assert!(shown.contains("a patch</a> of Ada") && shown.contains("try &#60;this&#62;"), "{shown}");
    assert!(!shown.contains("try <this>"), "{shown}");

    // Without one the same form builds what is committed, and nothing of the patch is left.
    assert_eq!(post("", "1").await.status(), 303);
    assert_eq!(t.result_of(2).await, 2, "lib/new is not there");
    let log = String::from_utf8(t.log(m, 2, 2, "stdio").await).unwrap();
    assert!(log.contains("first\n") && !log.contains("second"), "{log}");
    assert!(t.api(m).list("buildsets/2/sourcestamps").await.unwrap()[0]["patch"].is_null());

    // One that does not apply fails its build; a level that is none makes no build.
    assert_eq!(post(&PATCH.replace("-first", "-another"), "1").await.status(), 303);
    assert_eq!(t.result_of(3).await, 2);
    let refused = post(PATCH, "many").await;
    assert_eq!(refused.status(), 400);
    let said = refused.text().await.unwrap();
    assert!(said.contains("is not a whole number"), "{said}");
    let sets: i64 = sqlx::query_scalar("select count(*) from buildsets").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(sets, 3);
    invariants::check(&t.db).await;
}
