//! Steps whose work is a function: custom steps and those of the library, with
//! the real evaluator and real processes.

use crate::master::{Master, project};
use crate::worker::{Worker, is_alive, pid_in, until};
use std::os::unix::fs::PermissionsExt;
use tidemill_model::log::Channel;
use tidemill_model::wire::Event;
use tidemill_model::{Results, SourceStamp};

/// A builder `b` of these steps, with definitions before it.
fn with(definitions: &str, steps: &str) -> String {
    format!("{definitions}\n{}", project(steps))
}

pub fn queue(master: &Master, definitions: &str, steps: &str) -> i64 {
    master.build_with(&with(definitions, steps), "b", vec![SourceStamp::default()])
}

/// All that was said about a build, for messages.
pub fn story(master: &Master, build: i64) -> String {
    master.with(build, |b| {
        let error = (1..9).map(|n| b.text(n, "err.text", Channel::Stdout)).collect::<String>();
        format!("{:?}\n{error}", b.steps())
    })
}

pub async fn ends(master: &Master, build: i64, results: Results) {
    let (got, summary) = master.finished(build).await;
    assert_eq!(got, results, "{summary}: {}", story(master, build));
}

const COUNTING: &str = r#"
def _line(self, line):
    self.step.setProgress("tests", self.count)
    if line.startswith("test "):
        self.count += 1
        self.step.count = self.count

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, count = 0))
    self.count = 0
    one = self.shell("for i in $(seq 1 1000); do echo test $i; done; echo oops >&2")
    two = self.shell(["sh", "-c", "echo test more; exit 3"], env = {"LANG": "C"}, stdioLogName = "stdio")
    self.addCompleteLog("report", "%d tests\n" % self.count)
    self.addHTMLLog("page", "<b>%d</b>" % self.count)
    self.setProperty("tests", self.count)
    self.setStatistic("tests", self.count)
    self.addURL("report", "https://example.org/report")
    self.descriptionDone = ["%d tests" % self.count]
    if one.didFail() or two.rc != 3:
        return FAILURE
    return WARNINGS

Counting = util.BuildStep(implementation = _run)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_step_runs_commands_counts_lines_and_says_what_it_found() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let steps = r#"Counting(name = "tests"),
        steps.ShellCommand(command = ["echo", util.Interpolate("%(prop:tests)s")])"#;
    let build = queue(&master, COUNTING, steps);
    ends(&master, build, Results::Success).await;
    master.with(build, |b| {
        let steps = b.steps();
        assert_eq!((steps[0].0.as_str(), steps[0].1), ("tests", Results::Warnings));
        assert_eq!(steps[0].2, "1001 tests (warnings)");
        let stdout = b.stdout(1);
        assert!(stdout.starts_with("test 1\n") && stdout.ends_with("test 1000\ntest more\n"), "{stdout}");
        assert_eq!(b.text(1, "stdio", Channel::Stderr), "oops\n");
        let header = b.header(1);
        assert!(header.contains("exit code 0\n") && header.contains("exit code 3\n"), "{header}");
        assert_eq!(b.text(1, "report", Channel::Stdout), "1001 tests\n");
        assert_eq!(b.text(1, "page", Channel::Stdout), "<b>1001</b>");
        assert_eq!(b.property("tests"), Some(1001.into()));
        assert_eq!(b.statistics(1), [("tests".to_owned(), 1001.0)].into());
        assert_eq!(b.progress(1).last().unwrap()["tests"], 1000.0);
        assert_eq!(b.stdout(2), "1001\n");
        let url = |e: &Event| matches!(e, Event::StepUrl { step: 1, name, .. } if name == "report");
        assert!(b.events().iter().any(url));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_adds_steps_to_its_build_after_itself_and_last() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = r#"
def _run(self):
    cmd = self.shell("printf 'a\nb\n'", collectStdout = True)
    names = cmd.stdout.split()
    self.addStepsAfterCurrentStep([steps.ShellCommand(name = n, command = ["echo", "built", n]) for n in names])
    self.addStepsAfterLastStep([steps.ShellCommand(name = "end", command = "echo end")])

Generate = util.BuildStep(implementation = _run)
"#;
    let steps = r#"Generate(name = "generate"), steps.ShellCommand(name = "fixed", command = "true")"#;
    let build = queue(&master, definitions, steps);
    ends(&master, build, Results::Success).await;
    let names = master.with(build, |b| b.steps().into_iter().map(|s| s.0).collect::<Vec<_>>());
    assert_eq!(names, ["generate", "a", "b", "fixed", "end"], "{}", story(&master, build));
    assert_eq!(master.with(build, |b| b.stdout(3)), "built b\n");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_endless_output_and_one_of_endless_loops_are_stopped_at_once() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 2);
    let file = worker.base.path().join("pid");
    let definitions = r#"
def _line(self, line):
    self.lines += 1

def _output(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, lines = 0))
    self.shell("setsid sleep 1000 & echo $! >FILE; exec yes", logMaxSize = 1000)

def _loop(self):
    self.addCompleteLog("begun", "")
    for i in range(50000000):
        for j in range(50000000):
            pass

Output = util.BuildStep(implementation = _output)
Loop = util.BuildStep(implementation = _loop)
"#
    .replace("FILE", &file.display().to_string());
    let output = queue(
        &master,
        &definitions,
        r#"Output(name = "o"), steps.ShellCommand(name = "always", command = "true", alwaysRun = True)"#,
    );
    let endless = queue(&master, &definitions, r#"Loop(name = "l")"#);
    let pid = pid_in(&file).await;
    master.wrote(output, 1, "y\ny\n").await;
    master.until("the loop runs", |m| m.builds.get(&endless)?.log_id(1, "begun")).await;
    let begun = std::time::Instant::now();
    master.stop(output, Results::Cancelled);
    master.stop(endless, Results::Cancelled);
    ends(&master, output, Results::Cancelled).await;
    ends(&master, endless, Results::Cancelled).await;
    println!("both ended {:?} after the order", begun.elapsed());
    assert!(!is_alive(pid), "nothing of the step is left");
    master.with(output, |b| {
        assert_eq!(b.step_results()[0], ("o".to_owned(), Results::Cancelled));
        assert_eq!(b.step_results()[1], ("always".to_owned(), Results::Success));
        assert!(b.text(1, "cancelled", Channel::Stdout).contains("somebody said so"));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_files_are_followed_into_logs_of_their_own() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let go = worker.base.path().join("go");
    let definitions = r#"
def _line(self, line):
    self.step.seen += 1

def _run(self):
    self.seen = 0
    self.addLogObserver("trial", util.LogLineObserver(outLineReceived = _line))
    self.shell("seq 1 50 >trial.log", logfiles = {"trial": "trial.log"})
    self.setProperty("seen", self.seen)

Watch = util.BuildStep(implementation = _run)
"#;
    let line = format!(
        "echo first >w.log; echo new >>old.log; until [ -e {} ]; do sleep 0.02; done; \
         echo last >>w.log; echo new >n; mv n w.log",
        go.display()
    );
    let steps = format!(
        r#"steps.ShellCommand(command = "echo before >old.log; echo same >same.log"),
           steps.ShellCommand(command = {line:?}, lazylogfiles = True, logfiles = {{"w": "w.log",
               "old": {{"filename": "old.log", "follow": True}}, "same": "same.log", "none": "none.log"}}),
           Watch(name = "watch")"#
    );
    let build = queue(&master, definitions, &steps);
    master
        .until("the file's first line is shown while the command runs", |m| {
            m.builds.get(&build)?.text(2, "w", Channel::Stdout).contains("first").then_some(())
        })
        .await;
    std::fs::write(&go, "").unwrap();
    ends(&master, build, Results::Success).await;
    master.with(build, |b| {
        assert_eq!(b.text(2, "w", Channel::Stdout), "first\nlast\nnew\n");
        assert_eq!(b.text(2, "old", Channel::Stdout), "new\n");
        assert_eq!((b.log_id(2, "same"), b.log_id(2, "none")), (None, None), "lazy logs of files that did not change");
        assert_eq!(b.text(3, "trial", Channel::Stdout).lines().count(), 50);
        assert_eq!(b.property("seen"), Some(50.into()));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_the_library_work_on_commands_properties_and_files() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let steps = r#"
        steps.MakeDirectory(dir = "build/made/deep"),
        steps.ShellSequence(commands = [
            util.ShellArg(command = "echo one >made/deep/f", logname = "one", haltOnFailure = True),
            util.ShellArg(command = ["cat", "made/deep/f"], logname = "two"),
            util.ShellArg(command = "exit 4", logname = "three", flunkOnFailure = False),
        ]),
        steps.SetPropertyFromCommand(command = "echo '  value '", property = "found"),
        steps.FileExists(file = "build/made/deep/f"),
        steps.CopyDirectory(src = "build/made", dest = "build/copied"),
        steps.ShellCommand(command = ["cat", "copied/deep/f"]),
        steps.ShellCommand(command = ["echo", util.Interpolate("%(prop:found)s")]),
        steps.RemoveDirectory(dir = "build/made"),
        steps.FileExists(name = "gone", file = "build/made/deep/f", flunkOnFailure = False, haltOnFailure = False),
        steps.MakeDirectory(name = "out", dir = "../x", flunkOnFailure = False)
    "#;
    let build = master.build(steps);
    let (results, _) = master.finished(build).await;
    let told = story(&master, build);
    master.with(build, |b| {
        let got: Vec<Results> = b.step_results().into_iter().map(|(_, r)| r).collect();
        let mut expected = vec![Results::Success; 10];
        (expected[8], expected[9]) = (Results::Failure, Results::Exception);
        assert_eq!(got, expected, "{told}");
        assert_eq!(results, Results::Exception);
        assert_eq!(b.text(2, "two", Channel::Stdout), "one\n");
        assert!(b.text(2, "three", Channel::Header).contains("exit code 4"));
        assert_eq!(b.property("found"), Some("value".into()));
        assert_eq!((b.stdout(6), b.stdout(7)), ("one\n".into(), "value\n".into()));
        assert!(b.text(10, "err.text", Channel::Stdout).contains("leaves the builder's folder"), "{told}");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_command_follows_a_link_out_of_the_builders_folder() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    std::fs::write(worker.base.path().join("outside"), "not yours").unwrap();
    let definitions = r#"
def _run(self):
    self.shell("ln -s ../../.. up; mkdir -p d/deep; echo x >d/f; ln -s /etc d/etc")
    found = [
        self.pathExists("build/up/outside"),
        self.runRmdir("build/up/builds"),
        self.runMkdir("build/up/made"),
        self.listdir("build/up"),
        self.runGlob("build/**"),
        self.runCpdir("build/up", "build/copy"),
        self.runCpdir("build/d/deep", "build/d"),
    ]
    self.setProperty("found", found)
    self.writeFile("d/new", "text")
    self.setProperty("text", self.readFile("d/new"))

Files = util.BuildStep(implementation = _run)
"#;
    let build = queue(&master, definitions, r#"Files(name = "files")"#);
    ends(&master, build, Results::Success).await;
    let found = master.with(build, |b| b.property("found").unwrap());
    let glob = serde_json::json!(["build/d", "build/d/deep", "build/d/etc", "build/d/f", "build/up"]);
    assert_eq!(found, serde_json::json!([false, false, false, null, glob, false, false]));
    assert_eq!(master.with(build, |b| b.property("text")), Some("text".into()));
    assert!(worker.base.path().join("builds/b/build/d/deep").exists(), "no copy removes its own source");
    assert!(!worker.base.path().join("made").exists());
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_command_and_no_log_page_or_property() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let secrets = worker.base.path().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    let file = secrets.join("deploy");
    std::fs::write(&file, "hunter2hunter3\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let definitions = r#"
def _line(self, line):
    self.step.lines += [line]

def _run(self):
    self.lines = []
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line))
    cmd = self.shell(["sh", "-c", "echo got $PW; cat kept"], env = {"PW": util.Secret("deploy")}, collectStdout = True)
    self.setProperty("seen", self.lines + [cmd.stdout])
    self.setProperty("raw", self.readFile("kept").strip())

Use = util.BuildStep(implementation = _run)
"#;
    // The value comes in two pieces with a pause between, so that two reads see it.
    let steps = r#"
        steps.ShellCommand(command = ["sh", "-c", util.Interpolate(
            "printf hunter2; sleep 0.4; echo hunter3; echo %(secret:deploy)s | tee kept | wc -c")]),
        Use(name = "use"),
        steps.ShellCommand(name = util.Interpolate("as %(prop:raw)s"), command = ["true"],
            descriptionDone = util.Interpolate("with %(prop:raw)s")),
        steps.ShellCommand(name = "missing", command = ["echo", util.Secret("other")], flunkOnFailure = False)
    "#;
    let build = queue(&master, definitions, steps);
    ends(&master, build, Results::Exception).await;
    let told = story(&master, build);
    master.with(build, |b| {
        assert_eq!(b.stdout(1), "<secret deploy>\n15\n", "{told}");
        assert_eq!(b.stdout(2), "got <secret deploy>\n<secret deploy>\n", "{told}");
        assert!(b.header(1).contains("<secret deploy>"), "{}", b.header(1));
        assert!(b.text(4, "err.text", Channel::Stdout).contains("the worker has no secret \"other\""), "{told}");
        assert_eq!((b.steps()[2].0.as_str(), b.steps()[2].2.as_str()), ("as <secret deploy>", "with <secret deploy>"));
        let all: String = b.events().iter().map(|e| format!("{e:?}")).collect();
        assert!(!all.contains("hunter2hunter3") && !b.header(2).contains("hunter2"), "{all}");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_skipped_where_do_build_if_says_no_and_a_broken_function_is_an_exception() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = "def _bad(self):\n    self.shell(\"echo before\")\n    return 1 // 0\n\nBad = util.BuildStep(implementation = _bad)";
    let skipped = project("steps.ShellCommand(command = \"false\")")
        .replace("util.BuilderConfig(", "util.BuilderConfig(do_build_if = lambda build: False, ");
    let skipped = master.build_with(&skipped, "b", vec![SourceStamp::default()]);
    assert_eq!(master.finished(skipped).await.0, Results::Skipped);
    assert_eq!(master.with(skipped, |b| b.steps().len()), 0);
    let broken = queue(&master, definitions, r#"Bad(name = "bad")"#);
    ends(&master, broken, Results::Exception).await;
    master.with(broken, |b| {
        assert_eq!(b.stdout(1), "before\n");
        let text = b.text(1, "err.text", Channel::Stdout);
        assert!(text.contains("1 // 0"), "{text}");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_terminal_sees_one_and_is_interrupted_by_the_signal_it_wants() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let line =
        "[ -t 1 ] && echo terminal; trap 'echo interrupted; exit 1' INT; echo ready; while :; do sleep 0.05; done";
    let build = master.build(&format!(
        "steps.ShellCommand(command = {line:?}, usePTY = True, interruptSignal = \"INT\", maxTime = 600)"
    ));
    master.wrote(build, 1, "ready").await;
    master.stop(build, Results::Cancelled);
    ends(&master, build, Results::Cancelled).await;
    assert_eq!(master.with(build, |b| b.stdout(1)), "terminal\nready\ninterrupted\n");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_waits_for_room_in_the_spool_and_loses_no_line() {
    let master = Master::start().await;
    let worker = Worker::start_with(&master, |s| s.spool_max = 300_000);
    let definitions = r#"
def _line(self, line):
    self.step.count += 1

def _run(self):
    self.count = 0
    self.addCompleteLog("begun", "")
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line))
    self.shell("head -c 3000000 /dev/urandom | base64 -w 99; touch done", timeout = 3)
    log = self.addLog("more", "t")
    for i in range(20):
        log.addContent(self.readFile("../text"))
    self.setProperty("count", self.count)

Wait = util.BuildStep(implementation = _run)
"#;
    let steps =
        r#"steps.ShellCommand(command = "head -c 150000 /dev/urandom | base64 -w 99 >../text"), Wait(name = "wait")"#;
    let build = queue(&master, definitions, steps);
    master.until("the step runs", |m| m.builds.get(&build)?.log_id(2, "begun")).await;
    master.set(|m| m.down = true);
    let done = worker.base.path().join("builds/b/build/done");
    // Nothing more is taken once the spool is full; from then on for longer than the limit of silence.
    let mut last = (0, std::time::Instant::now());
    until("the spool stands still for longer than the limit of silence", || {
        let bytes = bytes_below(&worker.base.path().join("spool"));
        if bytes != last.0 {
            last = (bytes, std::time::Instant::now());
        }
        bytes > 200_000 && last.1.elapsed() > std::time::Duration::from_millis(3500)
    })
    .await;
    assert!(!done.exists(), "the command waits while no master answers");
    master.set(|m| m.down = false);
    ends(&master, build, Results::Success).await;
    master.with(build, |b| {
        let lines = b.stdout(2).lines().count();
        assert_eq!(b.property("count"), Some(lines.into()));
        assert_eq!(b.stdout(2).len(), 3_000_000_usize.div_ceil(3) * 4 + lines);
        let text = std::fs::read(worker.base.path().join("builds/b/text")).unwrap();
        assert!(b.bytes(2, "more", Channel::Stdout) == text.repeat(20));
    });
    worker.end(&master).await;
}

/// C-80: printed, not asserted. Run it with `--release -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn observers_take_so_many_lines_a_second() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = r#"
def _line(self, line):
    if line.startswith("test"):
        self.count += 1

def _run(self):
    observer = self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, count = 0))
    self.shell("yes test line of a usual length, as a compiler writes | head -n 2000000", logMaxSize = 1000, logEnviron = False)
    self.setProperty("count", observer.count)

Observe = util.BuildStep(implementation = _run)
"#;
    let build = queue(&master, definitions, r#"Observe(name = "observe")"#);
    ends(&master, build, Results::Success).await;
    assert_eq!(master.with(build, |b| b.property("count")), Some(2_000_000.into()));
    let header = master.with(build, |b| b.header(1));
    let seconds: f64 = header.rsplit("elapsedTime=").next().unwrap().trim().parse().unwrap();
    println!("{:.0} lines a second", 2e6 / seconds);
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_steps_of_functions_leave_no_thread_behind() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = "def _run(self):\n    self.updateSummary()\n\nQuick = util.BuildStep(implementation = _run)";
    let build = queue(&master, definitions, &["Quick()"; 50].join(", "));
    ends(&master, build, Results::Success).await;
    let steps = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
        names.filter(|n| n.starts_with("step Quick")).count()
    };
    until("the threads end", || steps() == 0).await;
    worker.end(&master).await;
}

/// Bytes of the files below a folder.
pub fn bytes_below(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |e: std::fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => bytes_below(&e.path()),
        Ok(m) => m.len(),
        // Gone since: acknowledged.
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
