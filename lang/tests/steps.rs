//! Steps: rendering, conditions, defaults.

mod support;

use serde_json::json;
use std::collections::BTreeMap;
use support::{context, project, render, with_step};
use tidemill_lang::plan::*;
use tidemill_model::Results;

#[track_caller]
fn shell(step: &str) -> Shell {
    match render(step, &context()).action {
        Action::Shell(shell) => shell,
        Action::Script(script) => *script.shell.expect("a step that runs commands"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn line(command: &str) -> String {
    match shell(&format!("steps.ShellCommand(command = {command})")).command {
        Command::Line(line) => line,
        other => panic!("{other:?}"),
    }
}

fn argv(items: &[&str]) -> Command {
    Command::Argv(items.iter().map(|s| (*s).to_owned()).collect())
}

#[test]
fn a_plain_shell_command_has_the_defaults() {
    let step = render("steps.ShellCommand(command = [\"make\"])", &context());
    assert_eq!(step.name, "shell");
    assert_eq!(step.flags, Flags::default());
    assert_eq!((step.description.as_str(), step.description_done.as_str()), ("", ""));
    assert_eq!(step.action, Action::Shell(Shell { command: argv(&["make"]), ..Shell::default() }));
}

#[test]
fn every_option_of_a_shell_command_arrives() {
    let step = render(
        r#"steps.ShellCommand(
            name = "all", command = "make", workdir = "build/sub", env = {"A": "1", "B": None, "P": ["/x", "/y"]},
            timeout = None, maxTime = 60, max_lines = 1000, sigtermTime = 0.5, initialStdin = "in",
            want_stdout = False, want_stderr = False, logEnviron = False, decodeRC = {0: util.SUCCESS, 77: SKIPPED},
            logMaxSize = 100, logMaxTailSize = 10,
            description = ["making", "it"], descriptionDone = "made", descriptionSuffix = ["all"],
            haltOnFailure = True, flunkOnFailure = False, flunkOnWarnings = True, warnOnFailure = True,
            warnOnWarnings = 1, alwaysRun = True)"#,
        &context(),
    );
    assert_eq!(
        step,
        RenderedStep {
            name: "all".into(),
            flags: Flags {
                halt_on_failure: true,
                flunk_on_failure: false,
                flunk_on_warnings: true,
                warn_on_failure: true,
                warn_on_warnings: true,
                always_run: true,
            },
            description: "making it".into(),
            description_done: "made".into(),
            description_suffix: "all".into(),
            kind: "steps.ShellCommand".into(),
            locks: vec![],
            update_build_summary: None,
            secrets: vec![],
            action: Action::Shell(Shell {
                command: Command::Line("make".into()),
                workdir: "build/sub".into(),
                env: BTreeMap::from([
                    ("A".into(), Some("1".into())),
                    ("B".into(), None),
                    ("P".into(), Some("/x:/y".into())),
                ]),
                timeout_us: None,
                max_time_us: Some(60_000_000),
                max_lines: Some(1000),
                sigterm_us: Some(500_000),
                initial_stdin: Some("in".into()),
                want_stdout: false,
                want_stderr: false,
                log_environ: false,
                decode_rc: BTreeMap::from([(0, Results::Success), (77, Results::Skipped)]),
                log_max_size: Some(100),
                log_max_tail_size: Some(10),
                ..Shell::default()
            }),
        }
    );
}

#[test]
fn compile_and_test_are_shell_commands_with_buildbots_defaults() {
    let compile = render("steps.Compile()", &context());
    assert_eq!(compile.name, "compile");
    assert!(compile.flags.halt_on_failure && compile.flags.flunk_on_failure);
    assert_eq!((compile.description.as_str(), compile.description_done.as_str()), ("compiling", "compile"));
    assert_eq!(shell("steps.Compile()").command, argv(&["make", "all"]));
    let test = render("steps.Test(command = \"ctest\")", &context());
    assert_eq!(test.name, "test");
    assert!(!test.flags.halt_on_failure && test.flags.warn_on_failure && test.flags.flunk_on_failure);
    assert_eq!(shell("steps.Test()").command, argv(&["make", "test"]));
}

#[test]
fn git_has_its_modes() {
    let git = |step: &str| match render(step, &context()).action {
        Action::Git(git) => git,
        other => panic!("{other:?}"),
    };
    let plain = git("steps.Git(repourl = \"/r\")");
    assert_eq!(
        plain,
        Git {
            repourl: "/r".into(),
            branch: None,
            mode: GitMode::Incremental,
            workdir: "build".into(),
            shallow: None,
            submodules: false,
            codebase: "".into(),
            timeout_us: Some(1_200_000_000),
            retry: None,
            always_use_latest: false,
        }
    );
    let full = git(
        "steps.Git(repourl = util.Interpolate(\"%(src::repository)s\"), branch = \"b\", mode = \"full\", method = \"clobber\", \
         shallow = True, submodules = True, codebase = \"lib\", workdir = \"lib\", retry = (2.5, 3), timeout = 60, alwaysUseLatest = True)",
    );
    assert_eq!(full.repourl, "https://example.org/r.git");
    assert_eq!((full.mode, full.shallow, full.retry), (GitMode::FullClobber, Some(1), Some((3, 2_500_000))));
    assert!(full.submodules && full.always_use_latest);
    assert_eq!(git("steps.Git(repourl = \"/r\", mode = \"full\")").mode, GitMode::FullFresh);
    assert_eq!(git("steps.Git(repourl = \"/r\", mode = \"full\", method = \"clean\")").mode, GitMode::FullClean);
    assert_eq!(git("steps.Git(repourl = \"/r\", shallow = 50)").shallow, Some(50));
    assert!(render("steps.Git(repourl = \"/r\")", &context()).flags.halt_on_failure);
    assert_eq!(render("steps.Git(repourl = \"/r\")", &context()).name, "git");
}

#[test]
fn set_property_takes_any_value() {
    let step =
        render("steps.SetProperty(property = \"p\", value = {\"a\": [util.Property(\"jobs\"), None]})", &context());
    assert_eq!(step.action, Action::SetProperty { property: "p".into(), value: json!({"a": [4, null]}) });
}

#[test]
fn interpolate_follows_its_operators() {
    for (template, expected) in [
        ("%(prop:name)s", "value"),
        ("[%(prop:missing)s]", "[]"),
        ("[%(prop:none)s]", "[]"),
        ("%(prop:jobs)s", "4"),
        ("%(prop:list)s", "['a', 'b']"),
        ("%(prop:missing:-d)s", "d"),
        ("%(prop:zero:-d)s", "0"),
        ("%(prop:zero:~d)s", "d"),
        ("%(prop:name:~d)s", "value"),
        ("%(prop:name:+y)s.%(prop:missing:+y)s", "y."),
        ("%(prop:zero:+y)s", "y"),
        ("%(prop:zero:?|yes|no)s%(prop:missing:?|yes|no)s", "yesno"),
        ("%(prop:zero:#?|yes|no)s%(prop:name:#?:yes:no)s", "noyes"),
        ("%(prop:missing:-%(prop:name)s!)s", "value!"),
        ("%(src::branch)s@%(src::revision)s", "main@abc"),
        ("[%(src:other:revision)s]", "[]"),
        ("%(src:other:revision:-HEAD)s", "HEAD"),
        ("%(src::codebase:-none)s", ""),
        ("100%%", "100%"),
    ] {
        assert_eq!(line(&format!("util.Interpolate({template:?} + \" .\")")), format!("{expected} ."), "{template}");
    }
    assert_eq!(line("util.Interpolate(\"%(kw:a)s-%(kw:b:-x)s\", a = util.Property(\"name\"))"), "value-x");
    assert_eq!(line("util.Interpolate(\"%s/%s\", \"a\", util.Property(\"jobs\"))"), "a/4");
}

#[test]
fn property_follows_its_default() {
    for (property, expected) in [
        ("util.Property(\"name\")", "value"),
        ("util.Property(\"missing\", \"d\")", "d"),
        ("util.Property(\"zero\", default = \"d\")", "d"),
        ("util.Property(\"missing\", default = util.Property(\"name\"))", "value"),
    ] {
        assert_eq!(line(property), expected, "{property}");
    }
    let value = |p: &str| match render(&format!("steps.SetProperty(property = \"x\", value = {p})"), &context()).action
    {
        Action::SetProperty { value, .. } => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(value("util.Property(\"zero\")"), json!(0));
    assert_eq!(value("util.Property(\"zero\", default = 1, defaultWhenFalse = False)"), json!(0));
    assert_eq!(value("util.Property(\"missing\")"), json!(null));
    assert_eq!(value("util.Property(\"list\")"), json!(["a", "b"]));
}

#[test]
fn a_renderer_sees_the_build() {
    for (body, expected) in [
        ("p.getProperty(\"name\")", "value"),
        ("p.getProperty(\"missing\", \"d\")", "d"),
        ("p.name", "value"),
        ("p[\"name\"]", "value"),
        ("p.get(\"missing\", \"d\")", "d"),
        ("str(p.hasProperty(\"none\")) + str(p.hasProperty(\"missing\"))", "TrueFalse"),
        ("str(\"name\" in p) + str(\"missing\" in p)", "TrueFalse"),
        ("p.build.builder + str(p.build.number)", "b7"),
        ("p.getBuild().workername", "w"),
        ("p.build.sourcestamps[0].revision", "abc"),
        ("p.branch", "main"),
        ("p.getProperties()[\"name\"]", "value"),
        // A placeholder that comes out is resolved in turn.
        ("util.Interpolate(\"%(prop:jobs)s\")", "4"),
    ] {
        assert_eq!(line(&format!("util.renderer(lambda p: {body})")), expected, "{body}");
    }
    let command = shell("steps.ShellCommand(command = util.renderer(lambda p: [\"make\", [\"-j\", p.jobs]]))").command;
    assert_eq!(command, argv(&["make", "-j", "4"]));
}

#[test]
fn placeholders_are_resolved_wherever_they_stand() {
    let shell = shell(
        "steps.ShellCommand(command = [\"a\", [util.Property(\"name\"), util.Property(\"list\")], ()], \
         env = {\"N\": util.Interpolate(\"%(prop:jobs)s\"), \"GONE\": util.Property(\"missing\")}, \
         workdir = util.Property(\"name\"), timeout = util.Property(\"jobs\"))",
    );
    assert_eq!(shell.command, argv(&["a", "value", "a", "b"]));
    assert_eq!(shell.env, BTreeMap::from([("N".into(), Some("4".into())), ("GONE".into(), None)]));
    assert_eq!((shell.workdir.as_str(), shell.timeout_us), ("value", Some(4_000_000)));
    let named = with_step("steps.ShellCommand(command = \"x\", name = util.Interpolate(\"n-%(prop:name)s\"))");
    let project = project(&named);
    let step = &project.steps("b").unwrap()[0];
    assert_eq!(step.name(), "shell");
    assert_eq!(step.render(&context()).unwrap().name, "n-value");
}

#[test]
fn do_step_if_decides_by_value_function_or_placeholder() {
    for (condition, expected) in [
        ("True", true),
        ("False", false),
        ("lambda step: step.getProperty(\"name\") == \"value\"", true),
        ("lambda step: step.build.getProperty(\"zero\")", false),
        ("lambda step: step.name == \"shell\" and step.branch == \"main\"", true),
        ("lambda step: step.hasProperty(\"missing\")", false),
        ("lambda step: step.build.results == FAILURE", false),
        ("util.Property(\"name\")", true),
        ("util.renderer(lambda p: p.zero)", false),
    ] {
        let project = project(&with_step(&format!("steps.ShellCommand(command = \"x\", doStepIf = {condition})")));
        assert_eq!(project.steps("b").unwrap()[0].do_step_if(&context()).unwrap(), expected, "{condition}");
    }
}

#[test]
fn hide_step_if_sees_the_result() {
    let text = with_step(
        "steps.ShellCommand(command = \"x\", hideStepIf = lambda results, step: results == SKIPPED and step.name == \"shell\")",
    );
    let project = project(&text);
    let step = &project.steps("b").unwrap()[0];
    assert!(step.hide_step_if(&context(), Results::Skipped).unwrap());
    assert!(!step.hide_step_if(&context(), Results::Success).unwrap());
    assert!(step.do_step_if(&context()).unwrap());
}

#[test]
fn always_run_is_known_without_a_build() {
    let project = project(&with_step(
        "steps.ShellCommand(command = \"x\", alwaysRun = True), steps.ShellCommand(command = \"x\")",
    ));
    let known: Vec<_> = project.steps("b").unwrap().iter().map(|s| s.always_run()).collect();
    assert_eq!(known, [true, false]);
}

#[test]
fn the_builders_environment_is_rendered() {
    let project = project(
        "c = {}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], \
         factory = util.BuildFactory([steps.ShellCommand(command = \"x\")]), \
         env = {\"V\": util.Interpolate(\"%(prop:name)s\"), \"L\": [\"a\", \"b\"], \"X\": None})]\n",
    );
    let env = project.builder_env("b", &context()).unwrap();
    let expected = [("L", Some("a:b")), ("V", Some("value")), ("X", None)];
    assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).into());
    let error = project.builder_env("x", &context()).unwrap_err();
    assert!(error.to_string().contains("no builder named `x`"), "{error}");
}

#[test]
fn a_function_defined_in_the_file_may_use_its_globals() {
    let text = "LIMIT = 3\ndef big(step):\n    return step.getProperty(\"jobs\") > LIMIT\n".to_owned()
        + &with_step("steps.ShellCommand(command = \"x\", doStepIf = big)");
    assert!(project(&text).steps("b").unwrap()[0].do_step_if(&context()).unwrap());
}
