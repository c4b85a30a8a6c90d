//! What /proc says about processes.

use std::fs;
use std::path::Path;

/// From `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub zombie: bool,
    pub parent: i32,
    pub group: i32,
}

pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The program's name stands in parentheses and may itself hold any byte.
    let end = bytes.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(bytes.get(end + 2..)?).ok()?;
    let mut fields = text.split(' ');
    Some(Stat {
        zombie: matches!(fields.next()?, "Z" | "X"),
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// Direct children of this process, over all its threads.
pub(super) fn children() -> Vec<i32> {
    let mut pids = Vec::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return pids };
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(text) => pids.extend(text.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok())),
            // A thread that just ended, or a kernel without this file.
            Err(_) if !Path::new("/proc/thread-self/children").exists() => return children_by_scan(),
            Err(_) => {}
        }
    }
    pids
}

fn children_by_scan() -> Vec<i32> {
    let own = std::process::id() as i32;
    all().filter(|pid| stat(*pid).is_some_and(|s| s.parent == own)).collect()
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether the process carries the variable with a value that begins so. False
/// for zombies and for what we may not look into.
pub(super) fn is_marked(pid: i32, variable: &str, prefix: &str) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let wanted = [variable.as_bytes(), b"=", prefix.as_bytes()].concat();
    memchr::memmem::find_iter(&environ, &wanted).any(|at| at == 0 || environ[at - 1] == 0)
}

/// Every process of this machine so marked, except this one.
pub(super) fn marked(variable: &str, prefix: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    all().filter(|pid| *pid != own && is_marked(*pid, variable, prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_spaces_does_not_confuse() {
        let stat = parse_stat(b"12 (a) R 1 2 (b\xff) Z 34 56 78 0 -1").unwrap();
        assert_eq!(stat, Stat { zombie: true, parent: 34, group: 56 });
        assert_eq!(parse_stat(b"12 (x"), None);
    }

    #[test]
    fn a_child_is_found_among_the_children_and_by_its_mark() {
        let mark = format!("{}:1:1", std::process::id());
        let mut child = std::process::Command::new("sleep").arg("60").env("TREE_TEST", &mark).spawn().unwrap();
        let pid = child.id() as i32;
        assert!(children().contains(&pid) && children_by_scan().contains(&pid));
        // The parent goes on a moment before the kernel has laid out the child's environment.
        let begun = std::time::Instant::now();
        while marked("TREE_TEST", &mark) != [pid] {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", marked("TREE_TEST", &mark));
            std::thread::yield_now();
        }
        assert!(!is_marked(pid, "REE_TEST", &mark) && !is_marked(pid, "TREE_TEST", "other"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }
}
