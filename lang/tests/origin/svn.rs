//! Projects and branches of a Subversion repository (C-14 to C-25).

use crate::example::{change, load};
use tidemill_lang::Project;
use tidemill_lang::definition::ChangeSourceKind;
use tidemill_lang::policies::SplitFile;
use tidemill_model::NewChange;

fn split(project: &Project, source: &str, path: &str) -> Option<SplitFile> {
    project.policies().split_file(source, path).unwrap()
}

fn file(project: Option<&str>, branch: Option<&str>, path: &str) -> Option<SplitFile> {
    Some(SplitFile {
        path: path.into(),
        branch: branch.map(str::to_owned),
        project: project.map(str::to_owned),
        ..SplitFile::default()
    })
}

/// The schedulers that take a change of this file.
fn takers(project: &Project, split: SplitFile) -> Vec<String> {
    let new = NewChange {
        branch: split.branch,
        project: split.project.unwrap_or_default(),
        files: vec![split.path],
        ..NewChange::default()
    };
    let change = change(1, new);
    let all = project.definition().schedulers.iter().map(|s| s.name.clone());
    all.filter(|name| project.change_matches(name, &change).unwrap()).collect()
}

#[test]
fn one_trunk_gives_changes_without_a_branch() {
    let project = load("c-15-svn-one-trunk");
    let ChangeSourceKind::Declared(poller) = &project.definition().change_sources[0].kind else { panic!() };
    assert_eq!(
        (poller.kind.as_str(), &poller.args["repourl"]),
        ("SVNPoller", &"svn://svn.example.org/scanner/trunk".into())
    );
    assert_eq!(project.definition().builders[0].step_defs[0].kind, "steps.SVN");
    let found = split(&project, "scanner", "common/scanner.h");
    assert_eq!(found, file(None, None, "common/scanner.h"), "the path stays as it is");
    assert_eq!(takers(&project, found.unwrap()), ["trunk"]);
}

#[test]
fn a_higher_address_shows_branches_that_keep_their_folder() {
    let project = load("c-16-svn-higher-address");
    assert_eq!(split(&project, "scanner", "trunk/common/scanner.h"), file(None, None, "common/scanner.h"));
    let branch = split(&project, "scanner", "branches/3_3/common/scanner.h");
    assert_eq!(branch, file(None, Some("branches/3_3"), "common/scanner.h"));
    assert_eq!(takers(&project, branch.clone().unwrap()), ["all"]);
    for path in ["trunk", "trunk/", "branches/3_3", "tags/1/x", "README"] {
        assert_eq!(split(&project, "scanner", path), None, "{path}");
    }
    // The branch is usable for the checkout as it is.
    let mut ctx = crate::build::context(&project, "scanner");
    ctx.sourcestamps[0].branch = branch.unwrap().branch;
    let rendered = project.steps("scanner").unwrap()[0].render(&ctx).unwrap();
    assert!(format!("{:?}", rendered.action).contains("svn.example.org/scanner/%%BRANCH%%"));
}

#[test]
fn a_splitter_returns_a_dict_a_pair_or_nothing() {
    let project = load("c-17-splitter-contract");
    let red = SplitFile {
        path: "a/b".into(),
        branch: Some("stable".into()),
        project: Some("red".into()),
        repository: Some("svn://svn.example.org/red".into()),
        ..SplitFile::default()
    };
    assert_eq!(split(&project, "teams", "red/a/b"), Some(red));
    assert_eq!(split(&project, "teams", "green/a"), file(None, Some("green-line"), "a"));
    assert_eq!(split(&project, "teams", "blue/a"), None);
}

#[test]
fn the_ready_splitter_knows_trunk_and_branches_and_schedulers_take_what_they_want() {
    let project = load("c-19-svn-branches");
    let trunk = split(&project, "reactor", "trunk/a/b");
    assert_eq!(trunk, file(None, None, "a/b"));
    let branch = split(&project, "reactor", "branches/1.5.x/a/b");
    assert_eq!(branch, file(None, Some("branches/1.5.x"), "a/b"));
    for path in ["trunk", "branches/1.5.x", "branches", "tags/1.0/a", ""] {
        assert_eq!(split(&project, "reactor", path), None, "{path:?}");
    }
    assert_eq!(takers(&project, trunk.unwrap()), ["trunk"]);
    assert_eq!(takers(&project, branch.unwrap()), ["release"]);
    assert_eq!(takers(&project, split(&project, "reactor", "branches/mad/a").unwrap()), ["rest"]);
}

#[test]
fn the_first_folder_is_the_project() {
    let project = load("c-21-svn-projects");
    let trunk = split(&project, "root", "scanner/trunk/a");
    assert_eq!(trunk, file(Some("scanner"), None, "a"));
    assert_eq!(split(&project, "root", "printer/branches/x/a"), file(Some("printer"), Some("branches/x"), "a"));
    for path in ["README", "scanner/README", "scanner/tags/1/a"] {
        assert_eq!(split(&project, "root", path), None, "{path}");
    }
    assert_eq!(takers(&project, trunk.unwrap()), ["scanner"]);
}

#[test]
fn one_of_two_projects_below_the_branch_is_taken() {
    let project = load("c-24-svn-branch-before-project");
    assert_eq!(split(&project, "web", "trunk/web/forms/page.py"), file(None, None, "forms/page.py"));
    let branch = file(None, Some("branches/1.5.x"), "forms/page.py");
    assert_eq!(split(&project, "web", "branches/1.5.x/web/forms/page.py"), branch);
    assert_eq!(takers(&project, branch.unwrap()), ["web"]);
    for path in ["trunk/mail/box.py", "branches/1.5.x/mail/box.py", "tags/1/web/x", "trunk", "branches/1.5.x"] {
        assert_eq!(split(&project, "web", path), None, "{path}");
    }
}

#[test]
fn both_projects_are_told_apart_by_their_name() {
    let project = load("c-25-svn-second-project");
    for (path, name, branch) in [("trunk/web/x", "web", None), ("branches/2/mail/x", "mail", Some("branches/2"))] {
        let found = split(&project, "root", path);
        assert_eq!(found, file(Some(name), branch, "x"));
        assert_eq!(takers(&project, found.unwrap()), [name]);
    }
    assert_eq!(split(&project, "root", "tags/web/x"), None);
}
