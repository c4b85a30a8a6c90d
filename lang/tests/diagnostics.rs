//! What people are told: place, source line, and what would be right.

mod support;

use support::{context, errors, evaluate, files, one_error, project, with_step};
use tidemill_lang::{Diagnostic, Diagnostics, Limits, Project, Severity};

const BUILDER: &str = "f = util.BuildFactory([steps.ShellCommand(command = \"x\")])\n\
    c[\"builders\"] = [util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = f)]\n";

/// A project with a builder `linux`, and what is added to it from line 4 on.
fn with_builder(rest: &str) -> String {
    format!("c = {{}}\n{BUILDER}{rest}\n")
}

#[track_caller]
fn told(text: &str, message: &str, hint: Option<&str>) -> Diagnostic {
    let error = one_error(text);
    assert_eq!((error.message.as_str(), error.hint.as_deref()), (message, hint), "{error}");
    error
}

#[test]
fn an_unknown_argument_is_shown_with_its_place_and_the_nearest_name() {
    let text = "c = {}\n\nsteps.ShellCommand(\n    command = \"make\",\n    haltOnFailur = True,\n)\n";
    let shown = evaluate(text).unwrap_err().to_string();
    assert_eq!(
        shown,
        "\
error: steps.ShellCommand has no argument `haltOnFailur`
 --> master.star:5:5
  |
5 |     haltOnFailur = True,
  |     ^^^^^^^^^^^^
  = help: did you mean `haltOnFailure`?"
    );
}

#[test]
fn a_mistake_in_a_function_tells_who_called_it() {
    let text = "c = {}\ndef make(name):\n    return util.Property(key = name)\n\ndef outer():\n    return [make(n) for n in [1]]\n\nouter()\n";
    let shown = evaluate(text).unwrap_err().to_string();
    assert_eq!(
        shown,
        "\
error: `key` of util.Property must be a string, got int 1
 --> master.star:3:26
  |
3 |     return util.Property(key = name)
  |                          ^^^
  = help: key = \"1\"
  = note: in `make`, called at master.star:6:13
  = note: in `outer`, called at master.star:8:1"
    );
}

#[test]
fn a_file_that_cannot_be_read_shows_where() {
    let shown = evaluate("c = {}\nx = [1, 2\ny = 3\n").unwrap_err().to_string();
    assert!(shown.contains("--> master.star:3:1\n"), "{shown}");
    assert!(shown.contains("3 | y = 3\n"), "{shown}");
}

#[test]
fn pythons_first_line_gets_the_two_line_form() {
    let error = one_error("c = BuildmasterConfig = {}\nc['workers'] = []\n");
    assert_eq!((error.line, error.column), (1, 23));
    assert_eq!(
        error.hint.as_deref(),
        Some("Starlark assigns one name at a time; write two lines:\nc = {}\nBuildmasterConfig = c")
    );
    let error = one_error("c = BuildmasterConfig\n");
    assert_eq!(error.hint.as_deref(), Some("begin with two lines:\nc = {}\nBuildmasterConfig = c"));
}

#[test]
fn pythons_import_gets_a_hint() {
    let error = one_error("from buildbot.plugins import *\nc = {}\n");
    assert!(error.hint.as_ref().unwrap().contains("ready in every file"), "{error}");
    assert_eq!(error.line, 1);
}

#[test]
fn a_run_time_error_has_its_place_and_calls() {
    let error = one_error("c = {}\ndef f(x):\n    return x.nope\ny = [f(1)]\n");
    assert_eq!(error.message, "Object of type `int` has no attribute `nope`");
    assert_eq!(error.location(), "master.star:3:12");
    assert_eq!(error.notes, ["in `f`, called at master.star:4:6"]);
    let error = one_error("c = {}\nfail(\"no\", \"way\")\n");
    assert_eq!((error.message.as_str(), error.line), ("no way", 2));
}

#[test]
fn an_unknown_name_in_a_namespace_is_told_by_its_namespace() {
    told("c = {}\nsteps.ShelCommand()\n", "`steps` has no `ShelCommand`; did you mean `ShellCommand`?", None);
    told("c = {}\nx = util.whatever_else\n", "`util` has no `whatever_else`", None);
}

#[test]
fn what_comes_later_says_so_and_hides_nothing_else() {
    for name in ["steps.HTTPStep", "steps.MsBuild17", "steps.GitPush", "changes.GerritChangeFilter", "util.Authz"] {
        let error = one_error(&format!("c = {{}}\nx = {name}(\"a\", b = 1)\n"));
        assert_eq!(error.message, format!("{name} is not in this release; it comes with a later one"));
        assert_eq!((error.line, error.column), (2, 5));
    }
    let found = errors(&with_builder(
        "c[\"schedulers\"] = [util.Authz(name = \"n\"), schedulers.SingleBranchScheduler(name = 1, builderNames = [])]",
    ));
    let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "util.Authz is not in this release; it comes with a later one",
            "`name` of schedulers.SingleBranchScheduler must be a string, got int 1",
        ]
    );
    told(
        &with_step("steps.Git(repourl = \"x\", lfs = True)"),
        "`lfs` of steps.Git is not in this release; it comes with a later one",
        Some("take it out to go on"),
    );
}

#[test]
fn keys_of_the_configuration_are_known_or_told() {
    let error = told("c = {}\nc['bulders'] = []\n", "c has no key `bulders`", Some("did you mean `builders`?"));
    assert_eq!((error.location().as_str(), error.length), ("master.star:2:1", 12));
    let error = told("c = {\n    \"bulders\": [],\n}\n", "c has no key `bulders`", Some("did you mean `builders`?"));
    assert_eq!((error.location().as_str(), error.length), ("master.star:2:5", 9));
    told(
        "c = {}\nc[\"validation\"] = []\n",
        "c[\"validation\"] is not in this release; it comes with a later one",
        Some("take it out to go on"),
    );
    told("c = {}\nc[\"title\"] = 5\n", "c[\"title\"] must be a string, got int 5", Some("c[\"title\"] = \"5\""));
    told("c = {}\nc[5] = 5\n", "keys of `c` are strings, got int 5", None);
    told(
        "c = {}\nc[\"builders\"] = {}\n",
        "c[\"builders\"] must be a list of util.BuilderConfig, got dict {}",
        Some(
            "as in c[\"builders\"] = [util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = factory)]",
        ),
    );
    let project = project("c = {}\nc[\"db\"] = {\"db_url\": \"sqlite\"}\nc[\"builders\"] = []\n");
    assert_eq!(project.warnings()[0].message, "c[\"db\"] has no effect: the master's own settings name the database");
    assert_eq!(project.warnings()[0].severity, Severity::Warning);
}

#[test]
fn a_file_without_a_configuration_is_told_how_to_begin() {
    told(
        "x = 1\n",
        "the file does not define `c`, the configuration",
        Some("begin with: c = {}\nthen set c[\"builders\"], c[\"schedulers\"] and so on"),
    );
    told("c = []\n", "`c` must be a dict, got list []", Some("begin with: c = {}"));
    let error = told(
        "c = {\"title\": \"a\"}\nBuildmasterConfig = {\"title\": \"b\"}\n",
        "`c` and `BuildmasterConfig` are two different dicts",
        Some("write BuildmasterConfig = c, or use only one of them"),
    );
    assert_eq!(error.line, 2);
    project("c = {}\nBuildmasterConfig = c\n");
    project("BuildmasterConfig = {}\n");
    let found = Project::evaluate(&files(&[("other.star", "c = {}")]), &Limits::default()).unwrap_err();
    assert_eq!(found.0[0].message, "there is no master.star");
}

#[test]
fn a_thing_in_the_wrong_place_is_told() {
    let found = errors(&with_builder("c[\"schedulers\"] = [worker.Worker(\"w\"), \"x\"]\nc[\"change_source\"] = 1"));
    let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "c[\"schedulers\"][0] must be one of schedulers, got a worker.Worker",
            "c[\"schedulers\"][1] must be one of schedulers, got string 'x'",
            "c[\"change_source\"] must be one of changes.GitPoller and its like, got int 1",
        ]
    );
    assert_eq!(found[0].notes, ["it was made at master.star:4"]);
    told(
        &with_step("util.Property(\"x\")"),
        "util.BuildFactory takes a step, such as steps.ShellCommand(command = \"make\"), got a placeholder",
        None,
    );
    told(
        "c = {}\nf = util.BuildFactory()\nf.addStep(steps.ShellCommand)\n",
        "addStep takes a step, such as steps.ShellCommand(command = \"make\"), got steps.ShellCommand without its brackets",
        None,
    );
    told("c = {}\nf = util.BuildFactory()\nf.addSteps(1)\n", "addSteps takes a list of steps, got int 1", None);
}

#[test]
fn types_say_what_is_expected_and_what_came() {
    for (step, message) in [
        (
            "steps.ShellCommand(command = [\"make\", None])",
            "`command` of steps.ShellCommand must be a command line, or a list of a program and its arguments, got list ['make', None]",
        ),
        (
            "steps.ShellCommand(command = \"\")",
            "`command` of steps.ShellCommand must be a command line, or a list of a program and its arguments, got string ''",
        ),
        (
            "steps.ShellCommand(command = \"x\", timeout = \"20\")",
            "`timeout` of steps.ShellCommand must be a number of seconds, or None, got string '20'",
        ),
        (
            "steps.ShellCommand(command = \"x\", haltOnFailure = \"yes\")",
            "`haltOnFailure` of steps.ShellCommand must be True or False, got string 'yes'",
        ),
        (
            "steps.ShellCommand(command = \"x\", decodeRC = {0: 9})",
            "`decodeRC` of steps.ShellCommand must be a dict of exit codes to results such as util.SUCCESS, got dict {0: 9}",
        ),
        (
            "steps.ShellCommand(command = \"x\", workdir = \"../up\")",
            "`workdir` of steps.ShellCommand must be a relative folder without `..`: it is below the builder's, got string '../up'",
        ),
        (
            "steps.ShellCommand(command = \"x\", env = {1: \"a\"})",
            "`env` of steps.ShellCommand must be a dict of names to strings, lists of strings or None, got dict {1: 'a'}",
        ),
        (
            "steps.ShellCommand(command = \"x\", alwaysRun = util.Property(\"x\"))",
            "`alwaysRun` of steps.ShellCommand must be True or False; a placeholder has no value before a build runs",
        ),
        ("steps.ShellCommand()", "steps.ShellCommand needs `command`"),
        ("steps.ShellCommand(\"make\")", "steps.ShellCommand takes named arguments only"),
        ("steps.Git(repourl = \"\")", "`repourl` of steps.Git is empty"),
        (
            "steps.Git(repourl = \"x\", mode = \"partial\")",
            "`mode` of steps.Git must be \"incremental\" or \"full\", got \"partial\"",
        ),
        ("steps.Git(repourl = \"x\", method = \"clean\")", "`method` of steps.Git needs mode = \"full\""),
        (
            "steps.Git(repourl = \"x\", mode = \"full\", method = \"copy\")",
            "method \"copy\" of steps.Git is not in this release; it comes with a later one",
        ),
    ] {
        let found = errors(&with_step(step));
        assert_eq!(found[0].message, message, "{}", Diagnostics(found.clone()));
        assert_eq!(found[0].line, 2);
    }
}

#[test]
fn a_wrong_template_is_told_where_it_is_made() {
    told("c = {}\nutil.Interpolate(\"%(prop:x)d\")\n", "`%(prop:x)` must be followed by the letter s", None);
    told(
        "c = {}\nutil.Interpolate(\"%(kw:nam)s\", name = 1)\n",
        "the template uses %(kw:nam)s, but there is no argument `nam`",
        Some("did you mean `name`?"),
    );
    told(
        "c = {}\nutil.Interpolate(\"%s %s\", 1)\n",
        "the template has more %s than arguments: number 2 is missing",
        None,
    );
    told(
        "c = {}\nutil.Interpolate(1)\n",
        "util.Interpolate takes a template first, as in util.Interpolate(\"%(prop:branch)s\")",
        None,
    );
}

#[test]
fn schedulers_name_builders_that_exist_and_both_places_are_told() {
    let error = told(
        &with_builder(
            "c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"linx\"])]",
        ),
        "scheduler `s` names the builder `linx`, which does not exist",
        Some("did you mean `linux`, defined at master.star:3?"),
    );
    assert_eq!((error.line, &error.source_line[error.column as usize - 1..][..12]), (4, "builderNames"));
    told(
        &with_builder(
            "c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"windows\"])]",
        ),
        "scheduler `s` names the builder `windows`, which does not exist",
        Some("there are linux"),
    );
}

#[test]
fn names_are_unique_and_well_formed() {
    let twice = with_builder(
        "c[\"builders\"].append(util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = f))",
    );
    let error = told(&twice, "there are two builders named `linux`", None);
    assert_eq!((error.line, error.notes), (4, vec!["the first is at master.star:3".to_owned()]));
    told(
        "c = {}\nc[\"workers\"] = [worker.Worker(\"w\"), worker.Worker(\"w\")]\n",
        "there are two workers named `w`",
        None,
    );
    told(
        "c = {}\nc[\"change_source\"] = [changes.GitPoller(\"/r\"), changes.GitPoller(\"/r\")]\n",
        "there are two change sources named `GitPoller /r`",
        None,
    );
    for (name, fault) in [
        ("", "is empty"),
        ("a/b", "holds the reserved character '/'"),
        ("_x", "is reserved"),
        (" x", "begins or ends with white space"),
    ] {
        let text = with_builder(&format!(
            "c[\"builders\"].append(util.BuilderConfig(name = {name:?}, workernames = [\"*\"], factory = f))"
        ));
        told(&text, &format!("the builder's name {name:?} {fault}"), None);
    }
}

#[test]
fn workers_are_those_that_the_file_lists() {
    let text = |workers: &str, names: &str| {
        format!(
            "c = {{}}\nc[\"workers\"] = {workers}\nf = util.BuildFactory([steps.ShellCommand(command = \"x\")])\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = {names}, factory = f)]\n"
        )
    };
    told(
        &text("[worker.Worker(\"fast-1\")]", "[\"fast1\"]"),
        "builder `b` names the worker `fast1`, which c[\"workers\"] does not have",
        Some("did you mean `fast-1`, defined at master.star:2?"),
    );
    // Without a list, names of enrolled workers are not known here.
    project(&text("[]", "[\"anything\"]"));
    project(&text("[worker.Worker(\"w\")]", "[\"*\"]"));
    told(&text("[]", "[]"), "builder `b` names no worker", Some("workernames = [\"*\"] lets every worker build it"));
}

#[test]
fn a_misspelt_required_argument_is_told_once() {
    told(
        "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factry = 1)]\n",
        "util.BuilderConfig has no argument `factry`",
        Some("did you mean `factory`?"),
    );
    told(
        "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"])]\n",
        "util.BuilderConfig needs `factory`",
        Some("factory = util.BuildFactory([steps.ShellCommand(command = \"make\")])"),
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let found = errors(
        "c = {}\nsteps.ShellCommand(cmd = 1)\nc[\"buidlers\"] = []\ndef f():\n    return util.BuilderConfig(name = 2)\nf()\nc[\"title\"] = []\nundefined\n",
    );
    let lines: Vec<_> = found.iter().map(|d| d.line).collect();
    // A name that is nowhere defined is found before anything runs.
    assert_eq!((found.len(), lines[0]), (1, 8));
    let found = errors(
        "c = {}\nsteps.ShellCommand(cmd = 1)\nc[\"buidlers\"] = []\ndef f():\n    return util.BuilderConfig(name = 2)\nf()\nc[\"title\"] = []\n",
    );
    let lines: Vec<_> = found.iter().map(|d| d.line).collect();
    assert_eq!(lines, [2, 2, 3, 5, 5, 5, 7], "{}", Diagnostics(found));
}

#[test]
fn mistakes_of_several_files_are_told_together() {
    let all = files(&[
        ("master.star", "load(\"a.star\", \"a\")\nload(\"b.star\", \"b\")\nload(\"nope.star\", \"n\")\nc = {}\n"),
        ("a.star", "a = (\n"),
        ("b.star", "def b(:\n    pass\n"),
    ]);
    let found = Project::evaluate(&all, &Limits::default()).unwrap_err();
    let files: Vec<_> = found.0.iter().map(|d| (d.file.as_str(), d.line)).collect();
    assert_eq!(files, [("a.star", 2), ("b.star", 1), ("master.star", 3)], "{found}");
    assert!(found.0[2].hint.as_ref().unwrap().contains("a.star, b.star"), "{found}");
}

#[test]
fn loading_says_what_is_missing() {
    let all = |path: &str, name: &str| {
        let root = "load(\"lib/x.star\", \"x\")\nc = {}\n";
        let lib = format!("load({path:?}, {name:?})\nx = 1\n");
        let all = files(&[("master.star", root), ("lib/x.star", &lib), ("lib/helper.star", "def help():\n    pass\n")]);
        Project::evaluate(&all, &Limits::default()).unwrap_err().0.remove(0)
    };
    assert_eq!(
        all("helper.star", "help").hint.as_deref(),
        Some("to load the file beside this one, write \"./helper.star\"")
    );
    assert_eq!(all("lib/helpr.star", "help").hint.as_deref(), Some("did you mean \"lib/helper.star\"?"));
    let error = all("./helper.star", "hlep");
    assert_eq!(error.location(), "lib/x.star:1:23", "{error}");
    assert!(error.message.contains("did you mean `help`"), "{error}");
}

#[test]
fn a_factory_of_another_file_is_read_only() {
    let all = files(&[
        ("master.star", "load(\"lib.star\", \"f\", \"d\")\nf.addStep(steps.ShellCommand(command = \"x\"))\nc = {}\n"),
        ("lib.star", "f = util.BuildFactory()\nd = {}\n"),
    ]);
    let found = Project::evaluate(&all, &Limits::default()).unwrap_err();
    assert_eq!(
        found.0[0].message,
        "this BuildFactory was made in another file and is read-only: let that file offer a function that returns a new one"
    );
    assert_eq!(found.0[0].location(), "master.star:2:1");
    let mut all = all;
    all.0.insert("master.star".into(), "load(\"lib.star\", \"d\")\nd[\"x\"] = 1\nc = {}\n".into());
    let found = Project::evaluate(&all, &Limits::default()).unwrap_err();
    assert!(found.0[0].hint.as_ref().is_some_and(|h| h.contains("read-only")), "{found}");
}

#[test]
fn doubtful_things_are_warnings() {
    let project = project(&with_builder(
        "c[\"builders\"].append(util.BuilderConfig(name = \"empty\", workernames = [\"*\"], factory = util.BuildFactory()))\n\
         c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [], onlyImportant = True, codebases = {\"a\": {\"branch\": \"x\"}})]\n\
         util.Interpolate(\"x\", unused = 1)\n\
         changes.GitPoller(\"/r\", workdir = \"x\")",
    ));
    let warnings: Vec<_> = project.warnings().iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "this builder's factory has no steps: its builds do nothing",
            "scheduler `s` names no builder: it starts nothing",
            "`onlyImportant` has no effect without `fileIsImportant`: every change is important",
            "the template does not use the argument `unused`",
            "`workdir` of changes.GitPoller has no effect: Tidemill keeps its own clone",
        ]
    );
}

#[test]
fn a_scheduler_has_one_filter() {
    told(
        &with_builder(
            "c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"linux\"], branch = \"x\", change_filter = util.ChangeFilter())]",
        ),
        "scheduler `s` has both `branch` and `change_filter`",
        Some("put the branch into the filter"),
    );
    let error = one_error(&with_builder(
        "c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"linux\"], change_filter = util.ChangeFilter(branch_re = \"(?!x)\"))]",
    ));
    assert!(error.hint.as_ref().unwrap().contains("*_not_re"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_after_rendering_names_its_argument() {
    let text = with_step("steps.ShellCommand(command = \"x\", timeout = util.Property(\"name\"))");
    let error = project(&text).steps("b").unwrap()[0].render(&context()).unwrap_err();
    assert_eq!(
        error.diagnostic().message,
        "`timeout` of steps.ShellCommand must be a number of seconds, or None, got string 'value' when it was rendered"
    );
    assert!(error.diagnostic().source_line[error.diagnostic().column as usize - 1..].starts_with("timeout"));
    for step in [
        "steps.ShellCommand(command = [\"x\", util.Property(\"missing\")])",
        "steps.ShellCommand(command = \"x\", workdir = util.Interpolate(\"../%(prop:name)s\"))",
        "steps.ShellCommand(command = \"x\", name = util.Property(\"missing\"))",
        "steps.ShellCommand(command = util.Interpolate(\"%(prop:missing)s\"))",
        "steps.Git(repourl = \"x\", mode = util.Property(\"name\"))",
        "steps.SetProperty(property = util.Interpolate(\"%(prop:missing)s\"), value = 1)",
        "steps.ShellCommand(command = util.Interpolate(\"%(kw:f)s\", f = print))",
    ] {
        let error = project(&with_step(step)).steps("b").unwrap()[0].render(&context()).unwrap_err();
        assert_eq!(error.diagnostic().line, 2, "{step}: {error}");
    }
}

#[test]
fn a_failing_function_of_a_step_names_its_place() {
    let text = "def choose(p):\n    return p[\"nothing\"]\n".to_owned()
        + &with_step("steps.ShellCommand(command = util.renderer(choose), doStepIf = lambda s: s.nope())");
    let project = project(&text);
    let step = &project.steps("b").unwrap()[0];
    let error = step.render(&context()).unwrap_err();
    assert_eq!(error.diagnostic().location(), "master.star:2:12", "{error}");
    let error = step.do_step_if(&context()).unwrap_err();
    assert!(error.to_string().contains("master.star:4:"), "{error}");
    // A mistake that only a call shows, inside a constructor.
    let text = with_step("steps.ShellCommand(command = util.renderer(lambda p: util.Interpolate(\"%\")))");
    let error = support::project(&text).steps("b").unwrap()[0].render(&context()).unwrap_err();
    assert!(error.to_string().contains("write %% for a percent sign"), "{error}");
}

#[test]
fn a_diagnostic_survives_json() {
    let found = evaluate("c = []\n").unwrap_err();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Diagnostics>(&text).unwrap(), found);
}

#[test]
fn carets_stand_below_what_they_mean_also_behind_tabs_and_long_lines() {
    let found = evaluate("c = {}\n\nx = [\"é\t\", steps.ShellCommand(comand = 1)]\n").unwrap_err().to_string();
    let below = "3 | x = [\"é\t\", steps.ShellCommand(comand = 1)]\n  |        \t                      ^^^^^^\n";
    assert!(found.contains(below), "{found}");
    assert_eq!(one_error("if True:\n\tx = 1\n").hint.as_deref(), Some("write spaces instead"));
    let long = format!("c = {{}}\nx = \"{}\" + steps.ShellCommand(comand = 1)\n", "é".repeat(5000));
    for line in evaluate(&long).unwrap_err().to_string().lines() {
        assert!(line.chars().count() < 300, "{line}");
    }
}
