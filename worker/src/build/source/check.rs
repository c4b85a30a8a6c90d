//! What may become an argument of a version control program (A11): checked,
//! never quoted. Pure.

use tidemill_model::repository::public_url;

/// An address of one of these transports, or a path.
pub(super) fn check_url(url: &str, protocols: &[&str]) -> Result<(), String> {
    let bad = |why: &str| Err(format!("the repository address {:?} {why}", public_url(url)));
    if url.is_empty() {
        return Err("the step has no repourl, and the source stamp no repository".into());
    }
    if url.starts_with('-') {
        return bad("begins with a dash, which would be taken for an option");
    }
    if url.contains(char::is_control) {
        return bad("holds control characters");
    }
    match url.split_once("://") {
        Some((scheme, _)) if !protocols.contains(&scheme.to_ascii_lowercase().as_str()) => {
            bad(&format!("is not of one of the transports {}", protocols.join(", ")))
        }
        Some((_, rest)) if rest.starts_with('-') => bad("names a host that would be taken for an option"),
        None if !url.starts_with(['/', '.']) => {
            bad(&format!("is neither a path nor of one of the transports {}", protocols.join(", ")))
        }
        _ => Ok(()),
    }
}

/// A branch, which may have folders.
pub(super) fn check_branch(branch: &str) -> Result<(), String> {
    let bad = branch.starts_with('-')
        || branch.contains(|c: char| c.is_control() || "?*[\\@%#".contains(c))
        || branch.split('/').any(|part| part == "." || part == "..");
    if bad { Err(format!("{branch:?} is not the name of a branch")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_a_program_would_take_for_options_or_commands_are_refused() {
        let all = ["file", "svn", "svn+ssh"];
        for url in ["", "-x", "--config-dir=x", "svn+evil://h/x", "svn://-oProxyCommand=x/y", "a\nb", "bundle:x", "h:x"]
        {
            assert!(check_url(url, &all).is_err(), "{url:?}");
        }
        for url in ["svn://h/x", "file:///srv/x", "svn+ssh://me@h/x", "/srv/x", "../x"] {
            assert_eq!(check_url(url, &all), Ok(()), "{url:?}");
        }
        for branch in ["-x", "../x", "a/../b", "a\0", "trunk@1", "a%2e"] {
            assert!(check_branch(branch).is_err(), "{branch:?}");
        }
        for branch in ["trunk", "branches/1.0", "feature x", "ünï"] {
            assert_eq!(check_branch(branch), Ok(()), "{branch:?}");
        }
        assert!(!check_url("gopher://me:hunter2@h/x", &all).unwrap_err().contains("hunter2"));
    }
}
