//! Another revision becomes the active one: everywhere, at once, and only if it
//! is good.

use crate::project;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, invariants, wait_until};

/// A client command against a master.
fn cli(t: &Cluster, master: usize, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program("tidemill"));
    command.args(args).env("TIDEMILL_MASTER", t.master_url(master)).env("TIDEMILL_TOKEN", &t.token);
    outcome(&mut command)
}

fn write(dir: &Path, text: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("master.star"), text).unwrap();
}

/// Two builders; `b` waits for a file and then says a word, `other` never changes.
fn waiting(gate: &Path, word: &str) -> String {
    let gate = gate.display().to_string();
    format!(
        r#"
f = util.BuildFactory([
    steps.ShellCommand(name = "wait", command = ["sh", "-c", "while [ ! -e {gate} ]; do sleep 0.05; done"]),
    steps.ShellCommand(name = "say", command = ["echo", {word:?}]),
])
g = util.BuildFactory([steps.ShellCommand(name = "true", command = ["true"])])
c = {{}}
c["builders"] = [
    util.BuilderConfig(name = "b", workernames = ["*"], factory = f, description = {word:?}),
    util.BuilderConfig(name = "other", workernames = ["*"], factory = g),
]
"#
    )
}

async fn row_of(t: &Cluster, builder: &str) -> String {
    sqlx::query_scalar("select concat_ws(' ', xmin, xmax, ctid) from builders where name = $1")
        .bind(builder)
        .fetch_one(t.db.pool())
        .await
        .unwrap()
}

/// Waits until a replica has the revision active and evaluated.
async fn ready(t: &Cluster, master: usize, revision: i64) {
    let api = t.api(master);
    wait_until(&format!("master {master} to have revision {revision} ready"), || async {
        let active = api.get("config").await?;
        let good = active["revision"] == revision && active["ready"] == true;
        if good { Ok(()) } else { Err(format!("{} ready: {}", active["revision"], active["ready"])) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_is_active_on_all_replicas_at_once_and_a_running_build_keeps_its_own() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.worker("w", &t.master_url(b), 2).await;
    let (dir, gate) = (t.dir().join("project"), t.dir().join("gate"));
    let folder = dir.to_str().unwrap().to_owned();
    write(&dir, &waiting(&gate, "old words"));
    let (code, text) = cli(&t, a, &["reconfig", &folder]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("+ builder b\n") && text.contains("revision 1 is active"), "{text}");
    ready(&t, a, 1).await;
    ready(&t, b, 1).await;
    let request = t.force(b, "b").await;
    let running = t.build_of(request, "running").await;
    let untouched = row_of(&t, "other").await;

    write(&dir, &waiting(&gate, "new words"));
    // A dry run tells field by field, and changes nothing.
    let (code, text) = cli(&t, a, &["reconfig", &folder, "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("~ builder b\n    description: \"old words\" -> \"new words\""), "{text}");
    assert!(!text.contains("other"), "{text}");
    let (code, text) = cli(&t, a, &["--json", "reconfig", &folder, "--dry-run"]);
    let said: Value = serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!((code, &said["from"], &said["changed"]), (Some(0), &json!(1), &json!(true)));
    assert_eq!(said["changes"]["changed"][0]["name"], "b");
    assert_eq!(t.api(b).get("config").await.unwrap()["revision"], 1);

    let (code, text) = cli(&t, a, &["reconfig", &folder]);
    assert_eq!(code, Some(0), "{text}");
    let begun = Instant::now();
    ready(&t, a, 2).await;
    ready(&t, b, 2).await;
    // A second is the promise on an idle machine, which a test's is not.
    eprintln!("both replicas were ready after {:?}", begun.elapsed());
    assert_eq!(row_of(&t, "other").await, untouched, "the row of a builder that did not change is not written");

    std::fs::write(&gate, "").unwrap();
    assert_eq!(t.result_of(request).await, 0);
    assert_eq!(t.log(a, running, 2, "stdio").await, b"old words\n");
    let next = t.force(b, "b").await;
    assert_eq!(t.result_of(next).await, 0);
    let built = t.build_of(next, "finished").await;
    assert_eq!(t.log(a, built, 2, "stdio").await, b"new words\n");
    let revisions: Vec<i64> =
        sqlx::query_scalar("select revision_id from builds order by id").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(revisions, [1, 2]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_shown_and_an_older_revision_comes_back_unless_this_release_refuses_it() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    for word in ["one", "two", "three"] {
        t.configure(m, &waiting(Path::new("/nowhere"), word)).await;
    }
    let (code, text) = cli(&t, m, &["config", "list"]);
    assert_eq!(code, Some(0), "{text}");
    let marked: Vec<&str> = text.lines().filter(|l| l.starts_with('*')).collect();
    assert!(marked.len() == 1 && marked[0].contains(" 3 "), "{text}");
    let (code, text) = cli(&t, m, &["config", "diff", "1"]);
    assert!(code == Some(0) && text.contains("description: \"one\" -> \"three\""), "{text}");
    let (code, text) = cli(&t, m, &["config", "show", "1"]);
    assert!(code == Some(0) && text == waiting(Path::new("/nowhere"), "one"), "{text}");

    let (code, text) = cli(&t, m, &["config", "activate", "1", "--comment", "three is broken"]);
    assert!(code == Some(0) && text.contains("revision 1 is active"), "{text}");
    ready(&t, m, 1).await;
    let hash = t.api(m).get("config").await.unwrap()["hash"].as_str().unwrap()[..10].to_owned();
    let (code, text) = cli(&t, m, &["config", "activate", &hash]);
    assert!(code == Some(0) && text.contains("is the active one already"), "{text}");
    let activated: Vec<(i64, String, String)> =
        sqlx::query_as("select revision_id, activated_by, comment from activations order by id")
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    assert_eq!(activated.iter().map(|a| a.0).collect::<Vec<_>>(), [1, 2, 3, 1]);
    assert_eq!(activated[3], (1, "local".into(), "three is broken".into()));
    let described: String =
        sqlx::query_scalar("select description from builders where name = 'b'").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(described, "one");

    // What another release had words for and this one has not.
    sqlx::query("update config_revisions set files = jsonb_build_object('master.star', $1::text) where id = 2")
        .bind("c = {}\nc[\"builders\"] = [util.BuilderOfTomorrow(name = \"b\")]\n")
        .execute(t.db.pool())
        .await
        .unwrap();
    let (code, text) = cli(&t, m, &["config", "activate", "2"]);
    assert!(code == Some(1) && text.contains("BuilderOfTomorrow") && text.contains("master.star:2"), "{text}");
    let (code, text) = cli(&t, m, &["config", "activate", "99"]);
    assert!(code != Some(0) && text.contains("there is no config revision 99"), "{text}");
    assert_eq!(t.api(m).get("config").await.unwrap()["revision"], 1);
    // History of what no longer evaluates is what it was.
    let (code, text) = cli(&t, m, &["config", "diff", "2", "3"]);
    assert!(code == Some(0) && text.contains("description: \"two\" -> \"three\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_eats_memory_time_or_stack_is_refused_in_bounded_time_and_the_old_revision_goes_on() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project::shell("echo fine")).await;
    t.worker("w", &t.master_url(m), 1).await;
    let good = project::shell("echo fine");
    let deep = format!("x = {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let nested = "x = 1\ndef nest():\n    x = []\n    for i in range(100000):\n        x = [x]\n    return x\n";
    let hostile = [
        ("a file of 100 MB", format!("# {}\n", "x".repeat(100_000_000))),
        ("a value of 2 GB", format!("{good}x = \"x\" * 2000000000\n")),
        ("strings of 100 MB", format!("{good}x = [\"x\" * 100000000 for i in range(50)]\n")),
        ("a range without an end", format!("{good}x = [i for i in range(1000000000)]\n")),
        (
            "a loop without an end",
            format!(
                "{good}def f():\n    for i in range(100000):\n        for j in range(100000):\n            for k in range(100000):\n                pass\nf()\n"
            ),
        ),
        ("recursion", format!("{good}def f(n):\n    return f(n + 1)\nf(0)\n")),
        ("brackets", format!("{good}{deep}")),
        ("a list in lists", format!("{good}{nested}c[\"properties\"] = {{\"x\": nest()}}\n")),
        (
            "a text that grows",
            format!("{good}def f():\n    x = \"x\"\n    for i in range(100):\n        x = x + x\nf()\n"),
        ),
    ];
    for (what, text) in hostile {
        let begun = Instant::now();
        let applied = t.api(m).post("config", json!({ "files": { "master.star": text } })).await;
        let took = begun.elapsed();
        let said = applied.expect_err(&format!("{what} was accepted"));
        eprintln!("{what}: {took:?}: {}", said.chars().take(200).collect::<String>());
        assert!(took < Duration::from_secs(240), "{what} took {took:?}");
        assert!(t.masters[m].process.alive(), "{what} ended the master:\n{}", t.masters[m].process.output());
        assert_eq!(t.api(m).get("config").await.unwrap()["revision"], 1, "after {what}");
    }
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let stored: i64 = sqlx::query_scalar("select count(*) from config_revisions").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(stored, 1, "what was refused is not stored");
    let peak = memory_peak(t.masters[m].process.pid());
    assert!(peak < 400, "the master took {peak} MiB");
    invariants::check(&t.db).await;
}

/// Most memory that a process ever had, in MiB.
fn memory_peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
