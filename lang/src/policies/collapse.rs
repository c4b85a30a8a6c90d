//! `collapseRequests`: which waiting requests become one (C-04 to C-08).

use super::Policies;
use super::call::Function;
use super::host::PolicyHost;
use super::values::{builder, request};
use super::views::{BuilderView, RequestView};
use crate::definition::Collapse;
use crate::host::diagnostics::EvalError;
use crate::values::tree::Tree;
use std::sync::Arc;

/// What the file says.
pub(crate) enum CollapseRule {
    Never,
    Compatible,
    Predicate(Function),
    Key(Function),
}

impl CollapseRule {
    pub fn kind(&self) -> Collapse {
        match self {
            CollapseRule::Never => Collapse::Never,
            CollapseRule::Compatible => Collapse::Compatible,
            CollapseRule::Predicate(_) => Collapse::Predicate,
            CollapseRule::Key(_) => Collapse::Key,
        }
    }
}

/// Longest key, in bytes of JSON.
const KEY_MAX: usize = 2000;

impl Policies<'_> {
    /// The rule of a builder, by the project's where it says nothing.
    fn collapse_rule(&self, builder: &str) -> &CollapseRule {
        let own = self.builder(builder).and_then(|b| b.collapse.as_ref());
        own.or(self.global().collapse.as_ref()).unwrap_or(&CollapseRule::Compatible)
    }

    pub fn collapse_kind(&self, builder: &str) -> Collapse {
        self.collapse_rule(builder).kind()
    }

    /// The key of a request, as canonical JSON; requests of the builder with the
    /// same key merge. None: this one never does. Also None where the rule is no key.
    pub fn collapse_key(
        &self,
        view: &BuilderView,
        of: &RequestView,
        host: &dyn PolicyHost,
    ) -> Result<Option<String>, EvalError> {
        let CollapseRule::Key(function) = self.collapse_rule(&view.name) else { return Ok(None) };
        let of = Arc::new(of.clone());
        function.call(
            &self.limits(),
            host,
            |eval| vec![builder(view, eval.heap()), request(&of, eval.heap())],
            |answer, _| {
                let tree = Tree::of(answer);
                if matches!(tree, Tree::None) {
                    return Ok(None);
                }
                let json = tree.to_json().ok_or_else(|| function.wrong("a text, number, or a list of them", answer))?;
                let key = json.to_string();
                if key.len() > KEY_MAX {
                    return Err(format!("the key of a request must be at most {KEY_MAX} bytes, got {}", key.len()));
                }
                Ok(Some(key))
            },
        )
    }

    /// Whether the older request may become part of the newer one. Waited-for
    /// requests are the caller's to leave alone.
    pub fn may_collapse(
        &self,
        view: &BuilderView,
        older: &RequestView,
        newer: &RequestView,
        host: &dyn PolicyHost,
    ) -> Result<bool, EvalError> {
        Ok(!self.collapsible(view, newer, std::slice::from_ref(older), host)?.is_empty())
    }

    /// Ids of the older requests that may become part of the newer one. A
    /// predicate is called once for each, all under one call's limits.
    pub fn collapsible(
        &self,
        view: &BuilderView,
        newer: &RequestView,
        older: &[RequestView],
        host: &dyn PolicyHost,
    ) -> Result<Vec<i64>, EvalError> {
        match self.collapse_rule(&view.name) {
            CollapseRule::Never => Ok(vec![]),
            CollapseRule::Compatible => Ok(older.iter().filter(|o| o.compatible_with(newer)).map(|o| o.id).collect()),
            CollapseRule::Key(_) => {
                let Some(key) = self.collapse_key(view, newer, host)? else { return Ok(vec![]) };
                let mut same = vec![];
                for one in older {
                    if self.collapse_key(view, one, host)?.as_ref() == Some(&key) {
                        same.push(one.id);
                    }
                }
                Ok(same)
            }
            CollapseRule::Predicate(function) => {
                let newer = Arc::new(newer.clone());
                let older: Vec<Arc<RequestView>> = older.iter().map(|o| Arc::new(o.clone())).collect();
                function
                    .call_each(&self.limits(), host, older.len(), |i, eval| {
                        let heap = eval.heap();
                        vec![builder(view, heap), request(&older[i], heap), request(&newer, heap)]
                    })
                    .map(|answers| older.iter().zip(answers).filter(|(_, yes)| *yes).map(|(o, _)| o.id).collect())
            }
        }
    }
}
