//! The worker is killed, and started again on the same base directory.

use crate::master::{Master, sh};
use crate::worker::{Program, Worker, is_alive, left, pid_in, until};
use nix::sys::signal::Signal;
use tidemill_model::Results;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_ends_the_old_processes_delivers_its_spool_and_reports_the_build_lost() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let mut first = Program::start(&master, base.path());
    let file = base.path().join("pid");
    let go = base.path().join("go");
    let line = format!(
        "setsid sh -c 'echo $$ >{}; exec sleep 600' & echo begun; until [ -e {} ]; do sleep 0.02; done; seq 1 50000; echo last; wait",
        file.display(),
        go.display()
    );
    let build = master.build(&sh(&line));
    master.wrote(build, 1, "begun").await;
    let stray = pid_in(&file).await;
    // What follows reaches only the spool.
    master.set(|m| m.down = true);
    let segment = base.path().join(format!("spool/{build}/00000001.seg"));
    let before = std::fs::metadata(&segment).map_or(0, |m| m.len());
    std::fs::write(&go, "").unwrap();
    until("output is spooled", || std::fs::metadata(&segment).map_or(0, |m| m.len()) > before + 20_000).await;
    first.kill();
    assert!(is_alive(stray));
    master.set(|m| m.down = false);
    let _second = Program::start(&master, base.path());
    assert_eq!(master.finished(build).await, (Results::Retry, "worker restarted".into()));
    assert!(!is_alive(stray), "the processes of the old life are gone before anything is reported");
    assert!(master.with(build, |b| b.stdout(1)).starts_with("begun\n1\n2\n3\n"));
    let next = master.build(&sh("echo next"));
    assert_eq!(master.finished(next).await.0, Results::Success);
    until("the spool is empty", || left(&base.path().join("spool")).is_empty()).await;
    let inner = master.lock();
    assert_eq!(inner.violations, Vec::<String>::new());
    assert_eq!(inner.hellos[0].instance, inner.hellos[1].instance);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_too_young_for_the_disk_is_reported_lost_all_the_same() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let mut first = Program::start(&master, base.path());
    let file = base.path().join("pid");
    // The command kills the worker, as soon as it runs.
    let build = master.build(&sh(&format!("echo $$ >{}; kill -9 $PPID; sleep 600", file.display())));
    let pid = pid_in(&file).await;
    assert_eq!(first.exit_code().await, -1);
    let _second = Program::start(&master, base.path());
    assert_eq!(master.finished(build).await.0, Results::Retry);
    assert!(!is_alive(pid));
    assert_eq!(master.lock().violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_ended_while_no_master_answered_keeps_its_result_over_a_restart() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let mut first = Program::start(&master, base.path());
    let (begun, go, done) = (base.path().join("begun"), base.path().join("go"), base.path().join("done"));
    let wait = format!(
        "touch {}; until [ -e {} ]; do sleep 0.02; done; touch {}",
        begun.display(),
        go.display(),
        done.display()
    );
    let build = master.build(&sh(&wait));
    until("the step runs", || begun.exists()).await;
    master.set(|m| m.down = true);
    std::fs::write(&go, "").unwrap();
    until("the step ends", || done.exists()).await;
    let spool = base.path().join(format!("spool/{build}"));
    until("the end of the build is on disk", || {
        let segments = std::fs::read_dir(&spool).into_iter().flatten().flatten();
        let bytes: Vec<u8> = segments.flat_map(|s| std::fs::read(s.path()).unwrap_or_default()).collect();
        bytes.windows(14).any(|w| w == b"build_finished")
    })
    .await;
    first.kill();
    master.set(|m| m.down = false);
    let _second = Program::start(&master, base.path());
    assert_eq!(master.finished(build).await, (Results::Success, "build successful".into()));
    assert_eq!(master.lock().violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_leaves_its_builds_to_the_next_start() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    // With a second slot: no room means that it drains.
    let mut first = Program::start_with(&master, base.path(), |c| {
        c.args(["--slots", "2"]);
    });
    let file = base.path().join("pid");
    let build = master.build(&sh(&format!("echo $$ >{}; echo begun; while :; do sleep 0.05; done", file.display())));
    master.wrote(build, 1, "begun").await;
    let pid = pid_in(&file).await;
    first.signal(Signal::SIGTERM);
    master.until("the worker drains", |m| (m.polls.last()?.free == 0).then_some(())).await;
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exit_code().await, 0);
    assert!(!is_alive(pid));
    let _second = Program::start(&master, base.path());
    assert_eq!(master.finished(build).await.0, Results::Retry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_of_an_earlier_life_is_forgotten() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let mut first = Program::start(&master, base.path());
    let build = master.build(&sh("echo begun; while :; do sleep 0.05; done"));
    master.wrote(build, 1, "begun").await;
    first.kill();
    master.set(|m| m.builds.get_mut(&build).unwrap().lost = true);
    let _second = Program::start(&master, base.path());
    // A poll of the first one may still wait, and would get the next build.
    master.until("the second one is known", |m| (m.session == 2).then_some(())).await;
    let next = master.build(&sh("echo next"));
    assert_eq!(master.finished(next).await.0, Results::Success);
    until("the spool is empty", || left(&base.path().join("spool")).is_empty()).await;
    assert_eq!(master.with(build, |b| b.finish()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_worker_whose_lease_ran_out_kills_its_build_when_it_goes_on() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let worker = Program::start(&master, base.path());
    let file = base.path().join("pid");
    let build = master.build(&sh(&format!("echo $$ >{}; echo begun; while :; do sleep 0.05; done", file.display())));
    master.wrote(build, 1, "begun").await;
    let pid = pid_in(&file).await;
    worker.signal(Signal::SIGSTOP);
    master.set(|m| m.builds.get_mut(&build).unwrap().lost = true);
    assert!(is_alive(pid));
    worker.signal(Signal::SIGCONT);
    until("the build's processes die", || !is_alive(pid)).await;
    let next = master.build(&sh("echo next"));
    assert_eq!(master.finished(next).await.0, Results::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_read_does_not_keep_the_worker_from_working() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let spool = base.path().join("spool");
    std::fs::create_dir_all(spool.join("77")).unwrap();
    std::fs::create_dir_all(spool.join("78")).unwrap();
    std::fs::write(spool.join("77/00000001.seg"), [0u8; 4096]).unwrap();
    let mut record = Vec::new();
    for value in [1u64, 1, 0, 9999] {
        record.extend(value.to_le_bytes());
    }
    std::fs::write(spool.join("77/batches"), record).unwrap();
    std::fs::write(spool.join("journal"), "+77 token\n").unwrap();
    let worker = Worker::start_with(&master, |s| s.base = base.path().to_owned());
    let build = master.build(&sh("echo works"));
    assert_eq!(master.finished(build).await.0, Results::Success);
    // The last answer may still be on its way to the worker.
    until("the spool is empty", || left(&spool).is_empty()).await;
    worker.end(&master).await;
}
