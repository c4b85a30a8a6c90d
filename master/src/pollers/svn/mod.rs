//! SVNPoller (CS-09, C-14 to C-25): new revisions of a repository, split into
//! branches and projects by their files' paths.
//!
//! The cursor is the last revision seen; the first poll only records it. Each
//! page is at most `histmax` revisions, oldest first. A revision gives one
//! change for each branch and project that `split_file` finds in it; one that
//! only removes a branch gives none for that branch.
//!
//! svn is run without a shell, with a configuration of its own (no tunnels, no
//! kept passwords); the password goes in by its input, so that no list of
//! processes shows it.

mod xml;

use super::arguments::{self, Stamp};
use super::program::Program;
use super::{Found, PollError, World, places};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tempfile::TempDir;
use tidemill_lang::definition::{Declared, SecretText};
use tidemill_lang::policies::SplitFile;
use tidemill_model::NewChange;
use tidemill_model::repository::{Login, public_url};
use xml::{Entry, Touched};

const SCHEMES: &[&str] = &["file", "http", "https", "svn", "svn+ssh"];
const LONGEST: Duration = Duration::from_secs(600);
/// Of more arguments, those that say whom to trust; others could run programs.
const EXTRA: [&str; 2] = ["--trust-server-cert", "--trust-server-cert-failures"];
/// Who committed where a server does not say.
const NOBODY: &str = "unknown";

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Arguments {
    repourl: String,
    histmax: u32,
    svnuser: Option<String>,
    svnpasswd: Option<SecretText>,
    revlinktmpl: Option<String>,
    extra_args: Vec<String>,
    #[serde(flatten)]
    stamp: Stamp,
}

impl Default for Arguments {
    fn default() -> Self {
        Arguments {
            repourl: String::new(),
            histmax: 100,
            svnuser: None,
            svnpasswd: None,
            revlinktmpl: None,
            extra_args: vec![],
            stamp: Stamp::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cursor {
    last: u64,
}

pub async fn poll(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Found, PollError> {
    let args: Arguments = arguments::read(def)?;
    let mut secret = vec![];
    ask(&args, cursor, world, &mut secret).await.map_err(|e| e.without(&secret))
}

async fn ask(
    args: &Arguments,
    cursor: Option<Value>,
    world: &World<'_>,
    secret: &mut Vec<String>,
) -> Result<Found, PollError> {
    let svn = Svn::new(args, world, secret).await?;
    let cursor: Option<Cursor> = cursor.and_then(|c| serde_json::from_value(c).ok());
    let info = xml::info(&svn.run("info", &["info", "--xml", "--"]).await?)?;
    let at = |last| serde_json::to_value(Cursor { last }).unwrap_or_default();
    let last = match cursor {
        Some(Cursor { last }) if last < info.revision => last,
        Some(Cursor { last }) if last > info.revision => {
            let why = format!(
                "the newest revision is r{}, and r{last} was seen before: a mirror that lags behind, or another \
                 repository under this address; for the latter give the source another name",
                info.revision
            );
            return Err(PollError::Refused(why));
        }
        _ => return Ok(Found { changes: vec![], cursor: at(info.revision), more: false, note: None }),
    };
    let (range, limit) = (format!("{}:{}", last + 1, info.revision), args.histmax.max(1).to_string());
    let log = svn.run("log", &["log", "--xml", "--verbose", "--revision", &range, "--limit", &limit, "--"]).await?;
    let entries = xml::log(&log)?;
    let more = entries.len() >= args.histmax.max(1) as usize;
    let reached = entries.last().map(|e| e.revision).filter(|_| more).unwrap_or(info.revision);
    let mut changes = Vec::new();
    for entry in &entries {
        changes.extend(split(args, entry, &info.prefix, world).await?);
    }
    Ok(Found { changes, cursor: at(reached), more: reached < info.revision, note: None })
}

/// What a revision did to one branch of one project.
struct Group {
    key: SplitFile,
    files: Vec<String>,
    /// It only took the branch away.
    removed: bool,
}

/// One revision's changes: one for each branch and project of its files.
async fn split(args: &Arguments, entry: &Entry, prefix: &str, world: &World<'_>) -> Result<Vec<NewChange>, PollError> {
    let mut touched: Vec<&Touched> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for each in &entry.touched {
        let Some(path) = relative(&each.path, prefix) else { continue };
        // Folders end with a slash, so that a splitter sees what lies below them.
        asked.push(if each.folder && !path.is_empty() { format!("{path}/") } else { path.to_owned() });
        touched.push(each);
    }
    let mut groups: Vec<Group> = Vec::new();
    for (split, touched) in world.functions.split_files(asked).await?.into_iter().zip(touched) {
        let Some(split) = split else { continue };
        let whole = touched.folder && split.path.trim_end_matches('/').is_empty();
        let (file, key) = (split.path.trim_end_matches('/').to_owned(), SplitFile { path: String::new(), ..split });
        let removed = whole && touched.action == 'D';
        match groups.iter_mut().find(|g| g.key == key) {
            Some(group) => {
                group.removed &= removed;
                group.files.push(file);
            }
            None => groups.push(Group { key, files: vec![file], removed }),
        }
    }
    let change = |group: Group| {
        let plain = args.stamp.change();
        let revision = entry.revision.to_string();
        NewChange {
            author: entry.author.clone().unwrap_or_else(|| NOBODY.into()),
            comments: entry.message.clone(),
            files: group.files,
            branch: group.key.branch,
            repository: group.key.repository.unwrap_or_else(|| public_url(&args.repourl)),
            project: group.key.project.unwrap_or_else(|| plain.project.clone()),
            codebase: group.key.codebase.unwrap_or_else(|| plain.codebase.clone()),
            revlink: args.revlinktmpl.as_ref().filter(|t| !t.is_empty()).map(|t| t.replace("%s", &revision)),
            revision: Some(revision),
            when: entry.when,
            ..plain
        }
    };
    Ok(groups.into_iter().filter(|g| !g.removed).map(change).collect())
}

/// A path of the repository below the watched folder.
fn relative<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let path = path.trim_start_matches('/');
    match prefix {
        "" => Some(path),
        prefix if path == prefix => Some(""),
        prefix => path.strip_prefix(prefix)?.strip_prefix('/'),
    }
}

/// How svn is run for one poll.
struct Svn {
    url: String,
    options: Vec<String>,
    password: String,
    // Its configuration; removed when the poll ends.
    _config: TempDir,
}

impl Svn {
    async fn new(args: &Arguments, world: &World<'_>, secret: &mut Vec<String>) -> Result<Svn, PollError> {
        places::check(&args.repourl, SCHEMES, false, world.local).await?;
        if !args.repourl.contains("://") {
            let shown = public_url(&args.repourl);
            let why = format!("`{shown}` is no URL: for a folder of this machine write file://…");
            return Err(PollError::Refused(why));
        }
        if let Some(wrong) = args.extra_args.iter().find(|a| {
            let name = a.split('=').next().unwrap_or_default();
            !EXTRA.contains(&name)
        }) {
            let why = format!("`{wrong}` is none of the `extra_args` that are allowed: {}", EXTRA.join(", "));
            return Err(PollError::Refused(why));
        }
        if public_url(&args.repourl) != args.repourl {
            secret.push(args.repourl.clone());
        }
        let config = tempfile::Builder::new().prefix("tidemill-poll-").tempdir()?;
        let mut options = vec!["--non-interactive".to_owned(), "--no-auth-cache".to_owned()];
        options.push(format!("--config-dir={}", config.path().display()));
        let (url, login) = Login::apart(&args.repourl);
        secret.extend(login.iter().flat_map(Login::secrets));
        let (user, password) = login.map_or((None, None), |l| (Some(l.user), Some(l.password)));
        options.extend(args.svnuser.as_ref().or(user.as_ref()).map(|user| format!("--username={user}")));
        options.extend(args.extra_args.iter().cloned());
        let given = args.svnpasswd.as_ref().map(|given| world.secrets.resolve(given)).transpose()?;
        secret.extend(given.clone());
        let password = given.or(password).unwrap_or_default();
        if !password.is_empty() {
            options.push("--password-from-stdin".into());
        }
        let url = format!("{}@", url.trim_end_matches('/'));
        Ok(Svn { url, options, password, _config: config })
    }

    async fn run(&self, what: &'static str, args: &[&str]) -> Result<String, PollError> {
        let (command, rest) = args.split_first().unwrap_or((&"", &[]));
        Program::new("svn", what)
            .arg(command)
            .args(&self.options)
            .args(rest)
            // The `@` at its end: one in the address is no revision.
            .arg(&self.url)
            .env("SVN_SSH", "ssh -oBatchMode=yes")
            .input(self.password.clone())
            .within(LONGEST)
            .run()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_the_watched_folder_by_whole_names() {
        assert_eq!(relative("/amanda/trunk/a", "amanda"), Some("trunk/a"));
        assert_eq!(relative("/amanda", "amanda"), Some(""));
        assert_eq!(relative("/amanda2/trunk/a", "amanda"), None);
        assert_eq!(relative("/trunk/a", ""), Some("trunk/a"));
    }
}
