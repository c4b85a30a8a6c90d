//! Mails that Launchpad sends to subscribers of a Bazaar branch, one for each
//! revision; revisions that it merged follow, indented.
//!
//! ```text
//! Subject: [Branch ~ada/tool/work] Rev 2701: What was done
//!
//! ------------------------------------------------------------
//! revno: 2701
//! committer: Ada <ada@example.org>
//! branch nick: work
//! timestamp: Fri 2009-05-15 10:35:43 +0200
//! message:
//!   What was done
//! added:
//!   a.c
//! renamed:
//!   b.c => c.c
//!
//! --
//! lp:~ada/tool/work
//! ```

use super::message::Mail;
use tidemill_model::NewChange;
use time::OffsetDateTime;
use time::macros::format_description;

pub fn read(mail: &Mail) -> Result<Option<NewChange>, String> {
    let (mut revision, mut author, mut when) = (None, None, None);
    let (mut comments, mut files): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut section = "";
    for line in mail.body.lines().map(str::trim_end) {
        // The signature, the difference, or the next revision.
        if line == "--" || line.starts_with("=== ") || (revision.is_some() && line.trim_start().starts_with("------")) {
            break;
        }
        if let Some(text) = line.strip_prefix("  ") {
            match section {
                "message" => comments.push(text),
                "added" | "modified" | "removed" | "kind changed" => files.push(text.to_owned()),
                "renamed" => files.extend(text.split(" => ").map(str::to_owned)),
                _ => {}
            }
            continue;
        }
        match line.split_once(':') {
            Some((name, "")) => section = name,
            // An empty line of the message, or of the lists.
            None if line.is_empty() && section == "message" => comments.push(""),
            None => {}
            Some((name, value)) => {
                section = "";
                let value = value.trim();
                match name {
                    // «2701 [merge]»
                    "revno" => revision = value.split_whitespace().next(),
                    "committer" => author = Some(value),
                    "timestamp" => when = timestamp(value),
                    _ => {}
                }
            }
        }
    }
    let (Some(revision), Some(author)) = (revision, author) else {
        return Err("it has no lines `revno: …` and `committer: …` as Launchpad writes them".into());
    };
    let name = mail.launchpad_branch.as_deref().or_else(|| branch(&mail.subject));
    let branch = name.map(|name| format!("lp:{}", name.trim().trim_start_matches("lp:")));
    Ok(Some(NewChange {
        author: author.to_owned(),
        comments: comments.join("\n").trim().to_owned(),
        files: files.iter().map(|f| f.trim_end_matches('/').to_owned()).collect(),
        revision: Some(revision.to_owned()),
        repository: branch.clone().unwrap_or_default(),
        branch,
        when: when.or(mail.date),
        ..NewChange::default()
    }))
}

/// The branch that a subject names.
fn branch(subject: &str) -> Option<&str> {
    let (name, _) = subject.trim_start().strip_prefix("[Branch ")?.split_once(']')?;
    Some(name)
}

/// «Fri 2009-05-15 10:35:43 +0200»
fn timestamp(text: &str) -> Option<OffsetDateTime> {
    let form = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    OffsetDateTime::parse(text.split_once(' ')?.1, form).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_told_and_those_that_it_merged_are_not() {
        let body = "Merge authors:\n  Grace <g@example.org>\n------------------------------------------------------------\n\
                    revno: 2701 [merge]\ncommitter: Ada <ada@example.org>\nbranch nick: work\n\
                    timestamp: Fri 2009-05-15 10:35:43 +0200\nmessage:\n  What was done:\n\n  revno: 1\nadded:\n  a b.c\n  new/\n\
                    renamed:\n  b.c => c.c\nmodified:\n  d.c\n    \
                    ------------------------------------------------------------\n    revno: 2700.1.1\n    message:\n      no\n\
                    === modified file 'd.c'\n--- x\n+added:\n+  no\n\n--\nlp:~ada/tool/work\n";
        let mail = Mail {
            from: "noreply@launchpad.net".into(),
            subject: "[Branch ~ada/tool/work] Rev 2701: What was done".into(),
            body: body.into(),
            ..Mail::default()
        };
        let change = read(&mail).unwrap().unwrap();
        assert_eq!((change.revision.as_deref(), change.author.as_str()), (Some("2701"), "Ada <ada@example.org>"));
        assert_eq!(change.files, ["a b.c", "new", "b.c", "c.c", "d.c"]);
        assert_eq!(change.comments, "What was done:\n\nrevno: 1");
        assert_eq!(
            (change.branch.as_deref(), change.repository.as_str()),
            (Some("lp:~ada/tool/work"), "lp:~ada/tool/work")
        );
        assert_eq!(change.when.unwrap().unix_timestamp(), 1_242_376_543);
        let mail = Mail { launchpad_branch: Some("~ada/tool/other".into()), ..mail };
        assert_eq!(read(&mail).unwrap().unwrap().branch.as_deref(), Some("lp:~ada/tool/other"));
        assert!(read(&Mail { body: "You have a new bug.".into(), ..mail }).unwrap_err().contains("revno"));
    }
}
