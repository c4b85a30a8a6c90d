//! Which requests may merge without anybody saying so (D-40).

use super::views::{RequestView, SourceView};
use serde_json::{Value, json};

/// The property that tells schedulers apart, and nothing else.
const SCHEDULER: &str = "scheduler";

impl RequestView {
    /// The same rule as a key: requests of different buildsets are compatible if
    /// and only if their keys are equal. None: compatible with nothing.
    pub fn compatible_key(&self) -> Option<String> {
        if self.sources.iter().any(|s| s.patch) {
            return None;
        }
        let mut stamps: Vec<Value> = self.sources.iter().map(SourceView::compatible_key).collect();
        stamps.sort_by_cached_key(Value::to_string);
        let properties = self.properties.0.iter().filter(|(name, _)| *name != SCHEDULER);
        let properties: Vec<Value> = properties.map(|(name, p)| json!([name, p.value])).collect();
        Some(json!([stamps, properties]).to_string())
    }

    /// Whether the two may become one: the same codebases, each with the same
    /// repository, project and branch and no patch; the same revision, unless both
    /// come from changes; and the same properties apart from the scheduler's name.
    /// Requests of one buildset are compatible.
    pub fn compatible_with(&self, other: &RequestView) -> bool {
        if self.buildset == other.buildset && self.buildset != 0 {
            return true;
        }
        let stamps = |r: &RequestView| {
            let mut all: Vec<_> = r.sources.iter().map(|s| s.stamp.codebase.clone()).collect();
            all.sort();
            all
        };
        let pair = |s: &SourceView| other.sources.iter().find(|o| o.stamp.codebase == s.stamp.codebase);
        stamps(self) == stamps(other)
            && self.sources.iter().all(|s| pair(s).is_some_and(|o| s.compatible_with(o)))
            && same_properties(self, other)
    }
}

impl SourceView {
    fn compatible_key(&self) -> Value {
        let s = &self.stamp;
        let revision = if self.changes.is_empty() { json!(s.revision) } else { json!({ "of": "changes" }) };
        json!([s.codebase, s.repository, s.project, s.branch, revision])
    }

    /// The rule for one codebase.
    pub fn compatible_with(&self, other: &SourceView) -> bool {
        let (a, b) = (&self.stamp, &other.stamp);
        let same = a.codebase == b.codebase
            && a.repository == b.repository
            && a.project == b.project
            && a.branch == b.branch
            && !self.patch
            && !other.patch;
        let from_changes = !self.changes.is_empty() && !other.changes.is_empty();
        same && (from_changes || (self.changes.is_empty() == other.changes.is_empty() && a.revision == b.revision))
    }
}

fn same_properties(a: &RequestView, b: &RequestView) -> bool {
    let kept = |r: &RequestView| {
        let own = r.properties.0.iter().filter(|(name, _)| *name != SCHEDULER);
        own.map(|(name, p)| (name.clone(), p.value.clone())).collect::<Vec<_>>()
    };
    kept(a) == kept(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_model::SourceStamp;

    fn request(id: i64, revision: &str, changes: &[i64]) -> RequestView {
        let stamp = SourceStamp { revision: Some(revision.into()), branch: Some("main".into()), ..Default::default() };
        let sources = vec![SourceView { stamp, patch: false, changes: changes.to_vec() }];
        RequestView { id, buildset: id, builder: "b".into(), sources, ..Default::default() }
    }

    #[test]
    fn requests_of_changes_merge_whatever_their_revision_and_forced_ones_only_at_the_same() {
        assert!(request(1, "a", &[1]).compatible_with(&request(2, "b", &[2])));
        assert!(!request(1, "a", &[]).compatible_with(&request(2, "b", &[])));
        assert!(request(1, "a", &[]).compatible_with(&request(2, "a", &[])));
        assert!(!request(1, "a", &[1]).compatible_with(&request(2, "a", &[])));
    }

    #[test]
    fn a_patch_another_branch_or_another_property_keeps_requests_apart() {
        let one = request(1, "a", &[1]);
        let mut patched = request(2, "a", &[1]);
        patched.sources[0].patch = true;
        assert!(!one.compatible_with(&patched));
        let mut branch = request(2, "a", &[1]);
        branch.sources[0].stamp.branch = None;
        assert!(!one.compatible_with(&branch));
        let mut property = request(2, "a", &[1]);
        property.properties.set("x", 1, "Scheduler");
        assert!(!one.compatible_with(&property));
        let mut scheduler = request(2, "a", &[1]);
        scheduler.properties.set("scheduler", "other", "Scheduler");
        assert!(one.compatible_with(&scheduler));
    }

    #[test]
    fn the_key_says_the_same_as_the_comparison() {
        let mut all = vec![];
        for revision in ["a", "b"] {
            for changes in [&[][..], &[1], &[1, 2]] {
                for branch in [None, Some("x")] {
                    for property in [None, Some(1), Some(2)] {
                        for patch in [false, true] {
                            let mut one = request(all.len() as i64 + 1, revision, changes);
                            one.sources[0].stamp.branch = branch.map(str::to_owned);
                            one.sources[0].patch = patch;
                            one.properties.set("scheduler", all.len() as i64, "Scheduler");
                            if let Some(value) = property {
                                one.properties.set("x", value, "Scheduler");
                            }
                            all.push(one);
                        }
                    }
                }
            }
        }
        for a in &all {
            for b in all.iter().filter(|b| b.id != a.id) {
                let same = a.compatible_key().is_some() && a.compatible_key() == b.compatible_key();
                assert_eq!(a.compatible_with(b), same, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn requests_of_one_buildset_are_compatible() {
        let mut other = request(2, "b", &[]);
        other.buildset = 1;
        assert!(request(1, "a", &[]).compatible_with(&other));
    }
}
