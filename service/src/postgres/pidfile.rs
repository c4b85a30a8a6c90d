//! `postmaster.pid`: whether a server runs on a data folder, and since when it
//! answers.

use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No server. `recycled` if the pid file of a killed one names a living
    /// process that is something else.
    Down {
        recycled: bool,
    },
    /// Starting, recovering or stopping.
    Busy(i32),
    Ready(i32),
}

/// Reads the state of the server on `data`.
pub(super) fn state(data: &Path) -> State {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return State::Down { recycled: false };
    };
    let Some(pid) = text.lines().next().and_then(|l| l.trim().parse::<i32>().ok()) else {
        return State::Down { recycled: false };
    };
    // After a crash another program may have the number.
    if !is_postmaster(pid, data) {
        return State::Down { recycled: Path::new(&format!("/proc/{pid}")).exists() };
    }
    match text.lines().nth(7).map(str::trim) {
        Some("ready") => State::Ready(pid),
        _ => State::Busy(pid),
    }
}

/// Where the running server has its socket.
pub(super) fn socket_dir(data: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let dir = text.lines().nth(4)?.trim();
    (!dir.is_empty()).then(|| PathBuf::from(dir))
}

/// Puts a number that no process can have in the pid file's first line.
/// PostgreSQL refuses to start while the number is alive, whoever has it. The
/// other lines stay: by them it finds backends of the killed server that still
/// use its memory, and waits for their end.
pub(super) fn disown(data: &Path) -> std::io::Result<()> {
    let path = data.join("postmaster.pid");
    let text = std::fs::read_to_string(&path)?;
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    std::fs::write(&path, format!("{}\n{rest}", i32::MAX))
}

/// Whether the process is a postmaster on this folder, by its command line.
pub(super) fn is_postmaster(pid: i32, data: &Path) -> bool {
    let Ok(bytes) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let arguments: Vec<String> = bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    let Some(program) = arguments.first() else { return false };
    let name = Path::new(program).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // A backend shows a title («postgres: checkpointer») instead of arguments.
    if name != "postgres" && name != "postmaster" {
        return false;
    }
    match arguments.iter().position(|a| a == "-D").and_then(|i| arguments.get(i + 1)) {
        Some(dir) => same(Path::new(dir), data),
        // Started by hand with PGDATA: believe the pid file.
        None => true,
    }
}

fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_another_program_is_disowned_but_keeps_its_other_lines() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(state(dir.path()), State::Down { recycled: false });
        let me = std::process::id();
        let rest = "/x\n1\n5432\n/x\n\n1 2\nready\n";
        let path = dir.path().join("postmaster.pid");
        std::fs::write(&path, format!("{me}\n{rest}")).unwrap();
        assert_eq!(state(dir.path()), State::Down { recycled: true });
        disown(dir.path()).unwrap();
        assert_eq!(state(dir.path()), State::Down { recycled: false });
        assert!(std::fs::read_to_string(path).unwrap().ends_with(rest));
    }
}
