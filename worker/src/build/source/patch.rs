//! Applying a source stamp's patch.
//!
//! `git apply` does the work in every kind of checkout: it takes the formats of
//! git, Mercurial and Subversion, binary files too, and changes nothing unless
//! all of it applies. It refuses paths that lead out of the checkout and files
//! behind a symbolic link, be it there before or made by the patch; what belongs
//! to the version control itself is refused here. A patch that does not apply is
//! the fault of who sent it: FAILURE.

use super::{Call, Flow, Halt, Show, Tool};
use crate::build::step::StepError;
use std::path::{Component, Path};
use tidemill_model::Patch;
use tidemill_model::log::Channel;
use tidemill_model::wire::LogKind;

/// Most bytes of a patch that its log shows.
const SHOWN: usize = 1 << 20;
/// Most bytes of the list of its files.
const LISTED: usize = 8 << 20;

/// Folders of version control, which no patch may write to.
const ADMIN: [&str; 3] = [".git", ".hg", ".svn"];

/// What the checkout is, for the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::build) enum Tree {
    /// New files go to the index too, so that the next checkout removes them.
    Git,
    Other,
}

impl Tool<'_, '_> {
    /// Applies the patch in the checkout.
    pub async fn apply(&mut self, patch: &Patch, tree: Tree) -> Flow<()> {
        check_subdir(&patch.subdir).map_err(Halt::Failed)?;
        let body = self.patch_body(patch).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.show(&body);
        let file = self.step.site.folder.join(format!("{}{}.patch", crate::base::OWN, patch.id));
        super::write_new(&file, &body)
            .map_err(|e| StepError::Other(format!("cannot write the patch to {}: {e}", file.display())))?;
        let applied = self.apply_file(&file, patch, tree, &body).await;
        let _ = std::fs::remove_file(&file);
        applied
    }

    /// For people: the whole patch in a log of its own.
    fn show(&mut self, body: &[u8]) {
        let mut log = self.step.open_log("patch", LogKind::Text);
        log.write(Channel::Stdout, &body[..body.len().min(SHOWN)]);
        if body.len() > SHOWN {
            log.write(Channel::Stdout, format!("\n… {} bytes more\n", body.len() - SHOWN).as_bytes());
        }
        log.finish();
    }

    async fn apply_file(&mut self, file: &Path, patch: &Patch, tree: Tree, body: &[u8]) -> Flow<()> {
        let level = format!("-p{}", patch.level);
        let directory = format!("--directory={}", patch.subdir);
        let path = file.to_string_lossy().into_owned();
        let mut options = vec!["git", "apply", level.as_str(), "--whitespace=nowarn"];
        if !patch.subdir.is_empty() {
            options.push(&directory);
        }
        let with = |more: &[&'static str]| {
            let mut argv = options.clone();
            argv.extend(more);
            argv
        };
        let mut listing = with(&["--numstat", "-z", "--"]);
        listing.push(&path);
        let ran = self.call(listing, Show::Nothing(LISTED)).await?;
        let names = ran.out.split('\0').filter_map(|entry| entry.splitn(3, '\t').nth(2));
        // What is copied or renamed stands there by its new name alone.
        let from = sources(body);
        let from = from.iter().map(String::as_str).filter(|name| is_foreign(name) || name.contains("//"));
        if let Some(name) = names.filter(|name| is_foreign(name)).chain(from).next() {
            return Err(Halt::Failed(format!("the patch touches {name:?}, which is no file of the checkout")));
        }
        if ran.out.len() >= LISTED {
            return Err(Halt::Failed("the patch touches too many files".into()));
        }
        // A binary file that is cut off at the end is left out by git, without an error.
        if ran.out.split('\0').filter(|entry| entry.starts_with("-\t-\t")).count() < binaries(body) {
            return Err(Halt::Failed("the patch is cut off in a binary file".into()));
        }
        let mut argv = match tree {
            Tree::Git => {
                // The index says which files are as they were checked out; looked at anew.
                self.call(vec!["git", "update-index", "-q", "--refresh"], Show::Nothing(0)).await?;
                with(&["--index", "--"])
            }
            Tree::Other => with(&["--"]),
        };
        argv.push(&path);
        let by = if patch.author.is_empty() { String::new() } else { format!(" of {}", patch.author) };
        self.log.header(&format!("applying the patch{by}, {} bytes\n", patch.size));
        match self.call(argv, Show::All).await?.code {
            0 => Ok(()),
            _ => Err(Halt::Failed("the patch does not apply".into())),
        }
    }

    async fn call(&mut self, argv: Vec<&str>, show: Show) -> Flow<super::Ran> {
        let words = argv.join(" ");
        self.run(Call { argv, dir: None, stdin: None, show, words }).await
    }
}

/// How many binary files a patch has.
fn binaries(body: &[u8]) -> usize {
    body.split(|b| *b == b'\n').filter(|line| *line == b"GIT binary patch").count()
}

/// Files that a patch copies or renames: git reads them wherever they are.
fn sources(body: &[u8]) -> Vec<String> {
    let named = |line: &[u8]| {
        let name = line.strip_prefix(b"copy from ").or(line.strip_prefix(b"rename from "))?;
        Some(String::from_utf8_lossy(&unquoted(name)).into_owned())
    };
    body.split(|b| *b == b'\n').filter_map(named).collect()
}

/// A name as git writes it: in quotes, with escapes as in C, where it has odd characters.
fn unquoted(name: &[u8]) -> Vec<u8> {
    let Some(inner) = name.strip_prefix(b"\"") else { return name.to_owned() };
    let (mut out, mut at) = (vec![], 0);
    while let Some(byte) = inner.get(at).filter(|b| **b != b'"') {
        at += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let digits: Vec<u8> = inner[at..].iter().take(3).take_while(|b| (b'0'..b'8').contains(b)).copied().collect();
        match inner.get(at) {
            Some(_) if !digits.is_empty() => {
                out.push(digits.iter().fold(0_u8, |all, d| all.wrapping_mul(8).wrapping_add(d - b'0')));
                at += digits.len();
            }
            Some(letter) => {
                let letters =
                    [(b'a', 7), (b'b', 8), (b't', b'\t'), (b'n', b'\n'), (b'v', 11), (b'f', 12), (b'r', b'\r')];
                out.push(letters.iter().find(|(l, _)| l == letter).map_or(*letter, |(_, meant)| *meant));
                at += 1;
            }
            None => {}
        }
    }
    out
}

/// Whether a patch has no business at this path.
fn is_foreign(name: &str) -> bool {
    Path::new(name).components().any(|part| match part {
        Component::Normal(part) => ADMIN.iter().any(|admin| part.eq_ignore_ascii_case(admin)),
        Component::CurDir => false,
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => true,
    })
}

fn check_subdir(subdir: &str) -> Result<(), String> {
    let bad = subdir.contains(char::is_control) || (!subdir.is_empty() && is_foreign(subdir));
    if bad { Err(format!("the patch is of the folder {subdir:?}, which is none of the checkout")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_and_of_version_control_are_foreign() {
        for bad in ["../x", "/etc/passwd", "a/../../b", ".git/config", "sub/.GIT/hooks/x", ".hg/hgrc", "a/.svn/wc.db"] {
            assert!(is_foreign(bad), "{bad}");
        }
        for good in ["a", "a/b", ".gitignore", "src/.hgignore", "./x"] {
            assert!(!is_foreign(good), "{good}");
        }
        let text = b"diff --git a/x b/y\ncopy from ../x\nrename from \"\\056./\\303\\244\\\"\\n\"\n+copy from z\n";
        assert_eq!(sources(text), ["../x", "../\u{e4}\"\n"]);
        assert!(check_subdir("").is_ok() && check_subdir("a/b").is_ok());
        assert!(check_subdir("..").is_err() && check_subdir("/").is_err() && check_subdir("a\n").is_err());
    }
}
