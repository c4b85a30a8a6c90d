//! Cancellers as the project file gives them.

use tidemill_lang::definition::CancellerKind;
use tidemill_lang::{Limits, Project};
use tidemill_model::SourceStamp;
use tidemill_model::revision::Files;

fn project(services: &str) -> Result<Project, String> {
    let text = format!(
        "f = util.BuildFactory([steps.ShellCommand(command = \"true\")])\n\
         names = [\"linux\", \"mac\"]\n\
         c = {{\"builders\": [util.BuilderConfig(name = n, workernames = [\"*\"], factory = f) for n in names]}}\n\
         c[\"services\"] = [{services}]\n"
    );
    Project::evaluate(&Files::single(text), &Limits::default()).map_err(|e| e.to_string())
}

fn stamp(branch: &str) -> SourceStamp {
    SourceStamp { repository: "r".into(), branch: Some(branch.into()), ..SourceStamp::default() }
}

#[test]
fn a_filter_says_which_branches_grow_old_and_a_function_what_they_count_as() {
    let project = project(
        r#"util.OldBuildCanceller("old", [("linux", util.SourceStampFilter(branch_re = "topic|refs", filter_fn = lambda s: s.repository == "r"))]),
           util.OldBuildCanceller("by-key", [(names, util.SourceStampFilter())], branch_key = lambda s: s.branch.split("-")[0])"#,
    )
    .unwrap();
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    assert_eq!(project.definition().cancellers[0].kind, CancellerKind::OldBuild);
    let p = project.policies();
    let key = |name: &str, builder: &str, stamp: &SourceStamp| p.supersedes(name, builder, stamp).unwrap();
    assert_eq!(key("old", "linux", &stamp("topic")), Some("topic".into()));
    assert_eq!(key("old", "linux", &stamp("refs/changes/34/1234/5")), Some("refs/changes/34/1234".into()));
    assert_eq!(key("old", "linux", &stamp("main")), None);
    assert_eq!(key("old", "mac", &stamp("topic")), None);
    assert_eq!(key("old", "linux", &SourceStamp { repository: "other".into(), ..stamp("topic") }), None);
    assert_eq!(key("old", "linux", &SourceStamp { branch: None, ..stamp("") }), None);
    assert_eq!(key("by-key", "mac", &stamp("pr-7")), Some("pr".into()));
}

#[test]
fn a_failure_cancels_those_that_its_rules_name_together_or_all() {
    let project = project(
        r#"util.FailingBuildsetCanceller("some", [(["linux"], ["mac"], util.SourceStampFilter(branch = "a")), ("linux", "linux", util.SourceStampFilter())]),
           util.FailingBuildsetCanceller("all", [("linux", None, util.SourceStampFilter(branch = "a"))])"#,
    )
    .unwrap();
    let p = project.policies();
    let names = |all: &[&str]| Some(Some(all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()));
    assert_eq!(p.fails_with("some", "linux", &[stamp("a")]).unwrap(), names(&["mac", "linux"]));
    assert_eq!(p.fails_with("some", "linux", &[stamp("b")]).unwrap(), names(&["linux"]));
    assert_eq!(p.fails_with("some", "mac", &[stamp("a")]).unwrap(), None);
    assert_eq!(p.fails_with("all", "linux", &[stamp("b"), stamp("a")]).unwrap(), Some(None));
}

#[test]
fn a_rule_of_another_shape_or_of_an_unknown_builder_is_an_error_at_its_place() {
    for (service, said) in [
        (r#"util.OldBuildCanceller("x", [("linus", util.SourceStampFilter())])"#, "did you mean `linux`"),
        (r#"util.OldBuildCanceller("x", [("linux", util.ChangeFilter())])"#, "must be a list of pairs"),
        (r#"util.FailingBuildsetCanceller("x", [("linux", util.SourceStampFilter())])"#, "must be a list of triples"),
        (
            r#"util.OldBuildCanceller("x", []), util.FailingBuildsetCanceller("x", [])"#,
            "there are two services named `x`",
        ),
    ] {
        let error = project(service).unwrap_err();
        assert!(error.contains(said), "{service}: {error}");
        assert!(error.contains("master.star:4:"), "{error}");
    }
}
