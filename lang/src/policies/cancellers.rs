//! Which source stamps a canceller looks at.

use super::Policies;
use super::call::Function;
use super::host::NoHost;
use super::unknown;
use crate::definition::CancellerDef;
use crate::filter::Filter;
use crate::host::diagnostics::EvalError;
use crate::values::views;
use tidemill_model::SourceStamp;

/// What lives on of a canceller.
pub(crate) struct Canceller {
    /// One for each rule; none where it was refused.
    pub filters: Vec<Option<Filter>>,
    pub branch_key: Option<Function>,
}

impl Policies<'_> {
    /// What the branch of a source counts as for an OldBuildCanceller and a builder: older builds
    /// of the same are old. None: it does not look at this one, or there is no branch (D-49).
    pub fn supersedes(&self, canceller: &str, builder: &str, stamp: &SourceStamp) -> Result<Option<String>, EvalError> {
        if stamp.branch.is_none() {
            return Ok(None);
        }
        let (definition, functions) = self.canceller(canceller)?;
        for (rule, filter) in definition.rules.iter().zip(&functions.filters) {
            let Some(filter) = filter.as_ref().filter(|_| rule.builders.iter().any(|b| b == builder)) else { continue };
            if filter.matches_stamp(stamp, &self.limits())? {
                return self.branch_key(canceller, stamp).map(Some);
            }
        }
        Ok(None)
    }

    /// What the branch of a source counts as.
    pub fn branch_key(&self, canceller: &str, stamp: &SourceStamp) -> Result<String, EvalError> {
        let (_, functions) = self.canceller(canceller)?;
        let Some(function) = &functions.branch_key else {
            return Ok(plain_key(stamp.branch.as_deref().unwrap_or_default()));
        };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| vec![views::sourcestamp(stamp, eval.heap())],
            |answer, _| match answer.unpack_str() {
                Some(key) => Ok(key.to_owned()),
                None => Err(function.wrong("a string", answer)),
            },
        )
    }

    /// Whose builds a FailingBuildsetCanceller cancels when this builder failed with one of these
    /// sources: names, or none for all. Nothing where it does not look at them.
    pub fn fails_with(
        &self,
        canceller: &str,
        builder: &str,
        stamps: &[SourceStamp],
    ) -> Result<Option<Option<Vec<String>>>, EvalError> {
        let (definition, functions) = self.canceller(canceller)?;
        let mut cancelled: Option<Option<Vec<String>>> = None;
        for (rule, filter) in definition.rules.iter().zip(&functions.filters) {
            let Some(filter) = filter.as_ref().filter(|_| rule.builders.iter().any(|b| b == builder)) else { continue };
            let mut matches = false;
            for stamp in stamps {
                matches = matches || filter.matches_stamp(stamp, &self.limits())?;
            }
            if matches {
                cancelled = Some(match (cancelled.take(), &rule.cancel) {
                    (None, names) => names.clone(),
                    (Some(Some(mut all)), Some(more)) => {
                        all.extend(more.iter().cloned());
                        Some(all)
                    }
                    _ => None,
                });
            }
        }
        Ok(cancelled)
    }

    fn canceller(&self, name: &str) -> Result<(&CancellerDef, &Canceller), EvalError> {
        let definition = self.definition().cancellers.iter().find(|c| c.name == name);
        let functions = self.project.cancellers.get(name);
        definition.zip(functions).ok_or_else(|| unknown("canceller", name))
    }
}

/// The branch; of Gerrit's changes without the number of the patch set.
fn plain_key(branch: &str) -> String {
    match branch.strip_prefix("refs/changes/").and_then(|rest| rest.rsplit_once('/')) {
        Some((change, set)) if !set.is_empty() && set.bytes().all(|b| b.is_ascii_digit()) && change.contains('/') => {
            format!("refs/changes/{change}")
        }
        _ => branch.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::plain_key;

    #[test]
    fn patch_sets_of_one_change_are_one_branch() {
        assert_eq!(plain_key("refs/changes/34/1234/5"), "refs/changes/34/1234");
        assert_eq!(plain_key("refs/changes/34/1234/meta"), "refs/changes/34/1234/meta");
        assert_eq!(plain_key("release/5"), "release/5");
    }
}
