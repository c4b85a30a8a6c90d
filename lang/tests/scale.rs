//! How long a large configuration takes; printed, never asserted.

mod support;

use std::time::Instant;
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;

#[test]
fn a_thousand_builders_are_evaluated() {
    let text = "c = {}\nc[\"builders\"] = []\nfor n in range(1000):\n    f = util.BuildFactory()\n    for s in range(5):\n        f.addStep(steps.ShellCommand(name = \"s%d\" % s, command = [\"make\", util.Interpolate(\"%(prop:branch)s\")], doStepIf = lambda step: True))\n    c[\"builders\"].append(util.BuilderConfig(name = \"b%d\" % n, workernames = [\"*\"], factory = f))\n";
    let begin = Instant::now();
    let project = Project::evaluate(&Files::single(text), &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    eprintln!("1000 builders, 5000 steps: {:?}", begin.elapsed());
    let begin = Instant::now();
    let json = serde_json::to_string(project.definition()).unwrap();
    eprintln!("definition: {} KiB in {:?}", json.len() >> 10, begin.elapsed());
    let begin = Instant::now();
    assert!(project.definition().diff(project.definition()).is_empty());
    eprintln!("diff: {:?}", begin.elapsed());
    assert_eq!(project.definition().builders.len(), 1000);
}
