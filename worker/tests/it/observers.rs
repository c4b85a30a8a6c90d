//! Observers of a running command, and what they must not do to it.

use crate::master::Master;
use crate::scripts::{ends, queue, story};
use crate::worker::{Worker, pid_in, until};
use std::os::unix::fs::PermissionsExt;
use tidemill_model::log::Channel;
use tidemill_model::{NewChange, Results};

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_that_runs_a_command_is_told_that_it_cannot() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = r#"
def _line(self, line):
    self.step.shell("echo from the observer")

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line))
    self.shell("echo one; sleep 1000")

Nested = util.BuildStep(implementation = _run)
"#;
    let build = queue(&master, definitions, r#"Nested(name = "nested")"#);
    ends(&master, build, Results::Exception).await;
    let error = master.with(build, |b| b.text(1, "err.text", Channel::Stdout));
    assert!(error.contains("an observer cannot run a command"), "{error}");
    assert!(error.contains("master.star:3") && error.contains("self.step.shell("), "{error}");
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_that_writes_waits_for_room_in_the_spool_and_no_limit_counts_it() {
    let master = Master::start().await;
    let worker = Worker::start_with(&master, |s| s.spool_max = 300_000);
    let definitions = r#"
def _run(self):
    more, text = self.addLog("more", "t"), self.readFile("../text")
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = lambda observer, line: more.addContent(text)))
    self.shell("seq 1 20; sleep 0.3", timeout = 3, maxTime = 3)

Write = util.BuildStep(implementation = _run)
"#;
    let steps =
        r#"steps.ShellCommand(command = "head -c 150000 /dev/urandom | base64 -w 99 >../text"), Write(name = "write")"#;
    let build = queue(&master, definitions, steps);
    master.until("the step runs", |m| m.builds.get(&build)?.log_id(2, "more")).await;
    master.set(|m| m.down = true);
    let spool = worker.base.path().join("spool");
    let mut last = (0, std::time::Instant::now());
    until("the spool stands still for longer than the limits", || {
        let bytes = crate::scripts::bytes_below(&spool);
        if bytes != last.0 {
            last = (bytes, std::time::Instant::now());
        }
        bytes > 200_000 && last.1.elapsed() > std::time::Duration::from_millis(3500)
    })
    .await;
    master.set(|m| m.down = false);
    ends(&master, build, Results::Success).await;
    let text = std::fs::read(worker.base.path().join("builds/b/text")).unwrap();
    master.with(build, |b| assert!(b.bytes(2, "more", Channel::Stdout) == text.repeat(20)));
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observed_command_has_its_time_to_clean_up_after_an_order_to_stop() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let (pid, cleaned) = (worker.base.path().join("pid"), worker.base.path().join("cleaned"));
    let definitions = r#"
def _line(self, line):
    self.lines += 1

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, lines = 0))
    self.shell(r'''trap 'sleep 0.7; echo done >CLEANED; exit 1' TERM; echo $$ >PID; while :; do echo line; sleep 0.01; done''')

Observe = util.BuildStep(implementation = _run)
"#
    .replace("PID", &pid.display().to_string())
    .replace("CLEANED", &cleaned.display().to_string());
    let build = queue(&master, &definitions, r#"Observe(name = "observe")"#);
    pid_in(&pid).await;
    master.wrote(build, 1, "line").await;
    master.stop(build, Results::Cancelled);
    ends(&master, build, Results::Cancelled).await;
    assert!(cleaned.exists(), "{}", story(&master, build));
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_cannot_finish_the_log_that_its_command_writes_to() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = r#"
def _line(self, line):
    self.step.getLog("stdio").finish()

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line))
    self.shell("echo one; sleep 0.2; echo two")

def _other(self):
    done = self.addLog("done")
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = lambda o, line: done.finish()))
    self.shell("echo one; sleep 0.2; echo two")
    self.getLog("stdio").finish()

Finish = util.BuildStep(implementation = _run)
Other = util.BuildStep(implementation = _other)
"#;
    let build = queue(&master, definitions, r#"Other(name = "other"), Finish(name = "finish")"#);
    ends(&master, build, Results::Exception).await;
    master.with(build, |b| {
        // Totals are checked as the text is put together.
        assert_eq!(b.stdout(1), "one\ntwo\n");
        assert_eq!(b.step_results()[0].1, Results::Success);
        assert!(b.stdout(2).starts_with("one\n"));
        let error = b.text(2, "err.text", Channel::Stdout);
        assert!(error.contains("the running command writes to this log"), "{error}");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers_of_properties_and_statistics_are_bounded() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let definitions = r#"
def _name(self):
    self.setProperty("x" * 201, 1)

def _many(self):
    for i in range(1001):
        self.setProperty("p%d" % i, i)

def _large(self):
    for i in range(100):
        self.setProperty("p%d" % i, "x" * 900000)

def _statistics(self):
    for i in range(1001):
        self.setStatistic("s%d" % i, i)

def _again(self):
    self.addLog("l" * 1000).finish()
    for i in range(3000):
        self.setProperty("p", i)
        self.setStatistic("s", i)

Name = util.BuildStep(implementation = _name)
Many = util.BuildStep(implementation = _many)
Large = util.BuildStep(implementation = _large)
Statistics = util.BuildStep(implementation = _statistics)
Again = util.BuildStep(implementation = _again)
"#;
    let always = |name: &str| format!("{name}(name = \"{}\", alwaysRun = True)", name.to_lowercase());
    let steps = ["Name", "Many", "Large", "Statistics", "Again"].map(always).join(", ");
    let build = queue(&master, definitions, &steps);
    ends(&master, build, Results::Exception).await;
    let expected = ["more than 200 characters", "1000 properties", "more than 16 MiB", "at most 1000 statistics"];
    master.with(build, |b| {
        for (step, text) in (1..).zip(expected) {
            let error = b.text(step, "err.text", Channel::Stdout);
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(b.step_results()[4], ("again".to_owned(), Results::Success));
        assert_eq!(b.property("p"), Some(2999.into()));
        assert!(b.log_id(5, &"l".repeat(200)).is_some(), "a long name is cut");
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_the_step_runs_and_numbers_at_its_end_under_masked_names() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let secrets = worker.base.path().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("key"), "hunter2").unwrap();
    std::fs::set_permissions(secrets.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let go = worker.base.path().join("go");
    let definitions = r#"
def _line(self, line):
    self.count += 1
    self.step.setProgress("tests", self.count)
    self.step.setProgress("hunter2", 1)

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line, count = 0))
    self.shell(["sh", "-c", "seq 1 500; until [ -e GO ]; do sleep 0.02; done; seq 1 7", util.Secret("key")])
    self.setStatistic("warnings-hunter2", 3)
    self.setStatistic("parts", [1, 2])
    self.setStatistic("ratio", 0.5)
    self.setStatistic("changed", len(self.build.changes))
    self.setProperty("hunter2", [c.revision for c in self.build.changes] + [self.build.url])

def _sum(self):
    parts = self.build.getSummaryStatistic("parts", lambda a, b: a + b, [0])
    self.setProperty("parts", parts)

Count = util.BuildStep(implementation = _run)
Sum = util.BuildStep(implementation = _sum)
"#
    .replace("GO", &go.display().to_string());
    let change = |n: u32| NewChange { author: "a".into(), revision: Some(format!("r{n}")), ..NewChange::default() };
    master.set(|m| m.changes = vec![change(1), change(2)]);
    let build = queue(&master, &definitions, r#"Count(name = "count"), Sum(name = "sum")"#);
    let shown =
        |m: &mut crate::master::Inner| (m.builds.get(&build)?.progress(1).last()?["tests"] == 500.0).then_some(());
    master.until("progress is shown while the step runs", shown).await;
    std::fs::write(&go, "").unwrap();
    ends(&master, build, Results::Success).await;
    master.with(build, |b| {
        let last = b.progress(1).pop().unwrap();
        assert_eq!(last, [("tests".to_owned(), 507.0), ("<secret key>".to_owned(), 1.0)].into());
        assert!(b.progress(1).len() < 100, "one a second, not one a line");
        let numbers = [("warnings-<secret key>", 3.0), ("ratio", 0.5), ("changed", 2.0)];
        assert_eq!(b.statistics(1), numbers.map(|(n, v)| (n.to_owned(), v)).into());
        assert_eq!(b.property("parts"), Some(serde_json::json!([0, 1, 2])));
        let page = format!("https://ci.example.org/builders/b/builds/{build}");
        assert_eq!(b.property("<secret key>"), Some(serde_json::json!(["r1", "r2", page])));
        assert!(!format!("{:?}", b.events()).contains("hunter2"));
    });
    worker.end(&master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_the_changes_tree_get_no_secret_but_those_that_they_are_allowed() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let secrets = worker.base.path().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    for (name, value) in [("key", "value-of-key"), ("other", "value-of-other")] {
        std::fs::write(secrets.join(name), value).unwrap();
        std::fs::set_permissions(secrets.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let tree = r#"
put = ["sh", "-c", "printf %s \"$1\" >../$0"]
def _forge(self):
    forged = self.key.replace("key", "other")
    self.setProperty("forged", forged)
    self.setProperty("marked", self.key)
    self.shell(put + ["forged", forged])
Forge = util.BuildStep(implementation = _forge, attrs = {"key": util.attr(str)})
build_steps = [
    steps.ShellCommand(name = "allowed", command = put + ["allowed", util.Secret("key")], alwaysRun = True),
    steps.ShellCommand(name = "property", command = put + ["property", util.Property("marked_other")], alwaysRun = True),
    steps.ShellCommand(name = "fine", command = put + ["fine", util.Property("marked_key")], alwaysRun = True),
    Forge(name = "forge", key = util.Secret("key"), alwaysRun = True),
    steps.ShellCommand(name = "direct", command = put + ["direct", util.Secret("other")], alwaysRun = True),
]
"#;
    let steps = format!(
        r#"
        steps.SetProperty(property = "marked_other", value = util.Secret("other")),
        steps.SetProperty(property = "marked_key", value = util.Secret("key")),
        steps.ShellCommand(name = "sources", command = ["sh", "-c", "printf %s \"$0\" >tidemill.star", {tree:?}]),
        steps.StepsFrom("tidemill.star", allowed_secrets = ["key"]),
        steps.ShellCommand(name = "last", alwaysRun = True, command = ["sh", "-c", "printf '%s|%s' \"$0\" \"$1\" >../last",
            util.Property("forged"), util.Property("marked")])"#
    );
    let build = queue(&master, "", &steps);
    ends(&master, build, Results::Exception).await;
    let told = story(&master, build);
    let file = |name: &str| std::fs::read_to_string(worker.base.path().join("builds/b").join(name)).ok();
    assert_eq!(
        (file("allowed").as_deref(), file("fine").as_deref()),
        (Some("value-of-key"), Some("value-of-key")),
        "{told}"
    );
    assert_eq!((file("property"), file("forged"), file("direct")), (None, None, None), "{told}");
    assert_eq!(file("last").as_deref(), Some("<secret other>|value-of-key"), "{told}");
    master.with(build, |b| {
        let error = b.text(6, "err.text", Channel::Stdout);
        assert!(error.contains("\"other\" may not be used here") && error.contains("allowed_secrets"), "{told}");
        let all = format!("{:?}", b.events());
        assert!(!all.contains('\u{10FFFE}') && !all.contains("value-of"), "{all}");
    });
    worker.end(&master).await;
}
