//! Change filters and importance.

mod support;

use support::{change, change_on, project};
use tidemill_lang::Project;
use tidemill_model::NewChange;

fn scheduler(arguments: &str) -> Project {
    project(&format!(
        "c = {{}}\nf = util.BuildFactory([steps.ShellCommand(command = \"x\")])\n\
         c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\n\
         c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"b\"], {arguments})]\n"
    ))
}

#[track_caller]
fn takes(filter: &str, branch: Option<&str>) -> bool {
    let project = scheduler(&format!("change_filter = util.ChangeFilter({filter})"));
    project.change_matches("s", &change_on(branch)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_branch_is_compared_in_every_way() {
    for (filter, taken, refused) in [
        ("branch = \"main\"", vec![Some("main")], vec![Some("main2"), Some(""), None]),
        ("branch = [\"main\", \"next\"]", vec![Some("main"), Some("next")], vec![Some("x"), None]),
        ("branch = None", vec![None], vec![Some("main"), Some("")]),
        ("branch = [\"main\", None]", vec![None, Some("main")], vec![Some("x")]),
        ("", vec![None, Some("x")], vec![]),
        ("branch_not_eq = \"main\"", vec![Some("x"), None], vec![Some("main")]),
        ("branch_not_eq = [\"a\", None]", vec![Some("x")], vec![Some("a"), None]),
        ("branch_re = \"rel\"", vec![Some("rel-1"), Some("rel")], vec![Some("x-rel"), Some(""), None]),
        ("branch_re = [\"a\", \"b|ab\"]", vec![Some("a1"), Some("b")], vec![Some("cab"), None]),
        ("branch_re = \"main$\"", vec![Some("main")], vec![Some("main2")]),
        ("branch_not_re = \"rel\"", vec![Some("x-rel"), None], vec![Some("rel-1")]),
        ("branch_fn = lambda b: b == None or b.startswith(\"x\")", vec![None, Some("xy")], vec![Some("y")]),
        ("filter_fn = lambda c: c.branch in [\"a\", \"b\"]", vec![Some("a")], vec![Some("c"), None]),
        ("branch_re = \"a\", branch_not_re = \"ab\"", vec![Some("ac")], vec![Some("ab"), Some("b")]),
    ] {
        for branch in taken {
            assert!(takes(filter, branch), "{filter} is to take {branch:?}");
        }
        for branch in refused {
            assert!(!takes(filter, branch), "{filter} is to refuse {branch:?}");
        }
    }
}

#[test]
fn every_attribute_has_its_conditions() {
    let new = NewChange {
        project: "p".into(),
        repository: "r".into(),
        codebase: "lib".into(),
        category: Some("push".into()),
        ..NewChange::default()
    };
    for (attribute, value) in [("project", "p"), ("repository", "r"), ("codebase", "lib"), ("category", "push")] {
        for (condition, expected) in [
            (format!("{attribute} = {value:?}"), true),
            (format!("{attribute} = \"other\""), false),
            (format!("{attribute} = None"), true),
            (format!("{attribute}_not_eq = {value:?}"), false),
            (format!("{attribute}_re = {value:?}"), true),
            (format!("{attribute}_not_re = {value:?}"), false),
            (format!("{attribute}_fn = lambda v: v == {value:?}"), true),
        ] {
            let project = scheduler(&format!("change_filter = util.ChangeFilter({condition})"));
            assert_eq!(project.change_matches("s", &change(new.clone())).unwrap(), expected, "{condition}");
        }
    }
}

#[test]
fn functions_see_the_whole_change() {
    let mut new = NewChange {
        author: "A <a@example.org>".into(),
        comments: "text".into(),
        files: vec!["src/a.rs".into(), "docs/b.md".into()],
        revision: Some("abc".into()),
        ..NewChange::default()
    };
    new.properties.set("k", 1, "Change");
    let project = scheduler(
        "fileIsImportant = lambda c: any([f.startswith(\"src/\") for f in c.files]), \
         change_filter = util.ChangeFilter(filter_fn = lambda c: c.who == c.author and c.comments == \"text\" \
         and c.revision == \"abc\" and c.properties[\"k\"] == 1 and c.number == 1 and c.category == None and c.revlink == None)",
    );
    assert!(project.change_matches("s", &change(new.clone())).unwrap());
    assert!(project.change_is_important("s", &change(new.clone())).unwrap());
    new.files.remove(0);
    assert!(!project.change_is_important("s", &change(new)).unwrap());
}

#[test]
fn without_a_filter_everything_matches_and_is_important() {
    let project = scheduler("treeStableTimer = 1");
    assert!(project.change_matches("s", &change_on(None)).unwrap());
    assert!(project.change_is_important("s", &change_on(None)).unwrap());
    assert!(project.change_matches("t", &change_on(None)).is_err());
}

#[test]
fn a_schedulers_own_branch_is_a_filter() {
    let project = scheduler("branch = \"main\"");
    assert!(project.change_matches("s", &change_on(Some("main"))).unwrap());
    assert!(!project.change_matches("s", &change_on(None)).unwrap());
    assert!(scheduler("branch = None").change_matches("s", &change_on(None)).unwrap());
}

#[test]
fn a_failing_filter_function_names_its_place() {
    let project = scheduler("change_filter = util.ChangeFilter(filter_fn = lambda c: c.nope)");
    let error = project.change_matches("s", &change_on(None)).unwrap_err();
    assert!(error.to_string().contains("has no attribute `nope`"), "{error}");
    assert!(error.to_string().contains("master.star:4:"), "{error}");
}

#[test]
fn properties_of_a_change_are_conditions() {
    let text = |filter: &str| {
        format!(
            "c = {{}}\nf = util.BuildFactory([steps.ShellCommand(command = \"x\")])\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], factory = f)]\nc[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"b\"], change_filter = util.ChangeFilter({filter}))]\n"
        )
    };
    let mut new = tidemill_model::NewChange::default();
    new.properties.set("event", "pull-request", "Change");
    new.properties.set("n", 3, "Change");
    let change = support::change(new);
    for (filter, holds) in [
        ("property_eq = {'event': 'pull-request', 'n': 3}", true),
        ("property_eq = {'n': '3'}", false),
        ("property_eq = {'nope': 1}", false),
        ("property_not_eq = {'nope': 1, 'n': 4}", true),
        ("property_not_eq = {'n': 3}", false),
        ("property_re = {'event': ['push', 'pull-']}", true),
        ("property_re = {'event': 'request'}", false),
        ("property_not_re = {'event': 'push', 'nope': '.*'}", true),
    ] {
        let project = support::project(&text(filter));
        assert_eq!(project.change_matches("s", &change).unwrap(), holds, "{filter}");
    }
}
