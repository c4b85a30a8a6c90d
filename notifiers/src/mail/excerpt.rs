//! The part of a log that a mail shows: what stands around its first error. A
//! pure function of lines; what it takes for an error are the words of common
//! compilers, interpreters, test runners and of make.

use crate::line::{cut, harmful};
use regex::{Regex, RegexSet};
use std::sync::LazyLock;

/// Lines of an excerpt in front of the error, behind it, and the longest line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub before: usize,
    pub after: usize,
    pub line: usize,
}

impl Bounds {
    /// Of so many lines altogether, most of them behind the error.
    pub fn of_lines(lines: usize) -> Bounds {
        let before = lines.saturating_sub(1) / 4;
        Bounds { before, after: lines.saturating_sub(1 + before), ..Bounds::default() }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { before: 5, after: 20, line: 400 }
    }
}

/// Some lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Index of the first line shown in what was given.
    pub first: usize,
    /// Index of the line taken for the first error; none shows the log's end.
    pub error: Option<usize>,
    /// Without colours and control characters, each at most [`Bounds::line`] bytes.
    pub lines: Vec<String>,
}

static ERROR: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        // `error:`, `error[E0308]:`, `x.c:3:4: fatal error: …`, `ERROR: …`, `[ERROR] …`
        r"(?i)(^|[^\w.'-])(fatal |internal |syntax )?error(\[\w+\])?( [A-Z]{1,5}\d+)?\s*[:\]]",
        r"(?i)^\s*(fatal|critical|abort|aborting)\b\s*:",
        // Exceptions by name, Python's and Java's traces.
        r"^\s*(\w+[.$])*\w*(Error|Exception|Failure)\b(:|$| at | in )",
        r"^Traceback \(most recent call last\)",
        r#"^Exception in thread ""#,
        r"\bpanicked at\b|^panic:|\bpanic: ",
        r"(?i)\bassertion\b.*\bfail",
        // Test runners.
        r"^(---\s*)?FAIL(ED|URE)?\b",
        r"\bFAILED\b\s*(\(|\[|$)|\.\.\. (FAILED|FAIL|ERROR)\b",
        r"^not ok \d+",
        r"^E   ",
        // Builders and linkers.
        r"^\s*g?make(\[\d+\])?: \*\*\* ",
        r"\bundefined reference to\b|\bcannot find -l|\bUndefined symbols\b",
        r"^npm (ERR!|error)|^FAILED: |^ninja: build stopped|^BUILD FAILED",
        r"(?i)\bsegmentation fault\b|\bcore dumped\b|\bout of memory\b|^Killed$",
        r"(?i)\b(command not found|no such file or directory|permission denied|cannot open)\b",
    ])
    .expect("constant expressions compile")
});

/// What reads like an error and says that there was none.
static NONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(0|no) (errors?|failures?|failed)\b|\b(errors?|failures?|failed)\s*[:=]\s*0\b|-Werror\b|\|\| true",
    )
    .expect("constant expressions compile")
});

static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
        .expect("constant expressions compile")
});

/// Whether a line, as people see it, is taken for an error.
pub fn is_error(line: &str) -> bool {
    let line = cut(line, 4096);
    ERROR.is_match(line) && !NONE.is_match(line)
}

/// What stands around the first error among these lines, or their end.
pub fn excerpt<S: AsRef<str>>(lines: &[S], bounds: Bounds) -> Excerpt {
    let error = lines.iter().position(|line| is_error(&clean(line.as_ref(), 4096)));
    let size = bounds.before + 1 + bounds.after;
    let first = match error {
        Some(at) => at.saturating_sub(bounds.before),
        None => lines.len().saturating_sub(size),
    };
    let last = match error {
        Some(at) => (at + 1 + bounds.after).min(lines.len()),
        None => lines.len(),
    };
    let shown = lines[first..last].iter().map(|line| clean(line.as_ref(), bounds.line)).collect();
    Excerpt { first, error, lines: shown }
}

/// A line without colours, moves of the cursor and other control characters.
fn clean(line: &str, max: usize) -> String {
    // Of an endless line only what can be shown is looked at.
    let line = cut(line, max.saturating_mul(4).saturating_add(1024));
    let line = ESCAPES.replace_all(line, "");
    // A progress bar writes over itself: the last word counts.
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let shown: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !harmful(*c)).collect();
    let kept = cut(&shown, max);
    if kept.len() == shown.len() { shown } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_common_tools_are_found_and_their_absence_is_not() {
        let errors = [
            "main.c:3:5: error: expected ';' before '}' token",
            "main.c:1:10: fatal error: foo.h: No such file or directory",
            "error[E0308]: mismatched types",
            "error: could not compile `x` (bin \"x\") due to 1 previous error",
            "src/a.ts(3,1): error TS2304: Cannot find name 'x'.",
            "[ERROR] Failed to execute goal",
            "ERROR: Could not find a version that satisfies the requirement x",
            "Traceback (most recent call last):",
            "ModuleNotFoundError: No module named 'x'",
            "java.lang.NullPointerException: x",
            "Exception in thread \"main\" java.lang.Error",
            "thread 'main' panicked at src/main.rs:2:5:",
            "panic: runtime error: index out of range",
            "--- FAIL: TestX (0.00s)",
            "FAIL: test_x (tests.X)",
            "test a::b ... FAILED",
            "not ok 3 - adds",
            "E   AssertionError: assert 1 == 2",
            "make[1]: *** [Makefile:3: all] Error 2",
            "/usr/bin/ld: a.o: undefined reference to `x'",
            "npm ERR! code ELIFECYCLE",
            "sh: 1: foo: command not found",
            "Segmentation fault (core dumped)",
            "CMake Error: x",
        ];
        for line in errors {
            assert!(is_error(line), "{line}");
        }
        let fine = [
            "0 errors, 3 warnings",
            "Build succeeded. no errors: fine",
            "error_handler.c",
            "cc -Werror -c x.c",
            "compiling error.rs",
            "test result: ok. 3 passed; 0 failed",
            "tests of FailureHandling",
            "warning: unused variable",
            "Errors: 0",
        ];
        for line in fine {
            assert!(!is_error(line), "{line}");
        }
    }

    #[test]
    fn the_first_error_is_shown_with_its_surroundings_or_else_the_end() {
        let mut lines: Vec<String> = (0..1000).map(|i| format!("line {i}")).collect();
        lines[500] = "\u{1b}[1m\u{1b}[31merror\u{1b}[0m: it\tbroke\u{7}".into();
        lines[700] = "error: a later one".into();
        let bounds = Bounds { before: 2, after: 3, line: 100 };
        let found = excerpt(&lines, bounds);
        assert_eq!((found.first, found.error), (498, Some(500)));
        assert_eq!(found.lines, ["line 498", "line 499", "error: it broke", "line 501", "line 502", "line 503"]);

        let end = excerpt(&lines[..400], bounds);
        assert_eq!((end.first, end.error, end.lines.len()), (394, None, 6));
        assert_eq!(excerpt(&["error: x"], bounds).lines, ["error: x"]);
        assert_eq!(excerpt::<&str>(&[], bounds), Excerpt::default());
    }

    #[test]
    fn an_endless_line_is_cut_and_a_progress_bar_shows_its_last_state() {
        let bounds = Bounds { before: 0, after: 0, line: 10 };
        let found = excerpt(&["é".repeat(5_000_000)], bounds);
        assert!(found.lines[0].len() <= 13, "{}", found.lines[0].len());
        assert_eq!(excerpt(&["1%\r50%\rerror: x\r\n"], bounds).lines, ["error: x"]);
    }
}
