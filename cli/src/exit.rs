//! The one table of exit codes, for all commands.

use tidemill_model::Results;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    Warnings = 3,
    Exception = 4,
    Cancelled = 5,
    Skipped = 6,
    NotFound = 7,
    Refused = 8,
    Unreachable = 9,
    Timeout = 10,
    Internal = 70,
}

/// Code and meaning, as `tidemill --help` and docs/cli.md show them.
pub const TABLE: [(Exit, &str); 12] = [
    (Exit::Success, "success"),
    (Exit::Failure, "the build failed, or the checked files have errors"),
    (Exit::Usage, "wrong arguments or settings, or a request that the master refuses as wrong"),
    (Exit::Warnings, "the build ended with warnings"),
    (Exit::Exception, "the build ended with an exception: infrastructure, not the code (a lost worker too)"),
    (Exit::Cancelled, "the build was cancelled"),
    (Exit::Skipped, "the build was skipped, or nothing was built"),
    (Exit::NotFound, "no such builder, build, request, step, log, scheduler, change source, revision or word"),
    (Exit::Refused, "the token is missing, wrong or not allowed to"),
    (Exit::Unreachable, "no master, database or repository could be reached"),
    (Exit::Timeout, "it took longer than --timeout"),
    (Exit::Internal, "a fault of Tidemill itself"),
];

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Results> for Exit {
    fn from(results: Results) -> Exit {
        match results {
            Results::Success => Exit::Success,
            Results::Warnings => Exit::Warnings,
            Results::Failure => Exit::Failure,
            Results::Skipped => Exit::Skipped,
            Results::Exception | Results::Retry => Exit::Exception,
            Results::Cancelled => Exit::Cancelled,
        }
    }
}

/// The table as lines for a help text.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in TABLE {
        text.push_str(&format!("  {:>2}  {meaning}\n", exit.code()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_exit_code_with_its_meaning() {
        let manual = include_str!("../../docs/cli.md");
        for (exit, meaning) in TABLE {
            let row = format!("| {} | {meaning} |", exit.code());
            assert!(manual.contains(&row), "docs/cli.md lacks: {row}");
        }
    }
}
