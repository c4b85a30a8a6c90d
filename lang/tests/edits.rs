//! Random edits of a large valid project: an error in bounded time and memory,
//! never a panic or a hang.

mod support;

use proptest::prelude::*;
use std::fmt::Write;
use std::time::{Duration, Instant};
use support::context;
use tidemill_lang::policies::{BuilderView, NoHost};
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;

/// Builders of all kinds, schedulers, policies, custom steps.
fn large() -> String {
    let mut text = String::from(
        "load(\"lib.star\", \"factory\")\nc = {}\nBuildmasterConfig = c\nc[\"title\"] = \"Example\"\nc[\"workers\"] = [worker.Worker(\"w%d\" % n) for n in range(10)]\n\
         lock = util.MasterLock(\"db\")\nc[\"builders\"] = []\n\
         def impl(self):\n    cmd = self.shell([\"ls\", self.dirname])\n    return cmd.results()\nList = util.BuildStep(implementation = impl, attrs = {\"dirname\": util.attr(str)})\n\
         def nextBuild(builder, requests):\n    return sorted(requests, key = lambda r: r.priority)[0] if requests else None\n",
    );
    for n in 0..30 {
        let _ = write!(
            text,
            "c[\"builders\"].append(util.BuilderConfig(\n    name = \"b{n}\",\n    workernames = [\"w{}\"],\n    factory = factory({n}),\n    nextBuild = nextBuild,\n    properties = {{\"n\": {n}, \"list\": [1, None, \"x\"]}},\n    tags = [\"t{}\"],\n))\n",
            n % 10,
            n % 3
        );
    }
    text.push_str(
        "c[\"schedulers\"] = [schedulers.SingleBranchScheduler(\n    name = \"s-\" + b.name,\n    builderNames = [b.name],\n    change_filter = util.ChangeFilter(branch_re = \"release-[0-9]+$\", filter_fn = lambda ch: \"skip\" not in ch.comments),\n    treeStableTimer = 5,\n) for b in c[\"builders\"]]\n\
         c[\"builders\"][0].factory.addStep(List(dirname = util.Interpolate(\"%(prop:x:-%(src::branch)s)s\")))\n",
    );
    text.replace("c[\"builders\"][0].factory.addStep(List(dirname", "extra = (List(dirname").to_owned()
}

const LIB: &str = "def factory(n):\n    f = util.BuildFactory()\n    for i in range(3):\n        f.addStep(steps.ShellCommand(name = \"s%d\" % i, command = [\"make\", util.Property(\"x\", str(n))], env = {\"A\": [\"b\", \"c\"]}, doStepIf = lambda step: step.getProperty(\"n\") != i))\n    f.addStep(steps.SetProperty(property = \"y\", value = {\"a\": [n, None]}))\n    return f\n";

#[derive(Clone, Debug)]
enum Edit {
    Delete(usize, usize),
    Duplicate(usize, usize),
    Rename(usize, usize),
    Truncate(usize),
    Insert(usize, String),
    Swap(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = 0..1_000_000usize;
    let hostile = prop_oneof![
        Just("(".repeat(3000)),
        Just("[".repeat(100_000)),
        Just("not ".repeat(5000)),
        Just("\"".to_owned()),
        Just("\n    ".to_owned()),
        Just(" * 2000000000".to_owned()),
        Just("\nfor i in range(50000000):\n    pass\n".to_owned()),
        Just("\ndef r(n):\n    return r(n + 1)\nr(1)\n".to_owned()),
        Just("\nx = []\nfor i in range(60):\n    x = [x, x]\ny = str(x) if x == x else x\n".to_owned()),
        Just("\nx = {}\nx[\"x\"] = x\nc[\"properties\"] = x\n".to_owned()),
        Just("\n\u{0}\u{1b}[31m\u{202e}é\n".to_owned()),
        Just("None".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999999".to_owned()),
        Just("lambda: c".to_owned()),
        Just("util.Property(\"x\")".to_owned()),
        "[ -~]{0,12}",
    ];
    prop_oneof![
        (at.clone(), 1..200usize).prop_map(|(a, n)| Edit::Delete(a, n)),
        (at.clone(), 1..2000usize).prop_map(|(a, n)| Edit::Duplicate(a, n)),
        (at.clone(), at.clone()).prop_map(|(a, b)| Edit::Rename(a, b)),
        at.clone().prop_map(Edit::Truncate),
        (at.clone(), hostile).prop_map(|(a, t)| Edit::Insert(a, t)),
        (at.clone(), at).prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn apply(text: &mut String, edit: &Edit) {
    match edit {
        Edit::Delete(at, n) => {
            let from = boundary(text, *at);
            let to = boundary(text, (from + n).min(text.len())).max(from);
            text.replace_range(from..to, "");
        }
        Edit::Duplicate(at, n) => {
            let from = boundary(text, *at);
            let to = boundary(text, (from + n).min(text.len())).max(from);
            let part = text[from..to].to_owned();
            text.insert_str(to, &part);
        }
        Edit::Rename(a, b) => {
            let words: Vec<&str> =
                text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            if words.is_empty() {
                return;
            }
            let (from, to) = (words[a % words.len()].to_owned(), words[b % words.len()].to_owned());
            *text = text.replacen(&from, &to, 3);
        }
        Edit::Truncate(at) => {
            let at = boundary(text, *at);
            text.truncate(at);
        }
        Edit::Insert(at, part) => {
            let at = boundary(text, *at);
            text.insert_str(at, part);
        }
        Edit::Swap(a, b) => {
            let mut lines: Vec<&str> = text.lines().collect();
            if !lines.is_empty() {
                let (a, b) = (a % lines.len(), b % lines.len());
                lines.swap(a, b);
                *text = lines.join("\n");
            }
        }
    }
}

fn limits() -> Limits {
    Limits { ticks: 300_000, heap_bytes: 64 << 20, time: Duration::from_secs(5), callstack: 200 }
}

fn files(root: String) -> Files {
    Files([("master.star".to_owned(), root), ("lib.star".to_owned(), LIB.to_owned())].into())
}

#[test]
fn the_large_project_is_good() {
    let project = Project::evaluate(&files(large()), &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(project.definition().builders.len(), 30);
}

#[test]
fn a_string_of_a_hundred_megabytes_is_refused() {
    let begin = Instant::now();
    let report = Project::check(&Files::single(format!("c = {{}}\nx = \"{}\"\n", "y".repeat(100 << 20))), &limits());
    assert!(!report.ok() && begin.elapsed() < Duration::from_secs(120));
}

/// Where the text of the case that runs is kept: a stack that is used up ends the process without a
/// word. Gone when the case is over.
struct Case(std::path::PathBuf);

impl Case {
    fn begin(text: &str) -> Case {
        let path = std::env::temp_dir().join(format!("tidemill-edits-{}.star", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Case(path)
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_never_break_or_hang_anything(edits in prop::collection::vec(edit(), 1..4)) {
        let mut text = large();
        for edit in &edits {
            apply(&mut text, edit);
        }
        let _case = Case::begin(&text);
        let begin = Instant::now();
        let report = Project::check(&files(text.clone()), &limits());
        prop_assert!(report.ok() || report.diagnostics.iter().any(|d| d.severity == tidemill_lang::Severity::Error));
        if let Ok(project) = Project::evaluate(&files(text), &limits()) {
            for builder in &project.definition().builders {
                let _ = project.plan(&builder.name, &context());
                let view = BuilderView { name: builder.name.clone(), ..Default::default() };
                let _ = project.policies().next_build(&view, &[], &NoHost);
            }
        }
        prop_assert!(begin.elapsed() < Duration::from_secs(300));
    }
}
