//! HgPoller (CS-08): new changesets of named branches and of bookmarks.
//!
//! The cursor is a map from branch or bookmark to its last head, by the full
//! hash: numbers of revisions differ from copy to copy. Within a page, what is
//! announced may end in several lines: then it has the heads of all of them. The
//! first poll only records heads. A branch with several heads gives nothing until they are
//! merged; that is logged, and its cursor stays.
//!
//! The copy under the cache folder may be lost at any time. Names are data: they
//! reach hg as values of options, never as options or as parts of expressions. A
//! password goes in by a file that ends with the poll.

use super::arguments::{self, Stamp};
use super::program::Program;
use super::{Found, PollError, World, places};
use nix::fcntl::{Flock, FlockArg};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tidemill_lang::definition::Declared;
use tidemill_model::NewChange;
use tidemill_model::repository::{Login, public_url};
use time::OffsetDateTime;

const SCHEMES: &[&str] = &["file", "http", "https", "ssh"];
const FETCH: Duration = Duration::from_secs(3600);
/// Changes of one page.
const PAGE: usize = 500;
/// No parent.
const NULL: &str = "0000000000000000000000000000000000000000";
/// A changeset as a line of JSON.
const TEMPLATE: &str =
    "{dict(node=node, author=author, date=date|hgdate, desc=desc, files=files, p1=p1.node, p2=p2.node)|json}\\n";

#[derive(Debug, Deserialize)]
struct Arguments {
    repourl: String,
    #[serde(default)]
    branch: Option<String>,
    #[serde(default)]
    branches: Vec<String>,
    #[serde(default)]
    bookmarks: Vec<String>,
    #[serde(default)]
    usetimestamps: Option<bool>,
    #[serde(flatten)]
    stamp: Stamp,
}

#[derive(Debug, Deserialize)]
struct Changeset {
    node: String,
    author: String,
    date: String,
    desc: String,
    files: Vec<String>,
    p1: String,
    p2: String,
}

/// Something watched: a change of either carries its name as its branch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Branch(&'a str),
    Bookmark(&'a str),
}

impl Line<'_> {
    /// In the cursor; a branch and a bookmark may have one name.
    fn key(self) -> String {
        match self {
            Line::Branch(name) => name.to_owned(),
            Line::Bookmark(name) => format!("bookmark:{name}"),
        }
    }

    fn name(&self) -> &str {
        match self {
            Line::Branch(name) | Line::Bookmark(name) => name,
        }
    }
}

pub async fn poll(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Found, PollError> {
    poll_in_pages(def, cursor, world, PAGE).await
}

/// The same in pages of another size.
#[doc(hidden)]
pub async fn poll_in_pages(
    def: &Declared,
    cursor: Option<Value>,
    world: &World<'_>,
    page: usize,
) -> Result<Found, PollError> {
    let args: Arguments = arguments::read(def)?;
    let (url, login) = Login::apart(&args.repourl);
    let mut hidden: Vec<String> = login.iter().flat_map(Login::secrets).collect();
    hidden.extend((public_url(&args.repourl) != args.repourl).then(|| args.repourl.clone()));
    ask(&args, &url, login, cursor, world, page).await.map_err(|e| e.without(&hidden))
}

async fn ask(
    args: &Arguments,
    url: &str,
    login: Option<Login>,
    cursor: Option<Value>,
    world: &World<'_>,
    page: usize,
) -> Result<Found, PollError> {
    places::check(&args.repourl, SCHEMES, false, world.local).await?;
    let config = login.map(|login| config(url, &login)).transpose()?;
    let mut lines: Vec<Line> = args.branch.iter().chain(&args.branches).map(|b| Line::Branch(b)).collect();
    lines.extend(args.bookmarks.iter().map(|b| Line::Bookmark(b)));
    if lines.is_empty() {
        lines.push(Line::Branch("default"));
    }
    let copy = Copy::open(world.cache, &args.repourl).await?;
    copy.pull(url, config.as_ref(), &lines).await?;
    let first = cursor.is_none();
    let known: BTreeMap<String, String> = cursor.and_then(|c| serde_json::from_value(c).ok()).unwrap_or_default();
    let mut seen = known.clone();
    seen.retain(|key, _| lines.iter().any(|l| l.key() == *key));
    let (mut changes, mut more, mut notes) = (Vec::new(), false, Vec::new());
    for line in lines {
        let heads = copy.heads(line).await?;
        let [head] = heads.as_slice() else {
            if heads.len() > 1 {
                let (name, many) = (line.name(), heads.len());
                notes.push(format!("{name} has {many} heads: it gives no changes until they are merged"));
            }
            continue;
        };
        if seen.get(&line.key()) == Some(head) {
            continue;
        }
        if first {
            seen.insert(line.key(), head.clone());
            continue;
        }
        let room = page - changes.len();
        let known = seen.values().flat_map(|heads| heads.split(' '));
        let mut found = copy.between(line, head, known, room + 1).await?;
        more = found.len() > room;
        found.truncate(room);
        let at = match more {
            true => heads_of(seen.get(&line.key()), &found),
            false => head.clone(),
        };
        if !at.is_empty() {
            seen.insert(line.key(), at);
        }
        changes.extend(found.into_iter().map(|c| change(args, line, c)));
        if more {
            break;
        }
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Found { changes, cursor: serde_json::to_value(seen).unwrap_or_default(), more, note })
}

/// The heads of what is known of a line with this page of it. Its last changeset
/// alone would not do: it need not come from all others.
fn heads_of(before: Option<&String>, page: &[Changeset]) -> String {
    let parents: HashSet<&str> = page.iter().flat_map(|c| [c.p1.as_str(), c.p2.as_str()]).collect();
    let before = before.into_iter().flat_map(|heads| heads.split(' '));
    let all = before.chain(page.iter().map(|c| c.node.as_str()));
    all.filter(|node| !parents.contains(node)).collect::<Vec<_>>().join(" ")
}

/// A configuration of hg, in a folder that only this user reads and that goes with the poll.
fn config(url: &str, login: &Login) -> Result<TempDir, PollError> {
    let folder = tempfile::Builder::new().prefix("tidemill-poll-").tempdir()?;
    std::fs::write(folder.path().join("hgrc"), login.lines_of_hg(url))?;
    Ok(folder)
}

fn change(args: &Arguments, line: Line<'_>, found: Changeset) -> NewChange {
    let seconds = found.date.split(' ').next().and_then(|s| s.parse::<f64>().ok());
    let when = seconds.and_then(|s| OffsetDateTime::from_unix_timestamp(s as i64).ok());
    NewChange {
        author: found.author,
        comments: found.desc,
        files: found.files,
        branch: Some(line.name().to_owned()),
        revision: Some(found.node),
        repository: public_url(&args.repourl),
        when: when.filter(|_| args.usetimestamps != Some(false)),
        parents: [found.p1, found.p2].into_iter().filter(|p| p != NULL).collect(),
        ..args.stamp.change()
    }
}

/// A copy without a working tree, held by one poll at a time.
struct Copy {
    dir: PathBuf,
    _lock: Flock<std::fs::File>,
}

impl Copy {
    async fn open(cache: &Path, repourl: &str) -> Result<Copy, PollError> {
        let name = &hex::encode(Sha256::digest(repourl.as_bytes()))[..32];
        let dir = cache.join("hg").join(name);
        tokio::fs::create_dir_all(&dir).await?;
        let mut file = std::fs::File::options().create(true).append(true).open(dir.with_extension("lock"))?;
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
                Err((_, error)) => return Err(PollError::Io(error.into())),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let copy = Copy { dir, _lock: lock };
        if !copy.dir.join(".hg").is_dir() {
            Program::new("hg", "init")
                .args(["init", "--"])
                .arg(&copy.dir)
                .env("HGPLAIN", "1")
                .env("HGRCPATH", "")
                .run()
                .await?;
        }
        Ok(copy)
    }

    fn hg(&self, what: &'static str) -> Program {
        let mut repository = std::ffi::OsString::from("--repository=");
        repository.push(&self.dir);
        // The machine's own configuration could bring hooks, aliases and extensions.
        Program::new("hg", what)
            .arg(what)
            .arg(repository)
            .args(["--noninteractive", "--config=ui.ssh=ssh -oBatchMode=yes"])
            .env("HGPLAIN", "1")
            .env("HGRCPATH", "")
            .env("HGENCODING", "UTF-8")
    }

    async fn pull(&self, repourl: &str, config: Option<&TempDir>, lines: &[Line<'_>]) -> Result<(), PollError> {
        let which = lines.iter().map(|line| match line {
            Line::Branch(name) => format!("--branch={name}"),
            Line::Bookmark(name) => format!("--bookmark={name}"),
        });
        let program = self.hg("pull").arg("--quiet").args(which).arg("--").arg(repourl).within(FETCH);
        let program = match config {
            Some(folder) => program.env("HGRCPATH", folder.path().join("hgrc")),
            None => program,
        };
        program.run().await?;
        Ok(())
    }

    /// Of a branch all heads, of a bookmark the one.
    async fn heads(&self, line: Line<'_>) -> Result<Vec<String>, PollError> {
        let said = match line {
            // Closed heads are no heads.
            Line::Branch(name) => {
                self.hg("log")
                    .args(["--template={node}\\n", "--rev=head() and not closed()"])
                    .arg(format!("--branch={name}"))
                    .run()
                    .await?
            }
            Line::Bookmark(name) => {
                let said = self.hg("bookmarks").arg("--template={node} {bookmark}\\n").run().await?;
                let of = |l: &str| l.split_once(' ').filter(|(_, b)| *b == name).map(|(node, _)| node.to_owned());
                said.lines().filter_map(of).collect()
            }
        };
        let heads: Vec<String> = said.lines().map(str::to_owned).collect();
        match heads.iter().find(|h| h.len() != 40 || !h.bytes().all(|b| b.is_ascii_hexdigit())) {
            Some(wrong) => Err(PollError::Output(format!("hg said something unexpected: {wrong}"))),
            None => Ok(heads),
        }
    }

    /// What `head` comes from and nothing known does, oldest first.
    async fn between(
        &self,
        line: Line<'_>,
        head: &str,
        known: impl Iterator<Item = &str>,
        most: usize,
    ) -> Result<Vec<Changeset>, PollError> {
        // Hashes only, of which a copy may lack those that were stripped.
        let known: Vec<String> = known.map(|k| format!("present({k})")).collect();
        let known = if known.is_empty() { "none()".to_owned() } else { known.join("+") };
        let range = format!("--rev=sort(only({head}, {known}), rev)");
        let program = self.hg("log").arg(range).arg(format!("--limit={most}"));
        let program = match line {
            Line::Branch(name) => program.arg(format!("--branch={name}")),
            Line::Bookmark(_) => program,
        };
        let said = program.arg(format!("--template={TEMPLATE}")).run().await?;
        let read = |l: &str| {
            serde_json::from_str(l).map_err(|e| PollError::Output(format!("hg said something unexpected: {e}")))
        };
        said.lines().map(read).collect()
    }
}
