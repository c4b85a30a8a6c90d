//! `checkconfig`, `plan` and `doc`: no server, no database.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn tidemill(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEMILL_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", dir).env("XDG_CONFIG_HOME", dir.join("config"));
    command.args(arguments).current_dir(dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

const RELEASE: &str = r#"c = {}
c["workers"] = [worker.Worker("w1", "x", properties = {"arch": "arm"})]
f = util.BuildFactory()
f.addStep(steps.Git(repourl = "https://example.org/r.git"))
f.addStep(steps.SetProperty(property = "level", value = "3"))
f.addStep(steps.ShellCommand(
    name = "make",
    command = ["make", util.Interpolate("O=%(prop:level)s"), util.Interpolate("%(prop:branch)s it")],
    env = {"TOKEN": util.Interpolate("t-%(secret:upload)s"), "ARCH": util.Interpolate("%(worker:arch)s")},
))
f.addStep(steps.ShellCommand(name = "sign", command = "sign it", doStepIf = lambda step: step.getProperty("sign") == "yes"))
c["builders"] = [util.BuilderConfig(name = "release", workernames = ["w1"], factory = f)]
"#;

#[test]
fn all_errors_of_all_files_are_told_at_once_with_their_places() {
    let dir = project(&[
        (
            "master.star",
            "load(\"lib/steps.star\", \"make\")\nc = {}\nf = util.BuildFactory([make, steps.ShellCommand(comand = \"x\")])\n\
             c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\n\
             c[\"schedulers\"] = [schedulers.Force(name = \"f\", builderNames = [\"bb\"])]\n",
        ),
        ("lib/steps.star", "make = steps.Compile(command = 3)\n"),
    ]);
    let checked = tidemill(dir.path(), &["checkconfig"]);
    let told = stderr(&checked);
    assert_eq!(checked.status.code(), Some(1), "{told}");
    assert!(told.contains("lib/steps.star:1:"), "{told}");
    assert!(told.contains("master.star:3:") && told.contains("did you mean `command`"), "{told}");
    assert!(told.contains("make = steps.Compile(command = 3)"), "the source line: {told}");
    let report: Value = serde_json::from_slice(&tidemill(dir.path(), &["checkconfig", "--json"]).stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["files"], serde_json::json!(["lib/steps.star", "master.star"]));
    assert!(report["errors"].as_u64().unwrap() >= 2, "{report}");
    let first = &report["diagnostics"][0];
    assert!(first["line"].is_u64() && first["column"].is_u64() && first["source_line"].is_string(), "{first}");
}

#[test]
fn lint_and_types_are_warnings_and_warnings_do_not_fail() {
    let lint = "\n\ndef unused():\n    return 1\n    x = 2\n\ndef wrong() -> int:\n    return \"text\"\n";
    let dir = project(&[("master.star", &format!("{RELEASE}{lint}"))]);
    let checked = tidemill(dir.path(), &["checkconfig"]);
    let told = stderr(&checked);
    assert_eq!(checked.status.code(), Some(0), "{told}");
    assert!(told.contains("nothing after this runs"), "lint: {told}");
    assert!(told.contains("master.star:20:"), "types: {told}");
    assert!(stdout(&checked).contains("1 builder (release)"));
    let report: Value = serde_json::from_slice(&tidemill(dir.path(), &["checkconfig", "--json"]).stdout).unwrap();
    assert_eq!((&report["ok"], &report["errors"]), (&true.into(), &0.into()));
    assert!(report["warnings"].as_u64().unwrap() >= 2);
}

#[test]
fn a_plan_shows_rendered_arguments_and_why_a_step_is_skipped_and_no_secret() {
    let dir = project(&[("master.star", RELEASE)]);
    let planned = tidemill(dir.path(), &["plan", "release", "--branch", "main"]);
    let text = stdout(&planned);
    assert_eq!(planned.status.code(), Some(0), "{text}{}", stderr(&planned));
    assert!(text.contains("$ make O=3 'main it'"), "{text}");
    assert!(text.contains("<secret upload>") && text.contains("ARCH=arm"), "{text}");
    assert!(text.contains("3 of 4 steps would run"), "{text}");
    assert!(text.contains("skip sign") && text.contains("doStepIf"), "{text}");
    let planned = tidemill(dir.path(), &["plan", "release", "--property", "sign=yes", "--json"]);
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(plan["ok"], true);
    let sign = &plan["steps"][3];
    assert_eq!(sign["verdict"]["run"]["action"]["shell"]["command"]["line"], "sign it", "{sign}");
}

#[test]
fn a_plan_names_the_schedulers_that_a_step_would_trigger() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/trigger");
    let planned = tidemill(std::path::Path::new(example), &["plan", "release"]);
    let text = stdout(&planned);
    assert_eq!(planned.status.code(), Some(0), "{text}{}", stderr(&planned));
    assert!(text.contains("triggers package, package, package, benchmark, and waits for the builds"), "{text}");
    assert!(text.contains("triggers publish\n"), "{text}");
    let checked = tidemill(std::path::Path::new(example), &["checkconfig"]);
    assert!(stdout(&checked).contains("4 builders") && stderr(&checked).is_empty(), "{checked:?}");
}

#[test]
fn a_plan_of_an_unknown_builder_or_of_a_broken_step_says_so() {
    let dir = project(&[("master.star", RELEASE)]);
    let unknown = tidemill(dir.path(), &["plan", "relase"]);
    assert_eq!(unknown.status.code(), Some(7));
    assert!(stderr(&unknown).contains("did you mean \"release\"?"), "{}", stderr(&unknown));
    assert!(stdout(&tidemill(dir.path(), &["plan"])).starts_with("release: "), "the only one needs no name");
    let unknown = tidemill(dir.path(), &["plan", "nightly"]);
    assert!(stderr(&unknown).contains("its builders: release"), "{}", stderr(&unknown));
    let broken = RELEASE.replace("step.getProperty(\"sign\") == \"yes\"", "1 // 0");
    let dir = project(&[("master.star", &broken)]);
    let planned = tidemill(dir.path(), &["plan", "release"]);
    assert_eq!(planned.status.code(), Some(1));
    assert!(stdout(&planned).contains("broken sign"), "{}", stdout(&planned));
    let dir = project(&[("master.star", "c = {}\nx = y\n")]);
    let planned = tidemill(dir.path(), &["plan", "b"]);
    assert_eq!(planned.status.code(), Some(1));
    assert!(stderr(&planned).contains("master.star:2:5"), "{}", stderr(&planned));
}

#[test]
fn a_file_that_eats_memory_or_is_nested_without_end_is_an_error_of_the_plan_too() {
    for text in ["x = [0]\nfor i in range(100):\n    x = x + x\n", &format!("x = {}\n", "(".repeat(300_000))] {
        let dir = project(&[("master.star", text)]);
        for arguments in [&["plan", "b"][..], &["checkconfig"]] {
            let output = tidemill(dir.path(), arguments);
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_word_is_explained_with_arguments_and_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let shown = stdout(&tidemill(dir.path(), &["doc", "ShellCommand"]));
    for part in ["steps.ShellCommand", "command (", "required", "haltOnFailure", "Example:"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let item: Value = serde_json::from_slice(&tidemill(dir.path(), &["doc", "ShellCommand", "--json"]).stdout).unwrap();
    assert_eq!(item["name"], "steps.ShellCommand");
    let key = stdout(&tidemill(dir.path(), &["doc", "collapseRequests"]));
    assert!(key.starts_with("c[\"collapseRequests\"]") && key.contains("argument of util.BuilderConfig"), "{key}");
    let argument = stdout(&tidemill(dir.path(), &["doc", "haltOnFailure"]));
    assert!(argument.contains("haltOnFailure (True or False") && argument.contains("of util.ShellArg"), "{argument}");
    let none = tidemill(dir.path(), &["doc", "nosuch"]);
    assert_eq!(none.status.code(), Some(7), "{}", stderr(&none));
    let all = stdout(&tidemill(dir.path(), &["doc"]));
    assert!(all.contains("schedulers.SingleBranchScheduler") && all.contains("c[\"builders\"]"));
    let steps = stdout(&tidemill(dir.path(), &["doc", "steps"]));
    assert!(steps.lines().count() > 10 && steps.lines().all(|l| l.starts_with("steps.")), "{steps}");
    let unknown = tidemill(dir.path(), &["doc", "ShelComand"]);
    assert_eq!(unknown.status.code(), Some(7));
    assert!(stderr(&unknown).contains("did you mean `steps.ShellCommand`"), "{}", stderr(&unknown));
}

#[test]
fn the_pages_of_the_reference_in_this_repository_are_what_the_program_writes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(tidemill(dir.path(), &["doc", "--write", "pages"]).status.success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let names = |folder: &Path| {
        let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        all.sort();
        all
    };
    let written = dir.path().join("pages");
    assert_eq!(names(&written), names(&kept));
    for name in names(&written) {
        let same = std::fs::read(written.join(&name)).unwrap() == std::fs::read(kept.join(&name)).unwrap();
        assert!(same, "docs/reference/{} is old: tidemill doc --write docs/reference", name.display());
    }
}
