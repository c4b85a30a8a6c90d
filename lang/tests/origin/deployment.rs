//! Where the code of a step of one's own lives, and what a reload makes of it (C-100 to C-110).

use crate::build::{Build, context};
use crate::example::{edited, evaluate, files, load};
use crate::host::TestHost;
use tidemill_lang::definition::Group;
use tidemill_lang::{Limits, Project, packages};
use tidemill_model::Results;

/// What the builder's first step tells of its progress when its command says FNURRRGH! twice.
fn progress(project: &Project) -> Vec<(String, f64)> {
    let host = TestHost::new();
    *host.feed.borrow_mut() = Some(b"slicing\nFNURRRGH!\ndicing\nFNURRRGH! again\n".to_vec());
    let steps = project.steps("whimsy").unwrap();
    let ctx = context(project, "whimsy");
    steps[0].run(&steps[0].render(&ctx).unwrap(), &ctx, &host).unwrap_or_else(|e| panic!("{e}"));
    host.progress.take()
}

fn twice() -> Vec<(String, f64)> {
    [1.0, 2.0].map(|n| ("tests".to_owned(), n)).to_vec()
}

#[test]
fn framboozle_counts_its_tests_while_they_run() {
    let build = Build::of(&load("c-100-framboozle"), "demo");
    assert_eq!(build.results, Results::Success);
    let step = build.step("Framboozle");
    assert_eq!(step.argv(0), ["./framboozler"]);
    assert!(step.log("stdio").contains("testing glide\n"));
    let progress: Vec<_> = build.host.progress.borrow().iter().map(|(m, n)| (m.clone(), *n)).collect();
    assert_eq!(progress, [1.0, 2.0, 3.0].map(|n| ("tests".to_owned(), n)));
}

#[test]
fn a_step_in_the_file_itself_makes_no_builder_look_changed() {
    let name = "c-101-in-the-file";
    let old = load(name);
    assert_eq!(progress(&old), twice());
    assert!(load(name).definition().diff(old.definition()).is_empty(), "the same file");
    let moved = evaluate(&edited(name, "master.star", "def _count", "# moved down\n\ndef _count"));
    assert!(moved.definition().diff(old.definition()).is_empty(), "a comment more");
    let edited = evaluate(&edited(name, "master.star", "\"FNURRRGH!\"", "\"FNURRRGH\""));
    let changes = edited.definition().diff(old.definition());
    let changed: Vec<_> = changes.changed.iter().map(|c| (c.group, c.name.as_str())).collect();
    assert_eq!(changed, [(Group::Builder, "whimsy")], "only the builder that uses it");
}

#[test]
fn a_step_in_a_library_comes_by_load_in_two_ways() {
    let project = load("c-103-in-a-library");
    let steps = &project.definition().builders[0].step_defs;
    assert_eq!(steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["Framboozle", "again"]);
    assert_eq!(steps[0].kind, steps[1].kind);
    assert_eq!(progress(&project), twice());
}

#[test]
fn an_edited_library_is_read_again() {
    let name = "c-103-in-a-library";
    let old = load(name);
    let new = evaluate(&edited(name, "lib/framboozle.star", "[\"framboozler\"]", "[\"framboozler\", \"--fast\"]"));
    let changes = new.definition().diff(old.definition());
    assert_eq!(changes.changed.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["whimsy"]);
    let rendered = new.steps("whimsy").unwrap()[0].render(&context(&new, "whimsy")).unwrap();
    assert!(format!("{:?}", rendered.action).contains("--fast"));
}

#[test]
fn a_reload_shows_what_changes_by_name_and_field() {
    let name = "c-105-reconfig";
    let old = load(name);
    let new = evaluate(&edited(name, "master.star", "TIMEOUT = 600", "TIMEOUT = 60"));
    let changes = new.definition().diff(old.definition());
    assert_eq!(changes.changed.len(), 1);
    assert_eq!((changes.changed[0].group, changes.changed[0].name.as_str()), (Group::Builder, "slow"));
    let fields: Vec<_> = changes.changed[0].fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["step_defs.shell.args.timeout"]);
    let gone = evaluate(&edited(name, "master.star", "name = \"quick\"", "name = \"fast\""));
    let changes = gone.definition().diff(old.definition());
    assert_eq!(changes.added, [(Group::Builder, "fast".to_owned())]);
    assert_eq!(changes.removed, [(Group::Builder, "quick".to_owned())]);
}

#[test]
fn a_package_is_vendored_with_its_version_and_hash() {
    let name = "c-107-package";
    let all = files(name);
    let project = evaluate(&all);
    assert_eq!(project.definition().builders[0].steps, ["Framboozle"]);
    assert_eq!(progress(&project), twice());
    let manifest = packages::manifest(&all).unwrap();
    assert_eq!(manifest["framboozle"].version, "1.2.0");
    assert_eq!(Some(&manifest["framboozle"].sha256), packages::hash(&all, "framboozle").as_ref());
    let touched = edited(name, "packages/framboozle/steps.star", "FNURRRGH!", "FNURRRGH");
    let error = Project::evaluate(&touched, &Limits::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the files of the package `framboozle` are not those of version 1.2.0"), "{error}");
}
