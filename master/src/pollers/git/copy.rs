//! A bare copy of a repository under the cache folder: what the poller looks at.
//!
//! Held by one poll at a time (a lock on a file beside it), because replicas of
//! one machine may share the folder.

use super::Heads;
use super::access::Access;
use super::refs::{is_object_id, ref_of};
use crate::pollers::PollError;
use crate::pollers::program::Program;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_lang::definition::GitPollerDef;
use tidemill_model::NewChange;
use tidemill_model::repository::public_url;
use time::OffsetDateTime;

/// Longest fetch: of a large repository the first one takes long, and the poll's lease is renewed meanwhile.
const FETCH: Duration = Duration::from_secs(3600);
/// More branches than these are fetched with all that stand beside them.
const NAMED_MAX: usize = 100;
/// Pause between looks at the lock.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Copy {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Copy {
    pub async fn open(cache: &Path, def: &GitPollerDef) -> Result<Copy, PollError> {
        let name = &hex::encode(Sha256::digest(def.repourl.as_bytes()))[..32];
        let dir = cache.join("git").join(format!("{name}.git"));
        tokio::fs::create_dir_all(&dir).await?;
        let mut file = File::options().create(true).append(true).open(dir.with_extension("lock"))?;
        let lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
                Err((_, error)) => return Err(PollError::Io(error.into())),
            }
            tokio::time::sleep(LOOK).await;
        };
        let copy = Copy { dir, _lock: lock };
        if !copy.dir.join("HEAD").is_file() {
            Program::new("git", "init").args(["init", "--bare", "--quiet", "--"]).arg(&copy.dir).run().await?;
        }
        Ok(copy)
    }

    /// Git without a remote.
    fn git(&self, what: &'static str) -> Program {
        Program::new("git", what)
            .arg("--git-dir")
            .arg(&self.dir)
            .args(["-c", "log.showRoot=true", "-c", "core.quotePath=false", "-c", "log.showSignature=false"])
            .env("GIT_ALLOW_PROTOCOL", "")
            .env("GIT_OPTIONAL_LOCKS", "0")
    }

    /// Which of these commits it lacks.
    pub async fn missing(&self, known: &Heads) -> Result<HashSet<String>, PollError> {
        let input: String = known.0.values().map(|id| format!("{id}\n")).collect();
        let out = self.git("cat-file").args(["cat-file", "--batch-check=%(objectname)"]).input(input).run().await?;
        Ok(out.lines().filter_map(|line| line.strip_suffix(" missing")).map(str::to_owned).collect())
    }

    pub async fn fetch(&self, access: &Access, branches: &[&str]) -> Result<(), PollError> {
        // Under a hash: a branch `a` that is gone must not stand in the way of `a/b`.
        let kept = |b: &str| hex::encode(Sha256::digest(b.as_bytes()));
        let refs: Vec<String> = branches.iter().map(|b| ref_of(b)).collect();
        let (prune, refspecs): (_, String) = if refs.len() <= NAMED_MAX {
            (None, branches.iter().map(|b| format!("+{}:refs/tidemill/{}\n", ref_of(b), kept(b))).collect())
        } else {
            // Git compares each name with each ref: thousands come faster with their neighbours.
            let within = ["refs/heads/", "refs/tags/", "refs/"];
            let whole = within.iter().find(|w| refs.iter().all(|r| r.starts_with(**w))).unwrap_or(&"refs/");
            (Some("--prune"), format!("+{whole}*:refs/tidemill-all/{whole}*\n"))
        };
        access
            .git(Some(&self.dir), "fetch")
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin"])
            .args(prune)
            .arg("--")
            .arg(access.url())
            .input(refspecs)
            .within(FETCH)
            .run()
            .await?;
        Ok(())
    }

    /// All commits that these heads reach and no known one does, with the first parent of each.
    pub async fn new_commits(
        &self,
        heads: &[&str],
        known: &Heads,
    ) -> Result<HashMap<String, Option<String>>, PollError> {
        let mut input: String = heads.iter().map(|h| format!("{h}\n")).collect();
        // A head of before a force push may be gone from the copy: --ignore-missing.
        known.0.values().for_each(|k| input.push_str(&format!("^{k}\n")));
        let args = ["rev-list", "--ignore-missing", "--parents", "--stdin"];
        let out = self.git("rev-list").args(args).input(input).run().await?;
        let commit = |line: &str| {
            let mut ids = line.split(' ');
            Some((ids.next()?.to_owned(), ids.next().map(str::to_owned)))
        };
        Ok(out.lines().filter_map(commit).collect())
    }

    /// Changes of these commits, each of its branch, in this order.
    pub async fn describe(&self, def: &GitPollerDef, wanted: &[(&str, String)]) -> Result<Vec<NewChange>, PollError> {
        let commits: Vec<&str> = wanted.iter().map(|(_, commit)| commit.as_str()).collect();
        let mut described = HashMap::new();
        // A commit of a head that `buildPushesWithNoCommits` asks for may stand there twice.
        let mut left: Vec<&str> = commits.clone();
        left.sort_unstable();
        left.dedup();
        let mut size = left.len().max(1);
        while !left.is_empty() {
            let part = &left[..size.min(left.len())];
            match self.log(part, true).await {
                // Commits of very many files: fewer at a time, and at last without their names.
                Err(PollError::TooMuch(..)) if part.len() > 1 => size = part.len() / 2,
                Err(PollError::TooMuch(..)) => {
                    described.extend(self.log(part, false).await?);
                    left.drain(..1);
                }
                said => {
                    let n = part.len();
                    described.extend(said?);
                    left.drain(..n);
                }
            }
        }
        wanted
            .iter()
            .map(|(branch, commit)| {
                let d: &Described = described
                    .get(commit.as_str())
                    .ok_or_else(|| PollError::Output(format!("git log does not describe the commit {commit}")))?;
                Ok(NewChange {
                    author: d.author.clone(),
                    committer: Some(d.committer.clone()),
                    comments: d.comments.clone(),
                    files: d.files.clone(),
                    branch: Some((*branch).to_owned()),
                    revision: Some(commit.clone()),
                    repository: public_url(&def.repourl),
                    project: def.project.clone(),
                    codebase: def.codebase.clone(),
                    category: def.category.clone(),
                    when: d.when.filter(|_| def.use_timestamps),
                    parents: d.parents.clone(),
                    ..NewChange::default()
                })
            })
            .collect()
    }

    async fn log(&self, commits: &[&str], files: bool) -> Result<HashMap<String, Described>, PollError> {
        // No text of a repository can hold the mark, nor a NUL.
        let mark = tidemill_service::token::random_hex(16);
        let format = format!("--format={mark}%H%x00%P%x00%aN <%aE>%x00%cN <%cE>%x00%ct%x00%B%x00");
        let mut args =
            vec!["log", "--no-walk=unsorted", "--stdin", "-z", "--no-color", "--no-notes", "--encoding=UTF-8"];
        args.push(&format);
        match files {
            true => args.extend(["-m", "--first-parent", "--no-renames", "--no-ext-diff", "--name-only"]),
            false => args.push("--no-patch"),
        }
        let out = self.git("log").args(args).input(commits.join("\n") + "\n").run().await?;
        let wrong = || PollError::Output("git log said something unexpected".into());
        let mut all = HashMap::new();
        for text in out.split(mark.as_str()).skip(1) {
            let mut fields = text.splitn(7, '\0');
            let mut next = || fields.next().ok_or_else(wrong);
            let (id, parents, author, committer, when, comments) =
                (next()?, next()?, next()?, next()?, next()?, next()?);
            if !is_object_id(id) {
                return Err(wrong());
            }
            let files = next()?.trim_start_matches(['\0', '\n']);
            let described = Described {
                author: author.to_owned(),
                committer: committer.to_owned(),
                comments: comments.trim_end().to_owned(),
                files: files.split('\0').filter(|f| !f.is_empty()).map(str::to_owned).collect(),
                when: when.parse().ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()),
                parents: parents.split(' ').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
            };
            all.insert(id.to_owned(), described);
        }
        Ok(all)
    }
}

struct Described {
    author: String,
    committer: String,
    comments: String,
    files: Vec<String>,
    when: Option<OffsetDateTime>,
    parents: Vec<String>,
}
