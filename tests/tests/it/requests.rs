//! Requests as people handle them, on two replicas with a real worker and the
//! command line.

use serde_json::json;
use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, invariants, wait_until};

const PROJECT: &str = r#"
f = util.BuildFactory([steps.ShellCommand(name = "run", command = ["sh", "-c", util.Interpolate("echo made %(prop:version)s for %(prop:owner)s")])])
c = {
    "workers": [worker.Worker("w", labels = LABELS)],
    "builders": [
        util.BuilderConfig(name = "gpu", workernames = ["w"], requires = "gpu and mem >= 8", factory = f),
        util.BuilderConfig(name = "plain", workernames = ["w"], factory = f),
        util.BuilderConfig(name = "never", workernames = ["w"], factory = f, do_build_if = lambda build: False),
    ],
    "schedulers": [schedulers.ForceScheduler(
        name = "release", builderNames = ["gpu", "plain"],
        properties = [util.StringParameter(name = "version", required = True, regex = "[0-9]"),
                      util.IntParameter(name = "jobs", default = 1)],
    )],
    "services": [util.OldBuildCanceller("old", [(["plain"], util.SourceStampFilter())])],
}
"#;

struct Cli {
    url: String,
    token: String,
}

impl Cli {
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program("tidemill"));
        command.args(args).env("TIDEMILL_MASTER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        outcome(&mut command)
    }

    fn good(&self, args: &[&str]) -> String {
        let (code, text) = self.run(args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        text
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_force_by_a_form_see_why_it_waits_pause_and_cancel_on_any_replica() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let project = |labels: &str| PROJECT.replace("LABELS", labels);
    t.configure(a, &project("{\"gpu\": False}")).await;
    t.worker("w", &t.master_url(a), 1).await;
    let (one, other) =
        (Cli { url: t.master_url(a), token: t.token.clone() }, Cli { url: t.master_url(b), token: t.token.clone() });

    let (code, text) = one.run(&["force", "--scheduler", "release", "-p", "jobs=many", "-p", "versoin=1"]);
    assert_ne!(code, Some(0));
    for said in ["version: version is needed", "jobs: `many` is not a whole number", "did you mean `version`?"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let made = other.good(&["force", "gpu", "--scheduler", "release", "-p", "version=1", "--key", "one"]);
    assert_eq!(made, one.good(&["force", "gpu", "--scheduler", "release", "-p", "version=1", "--key", "one"]));
    assert_eq!(made.trim(), "buildset 1, request 1");
    let why = other.good(&["why", "1"]);
    assert!(why.contains("none is connected that fits gpu and mem >= 8"), "{why}");
    assert!(one.good(&["requests", "--waiting"]).contains("waits for a worker that may build it"));
    // Another revision says that it fits.
    t.configure(b, &project("{\"gpu\": True, \"mem\": 16}")).await;
    assert_eq!(t.result_of(1).await, 0);
    let build = t.build_of(1, "finished").await;
    let log = t.log(a, build, 1, "stdio").await;
    assert!(String::from_utf8_lossy(&log).contains("made 1 for local"), "{}", String::from_utf8_lossy(&log));

    one.good(&["pause", "plain"]);
    let made = other.good(&["force", "--scheduler", "release", "-p", "version=2"]);
    assert!(made.contains("requests 2, 3"), "{made}");
    assert_eq!(t.result_of(2).await, 0, "the worker goes on with the other builder");
    assert!(one.good(&["why", "3"]).contains("waits for its builder, which is paused"));
    other.good(&["priority", "3", "9"]);
    let requests = one.good(&["requests", "--builder", "plain", "--json"]);
    assert!(requests.contains("\"priority\": 9") || requests.contains("\"priority\":9"), "{requests}");
    let (code, text) = one.run(&["cancel", "--builder", "plain"]);
    assert!(code != Some(0) && text.contains("--yes"), "{text}");
    assert!(one.good(&["cancel", "--builder", "plain", "--yes"]).starts_with("1 requests are cancelled"));
    assert_eq!(t.result_of(3).await, 6);
    assert!(other.good(&["why", "3"]).contains("request 3 is over: tidemill cancel"));

    // Two changes of one branch: the older request of the two is old.
    for (request, revision) in [(4, "1"), (5, "2")] {
        let change =
            json!({ "author": "ada", "comments": "", "repository": "r", "branch": "topic", "revision": revision });
        let id = t.api(a).post("changes", change).await.unwrap()["changeid"].as_i64().unwrap();
        schedule(&t, id, revision).await;
        assert!(one.good(&["why", &request.to_string()]).contains("paused") || request == 4);
    }
    assert_eq!(t.result_of(4).await, 6);
    assert!(one.good(&["why", "4"]).contains("superseded by change 2"));
    one.good(&["unpause", "plain"]);
    assert_eq!(t.result_of(5).await, 0);

    let skipped = t.force(b, "never").await;
    assert_eq!(t.result_of(skipped).await, 3, "do_build_if");
    wait_until("the reader to have read", || async {
        let one: i64 = sqlx::query_scalar("select count(*) from event_readers where name = 'cancellers'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if one == 1 { Ok(()) } else { Err(format!("{one} readers")) }
    })
    .await;
    invariants::check(&t.db).await;
}

/// As a scheduler makes it of a change, with the builder's merging off.
async fn schedule(t: &Cluster, change: i64, revision: &str) {
    use tidemill_model::{ChangeId, SourceStamp};
    use tidemill_schema::requests::{NewBuildset, buildset_insert};
    let stamp = SourceStamp {
        repository: "r".into(),
        branch: Some("topic".into()),
        revision: Some(revision.into()),
        ..SourceStamp::default()
    };
    let new = NewBuildset {
        sourcestamps: vec![stamp],
        changes: vec![ChangeId(change)],
        builders: vec!["plain".into()],
        ..NewBuildset::default()
    };
    tidemill_schema::run_tx!(t.db, "test", |c| buildset_insert(c, &new).await).unwrap();
}
