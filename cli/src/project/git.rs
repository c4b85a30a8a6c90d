//! Repositories, by the git command line.

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::sanitize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidemill_model::NewChange;

/// Protocols that a clone may use: none that runs a program named in a URL (A11).
const PROTOCOLS: &str = "file:git:http:https:ssh";

/// `git` in a folder, deaf to the caller's repository variables and never
/// asking for a password on the terminal.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    // A hook that calls us has these set for its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", PROTOCOLS).env("LC_ALL", "C");
    command.env("GIT_OPTIONAL_LOCKS", "0");
    // The person named this repository, and its code is going to be run: that
    // its files belong to somebody else (a container's root) is no surprise.
    command.args(["-c", "safe.directory=*"]).current_dir(dir).stdin(Stdio::null());
    command
}

/// What git prints; its error is the failure's text.
pub fn git(dir: &Path, arguments: &[&str]) -> Result<String> {
    let output = command(dir).args(arguments).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound if dir.is_dir() => {
            Failure::usage("git is not installed").hint("install it (Debian: apt-get install git)")
        }
        _ => Failure::usage(format!("cannot run git in {}: {e}", dir.display())),
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = sanitize::text(String::from_utf8_lossy(&output.stderr).trim());
            Err(Failure::usage(format!("git {} in {}: {said}", arguments.first().unwrap_or(&""), dir.display())))
        }
    }
}

/// What `up` builds.
#[derive(Clone, Debug)]
pub struct Target {
    /// What builds clone and the poller watches: an absolute path, or a mirror.
    pub repository: String,
    /// Where git commands run.
    pub git_dir: PathBuf,
    /// The folder with `master.star`, if it is on disk.
    pub project: Option<PathBuf>,
    /// For people: a folder's or URL's last part.
    pub name: String,
    /// What the person named, without secrets.
    pub shown: String,
    /// Fetched into the mirror, if the repository is elsewhere.
    pub upstream: Option<String>,
}

/// The newest commit of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub branch: Option<String>,
    pub revision: String,
}

/// Whether the argument names a repository elsewhere.
pub fn is_url(argument: &str) -> bool {
    if argument.contains("://") {
        return true;
    }
    // user@host:path, unless such a file exists.
    let scp = argument.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    scp && !Path::new(argument).exists()
}

impl Target {
    /// The repository around a folder (or a bare one).
    pub fn local(path: &Path) -> Result<Target> {
        let path = path.canonicalize().map_err(|e| {
            Failure::usage(format!("{}: {e}", path.display())).hint("give a folder in a git work tree, or a URL")
        })?;
        let dir = if path.is_dir() { path.clone() } else { path.parent().unwrap_or(&path).to_owned() };
        let hint =
            "Tidemill builds commits: run `git init`, `git add` and `git commit` there first, or name another folder";
        let bare = git(&dir, &["rev-parse", "--is-bare-repository"]).map_err(|f| {
            match f.message.contains("not a git repository") {
                true => Failure::usage(format!("{} is not in a git repository", dir.display())).hint(hint),
                false => f,
            }
        })?;
        let bare = bare.trim() == "true";
        let question = if bare { "--absolute-git-dir" } else { "--show-toplevel" };
        let top = PathBuf::from(git(&dir, &["rev-parse", question])?.trim_end_matches('\n'));
        if git(&top, &["rev-parse", "--verify", "-q", "HEAD^{commit}"]).is_err() {
            let message = format!("the repository {} has no commit yet", top.display());
            return Err(Failure::usage(message).hint(hint));
        }
        let project =
            (!bare).then(|| [dir.clone(), top.clone()].into_iter().find(|d| d.join("master.star").is_file())).flatten();
        let named = project.as_ref().unwrap_or(&top);
        let name = named.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_else(|| "project".into());
        Ok(Target {
            repository: top.display().to_string(),
            git_dir: top.clone(),
            project,
            name: name.trim_end_matches(".git").to_owned(),
            shown: path.display().to_string(),
            upstream: None,
        })
    }

    /// A repository elsewhere, mirrored in `mirror`.
    pub fn remote(url: &str, mirror: &Path) -> Result<Target> {
        check_url(url)?;
        let shown = without_secret(url);
        if !mirror.join("HEAD").exists() {
            let parent = mirror.parent().expect("the mirror lies in the state folder");
            let new = parent.join("mirror.new");
            let _ = std::fs::remove_dir_all(&new);
            let path = new.display().to_string();
            let unreachable = |f: Failure| {
                let mut f = Failure::new(Exit::Unreachable, f.message.replace(url, &shown));
                f.hint = Some("check the address and your access: git ls-remote must work without a question".into());
                f
            };
            git(parent, &["clone", "--mirror", "--quiet", "--", url, &path]).map_err(unreachable)?;
            std::fs::rename(&new, mirror).map_err(|e| Failure::usage(format!("{}: {e}", mirror.display())))?;
        }
        let name = shown.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or("project");
        let target = Target {
            repository: mirror.display().to_string(),
            git_dir: mirror.to_owned(),
            project: None,
            name: name.trim_end_matches(".git").to_owned(),
            shown,
            upstream: Some(url.to_owned()),
        };
        if target.head().is_err() {
            let message = format!("the repository {} has no commit on its default branch", target.shown);
            return Err(Failure::usage(message));
        }
        Ok(target)
    }

    /// The commit of the default branch (of a work tree: the branch checked out).
    pub fn head(&self) -> Result<Head> {
        let revision = git(&self.git_dir, &["rev-parse", "--verify", "HEAD^{commit}"])?.trim().to_owned();
        // Fails on a detached HEAD: then there is no branch.
        let branch = git(&self.git_dir, &["symbolic-ref", "-q", "--short", "HEAD"]).ok();
        Ok(Head { branch: branch.map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()), revision })
    }

    /// Paths in the newest commit.
    pub fn paths(&self) -> Result<Vec<String>> {
        let text = git(&self.git_dir, &["ls-tree", "-r", "-z", "--name-only", "HEAD"])?;
        Ok(text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect())
    }

    /// A file of the newest commit.
    pub fn read(&self, path: &str) -> Option<String> {
        git(&self.git_dir, &["cat-file", "blob", &format!("HEAD:{path}")]).ok()
    }

    /// The change that a commit is, as the poller would announce it.
    pub fn change(&self, head: &Head) -> Result<NewChange> {
        let format = "--format=%an <%ae>%x00%cn <%ce>%x00%ct%x00%B%x00";
        let text = git(&self.git_dir, &["show", "--no-patch", "--no-show-signature", format, &head.revision, "--"])?;
        let mut parts = text.splitn(4, '\0').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (author, committer, seconds, rest) = (part(), part(), part(), part());
        let comments = rest.split('\0').next().unwrap_or_default().trim().to_owned();
        let names = ["diff-tree", "-r", "-z", "--root", "--no-commit-id", "--name-only", &head.revision, "--"];
        let files = git(&self.git_dir, &names)?;
        Ok(NewChange {
            author,
            committer: Some(committer),
            comments,
            files: files.split('\0').filter(|f| !f.is_empty()).map(str::to_owned).collect(),
            branch: head.branch.clone(),
            revision: Some(head.revision.clone()),
            repository: self.repository.clone(),
            when: seconds.trim().parse().ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok()),
            ..NewChange::default()
        })
    }

    /// Files of the work tree that differ from the newest commit.
    pub fn uncommitted(&self) -> usize {
        if self.upstream.is_some() {
            return 0;
        }
        git(&self.git_dir, &["status", "--porcelain", "-z"])
            .map_or(0, |t| t.split('\0').filter(|l| !l.is_empty()).count())
    }

    /// A git configuration for daemons, if the repository belongs to another
    /// user: git refuses such ones unless configured, and does not hand `-c`
    /// on to the other end of a clone. It holds the person's own settings too.
    pub fn trusting_config(&self) -> Option<String> {
        let me = nix::unistd::Uid::effective().as_raw();
        let git_dir = self.git_dir.join(".git");
        let foreign = [&self.git_dir, &git_dir].iter().any(|p| std::fs::metadata(p).is_ok_and(|m| m.uid() != me));
        if !foreign {
            return None;
        }
        let quoted = |path: &Path| path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = String::from("# Written by `tidemill up` at each start.\n[include]\n");
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let xdg = std::env::var_os("XDG_CONFIG_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let xdg = xdg.or_else(|| home.as_ref().map(|h| h.join(".config"))).map(|d| d.join("git/config"));
        for path in xdg.into_iter().chain(home.map(|h| h.join(".gitconfig"))) {
            text.push_str(&format!("\tpath = \"{}\"\n", quoted(&path)));
        }
        text.push_str(&format!("[safe]\n\tdirectory = \"{}\"\n", quoted(&self.git_dir)));
        text.push_str(&format!("\tdirectory = \"{}\"\n", quoted(&git_dir)));
        Some(text)
    }

    /// Brings the mirror up to date.
    pub fn fetch(&self) -> Result<()> {
        match &self.upstream {
            None => Ok(()),
            Some(url) => git(&self.git_dir, &["fetch", "--quiet", "--prune", "origin"])
                .map(drop)
                .map_err(|f| Failure::unreachable(f.message.replace(url.as_str(), &self.shown))),
        }
    }
}

fn check_url(url: &str) -> Result<()> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let allowed = scheme.is_none_or(|s| PROTOCOLS.split(':').any(|p| p == s.to_ascii_lowercase()));
    if url.starts_with('-') || url.contains("::") || !allowed {
        return Err(Failure::usage(format!("{url:?} is not an address that can be cloned safely"))
            .hint("use https://, ssh://, git:// or file://, or user@host:path"));
    }
    Ok(())
}

/// A URL for people: without password or token.
pub fn without_secret(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed)
            if parsed.password().is_some()
                || (!parsed.username().is_empty() && parsed.scheme().starts_with("http")) =>
        {
            let _ = parsed.set_password(None);
            let _ = parsed.set_username("");
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "-b", "trunk"]).unwrap();
        dir
    }

    fn commit(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
        git(dir, &["add", "-A"]).unwrap();
        let who = ["-c", "user.name=A B", "-c", "user.email=a@b", "commit", "-q", "-m", "first\n\nbody"];
        git(dir, &who).unwrap();
    }

    #[test]
    fn a_folder_within_a_repository_names_the_repository_and_its_own_project_file() {
        let dir = repository();
        assert!(Target::local(dir.path()).unwrap_err().to_string().contains("no commit yet"));
        commit(dir.path(), "examples/one/master.star", "c = {}\n");
        let target = Target::local(&dir.path().join("examples/one")).unwrap();
        let top = dir.path().canonicalize().unwrap();
        assert_eq!(target.repository, top.display().to_string());
        assert_eq!(target.project.as_deref(), Some(top.join("examples/one").as_path()));
        assert_eq!(Target::local(&top).unwrap().project, None);
        let head = target.head().unwrap();
        assert_eq!(head.branch.as_deref(), Some("trunk"));
        let change = target.change(&head).unwrap();
        assert_eq!((change.author.as_str(), change.comments.as_str()), ("A B <a@b>", "first\n\nbody"));
        assert_eq!(change.files, ["examples/one/master.star"]);
        assert!(change.when.is_some());
        assert_eq!(target.read("examples/one/master.star").as_deref(), Some("c = {}\n"));
    }

    #[test]
    fn a_url_is_mirrored_and_its_new_commits_are_fetched() {
        let (dir, state) = (repository(), tempfile::tempdir().unwrap());
        commit(dir.path(), "a", "1");
        let url = format!("file://{}", dir.path().display());
        let mirror = state.path().join("mirror.git");
        let target = Target::remote(&url, &mirror).unwrap();
        let first = target.head().unwrap();
        commit(dir.path(), "a", "2");
        target.fetch().unwrap();
        let second = target.head().unwrap();
        assert_ne!(first.revision, second.revision);
        assert_eq!(second.branch.as_deref(), Some("trunk"));
    }

    #[test]
    fn an_address_that_would_run_a_program_is_refused() {
        for bad in ["ext::sh -c evil", "-u", "weird://x"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        check_url("git@example.org:a/b.git").unwrap();
        assert!(is_url("git@example.org:a/b.git") && is_url("https://x/y") && !is_url("./a") && !is_url("/a@b/c"));
    }

    #[test]
    fn a_token_in_an_address_is_not_shown() {
        assert_eq!(without_secret("https://user:tok@h/x.git"), "https://h/x.git");
        assert_eq!(without_secret("https://tok@h/x.git"), "https://h/x.git");
        assert_eq!(without_secret("ssh://git@h/x.git"), "ssh://git@h/x.git");
    }

    #[test]
    fn a_folder_outside_any_repository_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Target::local(dir.path()).unwrap_err().to_string().contains("git init"));
    }
}
