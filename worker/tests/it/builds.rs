//! Builds: steps in order, results, logs, environment.

use crate::master::{Master, project, sh};
use crate::worker::{Program, Worker};
use tidemill_model::log::{Channel, decode};
use tidemill_model::wire::{Event, Frame};
use tidemill_model::{Results, SourceStamp};

fn name(text: &str, result: Results) -> (String, Results) {
    (text.to_owned(), result)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_build_goes_up_in_one_batch_with_all_that_happened() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let build = master.build(&sh("echo out; echo err >&2; echo $FROM_BUILDER; pwd; echo CI=$CI"));
    assert_eq!(master.finished(build).await, (Results::Success, "build successful".into()));
    master.with(build, |b| {
        let stdout = b.stdout(1);
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("out", "yes", "CI=true"));
        assert!(lines[2].ends_with("/builds/b/build"), "{stdout}");
        assert_eq!(b.text(1, "stdio", Channel::Stderr), "err\n");
        let header = b.header(1);
        for part in ["echo out", " in dir ", "timeout 1200 s", "argv: [\"/bin/sh\", \"-c\"", "  CI=true\n"] {
            assert!(header.contains(part), "{part} in {header}");
        }
        assert!(header.contains("program finished with exit code 0\nelapsedTime="), "{header}");
        assert_eq!(b.steps()[0].2, "'echo out; ...'");
        let events = b.events();
        assert!(matches!(events[0], Event::BuildStarted { .. }));
        assert!(matches!(events.last(), Some(Event::BuildFinished { .. })));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_in_order_and_their_flags_make_the_result() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let steps = r#"
        steps.ShellCommand(name = "warn", command = "exit 3", decodeRC = {3: util.WARNINGS}, warnOnWarnings = True),
        steps.ShellCommand(name = "skip", command = "echo no", doStepIf = False),
        steps.ShellCommand(name = "hidden", command = "true", hideStepIf = lambda results, s: results == util.SUCCESS),
        steps.ShellCommand(name = "minor", command = "false", flunkOnFailure = False),
        steps.ShellCommand(name = "major", command = "exit 7", haltOnFailure = True),
        steps.ShellCommand(name = "never", command = "echo never"),
        steps.ShellCommand(name = "major", command = "echo always", alwaysRun = True)
    "#;
    let build = master.build(steps);
    assert_eq!(master.finished(build).await, (Results::Failure, "failed major".into()));
    master.with(build, |b| {
        let expected = [
            name("warn", Results::Warnings),
            name("skip", Results::Skipped),
            name("hidden", Results::Success),
            name("minor", Results::Failure),
            name("major", Results::Failure),
            name("major_1", Results::Success),
        ];
        assert_eq!(b.step_results(), expected);
        assert_eq!(b.stdout(6), "always\n");
        assert!(b.header(5).contains("exit code 7"));
        let hidden: Vec<bool> = b
            .events()
            .into_iter()
            .filter_map(|e| if let Event::StepFinished { hidden, .. } = e { Some(hidden) } else { None })
            .collect();
        assert_eq!(hidden, [false, false, true, false, false, false]);
    });
    let skipped = master.build(r#"steps.ShellCommand(command = "false", doStepIf = False)"#);
    assert_eq!(master.finished(skipped).await.0, Results::Success);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_of_one_step_is_seen_by_the_next() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let build = master.build(
        r#"steps.SetProperty(property = "colour", value = util.Interpolate("dark-%(src::branch)s")),
           steps.ShellCommand(command = ["echo", util.Property("colour"), util.Property("workername")])"#,
    );
    assert_eq!(master.finished(build).await.0, Results::Success);
    master.with(build, |b| {
        assert!(b.property("colour").unwrap().as_str().unwrap().starts_with("dark-"));
        assert!(b.stdout(2).starts_with("dark-") && b.stdout(2).ends_with(" w\n"), "{}", b.stdout(2));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_evaluated_is_an_exception_with_the_reason_in_a_log() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let stamps = vec![SourceStamp::default()];
    let broken = master.build_with("c = {}\nc[\"builders\"] = undefined_name\n", "b", stamps.clone());
    let unknown = master.build_with(&project(&sh("true")), "other", stamps);
    let fails = master.build(
        r#"steps.ShellCommand(name = "bad", command = "true", doStepIf = lambda s: 1 // 0 == 0),
           steps.ShellCommand(command = "echo not run")"#,
    );
    for (build, text) in [(broken, "undefined_name"), (unknown, "no builder \"other\""), (fails, "master.star")] {
        let (results, summary) = master.finished(build).await;
        assert_eq!(results, Results::Exception, "{summary}");
        let log = master.with(build, |b| b.text(1, "err.text", Channel::Stdout));
        assert!(log.contains(text), "{log}");
        assert_eq!(master.with(build, |b| b.steps().len()), 1);
    }
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_leaves_its_builders_folder() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let outside = worker.base.path().join("outside");
    let build = master.build(
        r#"steps.ShellCommand(command = "ln -s ../../.. up; mkdir -p sub"),
           steps.ShellCommand(command = "pwd", workdir = "build/sub"),
           steps.ShellCommand(name = "bad", command = "touch outside", workdir = "build/up")"#,
    );
    assert_eq!(master.finished(build).await, (Results::Exception, "exception bad".into()));
    assert!(!outside.exists());
    master.with(build, |b| {
        assert!(b.stdout(2).trim_end().ends_with("/builds/b/build/sub"));
        assert!(b.text(3, "err.text", Channel::Stdout).contains("leads out of the builder's folder"));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_a_nul_and_invalid_utf8_come_out_byte_for_byte() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let line = "head -c 10485760 /dev/zero | tr '\\0' x; printf '\\0\\377\\033[31mred\\n'; printf no-newline";
    let build = master.build(&sh(line));
    assert_eq!(master.finished(build).await.0, Results::Success);
    let mut expected = vec![b'x'; 10 << 20];
    expected.extend_from_slice(b"\0\xff\x1b[31mred\nno-newline");
    assert!(master.with(build, |b| b.bytes(1, "stdio", Channel::Stdout)) == expected);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_seen_while_the_step_runs_and_a_limited_log_keeps_head_and_tail() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let go = worker.base.path().join("go");
    let build = master.build(&format!(
        r#"steps.ShellCommand(command = "printf 'question? '; until [ -e {} ]; do sleep 0.02; done"),
           steps.ShellCommand(command = "seq 1 100000", logMaxSize = 100, logMaxTailSize = 50)"#,
        go.display()
    ));
    master.wrote(build, 1, "question? ").await;
    std::fs::write(&go, "").unwrap();
    assert_eq!(master.finished(build).await.0, Results::Success);
    master.with(build, |b| {
        let stdout = b.stdout(2);
        assert!(stdout.starts_with("1\n2\n") && stdout.ends_with("99999\n100000\n"), "{stdout}");
        assert_eq!(stdout.len(), 150);
        let id = b.log_id(2, "stdio").unwrap();
        let gaps: Vec<u64> = b
            .frames()
            .filter_map(|f| if let Frame::Log { log, chunk } = f { (*log == id).then_some(chunk) } else { None })
            .flat_map(|c| decode(&c.data).unwrap())
            .filter_map(|r| r.gap())
            .collect();
        assert_eq!(gaps, [588_895 - 150]);
        assert!(b.header(2).contains("exit code 0"));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_line_limits_end_a_command() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 4);
    let silent = master.build(r#"steps.ShellCommand(command = "sleep 600", timeout = 0.3)"#);
    let long = master.build(r#"steps.ShellCommand(command = "while echo x; do sleep 0.05; done", maxTime = 0.3)"#);
    let lines = master.build(r#"steps.ShellCommand(command = "yes", max_lines = 10)"#);
    let polite = master.build(
        r#"steps.ShellCommand(command = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", maxTime = 3, sigtermTime = 30)"#,
    );
    for (build, text) in [(silent, "without output"), (long, "longer than"), (lines, "10 lines"), (polite, "longer")] {
        assert_eq!(master.finished(build).await.0, Results::Failure);
        master.with(build, |b| {
            assert!(b.steps()[0].2.contains(text) && b.header(1).contains(text), "{:?}", b.steps());
            assert!(b.header(1).contains("exit code -1"), "{}", b.header(1));
        });
    }
    assert_eq!(master.with(polite, |b| b.stdout(1)), "bye\n");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_and_wanted_streams_are_as_configured() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let build = master.build(
        r#"steps.ShellCommand(command = ["cat"], initialStdin = "from the project\n"),
           steps.ShellCommand(command = "echo out; echo err >&2", want_stdout = False, logEnviron = False),
           steps.ShellCommand(command = ["cat"]),
           steps.ShellCommand(name = "missing", command = ["no-such-program-here"])"#,
    );
    assert_eq!(master.finished(build).await, (Results::Failure, "failed missing".into()));
    master.with(build, |b| {
        assert_eq!(b.stdout(1), "from the project\n");
        assert_eq!((b.stdout(2), b.text(2, "stdio", Channel::Stderr)), (String::new(), "err\n".into()));
        assert!(!b.header(2).contains("environment:"));
        assert_eq!(b.stdout(3), "");
        assert!(b.header(4).contains("no-such-program-here: not found in PATH="));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_in_the_folder_or_may_not_be_executed_is_the_builds_own_mistake() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let build = master.build(
        r#"steps.ShellCommand(command = "echo true > plain"),
           steps.ShellCommand(name = "absent", command = ["./absent"]),
           steps.ShellCommand(name = "plain", command = ["./plain"])"#,
    );
    assert_eq!(master.finished(build).await.0, Results::Failure);
    master.with(build, |b| {
        assert!(b.header(2).contains("./absent: not found in /"), "{}", b.header(2));
        assert!(b.header(3).contains("./plain: it is no program: execute permission is missing"), "{}", b.header(3));
        assert!(b.steps()[1..].iter().all(|s| s.1 == Results::Failure), "{:?}", b.steps());
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_one_builder_at_once_keep_out_of_each_others_folder() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 2);
    let go = worker.base.path().join("go");
    let line = format!("pwd; until [ -e {} ]; do sleep 0.02; done", go.display());
    let (a, b) = (master.build(&sh(&line)), master.build(&sh(&line)));
    master.wrote(a, 1, "\n").await;
    master.wrote(b, 1, "\n").await;
    assert_ne!(master.with(a, |r| r.stdout(1)), master.with(b, |r| r.stdout(1)));
    std::fs::write(go, "").unwrap();
    master.finished(a).await;
    master.finished(b).await;
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_however_much_a_command_writes_without_a_newline() {
    let master = Master::start().await;
    let base = tempfile::tempdir().unwrap();
    let worker = Program::start(&master, base.path());
    let build = master.build(&sh("head -c 400000000 /dev/zero"));
    let (results, bytes) = master
        .until("the build ends", |m| {
            let record = m.builds.get(&build)?;
            // Looks at the last batch only: there are many.
            let (_, frames) = record.batches.values().last()?;
            let end = frames.iter().find_map(|f| match f {
                Frame::Event(Event::BuildFinished { results, .. }) => Some(*results),
                _ => None,
            })?;
            let sum = record.events().into_iter().find_map(|e| match e {
                Event::LogFinished { sum, .. } => Some(sum.bytes),
                _ => None,
            });
            Some((end, sum.unwrap_or(0)))
        })
        .await;
    assert_eq!(results, Results::Success);
    assert!(bytes > 400_000_000);
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    assert!(peak.unwrap() < 100_000, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_project_says_of_a_worker_is_a_property_of_its_builds() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let step = "steps.ShellCommand(name = \"sh\", command = [\"echo\", util.Interpolate(\"%(prop:os)s %(prop:jobs)s %(prop:branch)s\")])";
    let workers = "c[\"workers\"] = [worker.Worker(\"v\", properties = {\"os\": \"other\"}), \
                   worker.Worker(\"w\", properties = {\"os\": \"linux\"}, defaultProperties = {\"os\": \"any\", \"jobs\": 4})]\n";
    let text = format!("{}{workers}", project(step));
    let build =
        master.build_with(&text, "b", vec![SourceStamp { branch: Some("main".into()), ..SourceStamp::default() }]);
    assert_eq!(master.finished(build).await.0, Results::Success);
    master.with(build, |b| {
        assert_eq!(b.stdout(1), "linux 4 main\n");
        assert_eq!((b.property("os"), b.property("jobs")), (Some("linux".into()), Some(4.into())));
        assert!(matches!(b.events()[0], Event::BuildStarted { .. }));
    });
    worker.end(&master).await;
}
