//! Commit mails of a directory that two masters watch, of which the one that
//! reads them dies.

use crate::project;
use std::path::Path;
use std::time::Duration;
use tidemill_tests::wait::{holds, wait_for};
use tidemill_tests::{Cluster, invariants, wait_until};

/// A lease of a poll is 30 s.
const TAKEN_OVER: Duration = Duration::from_secs(180);
const MAILS: usize = 1500;

/// As a mail server does it: written apart, then renamed.
fn deliver(maildir: &Path, name: &str, mail: &str) {
    let tmp = maildir.join("tmp").join(name);
    std::fs::write(&tmp, mail).unwrap();
    std::fs::rename(tmp, maildir.join("new").join(name)).unwrap();
}

fn count(maildir: &Path, of: &str) -> usize {
    std::fs::read_dir(maildir.join(of)).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mail_becomes_one_change_though_the_master_that_reads_them_is_killed() {
    let mut t = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    for name in ["new", "cur", "tmp"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    for n in 0..MAILS {
        let mail = format!(
            "From: ada@example.org\nMessage-ID: <{n}@svn.example.org>\n\nAuthor: ada\nNew Revision: {n}\n\n\
             Modified:\n   trunk/a.c\nLog:\nchange {n}\n"
        );
        deliver(dir.path(), &format!("{n}.mx"), &mail);
    }
    deliver(dir.path(), "0.odd", "From: ada@example.org\n\n<b>Buy</b> nothing\n");
    let (a, b) = (t.master().await, t.master().await);
    let text = project::ticking(0)
        + &format!(
            "\nc[\"change_source\"] = changes.SVNCommitEmailMaildirSource({:?}, name = \"mail\", pollInterval = 0.1)\n",
            dir.path().display().to_string()
        );
    t.configure(a, &text).await;

    // Killed between two pages, or between a page and the end of its moves.
    let holder = wait_until("the first page", || async {
        let held: Option<i64> =
            sqlx::query_scalar("select holder from change_sources where exists (select from changes)")
                .fetch_optional(t.db.pool())
                .await
                .map_err(|e| e.to_string())?
                .flatten();
        held.ok_or("none".to_owned())
    })
    .await;
    let names: Vec<i64> =
        sqlx::query_scalar("select id from masters order by id").fetch_all(t.db.pool()).await.unwrap();
    let (dies, lives) = if names[0] == holder { (a, b) } else { (b, a) };
    t.masters[dies].process.kill9();

    wait_for(TAKEN_OVER, "the other master to move the last mail", || async {
        holds(count(dir.path(), "new") == 0, format!("{} mails wait", count(dir.path(), "new")))
    })
    .await;
    let (changes, different): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct revision) from changes").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!((changes, different), (MAILS as i64, MAILS as i64), "each once");
    assert_eq!(count(dir.path(), "cur"), MAILS + 1);
    assert!(dir.path().join("cur/0.odd:2,F").exists());

    let source = wait_until("the end of the poll", || async {
        let source = t.api(lives).list("changesources").await.map_err(|e| e.to_string())?.remove(0);
        holds(source["error"].is_string(), &source)?;
        Ok::<_, String>(source)
    })
    .await;
    let said = source["error"].as_str().unwrap();
    assert!(said.contains("0.odd: it has no line `New Revision") && source["errors"] == 0, "{source}");
    let page = reqwest::get(format!("{}/changesources", t.master_url(lives))).await.unwrap().text().await.unwrap();
    assert!(page.contains("one mail could not be read") && page.contains("good"), "{page}");
    invariants::check(&t.db).await;
}
