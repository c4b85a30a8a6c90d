//! Commit mails of Subversion's own scripts: `commit-email.pl` lists files and
//! then gives the log, `mailer.py` the other way round; differences may follow.
//!
//! ```text
//! Author: ada
//! Date: Fri May 15 10:35:43 2009
//! New Revision: 105
//!
//! Added:
//!    trunk/a.c   (contents, props changed)
//!       - copied from r104, trunk/b.c
//! Modified:
//!    trunk/c.c
//! Log:
//! What was done.
//!
//! Modified: trunk/c.c
//! ==============================================================================
//! ```

use super::message::Mail;
use tidemill_model::NewChange;

/// Lines above lists of files.
const LISTS: [&str; 6] = ["Added:", "Deleted:", "Modified:", "Removed:", "Replaced:", "Changed:"];
/// mailer.py lists what it was not asked for below this.
const ELSEWHERE: &str = "Changes in other areas also in this revision:";

enum Part {
    Fields,
    Log,
    List,
}

pub fn read(mail: &Mail) -> Result<Option<NewChange>, String> {
    let (mut author, mut revision) = (None, None);
    let (mut log, mut files): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut part = Part::Fields;
    let mut lines = mail.body.lines().map(str::trim_end).peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line == ELSEWHERE || (next.starts_with("==========") && heads_a_difference(line)) {
            break;
        }
        if LISTS.contains(&line) && next.starts_with("  ") {
            part = Part::List;
            continue;
        }
        match part {
            Part::Log => log.push(line),
            _ if line == "Log:" => part = Part::Log,
            Part::List if line.starts_with("  ") => files.extend(file(line)),
            Part::List | Part::Fields => {
                part = Part::Fields;
                let value = |name| line.strip_prefix(name).and_then(|v: &str| v.split_whitespace().next());
                author = author.or_else(|| value("Author:"));
                revision = revision.or_else(|| value("New Revision:"));
            }
        }
    }
    let revision = revision
        .filter(|r| r.bytes().all(|b| b.is_ascii_digit()))
        .ok_or("it has no line `New Revision: …` as Subversion's mail scripts write it")?;
    Ok(Some(NewChange {
        author: author.map_or_else(|| mail.sender(), str::to_owned),
        comments: log.join("\n").trim().to_owned(),
        files,
        revision: Some(revision.to_owned()),
        when: mail.date,
        ..NewChange::default()
    }))
}

/// «Modified: trunk/c.c»
fn heads_a_difference(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(word, _)| LISTS.iter().any(|l| l.trim_end_matches(':') == word))
}

/// The path in a line of a list; none in one that says where it was copied from.
fn file(line: &str) -> Option<String> {
    let mut path = line.trim();
    if path.starts_with("- copied") {
        return None;
    }
    if path.ends_with("props changed)") {
        path = path.rsplit_once(" (").map_or(path, |(path, _)| path).trim_end();
    }
    Some(path.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> NewChange {
        let mail = Mail { from: "svn@example.org".into(), body: body.into(), ..Mail::default() };
        read(&mail).unwrap().unwrap()
    }

    const LISTS: &str = "Added:\n   trunk/a b.c   (contents, props changed)\n      - copied unchanged from r104, trunk/b.c\n   \
                         trunk/new/   (props changed)\nModified:\n   trunk/c.c\nRemoved:\n   trunk/d (x)\n";
    const HEAD: &str = "Author: ada\nDate: Fri May 15 10:35:43 2009\nNew Revision: 105\n\n";
    const DIFF: &str = "\nModified: trunk/c.c\n=====================\n--- x\n+Added:\n+   trunk/no\n";

    #[test]
    fn the_list_may_stand_before_the_log_or_after_it() {
        let log = "Log:\nAdded: what was wanted.\n\nNew Revision: 9\n===============\n";
        for body in [format!("{HEAD}{LISTS}{log}{DIFF}"), format!("{HEAD}{log}\n{LISTS}{DIFF}")] {
            let change = of(&body);
            assert_eq!(change.files, ["trunk/a b.c", "trunk/new", "trunk/c.c", "trunk/d (x)"], "{body}");
            assert_eq!(change.comments, "Added: what was wanted.\n\nNew Revision: 9\n===============", "{body}");
            assert_eq!((change.author.as_str(), change.revision.as_deref()), ("ada", Some("105")));
        }
    }

    #[test]
    fn what_was_changed_elsewhere_is_not_listed_and_the_sender_stands_for_an_author() {
        let change = of(
            "New Revision: 7\n\nLog:\nx\n\nModified:\n   a\n\nChanges in other areas also in this revision:\nModified:\n   b\n",
        );
        assert_eq!((change.files.as_slice(), change.author.as_str()), (&["a".to_owned()][..], "svn"));
        let mail = Mail { body: "New Revision: many\n".into(), ..Mail::default() };
        assert!(read(&mail).unwrap_err().contains("New Revision"));
    }
}
