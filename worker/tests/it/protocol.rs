//! The conversation with masters that come and go, repeat and forget.

use crate::master::{Master, TOKEN, sh};
use crate::worker::{Program, Worker, until};
use std::time::Duration;
use tidemill_model::Results;
use tidemill_model::problem::kinds;
use tidemill_worker::{HelloError, WorkerError};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_without_any_master_and_is_delivered_when_one_answers() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let done = worker.base.path().join("done");
    let go = worker.base.path().join("go");
    let line = format!("echo begun; until [ -e {} ]; do sleep 0.02; done; seq 1 20000", go.display());
    let build = master.build(&format!("{}, {}", sh(&line), sh(&format!("touch {}", done.display()))));
    master.wrote(build, 1, "begun").await;
    master.set(|m| m.down = true);
    std::fs::write(&go, "").unwrap();
    until("the last step runs while no master answers", || done.exists()).await;
    assert_eq!(master.with(build, |b| b.finish()), None);
    master.set(|m| m.down = false);
    assert_eq!(master.finished(build).await.0, Results::Success);
    let expected = format!("begun\n{}", (1..=20000).map(|n| format!("{n}\n")).collect::<String>());
    assert!(master.with(build, |b| b.stdout(1)) == expected);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_spools_bound_the_command_waits_and_its_time_stands_still() {
    let master = Master::start().await;
    let worker = Worker::start_with(&master, |s| s.spool_max = 300_000);
    let go = worker.base.path().join("go");
    // More than the bound, the pipes and every buffer; incompressible.
    let line = "head -c 3000000 /dev/urandom | tee sum.in; echo rest";
    let step =
        format!("steps.ShellCommand(name = \"sh\", command = {line:?}, timeout = 3, maxTime = 3, logEnviron = False)");
    let wait = format!("echo begun; until [ -e {} ]; do sleep 0.02; done", go.display());
    let build = master.build(&format!("{}, {step}", sh(&wait)));
    master.wrote(build, 1, "begun").await;
    master.set(|m| m.down = true);
    std::fs::write(&go, "").unwrap();
    let mut last = (0, std::time::Instant::now());
    until("the spool stands still for longer than both limits", || {
        let bytes = crate::scripts::bytes_below(&worker.base.path().join("spool"));
        if bytes != last.0 {
            last = (bytes, std::time::Instant::now());
        }
        bytes > 200_000 && last.1.elapsed() > Duration::from_millis(3500)
    })
    .await;
    assert_eq!(master.with(build, |b| b.finish()), None);
    master.set(|m| m.down = false);
    assert_eq!(master.finished(build).await.0, Results::Success);
    let stored = std::fs::read(worker.base.path().join("builds/b/build/sum.in")).unwrap();
    let got = master.with(build, |b| b.bytes(2, "stdio", tidemill_model::log::Channel::Stdout));
    assert!(got[..stored.len()] == stored[..] && got.ends_with(b"rest\n"));
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_claims_whose_answers_are_lost_come_again_and_count_once() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 2);
    master.set(|m| (m.swallow_batches, m.swallow_claims) = (3, 2));
    let builds: Vec<i64> = (0..4).map(|n| master.build(&sh(&format!("echo build {n}; sleep 0.2; echo end")))).collect();
    for (n, build) in builds.iter().enumerate() {
        assert_eq!(master.finished(*build).await.0, Results::Success);
        assert_eq!(master.with(*build, |b| b.stdout(1)), format!("build {n}\nend\n"));
    }
    let mut numbers: Vec<u64> = master.lock().polls.iter().map(|p| p.poll).collect();
    let answered = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), answered, "each answered poll has a number of its own: {numbers:?}");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_masters_forgot_is_opened_again_while_builds_go_on() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let go = worker.base.path().join("go");
    let line = format!("echo begun; until [ -e {} ]; do sleep 0.02; done; echo end", go.display());
    let build = master.build(&sh(&line));
    master.wrote(build, 1, "begun").await;
    // A database restored: the number of the session means nothing any more.
    master.set(|m| m.session += 10);
    master.until("a second hello", |m| (m.hellos.len() >= 2).then_some(())).await;
    std::fs::write(&go, "").unwrap();
    assert_eq!(master.finished(build).await.0, Results::Success);
    assert_eq!(master.with(build, |b| b.stdout(1)), "begun\nend\n");
    let next = master.build(&sh("true"));
    assert_eq!(master.finished(next).await.0, Results::Success);
    let instances: Vec<String> = master.lock().hellos.iter().map(|h| h.instance.clone()).collect();
    assert_eq!(instances.len(), 2, "one hello, however many tasks ask for it");
    assert_eq!(instances[0], instances[1]);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_a_person_must_resolve_end_the_worker_with_words() {
    let master = Master::start().await;
    for (kind, words) in [
        (kinds::UNAUTHORIZED, "Check the token"),
        (kinds::PROTOCOL_VERSION, "no protocol version in common"),
        (kinds::SESSION_SUPERSEDED, "another process took over"),
    ] {
        master.set(|m| m.refuse_hello = Some(kind));
        let error = Worker::start(&master, 1).outcome().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut worker = Worker::start_with(&master, |s| s.master = "ftp://x".into());
    assert!(worker.outcome().await.unwrap_err().to_string().contains("not http or https"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_its_name_and_for_its_first_master() {
    let master = Master::start().await;
    master.set(|m| m.down = true);
    let worker = Worker::start(&master, 1);
    master.set(|m| (m.down, m.refuse_hello) = (false, Some(kinds::WORKER_NAME_IN_USE)));
    let build = master.build(&sh("true"));
    master.set(|m| m.refuse_hello = None);
    assert_eq!(master.finished(build).await.0, Results::Success);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_worker_kills_its_builds_and_ends_with_an_error() {
    let master = Master::start().await;
    let mut worker = Worker::start(&master, 1);
    let file = worker.base.path().join("pid");
    let build = master.build(&sh(&format!("echo $$ >{}; while :; do sleep 0.05; done", file.display())));
    let pid = crate::worker::pid_in(&file).await;
    master.set(|m| {
        m.session += 1;
        m.refuse_hello = Some(kinds::SESSION_SUPERSEDED);
    });
    let error = worker.outcome().await.unwrap_err();
    assert!(master.lock().goodbyes.is_empty(), "what another process has is not closed");
    assert!(matches!(error, WorkerError::Hello(HelloError::Superseded { .. })), "{error}");
    assert!(!crate::worker::is_alive(pid));
    assert_eq!(master.with(build, |b| b.finish()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_finishes_what_runs_and_takes_nothing_new() {
    let master = Master::start().await;
    let mut worker = Worker::start(&master, 2);
    let go = worker.base.path().join("go");
    let build = master.build(&sh(&format!("echo begun; until [ -e {} ]; do sleep 0.02; done", go.display())));
    master.wrote(build, 1, "begun").await;
    worker.life.drain();
    master.until("a poll without room", |m| (m.polls.last()?.free == 0).then_some(())).await;
    let late = master.build(&sh("true"));
    std::fs::write(&go, "").unwrap();
    assert_eq!(master.finished(build).await.0, Results::Success);
    worker.outcome().await.unwrap();
    assert!(!master.lock().builds.contains_key(&late));
    let inner = master.lock();
    assert_eq!(inner.goodbyes, [inner.session], "the last words close the session");
    assert!(inner.violations.is_empty(), "{:?}", inner.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_drains_at_once_also_without_a_master_and_when_a_master_asks() {
    let master = Master::start().await;
    let mut idle = Worker::start(&master, 1);
    master.until("a hello", |m| (m.hellos.len() == 1).then_some(())).await;
    master.set(|m| m.down = true);
    idle.life.drain();
    idle.outcome().await.unwrap();
    master.set(|m| (m.down, m.drain) = (false, true));
    Worker::start(&master, 1).outcome().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_build_is_reported_often_enough_to_keep_its_lease() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let go = worker.base.path().join("go");
    let build = master.build(&sh(&format!("until [ -e {} ]; do sleep 0.05; done", go.display())));
    master
        .until("polls that hold the build", |m| {
            let holding = m.polls.iter().filter(|p| p.held.iter().any(|h| h.build == build));
            let waits_are_short = m.polls.iter().skip(1).all(|p| p.wait_us <= 1_000_000);
            assert!(waits_are_short, "a third of the lease at most");
            (holding.count() >= 3).then_some(())
        })
        .await;
    std::fs::write(&go, "").unwrap();
    master.finished(build).await;
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_what_is_wrong_and_never_shows_its_token() {
    let master = Master::start().await;
    let dir = tempfile::tempdir().unwrap();
    let output = |args: &[&str], token: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidemill-worker"));
        command.args(["--master", &master.url, "--name", "w", "--base"]).arg(dir.path()).args(args);
        command.env_remove("TIDEMILL_WORKER_TOKEN");
        if let Some(token) = token {
            command.env("TIDEMILL_WORKER_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = output(&[], None);
    assert!(code == Some(2) && text.contains("--token-file"), "{text}");
    let (code, text) = output(&[], Some("tmu_secret"));
    assert!(code == Some(2) && text.contains("tmw_") && !text.contains("tmu_secret"), "{text}");
    let (code, text) = output(&[], Some("tmw_secretsecret"));
    assert!(code == Some(2) && text.contains("Check the token") && !text.contains("secretsecret"), "{text}");
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let _first = Program::start_with(&master, dir.path(), |c| {
        c.env_remove("TIDEMILL_WORKER_TOKEN").arg("--token-file").arg(&file);
    });
    master.until("a hello", |m| (!m.hellos.is_empty()).then_some(())).await;
    let (code, text) = output(&[], Some(TOKEN));
    assert!(code == Some(2) && text.contains("in use by another worker"), "{text}");
}
