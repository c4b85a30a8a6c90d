//! Mail directories as mail servers fill them.

use crate::Source;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tidemill_master::pollers::Found;
use tidemill_model::NewChange;

struct Mails {
    dir: tempfile::TempDir,
}

impl Mails {
    fn new() -> Mails {
        let dir = tempfile::tempdir().unwrap();
        for name in ["new", "cur", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Mails { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// As a mail server does it: written apart, then renamed.
    fn deliver(&self, name: &str, mail: impl AsRef<[u8]>) {
        let tmp = self.path().join("tmp").join(name);
        std::fs::write(&tmp, mail).unwrap();
        std::fs::rename(tmp, self.path().join("new").join(name)).unwrap();
    }

    fn names(&self, of: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path().join(of))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn source(&self, kind: &str, more: &str) -> Source {
        Source::of("", &format!("changes.{kind}({:?}{more})", self.path().display().to_string()))
    }
}

/// A commit mail of Subversion.
fn svn_mail(revision: u32) -> String {
    format!(
        "From: Ada <ada@example.org>\r\nTo: ci@example.org\r\nSubject: svn commit: r{revision} - trunk\r\n\
         Date: Fri, 15 May 2009 10:35:43 +0200\r\nMessage-ID: <r{revision}@svn.example.org>\r\n\r\n\
         Author: ada\r\nDate: Fri May 15 10:35:43 2009\r\nNew Revision: {revision}\r\n\r\n\
         Modified:\r\n   trunk/a.c\r\nLog:\r\nchange {revision}\r\n"
    )
}

/// Polls until there is no more; what was found, and the last answer.
async fn all(source: &Source, mut cursor: Option<Value>) -> (Vec<NewChange>, Found) {
    let mut changes = Vec::new();
    loop {
        let mut found = source.poll(cursor).await;
        changes.append(&mut found.changes);
        if !found.more {
            return (changes, found);
        }
        cursor = Some(found.cursor);
    }
}

fn comments(changes: &[NewChange]) -> Vec<&str> {
    changes.iter().map(|c| c.comments.as_str()).collect()
}

#[tokio::test]
async fn a_mail_of_each_kind_becomes_a_change_with_what_the_source_sets() {
    let mails = Mails::new();
    mails.deliver("1242376543.M1.mx", svn_mail(105));
    let source = mails.source(
        "SVNCommitEmailMaildirSource",
        ", prefix = \"trunk/\", project = \"amanda\", category = \"c\", codebase = \"main\"",
    );
    let (found, _) = all(&source, None).await;
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.author.as_str(), change.comments.as_str()), ("ada", "change 105"));
    assert_eq!((change.files.as_slice(), change.revision.as_deref()), (&["a.c".to_owned()][..], Some("105")));
    assert_eq!((change.project.as_str(), change.category.as_deref()), ("amanda", Some("c")));
    assert_eq!((change.codebase.as_str(), change.when.unwrap().unix_timestamp()), ("main", 1_242_376_543));

    let mails = Mails::new();
    mails.deliver(
        "1",
        "From: ada@example.org\nSubject: cvs update for project tool\nDate: Fri, 15 May 2009 10:35:43 +0200\n\n\
         Cvsmode: 1.11\nCategory: nightly\nCVSROOT: \"/cvsroot\"\nFiles: tool README 1.1,1.2\nProject: tool\n\n\
         Update of /cvsroot/tool\nModified Files:\n\tREADME\nLog Message:\ntwo words\n",
    );
    let source = mails.source("CVSMaildirSource", ", repository = \"cvs\", properties = {\"from\": \"mail\"}");
    let (found, _) = all(&source, None).await;
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.repository.as_str(), change.project.as_str()), ("cvs", "tool"));
    assert_eq!(
        (change.category.as_deref(), change.files.as_slice()),
        (Some("nightly"), &["tool/README".to_owned()][..])
    );
    assert_eq!(change.properties.get("from"), Some(&Value::from("mail")));

    let mails = Mails::new();
    mails.deliver(
        "1",
        "From: noreply@launchpad.net\nSubject: [Branch ~ada/tool/work] Rev 2701: x\nX-Launchpad-Branch: ~ada/tool/work\n\n\
         ------------------------------------------------------------\nrevno: 2701\ncommitter: Ada <ada@example.org>\n\
         message:\n  What was done\nadded:\n  a.c\n\n--\nlp:~ada/tool/work\n",
    );
    let source = mails.source("BzrLaunchpadEmailMaildirSource", ", branchMap = {\"lp:~ada/tool/work\": \"work\"}");
    let (found, _) = all(&source, None).await;
    let [change] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.branch.as_deref(), change.repository.as_str()), (Some("work"), "lp:~ada/tool/work"));
    assert_eq!((change.revision.as_deref(), change.author.as_str()), (Some("2701"), "Ada <ada@example.org>"));
}

#[tokio::test]
async fn a_mail_is_moved_only_after_its_change_is_stored_and_then_never_read_again() {
    let mails = Mails::new();
    for n in 1..=3 {
        mails.deliver(&format!("{n}.mx"), svn_mail(n));
    }
    let source = mails.source("SVNCommitEmailMaildirSource", "");
    let found = source.poll(None).await;
    assert_eq!(comments(&found.changes), ["change 1", "change 2", "change 3"]);
    assert_eq!(mails.names("new").len(), 3, "nothing is stored yet");
    // What was found was not stored: the next poll finds the same.
    assert_eq!(source.poll(None).await, found);
    // It was stored, and its replica died: whoever polls next moves them.
    mails.deliver("4.mx", svn_mail(4));
    let next = source.poll(Some(found.cursor.clone())).await;
    assert_eq!(comments(&next.changes), ["change 4"]);
    assert_eq!(
        (mails.names("new"), mails.names("cur")),
        (vec!["4.mx".into()], vec!["1.mx:2,S".into(), "2.mx:2,S".into(), "3.mx:2,S".into()])
    );
    // A replica that was overtaken moves nothing that is not stored.
    assert_eq!(comments(&source.poll(Some(found.cursor)).await.changes), ["change 4"]);
    let (none, last) = all(&source, Some(next.cursor)).await;
    assert!(none.is_empty() && mails.names("new").is_empty() && last.note.is_none(), "{none:?}");
}

#[tokio::test]
async fn a_mail_that_is_delivered_twice_is_one_change() {
    let mails = Mails::new();
    let source = mails.source("SVNCommitEmailMaildirSource", "");
    for name in ["1.mx", "2.mx"] {
        mails.deliver(name, svn_mail(7));
    }
    let (found, last) = all(&source, None).await;
    assert_eq!(comments(&found), ["change 7"]);
    mails.deliver("3.mx", svn_mail(7));
    assert!(all(&source, Some(last.cursor)).await.0.is_empty());
    assert_eq!(mails.names("cur").len(), 3);
}

#[tokio::test]
async fn many_mails_come_in_pages_oldest_first() {
    let mails = Mails::new();
    for n in (1..=250).rev() {
        mails.deliver(&format!("{n}.mx"), svn_mail(n));
    }
    let source = mails.source("SVNCommitEmailMaildirSource", "");
    let first = source.poll(None).await;
    assert_eq!((first.changes.len(), first.more), (100, true));
    let (found, _) = all(&source, None).await;
    let revisions: Vec<u32> = found.iter().map(|c| c.revision.as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(revisions, (1..=250).collect::<Vec<_>>());
    assert_eq!(mails.names("cur").len(), 250);
}

#[tokio::test]
async fn what_cannot_be_read_is_flagged_says_why_and_holds_up_nothing() {
    let mails = Mails::new();
    let source = mails.source("SVNCommitEmailMaildirSource", ", prefix = \"trunk\"");
    mails.deliver("1.long", vec![b'x'; 5 << 20]);
    mails.deliver("2.none", "From: a@example.org\n\nNew Revision: soon\n");
    mails.deliver("3.other", svn_mail(1).replace("trunk/a.c", "branches/a.c"));
    mails.deliver("4.good", svn_mail(2));
    mails.deliver("5.bytes", b"\xff\x00\xfe");
    // Not what a mail server delivers.
    std::os::unix::fs::symlink("/etc/hostname", mails.path().join("new/6.link")).unwrap();
    std::fs::create_dir(mails.path().join("new/7.dir")).unwrap();
    mails.deliver(".hidden", "x");
    let (found, last) = all(&source, None).await;
    assert_eq!(comments(&found), ["change 2"]);
    let note = last.note.unwrap();
    assert!(note.starts_with("3 mails could not be read"), "{note}");
    for part in ["1.long: it is longer than 4 MiB", "2.none: it has no line `New Revision", "5.bytes: "] {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(mails.names("cur"), ["1.long:2,F", "2.none:2,F", "3.other:2,S", "4.good:2,S", "5.bytes:2,F"]);
    assert_eq!(mails.names("new"), [".hidden", "6.link", "7.dir"]);

    // Repaired by hand, moved back; the others are deleted.
    std::fs::remove_file(mails.path().join("cur/2.none:2,F")).unwrap();
    mails.deliver("2.none:2,F", svn_mail(3));
    for name in ["1.long:2,F", "5.bytes:2,F"] {
        std::fs::remove_file(mails.path().join("cur").join(name)).unwrap();
    }
    let (found, last) = all(&source, Some(last.cursor)).await;
    assert_eq!((comments(&found), last.note), (vec!["change 3"], None));
    assert!(mails.names("cur").contains(&"2.none:2,S".into()));
}

#[tokio::test]
async fn a_folder_that_is_no_mail_directory_is_named() {
    let mails = Mails::new();
    let cur: PathBuf = mails.path().join("cur");
    std::fs::remove_dir(&cur).unwrap();
    let source = mails.source("CVSMaildirSource", "");
    let error = source.ask(None).await.unwrap_err().to_string();
    assert!(error.contains("no mail directory") && error.contains("`cur`"), "{error}");
    let relative = Source::of("", "changes.CVSMaildirSource(\"mail\")").ask(None).await.unwrap_err().to_string();
    assert!(relative.contains("absolute"), "{relative}");
}
