//! How steps make a build's result (RF-02 to RF-05, D-01 to D-04, D-10). Pure.

use std::collections::HashSet;
use tidemill_lang::plan::Flags;
use tidemill_model::Results;

/// Result and summary of a build so far.
#[derive(Debug)]
pub(super) struct Outcome {
    results: Results,
    halted: bool,
    /// What steps add to the summary line.
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    words: String,
    /// What the step made of the build.
    effect: Results,
    /// Its own policy asks for it, whatever the build becomes.
    wanted: bool,
}

impl Outcome {
    /// A build starts as a success, and is one if all its steps are skipped (D-02).
    pub fn new() -> Self {
        Outcome { results: Results::Success, halted: false, said: Vec::new() }
    }

    pub fn results(&self) -> Results {
        self.results
    }

    /// Whether only steps with `alwaysRun` are left to run.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// `policy` are results with which the step adds to the summary line (RF-10), `words` what it adds
    /// instead of its name.
    pub fn step(
        &mut self,
        name: &str,
        results: Results,
        flags: &Flags,
        policy: Option<&[Results]>,
        words: Option<&str>,
    ) {
        let effect = effect(results, flags);
        self.halted |= match results {
            Results::Failure => flags.halt_on_failure,
            Results::Exception | Results::Retry | Results::Cancelled => true,
            Results::Success | Results::Warnings | Results::Skipped => false,
        };
        let wanted = policy.is_some_and(|p| p.contains(&results));
        if wanted || (policy.is_none() && effect != Results::Success) {
            self.said.push(Said { words: words.unwrap_or(name).to_owned(), effect, wanted });
        }
        self.results = self.results.worst(effect);
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let said: Vec<&str> =
            self.said.iter().filter(|s| s.wanted || s.effect == self.results).map(|s| s.words.as_str()).collect();
        let word = match self.results {
            Results::Success | Results::Skipped => "build successful",
            Results::Failure => "failed",
            other => other.name(),
        };
        if said.is_empty() { word.to_owned() } else { format!("{word} {}", said.join(", ")) }
    }
}

/// What a step's result makes of its build.
fn effect(results: Results, flags: &Flags) -> Results {
    let (flunk, warn) = match results {
        Results::Failure => (flags.flunk_on_failure, flags.warn_on_failure),
        Results::Warnings => (flags.flunk_on_warnings, flags.warn_on_warnings),
        Results::Success | Results::Skipped => (false, false),
        Results::Exception | Results::Retry | Results::Cancelled => return results,
    };
    match (flunk, warn) {
        (true, _) => Results::Failure,
        (false, true) => Results::Warnings,
        (false, false) => Results::Success,
    }
}

/// Names within a build: the second step of a name gets the suffix `_1`.
#[derive(Debug, Default)]
pub(super) struct StepNames(HashSet<String>);

impl StepNames {
    pub fn unique(&mut self, name: &str) -> String {
        // Long names are cut: they are for people.
        let name: String = name.chars().take(200).collect();
        let unique = std::iter::once(name.clone())
            .chain((1..).map(|n| format!("{name}_{n}")))
            .find(|n| !self.0.contains(n))
            .expect("an endless range of names");
        self.0.insert(unique.clone());
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::Results::*;
    use super::*;

    fn outcome(steps: &[(Results, Flags)]) -> Outcome {
        let mut outcome = Outcome::new();
        for (n, (results, flags)) in steps.iter().enumerate() {
            outcome.step(&format!("s{n}"), *results, flags, None, None);
        }
        outcome
    }

    fn flags(f: impl Fn(&mut Flags)) -> Flags {
        let mut flags = Flags::default();
        f(&mut flags);
        flags
    }

    #[test]
    fn flags_decide_what_a_failure_makes_of_the_build() {
        let plain = Flags::default();
        let neither = flags(|f| f.flunk_on_failure = false);
        let warn = flags(|f| (f.flunk_on_failure, f.warn_on_failure) = (false, true));
        let both = flags(|f| f.warn_on_failure = true);
        assert_eq!(outcome(&[(Failure, plain)]).results(), Failure);
        assert_eq!(outcome(&[(Failure, neither)]).results(), Success);
        assert_eq!(outcome(&[(Failure, warn)]).results(), Warnings);
        assert_eq!(outcome(&[(Failure, both)]).results(), Failure);
    }

    #[test]
    fn flags_decide_what_warnings_make_of_the_build() {
        let warn = flags(|f| f.warn_on_warnings = true);
        let flunk = flags(|f| f.flunk_on_warnings = true);
        assert_eq!(outcome(&[(Warnings, Flags::default())]).results(), Success);
        assert_eq!(outcome(&[(Warnings, warn)]).results(), Warnings);
        assert_eq!(outcome(&[(Warnings, flunk)]).results(), Failure);
    }

    #[test]
    fn only_failures_that_halt_and_exceptions_halt() {
        let halt = flags(|f| (f.halt_on_failure, f.flunk_on_warnings) = (true, true));
        for (results, halted) in
            [(Success, false), (Warnings, false), (Failure, true), (Skipped, false), (Exception, true), (Retry, true)]
        {
            assert_eq!(outcome(&[(results, halt.clone())]).is_halted(), halted, "{results}");
        }
        assert!(!outcome(&[(Failure, Flags::default())]).is_halted());
        assert!(outcome(&[(Exception, Flags::default())]).is_halted());
    }

    #[test]
    fn the_summary_names_who_is_to_blame() {
        let f = Flags::default;
        assert_eq!(outcome(&[]).summary(), "build successful");
        assert_eq!(outcome(&[(Skipped, f())]).summary(), "build successful");
        assert_eq!(outcome(&[(Failure, f()), (Success, f()), (Failure, f())]).summary(), "failed s0, s2");
        assert_eq!(outcome(&[(Failure, f()), (Exception, f())]).summary(), "exception s1");
    }

    #[test]
    fn a_policy_decides_which_steps_the_summary_names_and_a_step_what_it_says() {
        let mut outcome = Outcome::new();
        outcome.step("test", Success, &Flags::default(), Some(&[Success]), Some("12 tests"));
        assert_eq!(outcome.summary(), "build successful 12 tests");
        outcome.step("lint", Failure, &Flags::default(), Some(&[]), None);
        outcome.step("make", Failure, &Flags::default(), None, Some("2 errors"));
        assert_eq!(outcome.summary(), "failed 12 tests, 2 errors");
    }

    #[test]
    fn later_steps_of_one_name_get_a_suffix_that_nobody_has() {
        let mut names = StepNames::default();
        let got: Vec<_> = ["make", "make_1", "make", "make"].iter().map(|n| names.unique(n)).collect();
        assert_eq!(got, ["make", "make_1", "make_2", "make_3"]);
    }
}
