//! Sources of changes that a project writes itself (C-26 to C-33).

use crate::example::{change, edited, evaluate, load};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tidemill_lang::definition::{ChangeSourceKind, Group};
use tidemill_lang::policies::*;
use tidemill_model::NewChange;

/// What lies outside of the master: pages by address, and a folder of programs that are really run.
#[derive(Default)]
pub struct Outside {
    pages: BTreeMap<String, String>,
    programs: Option<tempfile::TempDir>,
}

impl Outside {
    pub fn answering(url: &str, page: &str) -> Outside {
        Outside { pages: BTreeMap::from([(url.to_owned(), page.to_owned())]), programs: None }
    }

    pub fn with_program(name: &str, text: &str) -> Outside {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Outside { pages: BTreeMap::new(), programs: Some(folder) }
    }

    /// Where its programs are, and what they leave.
    pub fn folder(&self) -> &std::path::Path {
        self.programs.as_ref().unwrap().path()
    }
}

impl PolicyHost for Outside {
    fn query(&self, _query: &Query) -> Result<Vec<Json>, String> {
        Err("there is nothing to ask here".into())
    }
}

impl PollHost for Outside {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        let page = self.pages.get(&request.url);
        let status = if page.is_some() { 200 } else { 404 };
        Ok(HttpReply { status, body: page.cloned().unwrap_or_default(), ..HttpReply::default() })
    }

    fn command(&self, command: &PollCommand) -> Result<PollCommandEnd, String> {
        let folder = self.programs.as_ref().ok_or("there is no program")?;
        let program = folder.path().join(&command.argv[0]);
        let end = Command::new(program).args(&command.argv[1..]).output().map_err(|e| e.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(PollCommandEnd { rc: end.status.code().unwrap_or(-1), stdout: text(end.stdout), stderr: text(end.stderr) })
    }
}

fn input(state: Json) -> PollInput {
    PollInput { now_us: 1_000_000, state }
}

#[test]
fn a_notifier_outside_needs_no_code_and_its_changes_are_like_all_others() {
    let project = load("c-28-external-notifier");
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    let sent = |category: &str, branch: &str, file: &str| {
        let new = NewChange {
            category: Some(category.into()),
            branch: Some(branch.into()),
            files: vec![file.into()],
            ..NewChange::default()
        };
        let change = change(1, new);
        let taken = project.change_matches("vault", &change).unwrap();
        (taken, project.change_is_important("vault", &change).unwrap())
    };
    assert_eq!(sent("vault", "main", "src/a.c"), (true, true));
    assert_eq!(sent("vault", "main", "docs/a.txt"), (true, false));
    assert!(!sent("vault", "next", "src/a.c").0);
    assert!(!sent("mail", "main", "src/a.c").0);
}

#[test]
fn a_change_carries_all_its_fields() {
    let project = load("c-31-change-with-all-fields");
    let host = Outside::with_program(
        "feed",
        r#"#!/bin/sh
test "$2" = 0 || exit 0
echo '{"who": "Ada <ada@example.org>", "by": "bob", "files": ["a.c"], "text": "why not", "id": "r7", "branch": "main", "at": "2026-01-31T12:00:00Z", "ticket": 12}'
"#,
    );
    let found = project.policies().poll("feed", input(Json::Null), &host).unwrap();
    let change = &found.changes[0];
    assert_eq!((change.author.as_str(), change.committer.as_deref()), ("Ada <ada@example.org>", Some("bob")));
    assert_eq!((change.files.as_slice(), change.comments.as_str()), (["a.c".to_owned()].as_slice(), "why not"));
    assert_eq!((change.revision.as_deref(), change.branch.as_deref()), (Some("r7"), Some("main")));
    assert_eq!((change.repository.as_str(), change.project.as_str()), ("https://example.org/r", "core"));
    assert_eq!((change.codebase.as_str(), change.category.as_deref()), ("lib", Some("feed")));
    assert_eq!(change.revlink.as_deref(), Some("https://example.org/r/r7"));
    assert_eq!(change.when.map(|t| t.unix_timestamp()), Some(1_769_860_800));
    assert_eq!(change.properties.get("ticket"), Some(&json!(12)));
    let again = project.policies().poll("feed", input(found.state), &host).unwrap();
    assert!(again.changes.is_empty(), "each change comes once");
}

#[test]
fn only_a_source_whose_arguments_differ_is_another_one() {
    let name = "c-32-sources-that-stay";
    let old = load(name);
    let again = evaluate(&edited(name, "master.star", "SECONDS may change", "SECONDS still may change"));
    assert!(again.definition().diff(old.definition()).is_empty());
    let new = evaluate(&edited(name, "master.star", "SECONDS = 300", "SECONDS = 30"));
    let changes = new.definition().diff(old.definition());
    let changed: Vec<_> = changes.changed.iter().map(|c| (c.group, c.name.as_str())).collect();
    assert_eq!(changed, [(Group::ChangeSource, "tags")]);
    assert!(changes.added.is_empty() && changes.removed.is_empty());
}

#[test]
fn a_poll_looks_every_so_often_and_remembers_what_it_saw() {
    let project = load("c-33-poller");
    let ChangeSourceKind::Custom(poller) = &project.definition().change_sources[0].kind else { panic!() };
    assert_eq!(poller.poll_interval_us, 900_000_000);
    let poll = |state, page: &str| {
        project.policies().poll("shelf", input(state), &Outside::answering("https://example.org/shelf.txt", page))
    };
    let first = poll(Json::Null, "a-1.tar b-1.tar\n").unwrap();
    assert!(first.changes.is_empty(), "the first poll only looks");
    let second = poll(first.state, "a-1.tar b-1.tar a-2.tar\n").unwrap();
    let found: Vec<_> = second.changes.iter().map(|c| c.revision.as_deref().unwrap()).collect();
    assert_eq!(found, ["a-2.tar"]);
    assert!(poll(second.state.clone(), "b-1.tar a-2.tar\n").unwrap().changes.is_empty());
    // An error stores nothing: the next poll finds what this one missed.
    let error = project.policies().poll("shelf", input(second.state.clone()), &Outside::default()).unwrap_err();
    assert!(error.to_string().contains("the shelf says 404"), "{error}");
    assert_eq!(poll(second.state, "a-2.tar c-1.tar\n").unwrap().changes.len(), 1);
}
