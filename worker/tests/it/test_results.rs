//! Results of single tests: files that real commands leave behind, and what step
//! functions find in the output.

use crate::master::{Master, Record};
use crate::scripts::{ends, queue, story};
use crate::worker::Worker;
use std::os::unix::fs::PermissionsExt;
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{Event, TEST_PART_MAX, TEST_RESULTS_MAX, TestResult};

/// What went up of a set of a step: it is whole, and its parts follow each other.
fn set(build: &Record, wanted: u32, name: &str) -> Vec<TestResult> {
    let (mut all, mut parts, mut whole) = (vec![], 0, false);
    for event in build.events() {
        match event {
            Event::TestResults { step, set, part, last, results, .. } if step == wanted && set == name => {
                parts += 1;
                assert!(part == parts && !whole && results.len() <= TEST_PART_MAX, "part {part} comes as part {parts}");
                whole = last;
                all.extend(results);
            }
            Event::StepFinished { step, .. } if step == wanted => assert_eq!(whole, parts > 0, "a set is left open"),
            _ => {}
        }
    }
    all
}

fn short(results: &[TestResult]) -> Vec<(String, &'static str)> {
    results.iter().map(|r| (r.name.clone(), r.result.name())).collect()
}

fn notes(build: &Record, step: u32) -> String {
    build.text(step, "test reports", Channel::Stdout)
}

const RUN: &str = r#"mkdir -p out/deep .hidden &&
echo '<testsuite><testcase classname="a" name="one" time="0.5"/></testsuite>' > out/TEST-a.xml &&
printf '<testsuites><testsuite file="%s/src/b.c"><testcase name="two"><failure message="no">at b.c</failure></testcase></testsuite></testsuites>' "$PWD" > out/deep/TEST-b.xml &&
printf '<testsuite>\n<testcase name="three"/>\n<testcase name="four"' > out/TEST-c.xml &&
printf '<testsuite>\n<testcase name="f\377ve"/></testsuite>' > out/TEST-d.xml &&
echo '<testsuite><testcase name="hidden"/></testsuite>' > .hidden/TEST-e.xml &&
echo '<testsuite><testcase name="other"/></testsuite>' > out/other.xml &&
echo '<testsuite><testcase name="old"/></testsuite>' > out/TEST-old.xml && touch -d 2001-01-01 out/TEST-old.xml &&
echo '<testsuite><testcase name="outside"/></testsuite>' > ../../outside.xml &&
ln -s ../../../outside.xml out/TEST-link.xml && ln -s ../.. out/up && mkfifo out/TEST-pipe.xml; exit 3"#;

#[tokio::test]
async fn a_step_reads_the_reports_of_its_command_though_it_failed_and_says_what_is_wrong_with_some() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let steps = format!(
        "steps.ShellCommand(name = \"test\", command = {RUN:?}, test_reports = [util.Interpolate(\"%(kw:d)s/**/TEST-*.xml\", \
         d = \"out\"), \"none/*.xml\", \"out/[.xml\"], haltOnFailure = False),
         steps.Test(command = \"true\", test_reports = \"out/**/*.xml\"),
         steps.ShellCommand(command = \"true\", workdir = \"build/out\", test_reports = [\"other.xml\"])"
    );
    let build = queue(&master, "", &steps);
    ends(&master, build, Results::Failure).await;
    master.with(build, |b| {
        let notes = notes(b, 1);
        let all = set(b, 1, "tests");
        let expected = [
            ("a.one".to_owned(), "passed"),
            ("three".to_owned(), "passed"),
            ("f\u{fffd}ve".to_owned(), "passed"),
            ("two".to_owned(), "failed"),
        ];
        assert_eq!(short(&all), expected, "{notes}");
        assert_eq!((all[0].duration_us, all[3].path.as_str()), (Some(500_000), "src/b.c"));
        assert_eq!(all[3].message.as_deref(), Some("no\nat b.c"));
        for line in [
            "build/out/TEST-a.xml: 1 test\n",
            "build/out/deep/TEST-b.xml: 1 test, 1 failed\n",
            "build/out/TEST-c.xml: line 3: ",
            "(1 test before it)\n",
            "build/out/TEST-d.xml: line 2: bytes that are not UTF-8",
            "build/out/TEST-link.xml: leads out of the builder's folder\n",
            "build/out/TEST-pipe.xml: is no plain file\n",
            "1 file left out, older than this build\n",
            "none/*.xml: no file matches\n",
            "build/out/[.xml: ",
        ] {
            assert!(notes.contains(line), "{line:?} is missing in:\n{notes}");
        }
        assert!(!notes.contains("up/"), "{notes}");
        let (_, results, summary) = &b.steps()[0];
        assert_eq!(*results, Results::Failure);
        assert!(summary.ends_with("(4 tests, 1 failed, 5 test reports not readable)"), "{summary}");
        // What a step has read is nothing new to another.
        assert_eq!(short(&set(b, 2, "tests")), [("other".to_owned(), "passed")], "{}", story(&master, build));
        assert!(b.steps()[1].2.contains("1 test"), "{:?}", b.steps());
        assert!(set(b, 3, "tests").is_empty());
    });
    worker.end(&master).await;
}

const OBSERVING: &str = r#"
def _line(self, line):
    m = util.re.match("test (\\S+) \\.\\.\\. (\\w+)", line)
    if m:
        known = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
        self.step.addTestResult(m.groups[1], known[m.groups[2]], path = "src/lib.rs", duration = 1.5, set = "unit")

def _run(self):
    self.addLogObserver("stdio", util.LogLineObserver(outLineReceived = _line))
    cmd = self.shell(
        ["sh", "-c", "echo 'test a::b ... ok'; echo 'test a::c ... FAILED'; echo 'test d ... ignored'", util.Secret("key")],
        test_reports = ["r.xml"],
    )
    self.addTestResult("crash hunter2", "error", message = "signal 9 hunter2 " + "x" * 10000)
    for i in range(2500):
        self.addTestResult("t%d" % i, "passed", set = "many")
    return cmd.results()

Cargo = util.BuildStep(implementation = _run)

def _wrong(self):
    self.addTestResult("t", "fine")

Wrong = util.BuildStep(implementation = _wrong)
"#;

#[tokio::test]
async fn a_step_function_gives_results_while_its_command_runs() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let secrets = worker.base.path().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("key"), "hunter2").unwrap();
    std::fs::set_permissions(secrets.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let build = queue(&master, OBSERVING, "Cargo(), Wrong()");
    ends(&master, build, Results::Exception).await;
    master.with(build, |b| {
        let unit = set(b, 1, "unit");
        let expected = [("a::b".to_owned(), "passed"), ("a::c".to_owned(), "failed"), ("d".to_owned(), "skipped")];
        assert_eq!(short(&unit), expected, "{}", story(&master, build));
        assert_eq!((unit[0].path.as_str(), unit[0].duration_us), ("src/lib.rs", Some(1_500_000)));
        let own = set(b, 1, "tests");
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].name, "crash <secret key>");
        let message = own[0].message.as_ref().unwrap();
        assert!(message.starts_with("signal 9 <secret key> xxx") && message.chars().count() == 4_000, "{message}");
        assert_eq!(set(b, 1, "many").len(), 2_500);
        assert_eq!(notes(b, 1), "r.xml: no file matches\n");
        let error = b.text(2, "err.text", Channel::Stdout);
        assert!(error.contains("must be one of \"passed\", \"failed\", \"skipped\", \"error\""), "{error}");
    });
    worker.end(&master).await;
}

#[tokio::test]
async fn what_is_beyond_the_limits_of_a_build_is_left_out_and_said() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let write = format!(
        "(echo '<testsuite>'; seq -f '<testcase name=\"t%.0f\"/>' {}; echo '</testsuite>') > a.xml",
        TEST_RESULTS_MAX + 5
    );
    let steps = format!("steps.ShellCommand(command = {write:?}, test_reports = \"*.xml\")");
    let build = queue(&master, "", &steps);
    ends(&master, build, Results::Success).await;
    master.with(build, |b| {
        assert_eq!(set(b, 1, "tests").len(), TEST_RESULTS_MAX);
        assert!(notes(b, 1).contains("\n5 results left out: "), "{}", notes(b, 1));
    });
    worker.end(&master).await;
}

#[tokio::test]
async fn a_build_that_is_stopped_gives_the_results_that_are_there() {
    let master = Master::start().await;
    let worker = Worker::start(&master, 1);
    let write = "echo '<testsuite><testcase name=\"t\"/></testsuite>' > a.xml; echo there; exec sleep 600";
    let steps = format!("steps.ShellCommand(command = {write:?}, test_reports = \"a.xml\")");
    let build = queue(&master, "", &steps);
    master.wrote(build, 1, "there").await;
    master.stop(build, Results::Cancelled);
    ends(&master, build, Results::Cancelled).await;
    assert_eq!(master.with(build, |b| set(b, 1, "tests").len()), 1);
    worker.end(&master).await;
}
