//! What processes cost, read from /proc.

use std::time::Duration;

/// CPU time of a process with all children that it has waited for, or whose
/// parent it is now.
pub fn cpu_tree(pid: i32) -> Duration {
    let mut ticks = 0;
    for p in tree(pid) {
        let Some(fields) = stat(p) else { continue };
        // utime, stime; cutime and cstime hold the children already reaped.
        ticks += fields[11..15].iter().sum::<u64>();
    }
    Duration::from_secs_f64(ticks as f64 / 100.0)
}

fn tree(root: i32) -> Vec<i32> {
    let mut all = vec![root];
    let parents: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?[1] as i32)))
        .collect();
    let mut i = 0;
    while i < all.len() {
        let of = all[i];
        all.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        i += 1;
    }
    all
}

/// The numbers after the name in /proc/PID/stat: state (as 0), ppid, …
fn stat(pid: i32) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = &text[text.rfind(')')? + 2..];
    Some(after.split(' ').map(|f| f.parse().unwrap_or(0)).collect())
}

/// A line of /proc/PID/status in MiB: `VmRSS` now, `VmHWM` at most so far.
pub fn memory_mib(pid: i32, line: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The value below which this share of the sorted values lies.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
    values[at - 1]
}
