//! Programs that the examples call and that a test's machine need not have.

use tidemill_tests::Cluster;

/// Knows the little of svn that `steps.SVN` asks; a folder remembers its address.
const SVN: &str = r#"
case "$1" in
    checkout) mkdir .svn && echo "$2" > .svn/url && echo "Checked out revision 7." ;;
    update) echo "At revision 7." ;;
    info) case "$3" in url) cat .svn/url ;; *) echo 7 ;; esac ;;
    *) echo "svn: no $1 here" >&2; exit 1 ;;
esac"#;

/// Says what it was asked, so that a log shows it.
const ECHO: &str = r#"echo "$(basename "$0") $*""#;

const FRAMBOOZLER: &str = r#"for test in slice dice; do echo "testing $test"; echo "FNURRRGH! ($test)"; done"#;

/// A feed of two changes, the number of those that are known as its argument.
const FEED: &str = r#"
entry() { echo "{\"who\": \"Ada <ada@example.org>\", \"by\": \"bob\", \"files\": [\"a.c\"], \"text\": \"why not\", \"id\": \"r$1\", \"branch\": \"main\", \"at\": \"2026-01-31T12:00:00Z\", \"ticket\": $1}"; }
for n in 1 2; do [ "$n" -le "$2" ] || entry "$n"; done"#;

pub fn write(t: &Cluster) {
    for version in ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "pypy3"] {
        t.stand_in(version, ECHO);
    }
    for (name, script) in [("make", ECHO), ("zip", ECHO), ("svn", SVN), ("framboozler", FRAMBOOZLER), ("feed", FEED)] {
        t.stand_in(name, script);
    }
}
