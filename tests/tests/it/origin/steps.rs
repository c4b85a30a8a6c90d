//! What steps do, see and leave behind, read from the REST API (C-38 to C-96, C-100).

use super::{Built, Origin};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use tidemill_tests::{Repository, invariants};

/// Applies the example, and builds its builder `demo`.
async fn demo(o: &Origin, name: &str) -> Built {
    o.apply(name).await;
    o.build("demo").await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_the_examples_choose_commands_steps_values_links_and_numbers() {
    let mut o = Origin::start().await;
    o.worker("lin-1", 2).await;

    let b = demo(&o, "c-38-fixed-sequence").await;
    assert_eq!(b.log("clean", "stdio"), "one\ntwo\nthree\n");

    let b = demo(&o, "c-39-dynamic-build").await;
    assert_eq!(b.log("check ink", "stdio"), "ink is fine\n");
    assert_eq!((b.log("check paper", "stdio"), b.log("sum up", "stdio")), ("paper is fine\n", "2 parts\n"));
    assert_eq!(b.words("Plan"), "2 parts");
    let builder = o.t.api(o.m).list("builders/demo").await.unwrap().remove(0);
    assert_eq!(builder["steps"], json!(["make parts", "Plan", "report"]), "the others are the build's own");

    o.apply("c-45-step-values").await;
    for _ in 0..2 {
        let b = o.build("double").await;
        assert_eq!((b.log("tick", "turns"), b.log("tick_1", "turns")), ("clock: turn 1\n", "clock: turn 1\n"));
    }

    let b = demo(&o, "c-48-frobnify").await;
    assert_eq!(b.log("Frobnify", "stdio"), "gently foo 0\ngently foo 1\n");
    assert_eq!(b.log("roughly", "stdio"), "roughly bar 0\n");
    let header = o.with_headers(&b, "Frobnify", "stdio").await;
    assert!(header.contains("LANG=C\n"), "{header}");

    let b = demo(&o, "c-49-fast-frobnify").await;
    assert_eq!((b.log("FastFrobnify", "frobbed"), b.log("FastFrobnify", "speed")), ("foo x 1", "5"));
    assert_eq!((b.log("faster", "frobbed"), b.log("faster", "speed")), ("foo x 3", "9"));

    let b = demo(&o, "c-52-remote-command").await;
    assert_eq!(b.log("Housekeeping", "there"), "store/today\nbackup/today\nbackup/today\n");

    let b = demo(&o, "c-56-cleanup-with-force").await;
    let stdio = b.log("RunCleanup", "stdio");
    assert_eq!(stdio, "cleaning in attic with 0 words\ncleaning in attic with 1 words\n");
    let header = o.with_headers(&b, "RunCleanup", "stdio").await;
    assert_eq!(header.matches("environment:").count(), 1, "the second one's is not listed: {header}");

    let b = demo(&o, "c-78-collect-stdout").await;
    assert_eq!(b.property("version"), &json!("2.7-rc1"));
    assert_eq!(b.log("tell", "stdio"), "building 2.7-rc1\n");

    let b = demo(&o, "c-86-make-tarball").await;
    let tarball = json!({ "name": "src.tar", "parts": ["src"], "good": true, "size": null });
    assert_eq!((b.property("os"), b.property("tarball")), (&json!("linux"), &tarball));

    let b = demo(&o, "c-87-property-visibility").await;
    assert_eq!(b.log("Bump", "levels"), "rendered 1, before 1, now 2");
    assert_eq!(b.log("Bump_1", "levels"), "rendered 2, before 2, now 3");
    assert_eq!(b.property("level"), &json!(3));

    let b = demo(&o, "c-88-statistics").await;
    let counted = |step: &str| b.step(step)["statistics"].clone();
    assert_eq!(counted("a"), json!({ "warnings": 3, "seconds": 6 }));
    assert_eq!(counted("b"), json!({ "warnings": 0, "seconds": 0 }));
    assert_eq!((counted("total"), b.words("total")), (json!({}), "7 warnings"));
    assert_eq!(b.property("warnings"), &json!({ "sum": 7, "most": 4 }));

    let b = demo(&o, "c-90-step-urls").await;
    let to = format!("https://reports.example.org/demo/{}", b.row["number"]);
    let links = json!([
        { "name": "coverage", "url": to },
        { "name": "coverage (87 %)", "url": format!("{to}/summary") },
    ]);
    assert_eq!(b.step("Coverage")["urls"], links);
    let page = o.page(&format!("builders/demo/builds/{}", b.row["number"])).await;
    assert!(page.contains(&format!("href=\"{to}\"")) && page.contains(&format!("href=\"{to}/summary\"")), "{page}");

    let b = demo(&o, "c-91-file-discovery").await;
    let found = "d: folder\nd/f: file\nl: link\nnothing: absent\nin d: a.txt b.txt f\n\
                 texts: build/d/a.txt build/d/b.txt\nnothing failed: True\n";
    assert_eq!(b.log("Look", "found"), found);

    let b = demo(&o, "c-94-find-compiled").await;
    assert_eq!(b.words("full"), "compiled: build/full/a.pyc build/full/b.pyc");
    assert_eq!(b.words("empty"), "nothing compiled");
    assert!(b.words("plain").starts_with("build/plain is no folder"), "{}", b.words("plain"));
    assert!(b.words("absent").starts_with("there is no build/absent"), "{}", b.words("absent"));

    let b = demo(&o, "c-95-worker-capabilities").await;
    assert_eq!(b.property("glob"), &json!("3.1"));
    assert!(b.words("too new").starts_with("the worker is too old"), "{}", b.words("too new"));
    let error = b.log("unknown", "err.text");
    assert!(error.contains("teleport") && error.contains("too old"), "{error}");
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_the_examples_hold_what_their_steps_and_observers_wrote() {
    let mut o = Origin::start().await;
    o.worker("w", 2).await;

    let b = demo(&o, "c-57-use-log").await;
    assert_eq!((b.log("TwoLogs", "listing"), b.log("TwoLogs", "stdio")), ("a.c\nb.c\n", "plain\n"));
    assert_eq!(b.logs[0].len(), 2, "there is no log named files");
    assert!(b.logs[0].values().all(|(row, _)| row["complete"] == true), "{:?}", b.logs[0]);

    let b = demo(&o, "c-64-channels").await;
    assert_eq!((b.log("Speak", "saw out"), b.log("Speak", "saw err")), ("a word", "a sigh"));
    assert_eq!((b.log("Speak", "saw header"), b.log("Speak", "talk")), ("the talk begins", "a word\na sigh\n"));
    let talk = &b.logs[0]["talk"].0["logid"];
    let lines = o.t.api(o.m).list(&format!("logs/{talk}/contents")).await.unwrap().remove(0);
    assert_eq!(lines["content"], "hthe talk begins\noa word\nea sigh\n");
    assert_eq!((&b.logs[0]["warnings"].0["type"], b.log("Speak", "warnings")), (&json!("t"), "none so far\n"));

    let b = demo(&o, "c-69-get-log").await;
    assert_eq!((b.log("work", "notes"), b.log("work", "stdio")), ("first\nsecond\n", "working\n"));
    assert!(o.with_headers(&b, "work", "stdio").await.ends_with("that was all\n"));
    let error = b.log("careless", "err.text");
    assert!(error.contains("no log `note`; it has notes"), "{error}");

    let b = demo(&o, "c-70-lint-summary").await;
    assert_eq!(b.log("Lint", "summary"), "style: 2\nunused: 1\n");

    let b = demo(&o, "c-72-growing-log").await;
    let log = b.log("Update", "updates");
    assert_eq!(log.lines().count(), 33);
    assert!(log.starts_with("round 1: größer ☃\n") && log.ends_with("30 rounds are done\n"), "{log}");

    let b = demo(&o, "c-73-html-log").await;
    let rows = "<tr><td>a</td><td>5</td></tr><tr><td>b</td><td>3</td></tr><tr><td>total</td><td>8</td></tr>";
    assert_eq!(b.log("Measure", "sizes"), format!("<table>{rows}</table>"));
    let row = &b.logs[b.at("Measure")]["sizes"].0;
    assert_eq!(row["type"], "h");
    let page = o.page(&format!("logs/{}", row["logid"])).await;
    assert!(page.contains("&lt;td&gt;5") || page.contains("&#60;td&#62;5"), "shown as text: {page}");
    assert!(!page.contains("<td>5</td>"), "and never as markup");

    let b = demo(&o, "c-74-watched-files").await;
    assert_eq!((b.log("Check", "details"), b.log("Check", "stdio")), ("passed 1\npassed 2\npassed 3\n", "done\n"));
    assert_eq!(b.step("Check")["progress"], json!({ "tests": 3 }), "an observer of the watched log has seen it");

    let b = demo(&o, "c-76-chained-observers").await;
    assert_eq!(b.log("Sift", "errors"), "error: one\nerror: two\n");
    assert_eq!(b.step("Sift")["statistics"], json!({ "errors": 2 }));

    let b = demo(&o, "c-80-line-observer").await;
    assert_eq!(b.log("usual", "seen"), "3 lines, longest 4, complaints oops");
    assert_eq!(b.log("wide", "seen"), "4 lines, longest 16385, complaints oops");
    assert!(b.log("usual", "stdio").len() > 16385, "the log has it all");
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_progress_of_the_examples_are_those_of_their_steps() {
    let mut o = Origin::start().await;
    o.worker("w", 2).await;

    let b = demo(&o, "c-44-test-results").await;
    assert!(b.words("check").starts_with("2 of 3 tests passed"), "{}", b.words("check"));
    assert!(b.words("lost").starts_with("no report"), "{}", b.words("lost"));
    assert_eq!(b.log("check", "failed"), "prints\n");
    assert_eq!(b.step("check")["statistics"], json!({ "tests-total": 3, "tests-failed": 1 }));
    assert!(b.row["state_string"].as_str().unwrap().contains("2 of 3 tests passed"), "{}", b.row);

    let b = demo(&o, "c-60-summaries").await;
    assert_eq!(b.words("Compile"), "compiled 500 files");

    let b = demo(&o, "c-82-test-case-counter").await;
    assert_eq!((b.words("Trial"), &b.step("Trial")["progress"]), ("4 tests", &json!({ "tests": 4 })));

    let b = demo(&o, "c-96-step-text").await;
    assert_eq!(b.words("Tell"), "time began in 1970");

    let b = demo(&o, "c-100-framboozle").await;
    assert_eq!((b.words("Framboozle"), &b.step("Framboozle")["progress"]), ("framboozled", &json!({ "tests": 3 })));
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_on_one_builder_have_a_lasting_folder_each() {
    let mut o = Origin::start().await;
    let ada = o.worker("ada", 1).await;
    o.apply("c-40-workdir-function").await;
    let mut folders = vec![];
    for name in ["one", "two"] {
        let home = o.t.dir().join(name);
        std::fs::create_dir(&home).unwrap();
        let repository = Repository::create(&home);
        repository.commit("README", &format!("of {name}\n"), "its own file");
        folders.push((name, md5(&repository.url())[..8].to_owned(), repository));
    }
    // One after the other, and again: an update in place, never in the other's tree.
    for round in 1..=2 {
        for (_, _, repository) in &folders {
            let request = o.force("many-repositories", json!({ "repository": repository.url() })).await;
            let built = o.built(request).await;
            assert_eq!(built.row["results"], 0, "{}", built.log("git", "stdio"));
            let revision = repository.git(&["rev-parse", "HEAD"]);
            assert_eq!(built.property("got_revision"), &json!(revision), "round {round}");
        }
        if round == 1 {
            folders[0].2.commit("README", "of one, again\n", "an update");
        }
    }
    let base = o.t.workers[ada].base.join("builds/many-repositories");
    let mut there: Vec<_> =
        std::fs::read_dir(&base).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let mut wanted: Vec<_> = folders.iter().map(|(_, folder, _)| folder.clone()).chain(["notes".into()]).collect();
    wanted.sort();
    assert_eq!(there, wanted);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&base.join(&folders[0].1).join("README")), "of one, again\n");
    assert_eq!(read(&base.join(&folders[1].1).join("README")), "of two\n");
    assert_eq!(read(&base.join("notes/notes")).lines().count(), 4, "a step's own folder wins");
    invariants::check(&o.t.db).await;
}

/// As another program has it.
fn md5(text: &str) -> String {
    let line = Command::new("sh").args(["-c", "printf %s \"$1\" | md5sum", "md5", text]).output().unwrap();
    String::from_utf8(line.stdout).unwrap()
}
