//! `tidemill try`: what is in a working copy is built before it is committed.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tidemill_schema::tokens::{Scope, user_token_create_for};
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, Repository, invariants};

fn project(url: &str) -> String {
    format!(
        r#"
c = {{}}
f = util.BuildFactory()
f.addStep(steps.Git(repourl = {url:?}, mode = "full"))
f.addStep(steps.ShellCommand(name = "check", command = "cat README; cat new || true; ! grep -q broken README new"))
c["builders"] = [util.BuilderConfig(name = name, workernames = ["*"], factory = f) for name in ["check", "lint", "deploy"]]
c["schedulers"] = [schedulers.Try_Userpass(name = "try", builderNames = ["check", "lint"], properties = {{"by": "try"}})]
"#
    )
}

struct Site {
    t: Cluster,
    m: usize,
    repo: Repository,
    token: String,
}

impl Site {
    async fn new() -> Site {
        let mut t = Cluster::start().await;
        let repo = Repository::create(t.dir());
        repo.git(&["config", "user.name", "Ada"]);
        repo.git(&["config", "user.email", "ada@example.org"]);
        let m = t.master().await;
        t.configure(m, &project(&repo.url())).await;
        t.worker("w1", &t.master_url(m), 2).await;
        let token = user_token_create_for(&t.db, "ada", Scope::Try).await.unwrap();
        Site { t, m, repo, token }
    }

    fn work(&self) -> &Path {
        self.repo.work()
    }

    fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program("tidemill"));
        command.args(args).current_dir(self.work()).env("TIDEMILL_MASTER", self.t.master_url(self.m));
        outcome(command.env("TIDEMILL_TOKEN", &self.token).env("NO_COLOR", "1"))
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.t.db.pool()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_is_built_and_the_exit_code_is_the_result() {
    let site = Site::new().await;
    let base = site.repo.git(&["rev-parse", "HEAD"]);
    std::fs::write(site.work().join("README"), "local commit\n").unwrap();
    site.repo.git(&["commit", "-q", "-a", "-m", "not pushed"]);
    std::fs::write(site.work().join("README"), "not committed \u{fc}\n").unwrap();
    std::fs::write(site.work().join("new"), b"bin\0ary <script>\n").unwrap();
    let before = site.repo.git(&["status", "--porcelain"]);

    let (code, said) =
        site.cli(&["try", "--builder", "check", "--untracked", "--wait", "--comment", "<b>", "-p", "by=me"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("check") && said.contains("success"), "{said}");
    assert_eq!(site.repo.git(&["status", "--porcelain"]), before, "the working copy is as it was");
    let build = site.t.build(site.m, 1).await;
    assert_eq!(build["reason"], "'try' job by user ada (<b>)");
    let log = String::from_utf8(site.t.log(site.m, 1, 2, "stdio").await).unwrap();
    assert!(log.contains("not committed \u{fc}\nbin\0ary"), "{log}");
    let api = site.t.api(site.m);
    let stamp = api.list(&format!("buildsets/{}/sourcestamps", 1)).await.unwrap().remove(0);
    assert_eq!((stamp["revision"].as_str(), stamp["branch"].as_str()), (Some(base.as_str()), Some("main")));
    let patch = &stamp["patch"];
    assert_eq!(
        (patch["author"].as_str(), patch["comment"].as_str()),
        (Some("Ada <ada@example.org>"), Some("<b>")),
        "{patch}"
    );
    let body = api.bytes(&format!("patches/{}/body", patch["id"])).await.unwrap();
    assert_eq!(patch["size"], body.len());
    assert!(String::from_utf8_lossy(&body).contains("+not committed"), "the difference over the unpushed commit");
    let properties = api.get("builds/1/properties").await.unwrap().to_string();
    for part in [r#""by":["try","Scheduler"]"#, r#""owner":["ada","try build"]"#, &base] {
        assert!(properties.contains(part), "{part} in {properties}");
    }
    let page = reqwest::get(format!("{}/builders/check/builds/1", site.t.master_url(site.m))).await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("a patch</a> of Ada") && !page.contains("<b>") && page.contains("&#60;b&#62;"), "{page}");

    // Without the new file, on both builders; then red.
    let (code, said) = site.cli(&["try", "--wait", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 untracked file is left out"), "{said}");
    let document: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(document["builds"].as_array().unwrap().len(), 2, "{document}");
    std::fs::write(site.work().join("README"), "broken\n").unwrap();
    let (code, said) = site.cli(&["try", "-b", "lint", "--wait"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lint: failure  (check)") && said.contains("│ broken"), "{said}");
    invariants::check(&site.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_builder_queues_nothing_and_is_told_which_are_allowed() {
    let site = Site::new().await;
    std::fs::write(site.work().join("README"), "changed\n").unwrap();
    let (code, said) = site.cli(&["try", "-b", "check", "-b", "deploy"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`deploy` may not be tried") && said.contains("allows: check, lint"), "{said}");
    assert_eq!(site.count("select count(*) from buildsets").await, 0);
    assert_eq!(site.count("select count(*) from patches").await, 0);

    let (code, said) = site.cli(&["try", "--list-builders"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("check") && said.contains("lint") && !said.contains("deploy"), "{said}");
    let (code, said) = site.cli(&["try", "--dryrun"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("+changed") && said.contains("branch      main"), "{said}");
    assert_eq!(site.count("select count(*) from buildsets").await, 0);
    site.repo.git(&["checkout", "-q", "."]);
    let (code, said) = site.cli(&["try"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing to try"), "{said}");

    // The token is good for this alone.
    let (code, said) = site.cli(&["force", "check"]);
    assert_eq!(code, Some(8), "{said}");
    assert!(said.contains("good for trying changes only"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_sent_again_is_one_and_a_patch_too_large_is_told_so() {
    let site = Site::new().await;
    let client = reqwest::Client::new();
    let post = async |key: &str, body: Value| {
        let request = client.post(format!("{}/api/v2/try", site.t.master_url(site.m))).bearer_auth(&site.token);
        let answer = request.header("idempotency-key", key).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    use base64::Engine;
    let encoded = |bytes: &[u8]| base64::prelude::BASE64_STANDARD.encode(bytes);
    let patch = "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-first\n+second\n";
    let body = json!({ "builders": ["check"], "patch": { "body": encoded(patch.as_bytes()) } });
    let (status, first) = post("k1", body.clone()).await;
    assert_eq!(status, 201, "{first}");
    let (status, again) = post("k1", body.clone()).await;
    assert_eq!((status, &again), (200, &first));
    let (status, other) = post("k2", body).await;
    assert_eq!(status, 201);
    assert_ne!(other["buildsetid"], first["buildsetid"], "equal tries are not one, and never merge");
    for request in [&first, &other] {
        let id = request["buildrequestids"][0].as_i64().unwrap();
        assert_eq!(site.t.result_of(id).await, 0);
    }
    assert_eq!(site.count("select count(*) from builds").await, 2);
    assert_eq!(site.count("select count(*) from patches").await, 1);

    let large = vec![b'x'; (10 << 20) + 1];
    let (status, said) = post("k3", json!({ "patch": { "body": encoded(&large) } })).await;
    assert_eq!(status, 413, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("at most 10 MiB"), "{said}");
    for (body, part) in [
        (json!({ "patch": { "body": "?" } }), "base64"),
        (json!({ "patch": { "body": "", "subdir": "../x" } }), "below the checkout"),
        (json!({ "codebase": "other" }), "without a name"),
        (json!({ "scheduler": "none" }), "there are: try"),
        (json!({ "nonsense": 1 }), "nonsense"),
    ] {
        let (status, said) = post("k4", body).await;
        assert_eq!(status, 400, "{said}");
        assert!(said.to_string().contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_patch_fails_its_build_and_leaves_the_worker_as_it_was() {
    let site = Site::new().await;
    let outside = site.t.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let patch = site.t.dir().join("evil.patch");
    let link = format!(
        "diff --git a/way b/way\nnew file mode 120000\nindex 0000000..1\n--- /dev/null\n+++ b/way\n@@ -0,0 +1 @@\n+{}\n\\ No newline at end of file\n",
        outside.display()
    );
    for text in [
        format!("{link}--- /dev/null\n+++ b/way/evil\n@@ -0,0 +1 @@\n+evil\n"),
        "--- /dev/null\n+++ b/../../evil\n@@ -0,0 +1 @@\n+evil\n".to_owned(),
        "--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+evil\n".to_owned(),
    ] {
        std::fs::write(&patch, text).unwrap();
        let (code, said) = site.cli(&["try", "-b", "check", "--diff", patch.to_str().unwrap(), "--wait"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("(git)") || said.contains("check: failure"), "{said}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        let base = &site.t.workers[0].base;
        assert!(!base.join("builds/evil").exists());
        assert!(!base.join("builds/check/build/.git/hooks/post-checkout").exists());
    }
}
