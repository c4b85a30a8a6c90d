//! docs/project-file.md says only what is true: its examples are evaluated.

mod support;

use support::{change_on, context};
use tidemill_lang::{Limits, Project, Severity};
use tidemill_model::revision::{Files, ROOT_FILE};

const DOC: &str = include_str!("../../docs/project-file.md");

/// What fragments may use.
const PRELUDE: &str = "c = {}\nfactory = util.BuildFactory()\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = factory)]\n";

/// The blocks of Starlark: the name of their file, if they have one, and their text.
fn blocks() -> Vec<(Option<&'static str>, String)> {
    let mut blocks = vec![];
    let mut lines = DOC.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("```python") {
            let text = lines.by_ref().take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect();
            blocks.push((Some(name.trim()).filter(|n| !n.is_empty()), text));
        }
    }
    blocks
}

#[test]
fn every_example_of_the_manual_is_evaluated_and_its_steps_render() {
    let blocks = blocks();
    assert!(blocks.len() >= 5);
    let mut loaded = Files::default();
    for (name, text) in blocks {
        let root = match name {
            Some(name) if name != ROOT_FILE => {
                loaded.0.insert(name.to_owned(), text);
                continue;
            }
            _ if text.contains("\nc = {}\n") || text.starts_with("c = {}\n") => text,
            _ => format!("{PRELUDE}{text}"),
        };
        let mut files = loaded.clone();
        files.0.insert(ROOT_FILE.to_owned(), root.clone());
        let project = Project::evaluate(&files, &Limits::default()).unwrap_or_else(|e| panic!("{e}\n\n{root}"));
        let report = Project::check(&files, &Limits::default());
        let lints: Vec<_> = report.diagnostics.iter().filter(|d| !project.warnings().contains(d)).collect();
        assert!(lints.is_empty(), "{lints:#?}");
        let doubts: Vec<_> = project.warnings().iter().filter(|w| w.severity == Severity::Warning).collect();
        assert!(doubts.is_empty() || root.starts_with(PRELUDE), "{doubts:?}");
        for builder in &project.definition().builders {
            for step in project.steps(&builder.name).unwrap() {
                let ctx = context();
                step.render(&ctx).unwrap_or_else(|e| panic!("{e}"));
                step.do_step_if(&ctx).unwrap_or_else(|e| panic!("{e}"));
                step.hide_step_if(&ctx, tidemill_model::Results::Success).unwrap_or_else(|e| panic!("{e}"));
            }
            project.builder_env(&builder.name, &context()).unwrap();
        }
        for scheduler in &project.definition().schedulers {
            assert!(project.change_matches(&scheduler.name, &change_on(Some("main"))).unwrap());
            project.change_is_important(&scheduler.name, &change_on(Some("main"))).unwrap();
        }
    }
}

#[test]
fn the_limits_of_the_manual_are_the_default_ones() {
    let limits = Limits::default();
    let text = format!(
        "may take {} seconds, {} million calls and loop turns, {} MiB and calls {} deep",
        limits.time.as_secs(),
        limits.ticks / 1_000_000,
        limits.heap_bytes >> 20,
        limits.callstack
    );
    assert!(DOC.contains(&text), "{text}");
}

#[test]
fn what_the_manual_says_of_the_language_works() {
    let text = r#"
c = {}
def f(a, *, b: int = 1, **more) -> str:
    return f"{a}-{b}"
assert_all = all([f(1) == "1-1", any([True]), sorted([2, 1], reverse = True) == [2, 1]])
S = struct(a = 1)
R = record(a = int)
E = enum("x", "y")
pairs = [list(enumerate(["a"])), list(zip([1], [2])), map(lambda x: x, [1]), filter(lambda x: x, [0]), set([1])]
p = partial(f, 2)()
j = json.decode(json.encode({"a": [1, None]}))
d = {"a": 1} | {"b": 2}
if not assert_all:
    fail("no")
"#;
    support::project(text);
}
