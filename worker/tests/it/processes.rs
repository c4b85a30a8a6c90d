//! Nothing of a build survives it (F24, F28).

use crate::master::{Master, sh};
use crate::worker::{Program, Worker, is_alive, pid_in, until};
use tidemill_model::Results;
use tidemill_model::log::Channel;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_build_ends_its_whole_tree_and_runs_what_always_runs() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let file = worker.base.path().join("pid");
    let line = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ >{}; while :; do sleep 0.05; done' & echo up; wait",
        file.display()
    );
    let build = master.build(&format!(
        "{}, {}, steps.ShellCommand(name = \"last\", command = \"echo cleanup\", alwaysRun = True)",
        sh(&line),
        sh("echo never")
    ));
    let stray = pid_in(&file).await;
    master.wrote(build, 1, "up").await;
    master.stop(build, Results::Cancelled);
    assert_eq!(master.finished(build).await, (Results::Cancelled, "cancelled: somebody said so".into()));
    assert!(!is_alive(stray), "a process that left the group and ignores TERM is gone as well");
    master.with(build, |b| {
        assert_eq!(b.step_results(), [("sh".into(), Results::Cancelled), ("last".into(), Results::Success)]);
        assert_eq!(b.text(1, "cancelled", Channel::Stdout), "somebody said so\n");
        assert_eq!(b.stdout(2), "cleanup\n");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_kills_the_build_and_frees_the_slot() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let file = worker.base.path().join("pid");
    let line = format!("echo $$ >{}; trap '' TERM; setsid sleep 600 & while :; do sleep 0.05; done", file.display());
    let build = master.build(&sh(&line));
    let pid = pid_in(&file).await;
    master.set(|m| m.builds.get_mut(&build).unwrap().lost = true);
    let next = master.build(&sh("true"));
    assert_eq!(master.finished(next).await.0, Results::Success);
    assert!(!is_alive(pid));
    assert_eq!(master.with(build, |b| b.finish()), None);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lives_for_the_steps_after_it_and_dies_with_the_build() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let file = worker.base.path().join("pid");
    let daemon = format!(
        "setsid sh -c 'echo $$ >{0}; exec sleep 600' >/dev/null 2>&1 & until [ -s {0} ]; do sleep 0.02; done",
        file.display()
    );
    let build =
        master.build(&format!("{}, {}", sh(&daemon), sh(&format!("kill -0 $(cat {}) && echo alive", file.display()))));
    assert_eq!(master.finished(build).await.0, Results::Success);
    assert_eq!(master.with(build, |b| b.stdout(2)), "alive\n");
    assert!(!is_alive(pid_in(&file).await), "before the build is reported as ended, its daemons are gone");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_holds_the_output_open_does_not_hang_the_step() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let file = worker.base.path().join("pid");
    let line = format!(
        "setsid sh -c 'echo from the daemon; echo $$ >{0}; exec sleep 600' & until [ -s {0} ]; do sleep 0.02; done; echo done",
        file.display()
    );
    let build = master.build(&sh(&line));
    assert_eq!(master.finished(build).await.0, Results::Success);
    assert!(!is_alive(pid_in(&file).await));
    master.with(build, |b| {
        assert!(b.stdout(1).contains("from the daemon\n") && b.stdout(1).contains("done\n"));
        assert!(b.header(1).contains("hold its output open"), "{}", b.header(1));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_its_own_process_also_ends_what_threw_its_environment_away() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let mut worker = Program::start(&master, base.path());
    let file = base.path().join("pid");
    let line = format!(
        "env -i setsid sh -c 'echo $$ >{0}; exec sleep 600' >/dev/null 2>&1 & until [ -s {0} ]; do sleep 0.02; done",
        file.display()
    );
    let build = master.build(&sh(&line));
    assert_eq!(master.finished(build).await.0, Results::Success);
    assert!(!is_alive(pid_in(&file).await));
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(worker.exit_code().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_nothing_of_another_build_is_in_a_builds_environment() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let _worker = Program::start_with(&master, base.path(), |c| {
        c.env("TIDEMILL_OTHER", "x").env("NOTIFY_SOCKET", "/run/x").env("KEPT", "kept");
    });
    let first = master.build(
        r#"steps.ShellCommand(command = "env", env = {"MINE": "${KEPT}-${TIDEMILL_OTHER}"}, logEnviron = False)"#,
    );
    let second = master.build(&sh("env"));
    master.finished(first).await;
    master.finished(second).await;
    let (one, two) = (master.with(first, |b| b.stdout(1)), master.with(second, |b| b.stdout(1)));
    assert!(one.contains("\nMINE=kept-\n") || one.starts_with("MINE=kept-\n"), "{one}");
    assert!(!two.contains("MINE="));
    for text in [&one, &two] {
        let names: Vec<_> =
            text.lines().filter_map(|l| l.split('=').next()).filter(|n| n.starts_with("TIDEMILL")).collect();
        assert_eq!(names, ["TIDEMILL_PROCESS"]);
        assert!(!text.contains("tmw_") && !text.contains("NOTIFY_SOCKET") && text.contains("KEPT=kept"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_builds_leave_no_zombies() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let worker = Program::start_with(&master, base.path(), |c| {
        c.args(["--slots", "4"]);
    });
    let builds: Vec<i64> = (0..40).map(|_| master.build(&sh("(sleep 0.01; exit 3) & (true &) ; true"))).collect();
    for build in builds {
        assert_eq!(master.finished(build).await.0, Results::Success);
    }
    // Orphans that died after their build's end are reaped by the next look.
    let last = master.build(&sh("true"));
    master.finished(last).await;
    let tasks = format!("/proc/{}/task", worker.id());
    until("only the worker itself is left", || {
        let children: String = std::fs::read_dir(&tasks)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok())
            .collect();
        children.trim().is_empty()
    })
    .await;
}
