//! What a build means on its line: pure. A line is what a builder builds of the same
//! codebases, repositories and branches; its verdicts are SUCCESS, WARNINGS and FAILURE.

use time::OffsetDateTime;

const FAILURE: i16 = 2;

/// How a line stands after a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineState {
    /// The last verdict, and when it was given.
    pub results: i16,
    pub complete_at: OffsetDateTime,
    /// The last good build.
    pub good: Option<i64>,
    pub bad: Option<Broken>,
}

/// What broke a line, and when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub build: i64,
    pub since: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Broke,
    Fixed,
}

impl Turn {
    pub fn name(self) -> &'static str {
        match self {
            Turn::Broke => "broke",
            Turn::Fixed => "fixed",
        }
    }
}

/// What a build means after what was before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// The verdict before it.
    pub previous: Option<i16>,
    /// The last good build before it.
    pub good: Option<i64>,
    pub turn: Option<Turn>,
    pub bad: Option<Broken>,
}

/// Whether a result says something of what was built.
pub fn verdict(results: i16) -> bool {
    matches!(results, 0..=2)
}

/// What a build with this result means on a line that stood so, and how the line stands
/// after it: none if it gave no verdict.
///
/// A line breaks by FAILURE after a good build. One that failed from its beginning is
/// bad since its first build, though nobody broke it.
pub fn meaning(
    before: Option<&LineState>,
    build: i64,
    results: i16,
    complete_at: OffsetDateTime,
) -> (Meaning, Option<LineState>) {
    let mut meaning =
        Meaning { previous: before.map(|s| s.results), good: before.and_then(|s| s.good), ..Meaning::default() };
    if !verdict(results) {
        return (meaning, None);
    }
    let bad = before.and_then(|s| s.bad);
    let (good, left) = if results == FAILURE {
        meaning.turn = (bad.is_none() && before.is_some()).then_some(Turn::Broke);
        meaning.bad = bad.or(Some(Broken { build, since: complete_at }));
        (meaning.good, meaning.bad)
    } else {
        meaning.turn = bad.map(|_| Turn::Fixed);
        meaning.bad = bad;
        (Some(build), None)
    };
    (meaning, Some(LineState { results, complete_at, good, bad: left }))
}

/// How a line stood after a build whose meaning is known.
pub fn after(meaning: &Meaning, build: i64, results: i16, complete_at: OffsetDateTime) -> LineState {
    let bad = results == FAILURE;
    LineState {
        results,
        complete_at,
        good: if bad { meaning.good } else { Some(build) },
        bad: meaning.bad.filter(|_| bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    fn at(n: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(n)
    }

    /// Build n ends at second n with the nth result.
    fn run(results: &[i16]) -> Vec<Meaning> {
        let mut state = None;
        let step = |(n, r): (usize, &i16)| {
            let (meaning, next) = meaning(state.as_ref(), n as i64, *r, at(n as i64));
            if let Some(next) = next {
                assert_eq!(after(&meaning, n as i64, *r, at(n as i64)), next);
            }
            state = next.or(state);
            meaning
        };
        results.iter().enumerate().map(step).collect()
    }

    fn broken(n: i64) -> Option<Broken> {
        Some(Broken { build: n, since: at(n) })
    }

    #[test]
    fn a_failure_after_a_good_build_broke_the_line_until_one_is_good_again() {
        let all = run(&[0, 2, 4, 2, 1, 0]);
        assert_eq!(all[0], Meaning::default());
        assert_eq!(all[1], Meaning { previous: Some(0), good: Some(0), turn: Some(Turn::Broke), bad: broken(1) });
        // What says nothing of the sources neither breaks nor mends.
        assert_eq!(all[2], Meaning { previous: Some(2), good: Some(0), turn: None, bad: None });
        assert_eq!(all[3], Meaning { previous: Some(2), good: Some(0), turn: None, bad: broken(1) });
        assert_eq!(all[4], Meaning { previous: Some(2), good: Some(0), turn: Some(Turn::Fixed), bad: broken(1) });
        assert_eq!(all[5], Meaning { previous: Some(1), good: Some(4), turn: None, bad: None });
    }

    #[test]
    fn a_line_that_failed_from_its_beginning_was_broken_by_nobody_and_is_fixed_all_the_same() {
        let all = run(&[5, 2, 2, 0]);
        assert_eq!(all[1], Meaning { bad: broken(1), ..Meaning::default() });
        assert_eq!(all[2], Meaning { previous: Some(2), bad: broken(1), ..Meaning::default() });
        assert_eq!(all[3], Meaning { previous: Some(2), good: None, turn: Some(Turn::Fixed), bad: broken(1) });
    }

    #[test]
    fn what_gives_no_verdict_is_not_the_previous_one_of_anybody() {
        let all = run(&[1, 3, 4, 5, 6, 1]);
        assert_eq!(all[5], Meaning { previous: Some(1), good: Some(0), ..Meaning::default() });
    }
}
