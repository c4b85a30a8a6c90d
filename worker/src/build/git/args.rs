//! What may become an argument of git (A11): checked, never quoted. Pure.

use tidemill_model::repository::public_url;

/// Transports that git may use; anything else, above all `ext::`, is refused
/// here and by git itself through `GIT_ALLOW_PROTOCOL`.
pub(super) const PROTOCOLS: [&str; 5] = ["file", "git", "http", "https", "ssh"];

pub(super) fn check_url(url: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("the repository address {:?} {why}", public_url(url)));
    if url.is_empty() {
        return Err("the step has no repourl, and the source stamp no repository".into());
    }
    if url.starts_with('-') {
        return bad("begins with a dash, which git would take for an option");
    }
    if url.contains(char::is_control) {
        return bad("holds control characters");
    }
    let scheme = url.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).map(|at| url.split_at(at));
    match scheme {
        Some((_, rest)) if rest.starts_with("::") => bad("names a transport helper, which is not allowed"),
        Some((name, rest)) if rest.starts_with("://") && !PROTOCOLS.contains(&name) => {
            bad(&format!("is not of one of the transports {}", PROTOCOLS.join(", ")))
        }
        _ => Ok(()),
    }
}

/// The rules of `git check-ref-format`.
pub(super) fn check_branch(branch: &str) -> Result<(), String> {
    let bad = branch.starts_with(['-', '/'])
        || branch.ends_with(['/', '.'])
        || branch.contains(|c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c))
        || ["..", "//", "@{"].iter().any(|s| branch.contains(s))
        || branch.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock"))
        || branch == "@";
    if bad { Err(format!("{branch:?} is not the name of a branch")) } else { Ok(()) }
}

pub(super) fn check_revision(revision: &str) -> Result<(), String> {
    if revision.starts_with('-') || revision.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':') {
        return Err(format!("{revision:?} is not a revision"));
    }
    Ok(())
}

/// A complete object name, SHA-1 or SHA-256.
pub(super) fn is_full_id(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a fetch asks for, and the local ref that then holds it.
pub(super) fn refspec(branch: Option<&str>) -> (String, String) {
    let (remote, local) = match branch {
        None => ("HEAD".to_owned(), "refs/tidemill/default".to_owned()),
        Some(full) if full.starts_with("refs/") && !full.starts_with("refs/heads/") => {
            (full.to_owned(), "refs/tidemill/ref".to_owned())
        }
        Some(name) => {
            let name = name.strip_prefix("refs/heads/").unwrap_or(name);
            (format!("refs/heads/{name}"), format!("refs/remotes/origin/{name}"))
        }
    };
    (format!("+{remote}:{local}"), local)
}

/// The protocols that a checkout from this address needs: what a tree names as
/// its submodules must not reach repositories of this machine, unless the tree
/// itself comes from here.
pub(super) fn protocols(url: &str) -> String {
    let path = |at: usize| !url[..at].contains('/');
    let local = url.starts_with("file://") || (!url.contains("://") && !url.find(':').is_some_and(path));
    let all = PROTOCOLS.into_iter().filter(|p| local || *p != "file");
    all.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_git_would_take_for_options_or_commands_are_refused() {
        for url in ["", "--upload-pack=x", "-u", "ext::sh -c id", "fd::3", "a\nb", "gopher://x/y", "file2::x"] {
            assert!(check_url(url).is_err(), "{url:?}");
        }
        for branch in ["-x", "--force", "a..b", "a:b", "a b", "x.lock", "a//b", "/a", "a/", "@", "a@{1}", "*", ".a"] {
            assert!(check_branch(branch).is_err(), "{branch:?}");
        }
        for revision in ["-1", "--all", "a b", "HEAD:file", ":/x", "a\0"] {
            assert!(check_revision(revision).is_err(), "{revision:?}");
        }
    }

    #[test]
    fn ordinary_arguments_pass() {
        for url in ["https://h/x.git", "git@h:x.git", "/srv/x.git", "file:///srv/x", "ssh://git@h/x", "../x", "./a::b"]
        {
            assert_eq!(check_url(url), Ok(()), "{url:?}");
        }
        for branch in ["main", "feature/x-1", "refs/pull/1/head", "ünïcode", "v1.0"] {
            assert_eq!(check_branch(branch), Ok(()), "{branch:?}");
        }
        assert_eq!(check_revision("v1.0~2"), Ok(()));
    }

    #[test]
    fn a_password_in_an_address_is_not_shown_and_a_tree_from_elsewhere_reaches_nothing_here() {
        assert!(!check_url("gopher://me:hunter2@h/x").unwrap_err().contains("hunter2"));
        for local in ["/srv/x.git", "../x", "./a:b", "file:///srv/x", ""] {
            assert!(protocols(local).starts_with("file:"), "{local}");
        }
        for elsewhere in ["https://h/x", "git@h:x", "ssh://h/x"] {
            assert_eq!(protocols(elsewhere), "git:http:https:ssh", "{elsewhere}");
        }
    }

    #[test]
    fn a_branch_is_fetched_by_its_full_name() {
        assert_eq!(refspec(None).0, "+HEAD:refs/tidemill/default");
        assert_eq!(refspec(Some("main")).0, "+refs/heads/main:refs/remotes/origin/main");
        assert_eq!(refspec(Some("refs/heads/main")).0, "+refs/heads/main:refs/remotes/origin/main");
        assert_eq!(refspec(Some("refs/pull/1/head")).0, "+refs/pull/1/head:refs/tidemill/ref");
    }
}
