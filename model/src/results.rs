//! The seven results of steps, builds, requests and buildsets.

use serde::{Deserialize, Serialize};

/// A result, with Buildbot's numeric codes (RF-01), which the API and the
/// columns carry.
///
/// The codes are in another order than the results from best to worst (D-01):
/// never take a numeric maximum, use [`Results::worst`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "i16", try_from = "i16")]
#[repr(i16)]
pub enum Results {
    Success = 0,
    Warnings = 1,
    Failure = 2,
    Skipped = 3,
    Exception = 4,
    Retry = 5,
    Cancelled = 6,
}

/// From best to worst.
const BY_SEVERITY: [Results; 7] = [
    Results::Skipped,
    Results::Success,
    Results::Warnings,
    Results::Failure,
    Results::Exception,
    Results::Retry,
    Results::Cancelled,
];

impl Results {
    pub const ALL: [Results; 7] = [
        Results::Success,
        Results::Warnings,
        Results::Failure,
        Results::Skipped,
        Results::Exception,
        Results::Retry,
        Results::Cancelled,
    ];

    /// The code stored in the database and shown by the API.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The lower-case English word for people, also the CSS class of a page.
    pub fn name(self) -> &'static str {
        match self {
            Results::Success => "success",
            Results::Warnings => "warnings",
            Results::Failure => "failure",
            Results::Skipped => "skipped",
            Results::Exception => "exception",
            Results::Retry => "retry",
            Results::Cancelled => "cancelled",
        }
    }

    /// The worse of the two (D-01).
    pub fn worst(self, other: Results) -> Results {
        let rank = |r| BY_SEVERITY.iter().position(|x| *x == r);
        if rank(other) > rank(self) { other } else { self }
    }

    /// Whether a build with this result may be relied upon: what a Dependent
    /// scheduler and `tidemill watch` call good.
    pub fn is_good(self) -> bool {
        matches!(self, Results::Success | Results::Warnings)
    }
}

impl From<Results> for i16 {
    fn from(r: Results) -> i16 {
        r.code()
    }
}

impl TryFrom<i16> for Results {
    type Error = String;
    fn try_from(code: i16) -> Result<Self, String> {
        Results::ALL
            .into_iter()
            .find(|r| r.code() == code)
            .ok_or_else(|| format!("{code} is not a result code; results are 0 to 6"))
    }
}

impl std::fmt::Display for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Results::*;
    use super::*;

    #[test]
    fn the_worse_result_is_not_the_higher_code() {
        assert_eq!(Skipped.worst(Success), Success);
        assert_eq!(Failure.worst(Skipped), Failure);
        assert_eq!(Failure.worst(Warnings), Failure);
        assert_eq!(Retry.worst(Exception), Retry);
        assert_eq!(Retry.worst(Cancelled), Cancelled);
    }

    #[test]
    fn a_result_travels_as_its_code() {
        for r in Results::ALL {
            let text = serde_json::to_string(&r).unwrap();
            assert_eq!(text, r.code().to_string());
            assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), r);
        }
        assert!(serde_json::from_str::<Results>("7").is_err());
    }
}
