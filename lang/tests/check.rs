//! What `checkconfig` tells: evaluation, lint and static types together; plans; packages; files of the tree.

#[path = "support/host.rs"]
mod host;
mod support;

use host::TestHost;
use serde_json::json;
use support::{context, files, project, with_step};
use tidemill_lang::custom::RunError;
use tidemill_lang::plan::{Action, Verdict};
use tidemill_lang::{Limits, Project, Severity, packages};
use tidemill_model::Results;
use tidemill_model::revision::Files;

#[test]
fn errors_lint_and_types_are_told_at_once() {
    let text = "c = {}\ndef f(x: int) -> str:\n    if x:\n        return \"a\"\n\ndef g():\n    return f(\"no\")\n\nsteps.ShellCommand(comand = 1)\nd = {}\nsteps.Git(repourl = 5)\n";
    let report = Project::check(&Files::single(text), &Limits::default());
    assert!(!report.ok());
    let messages: Vec<_> = report.diagnostics.iter().map(|d| (d.severity, d.line)).collect();
    assert!(
        messages.contains(&(Severity::Error, 9)) && messages.contains(&(Severity::Error, 11)),
        "{:#?}",
        report.diagnostics
    );
    assert!(messages.contains(&(Severity::Warning, 7)), "the static type: {:#?}", report.diagnostics);
    assert!(messages.contains(&(Severity::Warning, 2)), "the missing return: {:#?}", report.diagnostics);
}

#[test]
fn a_good_project_has_nothing_to_tell() {
    let text = "load(\"lib.star\", \"factory\")\nload(\"@tidemill//svn.star\", \"split_file_branches\")\nc = {}\nBuildmasterConfig = c\nc[\"builders\"] = [util.BuilderConfig(name = \"n%d\" % n, workernames = [\"*\"], factory = factory()) for n in range(3)]\ndef _important(change):\n    return any([split_file_branches(f) for f in change.files])\nc[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [b.name for b in c[\"builders\"]], fileIsImportant = _important)]\n";
    let lib = "def factory():\n    f = util.BuildFactory()\n    f.addStep(steps.ShellCommand(command = [\"make\", util.Property(\"x\", \"all\")], doStepIf = lambda step: step.getProperty(\"y\") != 1))\n    return f\n";
    let report = Project::check(&files(&[("master.star", text), ("lib.star", lib)]), &Limits::default());
    assert_eq!(report.diagnostics, []);
    assert_eq!(report.definition.unwrap().builders.len(), 3);
}

#[test]
fn the_function_of_a_step_need_not_return_at_its_end() {
    let text = "load(\"lib.star\", \"work\")\nc = {}\ndef other(x):\n    if x:\n        return 1\n\ndef early(self):\n    if self.getProperty(\"x\"):\n        return FAILURE\n    if other(2):\n        return\n    self.shell(\"make\")\n\nEarly = util.BuildStep(implementation = early)\nLoaded = util.BuildStep(implementation = work)\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = util.BuildFactory([Early(), Loaded()]))]\n";
    let lib = "def work(self):\n    if self.getProperty(\"x\"):\n        return FAILURE\n    self.shell(\"make\")\n";
    let report = Project::check(&files(&[("master.star", text), ("lib.star", lib)]), &Limits::default());
    let told: Vec<_> = report.diagnostics.iter().map(|d| (d.file.as_str(), d.line)).collect();
    assert_eq!(told, [("master.star", 3)], "{:#?}", report.diagnostics);
}

#[test]
fn a_plan_shows_what_would_run_and_why_the_rest_would_not() {
    let project = project(&with_step(
        "steps.SetProperty(property = 'mode', value = 'fast'), \
         steps.ShellCommand(name = 'a', command = util.Interpolate('make %(prop:mode)s'), env = {'K': util.Secret('key')}), \
         steps.ShellCommand(name = 'a', command = 'x', doStepIf = lambda step: step.getProperty('mode') == 'slow'), \
         steps.ShellCommand(name = 'b', command = 'x', doStepIf = False, hideStepIf = lambda results, s: results == SKIPPED), \
         steps.ShellCommand(name = 'c', command = util.Interpolate('%(prop:nope)s/x', strict = True)), \
         steps.ShellCommand(name = 'd', command = 'x', doStepIf = util.Property('mode') == 'slow')",
    ));
    let plan = project.plan("b", &context()).unwrap();
    let names: Vec<_> = plan.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["SetProperty", "a", "a_1", "b", "c", "d"]);
    let Verdict::Run(step) = &plan.steps[1].verdict else { panic!() };
    assert_eq!(step.secrets, ["key"]);
    let Action::Shell(shell) = &step.action else { panic!() };
    assert_eq!(shell.env["K"].as_deref(), Some("<secret key>"));
    assert!(format!("{:?}", shell.command).contains("make fast"));
    let reason = |i: usize| match &plan.steps[i].verdict {
        Verdict::Skipped { reason, .. } => reason.as_str(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(2), "doStepIf: its function returned False");
    assert_eq!((reason(3), plan.steps[3].hidden), ("doStepIf is False", true));
    let Verdict::Broken { error } = &plan.steps[4].verdict else { panic!() };
    assert!(error.contains("the property `nope` has no value, and the template is strict"), "{error}");
    assert_eq!(reason(5), "doStepIf: Property(\"mode\") == \"slow\" is False");
    assert!(project.plan("nope", &context()).is_none());
}

#[test]
fn vendored_packages_are_named_and_unchanged() {
    let lib = "def step():\n    return steps.ShellCommand(command = \"x\")\n";
    let root = "load(\"@framboozle//steps.star\", \"step\")\nc = {\"builders\": [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = util.BuildFactory([step()]))]}\n";
    let mut all = files(&[("master.star", root), ("packages/framboozle/steps.star", lib)]);
    let evaluate = |all: &Files| Project::evaluate(all, &Limits::default());
    let error = evaluate(&all).unwrap_err().to_string();
    assert!(error.contains("the package `framboozle` is not in packages.toml"), "{error}");
    let hash = packages::hash(&all, "framboozle").unwrap();
    all.0.insert(packages::MANIFEST.into(), format!("[framboozle]\nversion = \"1.2\"\nsha256 = \"{hash}\"\n"));
    assert_eq!(evaluate(&all).unwrap().steps("b").unwrap().len(), 1);
    all.0.insert("packages/framboozle/steps.star".into(), format!("{lib}# changed\n"));
    let error = evaluate(&all).unwrap_err().to_string();
    assert!(error.contains("are not those of version 1.2") && error.contains("packages.toml:1"), "{error}");
    all.0.insert(packages::MANIFEST.into(), "[framboozle\n".into());
    assert!(evaluate(&all).unwrap_err().to_string().contains("packages.toml cannot be read"));
}

fn run_step(step: &str, host: &TestHost) -> Result<tidemill_lang::custom::StepEnd, RunError> {
    let project = project(&with_step(step));
    let step = &project.steps("b").unwrap()[0];
    let rendered = step.render(&context()).unwrap_or_else(|e| panic!("{e}"));
    step.run(&rendered, &context(), host)
}

#[test]
fn steps_come_from_the_changes_own_tree_and_know_only_the_secrets_they_may() {
    let host = TestHost::new();
    let build = host.folder.path().join("build/ci");
    std::fs::create_dir_all(&build).unwrap();
    std::fs::write(build.join("lib.star"), "def words():\n    return [\"make\", \"all\"]\n").unwrap();
    let file = "load(\"ci/lib.star\", \"words\")\nbuild_steps = [\n    steps.ShellCommand(command = words()),\n    steps.ShellCommand(command = [\"x\", util.Secret(\"good\")]),\n    steps.ShellCommand(command = [\"x\", util.Secret(\"bad\")]),\n]\n";
    std::fs::write(host.folder.path().join("build/tidemill.star"), file).unwrap();
    let end = run_step("steps.StepsFrom('tidemill.star', allowed_secrets = ['good'])", &host).unwrap();
    assert_eq!(end.results, Results::Success);
    let steps = &end.added[0].steps;
    assert_eq!(steps.len(), 3);
    steps[0].render(&context()).unwrap();
    steps[1].render(&context()).unwrap();
    let error = steps[2].render(&context()).unwrap_err().to_string();
    assert!(error.contains("the secret `bad` may not be used here"), "{error}");
    std::fs::write(host.folder.path().join("build/tidemill.star"), "build_steps = [steps.ShellCommand(comand = 1)]\n")
        .unwrap();
    let Err(RunError::Failed(error)) = run_step("steps.StepsFrom('tidemill.star')", &host) else { panic!() };
    assert!(error.to_string().contains("did you mean `command`?"), "{error}");
    std::fs::write(
        host.folder.path().join("build/tidemill.star"),
        "build_steps = [steps.ShellCommand(command = 'x', locks = [util.MasterLock('l')])]\n",
    )
    .unwrap();
    let Err(RunError::Failed(error)) = run_step("steps.StepsFrom('tidemill.star')", &host) else { panic!() };
    assert!(error.to_string().contains("hold no locks"), "{error}");
    // A custom step of the tree gets no further either.
    std::fs::write(
        host.folder.path().join("build/other.star"),
        "build_steps = [steps.ShellCommand(command = util.Secret(\"bad\"))]\n",
    )
    .unwrap();
    let sly = "def more(self):\n    self.addStepsFromTree(\"other.star\", [\"bad\", \"good\"])\nM = util.BuildStep(implementation = more)\ndef late(self):\n    self.shell(util.Secret(\"bad\"))\nL = util.BuildStep(implementation = late)\nT = util.BuildStep(implementation = lambda self: self.trigger(schedulers = [\"x\"]))\nbuild_steps = [M(), L(), T(), util.BuildStep(implementation = late, attrs = {\"x\": None}, name = \"A\")(x = util.Secret(\"bad\"))]\n";
    std::fs::write(host.folder.path().join("build/tidemill.star"), sly).unwrap();
    let end = run_step("steps.StepsFrom('tidemill.star', allowed_secrets = ['good'])", &host).unwrap();
    let run = |i: usize| {
        let step = &end.added[0].steps[i];
        step.render(&context()).map_err(RunError::Failed).and_then(|r| step.run(&r, &context(), &host))
    };
    let further = run(0).unwrap();
    assert!(further.added[0].steps[0].render(&context()).unwrap_err().to_string().contains("may not be used here"));
    for i in [1, 3] {
        let Err(RunError::Failed(error)) = run(i) else { panic!("{i}") };
        assert!(error.to_string().contains("the secret `bad` may not be used here"), "{error}");
    }
    let Err(RunError::Failed(error)) = run(2) else { panic!() };
    assert!(error.to_string().contains("start no other builds"), "{error}");
    assert_eq!(run_step("steps.StepsFrom('nope.star')", &host).unwrap().results, Results::Failure);
    assert_eq!(run_step("steps.StepsFrom('nope.star', optional = True)", &host).unwrap().results, Results::Skipped);
}

#[test]
fn steps_of_the_library_do_what_they_say() {
    let host = TestHost::new();
    let ok = |step: &str, results: Results| {
        let end = run_step(step, &host).unwrap_or_else(|e| panic!("{step}: {e}"));
        assert_eq!(end.results, results, "{step}: {:?}", end.summary);
        end.summary.unwrap_or_default()
    };
    ok("steps.MakeDirectory(dir = 'build/a/b')", Results::Success);
    ok("steps.StringDownload('text', workerdest = 'a/b/f')", Results::Success);
    ok("steps.FileExists(file = 'build/a/b/f')", Results::Success);
    ok("steps.FileExists(file = 'build/a/b')", Results::Failure);
    ok("steps.CopyDirectory(src = 'build/a', dest = 'copy')", Results::Success);
    ok("steps.FileExists(file = 'copy/b/f')", Results::Success);
    ok("steps.RemoveDirectory(dir = 'copy')", Results::Success);
    ok("steps.FileExists(file = 'copy/b/f')", Results::Failure);
    ok("steps.StringDownload('', workerdest = 'x/y.pyc')", Results::Success);
    assert_eq!(ok("steps.RemovePYCs()", Results::Success), "removed 1 .pyc files");
    ok("steps.SetPropertyFromCommand(command = 'echo \" a \"', property = 'out')", Results::Success);
    assert_eq!(host.property("out"), Some(json!("a")));
    ok(
        "steps.SetPropertyFromCommand(command = 'echo x; echo y >&2; exit 3', includeStderr = True, extract_fn = lambda rc, out, err: {'rc': rc, 'all': out + err})",
        Results::Failure,
    );
    assert_eq!((host.property("rc"), host.property("all")), (Some(json!(3)), Some(json!("x\ny\n"))));
    ok("steps.SetProperties(properties = {'p': util.Property('jobs')})", Results::Success);
    assert_eq!(host.property("p"), Some(json!(4)));
    ok("steps.SetPropertiesFromEnv(variables = ['HOME', 'NOPE'])", Results::Success);
    assert_eq!(host.property("HOME"), Some(json!("/home/w")));
    ok("steps.Assert(util.Property('jobs') == 4)", Results::Success);
    ok("steps.Assert(util.Property('jobs') > 4)", Results::Failure);
    ok("steps.Assert('a' in util.Property('list'))", Results::Success);
    ok("steps.LogRenderable(util.Property('list'))", Results::Success);
    assert_eq!(host.log("Output"), "[\"a\",\"b\"]");
    ok("steps.JSONPropertiesDownload(workerdest = 'p.json')", Results::Success);
    let written = std::fs::read_to_string(host.folder.path().join("build/p.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap()["properties"]["jobs"], json!(4));
    ok("steps.CMake(definitions = {'A': 'b'}, cmake = 'echo')", Results::Success);
    assert!(host.log("stdio").is_empty() || host.logs.borrow().iter().any(|l| l.text.contains("-DA=b .")));
    ok("steps.TreeSize(command = 'echo 12 .')", Results::Success);
    assert_eq!(host.property("tree-size-KiB"), Some(json!(12)));
    let pylint = "printf 'a.py:1:0: W0611: unused\\\\na.py:2:0: E0001: bad\\\\n'";
    ok(&format!("steps.PyLint(command = \"{pylint}\")"), Results::Failure);
    assert_eq!((host.property("pylint-error"), host.property("pylint-warning")), (Some(json!(1)), Some(json!(1))));
}

#[test]
fn a_sequence_stops_where_it_must_and_takes_the_worst_result() {
    let run = |commands: &str| {
        let host = TestHost::new();
        let results = run_step(&format!("steps.ShellSequence(commands = [{commands}])"), &host).unwrap().results;
        (results, host.commands.borrow().len())
    };
    assert_eq!(
        run("util.ShellArg(command = 'true', logname = 'a'), util.ShellArg(command = 'true')"),
        (Results::Success, 2)
    );
    assert_eq!(run("util.ShellArg(command = 'false'), util.ShellArg(command = 'true')"), (Results::Failure, 2));
    assert_eq!(
        run("util.ShellArg(command = 'false', haltOnFailure = True), util.ShellArg(command = 'true')"),
        (Results::Failure, 1)
    );
    assert_eq!(
        run(
            "util.ShellArg(command = 'false', flunkOnFailure = False, warnOnFailure = True), util.ShellArg(command = util.Property('name'))"
        ),
        (Results::Failure, 2)
    );
}

#[test]
fn warnings_of_a_compiler_are_counted_and_suppressed() {
    let output = "printf 'a.c:3: warning: unused x\\\\nfine\\\\nb.c:9: warning: shadow\\\\n'";
    let host = TestHost::new();
    let end = run_step(&format!("steps.Compile(command = \"{output}\")"), &host).unwrap();
    assert_eq!(end.results, Results::Warnings);
    assert_eq!(host.property("warnings-count"), Some(json!(2)));
    assert_eq!(host.log("warnings (2)"), "a.c:3: warning: unused x\nb.c:9: warning: shadow\n");
    let host = TestHost::new();
    let end = run_step(
        &format!(
            "steps.Compile(command = \"{output}\", suppressionList = [['a.c', 'unused', 1, 5]], maxWarnCount = 0)"
        ),
        &host,
    )
    .unwrap();
    assert_eq!((end.results, host.property("warnings-count")), (Results::Failure, Some(json!(1))));
    let host = TestHost::new();
    assert_eq!(run_step("steps.Compile(command = 'exit 1')", &host).unwrap().results, Results::Failure);
    assert_eq!(run_step(&format!("steps.Test(command = \"{output}\")"), &host).unwrap().results, Results::Success);
}

#[test]
fn ready_factories_have_buildbots_steps() {
    let text = "c = {}\ngit = steps.Git(repourl = '/r')\nc['builders'] = [util.BuilderConfig(name = n, workernames = ['*'], factory = f) for n, f in [\n    ('gnu', util.GNUAutoconf(source = git, configureFlags = ['-x'], reconf = True)),\n    ('quick', util.QuickBuildFactory(git)),\n    ('dist', util.Distutils(git, test = ['t'])),\n    ('trial', util.Trial(git, tests = 'x')),\n]]\n";
    let project = project(text);
    let names = |b: &str| project.steps(b).unwrap().iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names("gnu"), ["git", "autoreconf", "configure", "compile", "test", "distcheck"]);
    assert_eq!(names("quick"), ["git", "configure", "compile", "test"]);
    assert_eq!(names("dist"), ["git", "compile", "test"]);
    assert_eq!(names("trial"), ["git", "compile", "trial"]);
}
