//! What a path in `load` means. It names a file of the given set, of a vendored
//! package in it, or of the built-in library, and never anything outside.

/// Folder of vendored packages.
pub(crate) const PACKAGES: &str = "packages";

/// The file that `path` means in `from`: relative to that file's folder with
/// `./` or `../` in front, else to the project's. `None` if it leaves the project.
pub(crate) fn resolve(from: &str, path: &str) -> Option<String> {
    if path.starts_with(crate::library::PREFIX) {
        return Some(path.to_owned());
    }
    // `@name//file` is the file of a package; so is a path from the root inside one.
    if let Some(rest) = path.strip_prefix('@') {
        let (package, file) = rest.split_once("//")?;
        let whole = !package.is_empty() && !package.starts_with('.') && !package.contains('/');
        return if whole { join(vec![PACKAGES, package], file) } else { None };
    }
    // Library files load each other by whole paths only.
    if from.starts_with('@') {
        return None;
    }
    let relative = path.starts_with("./") || path.starts_with("../");
    let base = match from.rsplit_once('/') {
        Some((folder, _)) if relative => folder.split('/').collect(),
        _ => vec![],
    };
    join(base, path.strip_prefix("//").unwrap_or(path))
}

/// The path below a folder; `None` if it climbs above the folder's root.
fn join<'p>(base: Vec<&'p str>, path: &'p str) -> Option<String> {
    // A package's files cannot climb out of it by its own path.
    let floor = if base.first() == Some(&PACKAGES) && base.len() >= 2 { 2 } else { 0 };
    let mut parts = base;
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                if parts.len() <= floor {
                    return None;
                }
                parts.pop();
            }
            "" => return None,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn a_path_never_leaves_the_project() {
        for (from, path) in
            [("a.star", "../b.star"), ("x/a.star", "../../b.star"), ("a.star", "/etc/passwd"), ("a.star", "")]
        {
            assert_eq!(resolve(from, path), None, "{path}");
        }
        assert_eq!(resolve("x/a.star", "../b.star").as_deref(), Some("b.star"));
        assert_eq!(resolve("x/a.star", "./b.star").as_deref(), Some("x/b.star"));
        assert_eq!(resolve("x/a.star", "y/b.star").as_deref(), Some("y/b.star"));
        assert_eq!(resolve("x/a.star", "//y/b.star").as_deref(), Some("y/b.star"));
        assert_eq!(resolve("x/a.star", "@p//y/b.star").as_deref(), Some("packages/p/y/b.star"));
        assert_eq!(resolve("packages/p/a.star", "./b.star").as_deref(), Some("packages/p/b.star"));
        for out in ["@p//../q/b.star", "@../x//b.star", "@//b.star", "@p"] {
            assert_eq!(resolve("x/a.star", out), None, "{out}");
        }
        assert_eq!(resolve("packages/p/a.star", "../q/b.star"), None);
    }
}
