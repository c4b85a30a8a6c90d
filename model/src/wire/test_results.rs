//! Results of single tests, as a step gives them: in parts, so that no event is large.

use serde::{Deserialize, Serialize};

/// Most results in one event.
pub const TEST_PART_MAX: usize = 1_000;
/// Most parts of a set of a step.
pub const TEST_PARTS_MAX: u32 = 1_000;
/// Most results of a build: a master keeps no more.
pub const TEST_RESULTS_MAX: usize = 100_000;
/// Longest name, path and message of a test, in characters; longer ones are cut.
pub const TEST_NAME_MAX: usize = 1_000;
pub const TEST_MESSAGE_MAX: usize = 4_000;

/// What a test gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    pub name: String,
    /// Where the test stands, such as a file; together with the name it is what a test is known by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub result: TestOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    Passed,
    Failed,
    Skipped,
    /// It could not be run to its end.
    Error,
}

impl TestOutcome {
    pub const ALL: [TestOutcome; 4] =
        [TestOutcome::Passed, TestOutcome::Failed, TestOutcome::Skipped, TestOutcome::Error];

    pub fn name(self) -> &'static str {
        match self {
            TestOutcome::Passed => "passed",
            TestOutcome::Failed => "failed",
            TestOutcome::Skipped => "skipped",
            TestOutcome::Error => "error",
        }
    }

    /// By [`TestOutcome::name`].
    pub fn named(name: &str) -> Option<TestOutcome> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    /// Whether the test is broken.
    pub fn is_bad(self) -> bool {
        matches!(self, TestOutcome::Failed | TestOutcome::Error)
    }
}
