//! Whole projects: what their definition holds.

mod support;

use serde_json::json;
use support::{files, project};
use tidemill_lang::definition::*;
use tidemill_lang::{Limits, Project, Severity};

const WHOLE: &str = r#"
c = {}
BuildmasterConfig = c
c["title"] = "Example"
c["titleURL"] = "https://example.org/"
c["buildbotURL"] = "https://ci.example.org/"
c["properties"] = {"site": "here", "n": 1}
c["collapseRequests"] = False
c["workers"] = [worker.Worker("w1", max_builds = 2, properties = {"os": "linux"}), worker.Worker(name = "w2")]

factory = util.BuildFactory()
factory.addStep(steps.Git(repourl = "https://example.org/r.git"))
factory.addSteps([steps.Compile(), steps.Test(name = "check"), steps.SetProperty(property = "p", value = 1)])

c["builders"] = []
for system in ["linux", "macos"]:
    c["builders"].append(util.BuilderConfig(
        name = system,
        workernames = ["w1", "w2"],
        factory = factory,
        tags = [system],
        description = "on " + system,
        project = "example",
        properties = {"system": system},
        defaultProperties = {"level": 2},
        collapseRequests = True,
        max_attempts = 3,
    ))
c["schedulers"] = [schedulers.SingleBranchScheduler(
    name = "main",
    builderNames = [b.name for b in c["builders"]],
    change_filter = util.ChangeFilter(branch = "main"),
    treeStableTimer = 1.5,
    fileIsImportant = lambda change: True,
    onlyImportant = True,
    properties = {"p": [1, None, "x"]},
    reason = "by %(name)s",
    priority = -2,
    codebases = ["", "lib"],
)]
c["change_source"] = changes.GitPoller(
    "https://example.org/r.git", branches = ["main", "release-*"], pollInterval = 30,
    project = "example", category = "push", codebase = "lib", buildPushesWithNoCommits = True)
"#;

#[test]
fn a_whole_project_becomes_its_definition() {
    let project = project(WHOLE);
    let warned: Vec<&str> = project.warnings().iter().map(|w| w.message.as_str()).collect();
    assert_eq!(warned, Vec::<&str>::new());
    let d = project.definition();
    assert_eq!((d.title.as_str(), d.title_url.as_str()), ("Example", "https://example.org/"));
    assert_eq!(d.buildbot_url, "https://ci.example.org/");
    assert_eq!(d.vocabulary, 2, "it mentions nothing newer");
    assert_eq!(d.properties, [("site".into(), json!("here")), ("n".into(), json!(1))].into());
    assert_eq!(d.collapse_requests, Some(false));
    assert_eq!(d.workers.len(), 2);
    assert_eq!(d.workers[0].max_builds, Some(2));
    assert_eq!(d.workers[0].properties["os"], json!("linux"));

    let linux = &d.builders[0];
    assert_eq!(linux.digest.len(), 32);
    assert_eq!(linux.step_defs.len(), 4);
    assert_eq!(linux.step_defs[3].kind, "steps.SetProperty");
    assert_eq!(linux.collapse, Some(Collapse::Compatible));
    let plain = BuilderDef { digest: String::new(), step_defs: vec![], collapse: None, ..linux.clone() };
    assert_eq!(
        plain,
        BuilderDef {
            name: "linux".into(),
            workernames: vec!["w1".into(), "w2".into()],
            tags: vec!["linux".into()],
            description: "on linux".into(),
            project: "example".into(),
            properties: [("system".into(), json!("linux"))].into(),
            default_properties: [("level".into(), json!(2))].into(),
            collapse_requests: Some(true),
            max_attempts: Some(3),
            steps: vec!["git".into(), "compile".into(), "check".into(), "SetProperty".into()],
            location: "master.star:17".into(),
            ..BuilderDef::default()
        }
    );
    assert_eq!(d.builders[1].name, "macos");

    assert_eq!(
        d.schedulers,
        [SchedulerDef {
            name: "main".into(),
            kind: SchedulerKind::SingleBranch { tree_stable_us: Some(1_500_000), only_important: true },
            builder_names: vec!["linux".into(), "macos".into()],
            codebases: vec!["".into(), "lib".into()],
            absolute: false,
            properties: [("p".into(), json!([1, null, "x"]))].into(),
            reason: "by main".into(),
            priority: Some(-2),
            builders_function: false,
            codebase_defaults: Default::default(),
            priority_function: false,
            location: "master.star:29".into(),
        }]
    );
    assert_eq!(
        d.change_sources,
        [ChangeSourceDef {
            name: "GitPoller https://example.org/r.git".into(),
            kind: ChangeSourceKind::GitPoller(GitPollerDef {
                repourl: "https://example.org/r.git".into(),
                branches: Branches::Named(vec!["main".into(), "release-*".into()]),
                poll_interval_us: 30_000_000,
                build_pushes_with_no_commits: true,
                project: "example".into(),
                codebase: "lib".into(),
                category: Some("push".into()),
                use_timestamps: true,
                ..GitPollerDef::default()
            }),
            location: "master.star:41".into(),
        }]
    );
}

#[test]
fn a_definition_survives_json() {
    let project = project(WHOLE);
    let text = serde_json::to_string(project.definition()).unwrap();
    assert_eq!(serde_json::from_str::<Definition>(&text).unwrap(), *project.definition());
}

#[test]
fn the_same_files_give_the_same_definition() {
    assert_eq!(project(WHOLE).definition(), project(WHOLE).definition());
}

#[test]
fn defaults_are_buildbots() {
    let project = project(
        r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(command = "true")])
c["builders"] = [util.BuilderConfig(name = "b", workername = "w", factory = f)]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"], treeStableTimer = None)]
c["change_source"] = [changes.GitPoller(repourl = "/r"), changes.GitPoller("/q", branches = True), changes.GitPoller("/p", branch = "x")]
"#,
    );
    let d = project.definition();
    assert_eq!(d.collapse_requests, None);
    assert_eq!(d.builders[0].workernames, ["w"]);
    assert_eq!(d.schedulers[0].kind, SchedulerKind::SingleBranch { tree_stable_us: None, only_important: false });
    assert_eq!(d.schedulers[0].codebases, Vec::<String>::new());
    let branches: Vec<_> = d
        .change_sources
        .iter()
        .map(|s| match &s.kind {
            ChangeSourceKind::GitPoller(poller) => {
                assert_eq!(poller.poll_interval_us, 600_000_000);
                poller.branches.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(branches, [Branches::Default, Branches::All, Branches::Named(vec!["x".into()])]);
}

#[test]
fn a_step_added_after_the_builder_was_made_counts() {
    let project = project(
        r#"
c = {}
f = util.BuildFactory()
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
f.addStep(steps.ShellCommand(command = "true"))
"#,
    );
    assert_eq!(project.steps("b").unwrap().len(), 1);
    assert!(project.steps("nobody").is_none());
}

#[test]
fn names_of_old_releases_are_taken_with_a_warning() {
    let project = project(
        r#"
c = {}
c["slaves"] = [worker.Worker("w", "secret")]
f = util.BuildFactory([steps.ShellCommand(command = "true")])
c["builders"] = [util.BuilderConfig(name = "b", slavenames = ["w"], factory = f)]
"#,
    );
    assert_eq!(project.definition().builders[0].workernames, ["w"]);
    let warnings: Vec<_> = project.warnings().iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "c[\"slaves\"] is an old name of c[\"workers\"]",
            "`password` of worker.Worker has no effect: passwords are not read here; enrol with `tidemill worker add NAME`",
            "`slavenames` of util.BuilderConfig is an old name of `workernames`",
        ]
    );
}

#[test]
fn a_loaded_file_gives_functions_and_values() {
    let all = files(&[
        (
            "master.star",
            "load(\"lib/make.star\", \"builder\", n = \"number\")\nc = {}\nc[\"builders\"] = [builder(\"b%d\" % n)]\n",
        ),
        (
            "lib/make.star",
            "load(\"./steps.star\", \"factory\")\nnumber = 3\ndef builder(name):\n    return util.BuilderConfig(name = name, workernames = [\"*\"], factory = factory())\n",
        ),
        ("lib/steps.star", "def factory():\n    return util.BuildFactory([steps.ShellCommand(command = \"true\")])\n"),
        ("unused.star", "this is not even Starlark ("),
    ]);
    let project = Project::evaluate(&all, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(project.definition().builders[0].name, "b3");
    assert_eq!(project.definition().builders[0].location, "lib/make.star:4");
    assert_eq!(project.steps("b3").unwrap().len(), 1);
}

#[test]
fn the_configuration_may_itself_be_loaded() {
    let all = files(&[
        ("master.star", "load(\"all.star\", \"c\")\n"),
        ("all.star", "c = {\"title\": \"t\", \"builders\": []}\n"),
    ]);
    let project = Project::evaluate(&all, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(project.definition().title, "t");
}

#[test]
fn print_shows_values_with_their_place() {
    let project = project("c = {}\nfor i in [1, 2]:\n    print(\"n\", i, [\"x\"])\n");
    let notes: Vec<_> = project.warnings().iter().filter(|w| w.severity == Severity::Note).collect();
    assert_eq!(notes.len(), 2);
    assert_eq!((notes[0].message.as_str(), notes[0].line), ("n 1 ['x']", 3));
}

#[test]
fn a_project_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Project>();
    shared::<tidemill_lang::Step>();
    let project = project(WHOLE);
    let ctx = support::context();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(project.steps("linux").unwrap()[2].render(&ctx).unwrap().name, "check");
                    assert!(project.change_matches("main", &support::change_on(Some("main"))).unwrap());
                }
            });
        }
    });
}

/// starlark switches on serde_json's `arbitrary_precision` for the whole
/// binary, which breaks floats in tagged enums. The protocol has none: its
/// messages must parse from text here, where starlark is linked.
#[test]
fn wire_messages_parse_from_text_beside_starlark() {
    use tidemill_model::wire::{Claim, Event, LogKind};
    let events = [
        Event::BuildStarted { at_us: i64::MAX },
        Event::StepStarted { step: 1, name: "s".into(), at_us: -1 },
        Event::StepFinished {
            step: 1,
            results: tidemill_model::Results::Warnings,
            summary: "x".into(),
            hidden: true,
            lock_wait_us: Some(1),
            at_us: 5,
        },
        Event::Summary { step: None, text: "t".into() },
        Event::StepUrl { step: 2, name: "n".into(), url: "u".into() },
        Event::PropertySet { name: "p".into(), value: json!({"a": [1, 2.5, null, "x"]}), source: "s".into() },
        Event::LogOpened { log: 1, step: 1, name: "stdio".into(), slug: "stdio".into(), kind: LogKind::Stdio },
        Event::BuildFinished { results: tidemill_model::Results::Failure, summary: String::new(), at_us: 9 },
    ];
    for event in events {
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
    }
    let claim = r#"{"build":1,"token":"t","attempt":1,"builder":"b","builder_id":2,"number":3,"request":4,
        "revision":"r","properties":{"p":[1.5,"s"]},"sourcestamps":[{"branch":null}],"reason":""}"#;
    let claim: Claim = serde_json::from_str(claim).unwrap();
    assert_eq!(claim.properties.get("p"), Some(&json!(1.5)));
}

#[test]
fn plans_parse_from_text_beside_starlark() {
    let step = support::render(
        "steps.ShellCommand(command = [\"a\"], timeout = 1.5, decodeRC = {0: SUCCESS, 3: WARNINGS})",
        &support::context(),
    );
    let text = serde_json::to_string(&step).unwrap();
    assert_eq!(serde_json::from_str::<tidemill_lang::RenderedStep>(&text).unwrap(), step);
}

#[test]
fn what_is_not_run_yet_is_warned_of_where_it_stands_and_functions_are_not() {
    let project = project(
        r#"
c = {}
def choose(*args):
    return None
c["builders"] = [util.BuilderConfig(
    name = "b", workernames = ["*"], factory = util.BuildFactory([steps.FileUpload(workersrc = "a", masterdest = "b")]),
    canStartBuild = choose,
    nextBuild = choose,
    collapseRequests = False,
)]
c["prioritizeBuilders"] = choose
c["schedulers"] = [
    schedulers.SingleBranchScheduler(name = "s", builderNames = choose),
    schedulers.Custom(name = "own", builderNames = ["b"], rule = choose),
]
c["services"] = [reporters.TelegramBot()]
"#,
    );
    let mut warned: Vec<(u32, &str)> = project.warnings().iter().map(|w| (w.line, w.message.as_str())).collect();
    warned.sort_unstable();
    assert_eq!(
        warned,
        [
            (6, "steps.FileUpload is accepted but not run by this release"),
            (16, "reporters.TelegramBot is accepted but not run by this release"),
        ]
    );
}
