//! Emptying a work folder.

use std::path::Path;

pub(super) fn clear(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        remove(&entry.path(), entry.file_type()?.is_dir())?;
    }
    Ok(())
}

/// Removes a file, a link itself, or a folder.
pub(super) fn remove(path: &Path, is_dir: bool) -> std::io::Result<()> {
    if is_dir { remove_tree(path) } else { std::fs::remove_file(path) }
}

/// Removes a folder, also one with write-protected folders inside.
fn remove_tree(dir: &Path) -> std::io::Result<()> {
    if std::fs::remove_dir_all(dir).is_ok() {
        return Ok(());
    }
    make_writable(dir);
    std::fs::remove_dir_all(dir)
}

fn make_writable(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
