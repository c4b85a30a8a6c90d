//! GitPoller (CS-04 to CS-06, D-38): new commits of the watched branches.
//!
//! The cursor is a map from branch to the last seen commit. The first poll
//! only records heads. Later a branch's new commits are those that no recorded
//! head reaches, oldest first, so a commit that arrives on two branches, or a
//! merge of known ones, is a change once; a branch that appears with known
//! commits only gives nothing, unless `buildPushesWithNoCommits` asks for it.
//! A force-pushed branch gives its new commits; a deleted one is forgotten.
//!
//! The copy under the cache folder may be lost at any time. Names and text of
//! the repository are data: arguments are vectors, refs are full, and no URL or
//! ref can become an option or another protocol (A11).

use super::PollError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tidemill_lang::definition::{Branches, GitPollerDef};
use tidemill_model::NewChange;
use tidemill_model::repository::public_url;
use time::OffsetDateTime;

/// Longest run of one git command; the lease of a poll is longer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes read of what one git command says, and of its complaints.
const OUTPUT_MAX: u64 = 64 << 20;
const STDERR_MAX: u64 = 1 << 20;
/// Most new commits of a branch that become changes; a push of more gives the newest ones.
const COMMITS_MAX: usize = 2000;

/// Branch to the last commit seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Heads(pub BTreeMap<String, String>);

/// What a poll found.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub changes: Vec<NewChange>,
    pub heads: Heads,
}

/// Asks the repository. `cursor` is none at the first poll. Neither a change
/// nor an error shows the password that the URL may hold.
pub async fn poll(def: &GitPollerDef, cursor: Option<Heads>, cache: &Path) -> Result<Found, PollError> {
    ask(def, cursor, cache).await.map_err(|e| match e {
        PollError::Git { command, status, stderr } => {
            PollError::Git { command, status, stderr: stderr.replace(&def.repourl, &public_url(&def.repourl)) }
        }
        other => other,
    })
}

async fn ask(def: &GitPollerDef, cursor: Option<Heads>, cache: &Path) -> Result<Found, PollError> {
    if def.repourl.is_empty() || def.repourl.starts_with('-') {
        return Err(PollError::Refused(format!("`{}` is not the URL of a repository", def.repourl)));
    }
    let heads = remote_heads(def).await?;
    let Some(known) = cursor else {
        return Ok(Found { changes: Vec::new(), heads });
    };
    let moved: Vec<(&String, &String)> =
        heads.0.iter().filter(|(branch, head)| known.0.get(*branch) != Some(head)).collect();
    if moved.is_empty() {
        return Ok(Found { changes: Vec::new(), heads });
    }
    let copy = copy_dir(cache, &def.repourl);
    // All of them: a head that a fresh copy lacks would exclude nothing, and its whole history were new.
    fetch(def, &copy, heads.0.keys().map(String::as_str)).await?;
    let mut changes = Vec::new();
    // Commits of an earlier branch of this poll are known to a later one.
    let mut seen: Vec<String> = known.0.values().cloned().collect();
    for (branch, head) in moved {
        let commits = match known.0.get(branch) {
            // Force-pushed, and the old head is not in this copy: where the new
            // commits begin cannot be known, so the newest stands for them.
            Some(old) if !has_commit(&copy, old).await? => vec![head.clone()],
            _ => new_commits(&copy, head, &seen).await?,
        };
        if commits.is_empty() && def.build_pushes_with_no_commits {
            changes.extend(describe(def, &copy, branch, std::slice::from_ref(head)).await?);
        }
        changes.extend(describe(def, &copy, branch, &commits).await?);
        seen.push(head.clone());
    }
    Ok(Found { changes, heads })
}

/// The watched branches' heads as the remote has them now.
async fn remote_heads(def: &GitPollerDef) -> Result<Heads, PollError> {
    let out = git(None, &["ls-remote", "--symref", "--", &def.repourl, "HEAD", "refs/heads/*"]).await?;
    let mut default = None;
    let mut heads = BTreeMap::new();
    for line in out.lines() {
        if let Some(rest) = line.strip_prefix("ref: refs/heads/") {
            default = rest.strip_suffix("\tHEAD").map(str::to_owned).or(default);
        } else if let Some((id, name)) = line.split_once('\t')
            && let Some(branch) = name.strip_prefix("refs/heads/")
        {
            if !is_object_id(id) {
                return Err(PollError::Output(line.chars().take(200).collect()));
            }
            heads.insert(branch.to_owned(), id.to_owned());
        }
    }
    let patterns: Vec<globset::GlobMatcher> = match &def.branches {
        Branches::Named(names) => {
            let glob = |n: &String| globset::Glob::new(n).map(|g| g.compile_matcher());
            names.iter().map(glob).collect::<Result<_, _>>().map_err(|e| PollError::Refused(e.to_string()))?
        }
        Branches::All | Branches::Default => Vec::new(),
    };
    heads.retain(|branch, _| match &def.branches {
        Branches::All => true,
        Branches::Default => Some(branch) == default.as_ref(),
        Branches::Named(_) => patterns.iter().any(|p| p.is_match(branch)),
    });
    Ok(Heads(heads))
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn copy_dir(cache: &Path, repourl: &str) -> PathBuf {
    cache.join("git").join(format!("{}.git", &hex::encode(Sha256::digest(repourl.as_bytes()))[..32]))
}

async fn fetch(def: &GitPollerDef, copy: &Path, branches: impl Iterator<Item = &str>) -> Result<(), PollError> {
    if !copy.join("HEAD").is_file() {
        tokio::fs::create_dir_all(copy).await?;
        git(None, &["init", "--bare", "--quiet", "--", &copy.to_string_lossy()]).await?;
    }
    // Under a hash: a branch `a` that is gone must not stand in the way of `a/b`.
    let kept = |b: &str| hex::encode(Sha256::digest(b.as_bytes()));
    let refspecs: Vec<String> = branches.map(|b| format!("+refs/heads/{b}:refs/tidemill/{}", kept(b))).collect();
    // Many branches exceed what one command line takes.
    for part in refspecs.chunks(200) {
        let mut args = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", def.repourl.as_str()];
        args.extend(part.iter().map(String::as_str));
        git(Some(copy), &args).await?;
    }
    Ok(())
}

async fn has_commit(copy: &Path, id: &str) -> Result<bool, PollError> {
    match git(Some(copy), &["cat-file", "-e", &format!("{id}^{{commit}}")]).await {
        Ok(_) => Ok(true),
        Err(PollError::Git { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Commits that `head` reaches and no `seen` one does, oldest first.
async fn new_commits(copy: &Path, head: &str, seen: &[String]) -> Result<Vec<String>, PollError> {
    let max = format!("--max-count={COMMITS_MAX}");
    let mut input = format!("{head}\n");
    // A head of before a force push may be gone from the copy: --ignore-missing.
    seen.iter().for_each(|s| input.push_str(&format!("^{s}\n")));
    let args = ["rev-list", "--ignore-missing", "--topo-order", &max, "--stdin"];
    let out = git_with_input(Some(copy), &args, input).await?;
    let mut commits: Vec<String> = out.lines().map(str::to_owned).collect();
    commits.reverse();
    Ok(commits)
}

async fn describe(
    def: &GitPollerDef,
    copy: &Path,
    branch: &str,
    commits: &[String],
) -> Result<Vec<NewChange>, PollError> {
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    // Five fields a commit, each ended by a NUL, which none of them can hold.
    let args = ["log", "--no-walk=unsorted", "--stdin", "-z", "--format=%H%x00%aN <%aE>%x00%cN <%cE>%x00%ct%x00%B"];
    let out = git_with_input(Some(copy), &args, commits.join("\n") + "\n").await?;
    let fields: Vec<&str> = out.split('\0').collect();
    let mut changes = Vec::with_capacity(commits.len());
    for commit in fields.chunks_exact(5) {
        let [revision, author, committer, when, comments] = commit else { continue };
        let files = git(
            Some(copy),
            &["diff-tree", "-r", "-z", "--root", "--no-commit-id", "--name-only", "-m", "--first-parent", revision],
        )
        .await?;
        changes.push(NewChange {
            author: (*author).to_owned(),
            committer: Some((*committer).to_owned()),
            comments: comments.trim_end().to_owned(),
            files: files.split('\0').filter(|f| !f.is_empty()).map(str::to_owned).collect(),
            branch: Some(branch.to_owned()),
            revision: Some((*revision).to_owned()),
            repository: public_url(&def.repourl),
            project: def.project.clone(),
            codebase: def.codebase.clone(),
            category: def.category.clone(),
            when: when.parse().ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()),
            ..NewChange::default()
        });
    }
    if changes.len() != commits.len() {
        return Err(PollError::Output(format!("{} commits asked for, {} described", commits.len(), changes.len())));
    }
    Ok(changes)
}

async fn git(copy: Option<&Path>, args: &[&str]) -> Result<String, PollError> {
    git_with_input(copy, args, String::new()).await
}

/// Runs git; text that is not UTF-8 comes with replacement characters.
async fn git_with_input(copy: Option<&Path>, args: &[&str], input: String) -> Result<String, PollError> {
    git_bounded(copy, args, input, OUTPUT_MAX).await
}

/// The same with a bound of what it may say; then it is ended.
async fn git_bounded(copy: Option<&Path>, args: &[&str], input: String, bound: u64) -> Result<String, PollError> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut command = tokio::process::Command::new("git");
    if let Some(copy) = copy {
        command.arg("--git-dir").arg(copy);
    }
    let mut child = command
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
        .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let name = args.first().copied().unwrap_or_default().to_owned();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let run = async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // If git ended early, its status says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let said = async {
            let mut said = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(bound + 1).read_to_end(&mut said).await?;
            }
            // More than the bound: its pipe is closed by now, which ends it.
            Ok::<_, std::io::Error>(said)
        };
        let words = async {
            let mut words = Vec::new();
            if let Some(stderr) = stderr {
                stderr.take(STDERR_MAX).read_to_end(&mut words).await?;
            }
            Ok::<_, std::io::Error>(words)
        };
        let ((), said, words) = tokio::join!(feed, said, words);
        let said = said?;
        if said.len() as u64 > bound {
            return Err(PollError::TooMuch(name.clone(), bound));
        }
        Ok((child.wait().await?, said, words?))
    };
    let (status, said, words) = tokio::time::timeout(TIMEOUT, run)
        .await
        .map_err(|_| PollError::TimedOut(name.clone(), TIMEOUT.as_secs()))??;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&words).trim().chars().take(500).collect();
        return Err(PollError::Git { command: name, status, stderr });
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_git_says_is_read_up_to_a_bound() {
        let said = git_bounded(None, &["--version"], String::new(), 1000).await.unwrap();
        assert!(said.starts_with("git version"), "{said}");
        let error = git_bounded(None, &["--version"], String::new(), 4).await.unwrap_err();
        assert!(matches!(error, PollError::TooMuch(_, 4)), "{error}");
    }
}
