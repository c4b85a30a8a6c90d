//! Custom steps: what C-39 and C-45 to C-96 and C-100 give, run against a host
//! with real commands and files.

#[path = "support/host.rs"]
mod host;
mod support;

use host::TestHost;
use serde_json::json;
use support::{context, errors, project, with_step};
use tidemill_lang::custom::{AddAt, RunError, StepEnd};
use tidemill_lang::plan::BuildContext;
use tidemill_model::Results;

#[track_caller]
fn try_run(text: &str, step: &str, host: &TestHost, ctx: &BuildContext) -> Result<StepEnd, RunError> {
    let project = project(&format!("{text}\n{}", with_step(step)));
    let step = &project.steps("b").unwrap()[0];
    let rendered = step.render(ctx).unwrap_or_else(|e| panic!("{e}"));
    step.run(&rendered, ctx, host)
}

#[track_caller]
fn run(text: &str, step: &str, host: &TestHost) -> StepEnd {
    try_run(text, step, host, &context()).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn failure(text: &str, step: &str) -> String {
    match try_run(text, step, &TestHost::new(), &context()) {
        Err(RunError::Failed(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_ends_with_the_result_that_its_function_returns() {
    for (body, results) in
        [("return FAILURE", Results::Failure), ("pass", Results::Success), ("return SKIPPED", Results::Skipped)]
    {
        let text = format!("def impl(self):\n    {body}\nS = util.BuildStep(implementation = impl)\n");
        assert_eq!(run(&text, "S()", &TestHost::new()).results, results);
    }
    let error = failure("S = util.BuildStep(implementation = lambda self: \"x\")", "S()");
    assert!(error.contains("returns its result"), "{error}");
}

#[test]
fn arguments_are_checked_when_the_file_is_read_and_rendered_when_the_step_starts() {
    let text = "def impl(self):\n    self.addCompleteLog('seen', '%s %s %s' % (self.dirname, self.attrs.jobs, self.x))\nFrobnify = util.BuildStep(implementation = impl, attrs = {'dirname': util.attr(str), 'jobs': util.attr(int, default = 4), 'x': 5})\nFast = util.BuildStep(base = Frobnify, defaults = {'x': 7, 'haltOnFailure': True})\n";
    let host = TestHost::new();
    run(text, "Frobnify(dirname = util.Interpolate('d-%(prop:name)s'))", &host);
    assert_eq!(host.log("seen"), "d-value 4 5");
    let host = TestHost::new();
    run(text, "Fast(dirname = 'e', jobs = 1, name = 'n')", &host);
    assert_eq!(host.log("seen"), "e 1 7");
    let project = project(&format!("{text}{}", with_step("Fast(dirname = 'e')")));
    let step = project.steps("b").unwrap()[0].render(&context()).unwrap();
    assert_eq!((step.name.as_str(), step.kind.as_str(), step.flags.halt_on_failure), ("Fast", "Fast", true));
    let wrong = errors(&format!("{text}{}", with_step("Frobnify(jobs = 'x', dirnam = 'y')")));
    let messages: Vec<_> = wrong.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(messages, ["`jobs` of Frobnify must be an int, got string 'x'", "Frobnify has no argument `dirnam`"]);
    assert_eq!(wrong[1].hint.as_deref(), Some("did you mean `dirname`?"));
    let missing = errors(&format!("{text}{}", with_step("Frobnify()")));
    assert_eq!(missing[0].message, "Frobnify needs `dirname`");
}

#[test]
fn several_commands_run_in_one_step_and_one_looks_at_the_result_of_another() {
    let text = r#"
def cleanup(self):
    cmd = self.makeRemoteShellCommand(command = ["sh", "-c", "exit 3"])
    self.runCommand(cmd)
    if cmd.didFail():
        cmd = self.makeRemoteShellCommand(command = "echo forced", collectStdout = True)
        self.runCommand(cmd)
        self.setProperty("said", cmd.stdout)
    return cmd.results()
RunCleanup = util.BuildStep(implementation = cleanup, base = steps.ShellCommand, prohibitArgs = ["command"])
"#;
    let host = TestHost::new();
    assert_eq!(run(text, "RunCleanup(env = {'A': '1'}, timeout = 5)", &host).results, Results::Success);
    assert_eq!(host.property("said"), Some(json!("forced\n")));
    let commands = host.commands.borrow();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0].shell.env["A"].as_deref(), Some("1"));
    assert_eq!(commands[0].shell.timeout_us, Some(5_000_000));
    assert_eq!(commands[0].log, commands[1].log, "both write to stdio");
    let wrong = errors(&format!("{text}{}", with_step("RunCleanup(command = 'x')")));
    assert_eq!(wrong[0].message, "RunCleanup does not take `command`");
}

const FRAMBOOZLE: &str = r#"
def counter(self, line):
    if "FNURRRGH!" in line:
        self.numTests += 1
        self.step.setProgress("tests", self.numTests)

Framboozle = util.BuildStep(
    base = steps.ShellCommand,
    defaults = {"command": "echo FNURRRGH!; echo other; echo FNURRRGH!"},
    progressMetrics = ["tests"],
    logObservers = {"stdio": util.LogLineObserver(outLineReceived = counter, numTests = 0)},
)
"#;

#[test]
fn an_observer_counts_lines_and_feeds_the_progress() {
    let host = TestHost::new();
    assert_eq!(run(FRAMBOOZLE, "Framboozle()", &host).results, Results::Success);
    assert_eq!(*host.progress.borrow(), [("tests".to_owned(), 1.0), ("tests".to_owned(), 2.0)]);
    // Each build begins anew.
    let host = TestHost::new();
    run(FRAMBOOZLE, "Framboozle()", &host);
    assert_eq!(host.progress.borrow().len(), 2);
}

#[test]
fn trials_lines_are_counted_until_the_line_of_equals_signs() {
    let host = TestHost::new();
    let lines = "a.b.test_1 ... [OK]\na.b.test_2 ... [SKIPPED]\nnoise\na.b.test_3 ... [FAIL]\na.b.test_4 ... [OK]\n";
    let text =
        format!("{lines}{}\na.b.test_5 ... [OK]\nRan 4 tests in 1s\nFAILED (failures=1, skips=1)\n", "=".repeat(79));
    *host.feed.borrow_mut() = Some(text.into_bytes());
    let end = run("", "steps.Trial(tests = 'a.b')", &host);
    assert_eq!(end.results, Results::Failure);
    assert_eq!(host.progress.borrow().last().unwrap().1, 4.0);
    assert_eq!(end.summary.as_deref(), Some("4 tests 2 passed 1 failed"));
}

#[test]
fn observers_of_inner_functions_see_what_they_captured() {
    let text = r#"
def impl(self):
    seen = []
    self.addLogObserver("mine", lambda line: seen.append(line))
    log = self.addLog("mine")
    log.addStdout("a\nb")
    log.addStdout("c\nlast")
    log.finish()
    self.setProperty("seen", seen)
S = util.BuildStep(implementation = impl)
"#;
    let host = TestHost::new();
    run(text, "S()", &host);
    assert_eq!(host.property("seen"), Some(json!(["a", "bc", "last"])));
    assert_eq!(host.log("mine"), "a\nbc\nlast");
}

#[test]
fn lists_that_an_observer_keeps_come_back_to_the_step() {
    let text = r#"
def line(self, text):
    self.names.append(text)
    self.step.seen = len(self.names)
def impl(self):
    obs = self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = line, names = []))
    self.shell("printf 'a\\nb\\nc\\n'")
    self.setProperty("names", obs.names)
    self.setProperty("seen", self.seen)
S = util.BuildStep(implementation = impl)
"#;
    let host = TestHost::new();
    let end = run(text, "S()", &host);
    assert_eq!(host.property("names"), Some(json!(["a", "b", "c"])));
    assert_eq!(host.property("seen"), Some(json!(3)));
    assert_eq!(end.observed_lines, 3);
}

#[test]
fn logs_of_all_kinds_are_written_and_finished_however_the_step_ends() {
    let text = r#"
def impl(self):
    log = self.addLog("long")
    for i in range(3):
        log.addStdout("%d\n" % i)
    self.addCompleteLog("summary", "3 lines")
    self.addHTMLLog("page", "<b>x</b>")
    self.getLog("long").addHeader("end\n")
    cmd = self.makeRemoteShellCommand(command = "echo x", stdioLogName = "named")
    own = self.addLog("own")
    cmd.useLog(own, True, "named")
    self.runCommand(cmd)
    fail("enough")
S = util.BuildStep(implementation = impl)
"#;
    let host = TestHost::new();
    assert!(try_run(text, "S()", &host, &context()).is_err());
    assert!(host.logs.borrow().iter().all(|l| l.finished), "{:?}", host.logs.borrow());
    assert_eq!(host.log("long"), "0\n1\n2\nend\n");
    assert_eq!((host.log("summary").as_str(), host.log("page").as_str()), ("3 lines", "<b>x</b>"));
    assert_eq!(host.log("own"), "x\n");
    let error = failure("S = util.BuildStep(implementation = lambda self: self.getLog('nope'))", "S()");
    assert!(error.contains("no log `nope`"), "{error}");
}

#[test]
fn watched_files_are_logs_and_can_be_observed() {
    let text = r#"
def line(self, text):
    self.step.setProperty("last", text)
S = util.BuildStep(base = steps.ShellCommand, logObservers = {"out": util.LogLineObserver(outLineReceived = line)})
"#;
    let host = TestHost::new();
    run(text, "S(command = 'echo one > f; echo two >> f', logfiles = {'out': 'f'})", &host);
    assert_eq!(host.log("out"), "one\ntwo\n");
    assert_eq!(host.property("last"), Some(json!("two")));
}

#[test]
fn what_a_step_sets_is_seen_by_its_function_and_not_by_what_was_rendered_before() {
    let text = r#"
def impl(self):
    self.setProperty("name", {"a": [1, None]}, "me")
    self.setProperty("both", [self.early, self.getProperty("name"), self.hasProperty("nope"), self.getProperty("nope", 3)])
S = util.BuildStep(implementation = impl, attrs = {"early": None})
"#;
    let host = TestHost::new();
    run(text, "S(early = util.Property('name'))", &host);
    assert_eq!(host.property("both"), Some(json!(["value", {"a": [1, null]}, false, 3])));
    assert_eq!(host.properties.borrow()["name"].1, "me");
    assert_eq!(host.properties.borrow()["both"].1, "S");
}

#[test]
fn statistics_are_folded_over_the_steps_of_the_build() {
    let text = r#"
def impl(self):
    self.setStatistic("warnings", 4)
    total = self.build.getSummaryStatistic("warnings", lambda a, b: a + b, 0)
    self.addURL("coverage", "https://example.org/%d" % total)
    return SUCCESS if self.hasStatistic("warnings") and self.getStatistic("warnings") == 4 else FAILURE
S = util.BuildStep(implementation = impl)
"#;
    let host = TestHost::new();
    host.statistics.borrow_mut().push(tidemill_lang::custom::Statistic {
        step: "before".into(),
        name: "warnings".into(),
        value: json!(3),
    });
    assert_eq!(run(text, "S()", &host).results, Results::Success);
    assert_eq!(*host.urls.borrow(), [("coverage".to_owned(), "https://example.org/7".to_owned())]);
}

#[test]
fn a_step_function_gives_results_of_tests() {
    let text = r#"
def impl(self):
    self.addTestResult("a::b", "passed", path = "src/lib.rs", duration = 0.25)
    self.addTestResult("c", "failed", message = "no", set = "unit")
S = util.BuildStep(implementation = impl)
"#;
    let host = TestHost::new();
    assert_eq!(run(text, "S()", &host).results, Results::Success);
    let given = serde_json::to_value(&*host.tests.borrow()).unwrap();
    let first = json!({"name": "a::b", "path": "src/lib.rs", "result": "passed", "duration_us": 250_000});
    let second = json!({"name": "c", "result": "failed", "message": "no"});
    assert_eq!(given, json!([["tests", first], ["unit", second]]));
}

#[test]
fn summaries_are_asked_for_at_the_hosts_rate_and_the_result_has_its_own() {
    let text = r#"
def impl(self):
    for i in range(100):
        self.at = i
        self.updateSummary()
def current(self):
    return "at %d" % self.at
def result(self):
    return {"step": "done", "build": "all of it"}
S = util.BuildStep(implementation = impl, getCurrentSummary = current, getResultSummary = result)
"#;
    let host = TestHost::new();
    host.due.set(2);
    let end = run(text, "S()", &host);
    assert_eq!(*host.summaries.borrow(), ["at 0", "at 1"]);
    assert_eq!((end.summary.as_deref(), end.build_summary.as_deref()), (Some("done"), Some("all of it")));
}

#[test]
fn files_are_discovered_as_in_the_old_example() {
    let text = r#"
def impl(self):
    if not self.workerVersion("stat") or self.workerVersionIsOlderThan("glob", "2.0"):
        fail("need stat and glob")
    cmd = util.RemoteCommand("stat", {"file": self.dirname})
    self.runCommand(cmd)
    if cmd.didFail():
        self.descriptionDone = ["File not found."]
        return FAILURE
    s = cmd.updates["stat"][-1]
    if not util.stat.S_ISDIR(s[util.stat.ST_MODE]):
        self.descriptionDone = ["'tis not a directory"]
        return WARNINGS
    cmd = util.RemoteCommand("glob", {"glob": self.dirname + "/*.pyc"})
    self.runCommand(cmd)
    files = cmd.updates["files"][-1]
    self.descriptionDone = ["Found pycs"] + files if files else ["No pycs found"]
    return SUCCESS
MyBuildStep = util.BuildStep(implementation = impl, attrs = {"dirname": util.attr(str)})
"#;
    let host = TestHost::new();
    std::fs::create_dir_all(host.folder.path().join("d")).unwrap();
    std::fs::write(host.folder.path().join("d/a.pyc"), "").unwrap();
    std::fs::write(host.folder.path().join("f"), "").unwrap();
    let end = run(text, "MyBuildStep(dirname = 'd')", &host);
    assert_eq!((end.results, end.summary.as_deref()), (Results::Success, Some("Found pycs d/a.pyc")));
    assert_eq!(run(text, "MyBuildStep(dirname = 'f')", &host).results, Results::Warnings);
    let end = run(text, "MyBuildStep(dirname = 'nope')", &host);
    assert_eq!((end.results, end.summary.as_deref()), (Results::Failure, Some("File not found.")));
    let error =
        failure("S = util.BuildStep(implementation = lambda self: self.checkWorkerHasCommand('upload'))", "S()");
    assert!(error.contains("too old"), "{error}");
    for bad in ["../x", "/etc/passwd"] {
        let text = format!("S = util.BuildStep(implementation = lambda self: self.pathExists({bad:?}))");
        assert!(failure(&text, "S()").contains("the builder's folder"));
    }
}

#[test]
fn a_step_adds_steps_to_its_build() {
    let text = r#"
def impl(self):
    self.addStepsAfterCurrentStep([steps.ShellCommand(name = n, command = ["echo", n, util.Property("name")]) for n in ["a", "b"]])
    self.addStepsAfterLastStep([Custom(word = "x")])
def custom(self):
    self.setProperty("word", self.word)
Custom = util.BuildStep(implementation = custom, attrs = {"word": util.attr(str)})
S = util.BuildStep(implementation = impl)
"#;
    let end = run(text, "S()", &TestHost::new());
    let names: Vec<_> =
        end.added.iter().map(|a| (a.at, a.steps.iter().map(|s| s.name().to_owned()).collect::<Vec<_>>())).collect();
    assert_eq!(names, [(AddAt::AfterCurrent, vec!["a".into(), "b".into()]), (AddAt::Last, vec!["Custom".to_owned()])]);
    let rendered = end.added[0].steps[0].render(&context()).unwrap();
    assert!(format!("{:?}", rendered.action).contains("\"value\""));
    let host = TestHost::new();
    let custom = &end.added[1].steps[0];
    custom.run(&custom.render(&context()).unwrap(), &context(), &host).unwrap();
    assert_eq!(host.property("word"), Some(json!("x")));
}

#[test]
fn a_step_of_hours_is_stopped_at_once() {
    let text =
        "def impl(self):\n    for i in range(50000000):\n        pass\nS = util.BuildStep(implementation = impl)\n";
    let host = TestHost::new();
    host.stop.set(true);
    assert_eq!(try_run(text, "S()", &host, &context()).unwrap_err(), RunError::Cancelled);
    let text = "S = util.BuildStep(implementation = lambda self: self.shell('true').results())\n";
    assert_eq!(try_run(text, "S()", &host, &context()).unwrap_err(), RunError::Cancelled);
}

#[test]
fn a_failing_function_tells_its_traceback() {
    let error = failure(
        "def inner(x):\n    y = [x]\n    return y[0].nope\ndef impl(self):\n    inner(1)\nS = util.BuildStep(implementation = impl)\n",
        "S()",
    );
    assert!(error.contains("--> master.star:3:12") && error.contains("called at master.star:5:5"), "{error}");
    let error = failure(
        "def line(self, text):\n    fail(\"bad line\")\nS = util.BuildStep(base = steps.ShellCommand, logObservers = {\"stdio\": util.LogLineObserver(outLineReceived = line)})\n",
        "S(command = 'echo x')",
    );
    assert!(error.contains("bad line") && error.contains("master.star:2"), "{error}");
}

#[test]
fn a_base_does_its_work_when_asked() {
    let text = r#"
def impl(self):
    result = self.runBase()
    self.setProperty("base", result)
    return WARNINGS
Twice = util.BuildStep(base = steps.ShellCommand, implementation = impl)
"#;
    let host = TestHost::new();
    assert_eq!(run(text, "Twice(command = 'exit 1')", &host).results, Results::Warnings);
    assert_eq!(host.property("base"), Some(json!(2)));
}

#[test]
fn secrets_are_marks_until_the_host_puts_them_in() {
    let text = "S = util.BuildStep(implementation = lambda self: self.shell(['x', self.key]).results() * 0, attrs = {'key': None})\n";
    let ctx = BuildContext { secret_mark: "m4rk".into(), ..context() };
    let host = TestHost::new();
    *host.feed.borrow_mut() = Some(vec![]);
    try_run(text, "S(key = util.Interpolate('k=%(secret:upload)s'))", &host, &ctx).unwrap();
    let commands = host.commands.borrow();
    let tidemill_lang::plan::Command::Argv(argv) = &commands[0].shell.command else { panic!() };
    let put = tidemill_lang::secret::resolve(&argv[1], "m4rk", |n| Ok::<_, ()>(format!("<{n}>"))).unwrap();
    assert_eq!(put, "k=<upload>");
}

#[test]
fn observers_keep_up_with_half_a_million_lines() {
    let host = TestHost::new();
    let line = b"compiling some/file/of/the/tree.c with many flags\n";
    *host.feed.borrow_mut() = Some(line.repeat(100_000));
    let text = "def line(self, text):\n    self.n += 1\ndef impl(self):\n    o = self.addLogObserver('stdio', util.LogLineObserver(outLineReceived = line, n = 0))\n    self.shell('x')\n    self.setProperty('n', o.n)\nS = util.BuildStep(implementation = impl)\n";
    let begin = std::time::Instant::now();
    let end = run(text, "S()", &host);
    eprintln!("{} lines in {:?}", end.observed_lines, begin.elapsed());
    assert_eq!(host.property("n"), Some(json!(100_000)));
}

#[test]
fn an_observer_that_writes_to_its_own_log_is_ended() {
    for observer in
        ["lambda line: self.getLog(\"x\").addStdout(line + \"\\n\")", "util.LogLineObserver(outLineReceived = again)"]
    {
        let text = format!(
            "def again(self, line):\n    self.step.getLog(\"x\").addStdout(line + \"\\n\")\ndef impl(self):\n    log = self.addLog(\"x\")\n    self.addLogObserver(\"x\", {observer})\n    log.addStdout(\"a\\n\")\nS = util.BuildStep(implementation = impl)\n"
        );
        let error = failure(&text, "S()");
        assert!(error.contains("without an end"), "{error}");
    }
}

#[test]
fn a_function_on_a_shell_step_needs_no_command_and_running_the_base_without_one_is_told() {
    let text = "def impl(self):\n    return self.shell('true').results()\n\
                S = util.BuildStep(implementation = impl, base = steps.ShellCommand)\n\
                T = util.BuildStep(base = S, defaults = {'timeout': 5})\n";
    assert_eq!(run(text, "S()", &TestHost::new()).results, Results::Success);
    assert_eq!(run(text, "T()", &TestHost::new()).results, Results::Success);
    let text = "S = util.BuildStep(implementation = lambda self: self.runBase(), base = steps.ShellCommand)\n";
    assert!(failure(text, "S()").contains("steps.ShellCommand needs `command`"), "{}", failure(text, "S()"));
    assert_eq!(run(text, "S(command = 'true')", &TestHost::new()).results, Results::Success);
    let plain = errors(&with_step("util.BuildStep(base = steps.ShellCommand, name = 'N')()"));
    assert_eq!(plain[0].message, "N needs `command`");
}

#[test]
fn an_observer_cannot_finish_the_log_of_its_command() {
    let text = r#"
def line(self, line):
    self.step.getLog("stdio").finish()
def impl(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = line))
    self.shell("echo one")
S = util.BuildStep(implementation = impl)
"#;
    let error = failure(text, "S()");
    assert!(error.contains("the running command writes to this log") && error.contains("master.star:3"), "{error}");
}

#[test]
fn what_observers_write_for_other_observers_is_bounded_and_costs_nothing_where_nobody_observes() {
    let text = |observe: &str| {
        format!(
            r#"
def line(self, line):
    self.step.getLog("other").addStdout("x" * 10000 + "\n")
def seen(self, line):
    self.step.seen += 1
def impl(self):
    self.seen = 0
    self.addLog("other")
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = line))
    self.addLogObserver("{observe}", util.LogLineObserver(outLineReceived = seen))
    self.shell("yes | head -n 2000")
    self.setProperty("seen", self.seen)
S = util.BuildStep(implementation = impl)
"#
        )
    };
    let host = TestHost::new();
    *host.feed.borrow_mut() = Some("y\n".repeat(2000).into_bytes());
    let failed = try_run(&text("other"), "S()", &host, &context()).unwrap_err();
    let RunError::Failed(error) = failed else { panic!("{failed:?}") };
    assert!(error.to_string().contains("more than 16 MiB to the log `other`"), "{error}");
    let host = TestHost::new();
    *host.feed.borrow_mut() = Some("y\n".repeat(2000).into_bytes());
    run(&text("third"), "S()", &host);
    assert_eq!(host.log("other").len(), 2000 * 10_001);
    // In measure, each line arrives.
    let host = TestHost::new();
    *host.feed.borrow_mut() = Some("y\n".repeat(100).into_bytes());
    run(&text("other"), "S()", &host);
    assert_eq!(host.property("seen"), Some(json!(100)));
}
