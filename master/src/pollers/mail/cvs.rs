//! Mails that `buildbot_cvs_mail.py` sends from CVSROOT/loginfo: one for each
//! folder of a commit. Fields come first, then what loginfo says, then the log
//! message:
//!
//! ```text
//! Cvsmode: 1.12                               Cvsmode: 1.11
//! Category: None                              Category: None
//! CVSROOT: ":ext:cvs.example.org:/cvsroot"    CVSROOT: ":ext:cvs.example.org:/cvsroot"
//! Files: README 1.1 1.2 hello.c NONE 1.1      Files: tool README 1.1,1.2 hello.c NONE,1.1
//! Path: tool
//! Project: tool                               Project: tool
//!
//! Update of /cvsroot/tool
//! Modified Files:
//!       Tag: release-2
//!         README
//! Log Message:
//! ```
//!
//! CVS numbers no commits: the revision of a change is the time of its mail, in
//! the form that a checkout by date takes.

use super::message::Mail;
use std::collections::BTreeMap;
use tidemill_model::NewChange;
use time::OffsetDateTime;

pub fn read(mail: &Mail) -> Result<Option<NewChange>, String> {
    let mut lines = mail.body.trim_start().lines();
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines.by_ref().map(str::trim_end).take_while(|l| !l.is_empty()) {
        if let Some((name, value)) = line.split_once(':') {
            fields.entry(name).or_insert(value.trim());
        }
    }
    let field = |name: &str| fields.get(name).copied().filter(|v| !v.is_empty() && *v != "None");
    let said = field("Files").ok_or("it has no line `Files: …` as buildbot_cvs_mail.py writes it")?;
    let mut branch = None;
    for line in lines.by_ref().map(str::trim).take_while(|l| *l != "Log Message:") {
        if let Some(tag) = line.strip_prefix("Tag:") {
            branch = Some(tag.trim().to_owned());
        }
    }
    let comments = lines.collect::<Vec<_>>().join("\n");
    let files = match files(said, field("Path")) {
        Files::NewFolder => return Ok(None),
        Files::Listed(files) if files.is_empty() => {
            return Err(format!("no file and revision can be told in its line `Files: {said}`"));
        }
        Files::Listed(files) => files,
    };
    let text = |name| field(name).unwrap_or_default().to_owned();
    Ok(Some(NewChange {
        author: mail.sender(),
        comments: comments.trim().to_owned(),
        files,
        branch,
        revision: mail.date.map(by_date),
        repository: text("CVSROOT").trim_matches('"').to_owned(),
        project: text("Project"),
        category: field("Category").map(str::to_owned),
        when: mail.date,
        ..NewChange::default()
    }))
}

#[derive(Debug, PartialEq)]
enum Files {
    Listed(Vec<String>),
    NewFolder,
}

/// Since CVS 1.12 the folder is a field of its own; before, it was the first word.
fn files(said: &str, path: Option<&str>) -> Files {
    let (folder, rest) = match path {
        Some(path) => (path, said),
        None => said.split_once(' ').unwrap_or((said, "")),
    };
    if rest.ends_with("- New directory") {
        return Files::NewFolder;
    }
    if rest.ends_with("- Imported sources") {
        return Files::Listed(vec![folder.to_owned()]);
    }
    // A name may have spaces: it ends where revisions follow.
    let (mut found, mut name): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut words = rest.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let both = word.split_once(',').is_some_and(|(old, new)| is_revision(old) && is_revision(new));
        let apart = is_revision(word) && words.peek().is_some_and(|next| is_revision(next));
        if name.is_empty() || !(both || apart) {
            name.push(word);
            continue;
        }
        if apart {
            words.next();
        }
        found.push(format!("{folder}/{}", name.join(" ")));
        name.clear();
    }
    Files::Listed(found)
}

fn is_revision(word: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    word == "NONE" || (word.contains('.') && word.split('.').all(number))
}

fn by_date(when: OffsetDateTime) -> String {
    let utc = when.to_offset(time::UtcOffset::UTC);
    let (hour, minute, second) = utc.time().as_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} +0000", utc.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(said: &str, path: Option<&str>) -> Vec<String> {
        match files(said, path) {
            Files::Listed(files) => files,
            Files::NewFolder => panic!("{said}"),
        }
    }

    #[test]
    fn files_are_told_in_both_modes_also_with_spaces_in_their_names() {
        let wanted = ["tool/README", "tool/a 1.0 b.c", "tool/1.2 x"];
        assert_eq!(listed("tool README 1.1,1.2 a 1.0 b.c NONE,1.1 1.2 x 1.10.2.3,NONE", None), wanted);
        assert_eq!(listed("README 1.1 1.2 a 1.0 b.c NONE 1.1 1.2 x 1.10.2.3 NONE", Some("tool")), wanted);
        assert_eq!(listed("tool - Imported sources", None), ["tool"]);
        assert_eq!(files("tool/new - New directory", None), Files::NewFolder);
        assert_eq!(listed("README", Some("tool")), [""; 0]);
    }

    #[test]
    fn a_mail_says_what_and_when_and_on_which_branch() {
        let body = "Cvsmode: 1.12\nCategory: None\nCVSROOT: \":ext:cvs.example.org:/cvsroot\"\nFiles: README 1.1 1.2\n\
                    Path: tool\nProject: amanda\n\nUpdate of /cvsroot/tool\nIn directory cvs:/tmp/cvs-serv1\n\n\
                    Modified Files:\n      Tag: release-2\n\tREADME\nLog Message:\nFiles: x 1.1 1.2\n\nmore\n\n";
        let mail = Mail {
            from: "ada@example.org".into(),
            date: OffsetDateTime::from_unix_timestamp(1_242_376_543).ok(),
            body: body.into(),
            ..Mail::default()
        };
        let change = read(&mail).unwrap().unwrap();
        assert_eq!((change.author.as_str(), change.project.as_str()), ("ada", "amanda"));
        assert_eq!((change.files.as_slice(), change.category), (&["tool/README".to_owned()][..], None));
        assert_eq!(change.branch.as_deref(), Some("release-2"));
        assert_eq!(change.revision.as_deref(), Some("2009-05-15 08:35:43 +0000"));
        assert_eq!(change.repository, ":ext:cvs.example.org:/cvsroot");
        assert_eq!(change.comments, "Files: x 1.1 1.2\n\nmore");
        assert!(read(&Mail { body: "hello".into(), ..mail }).unwrap_err().contains("Files"));
    }
}
