//! Dependent (SC-12, D-29): after a buildset of another scheduler, with exactly
//! its sources.
//!
//! It waits for the whole buildset, all builders. Which buildsets it waits for
//! is in rows of their own ([`tidemill_schema::upstream`]): those that were made
//! while it was active, for as long as they take.

use tidemill_model::Results;

/// Whether a buildset that ended so sets it off.
pub fn fires(results: i16) -> bool {
    matches!(Results::try_from(results), Ok(Results::Success | Results::Warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_well_sets_it_off_and_nothing_else_does() {
        let all = 0..=6;
        assert_eq!(all.filter(|code| fires(*code)).collect::<Vec<_>>(), [0, 1]);
        assert!(!fires(-1) && !fires(7));
    }
}
