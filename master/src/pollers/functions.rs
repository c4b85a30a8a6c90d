//! The functions that a change source has in the project file. They run on
//! threads of their own, under the language's limits for policies.

use std::sync::Arc;
use tidemill_lang::policies::{Policies, SplitFile};
use tidemill_lang::{EvalError, Project};
use tidemill_model::NewChange;

/// Paths and refs of one call: its limits are those of any policy.
const AT_ONCE: usize = 500;

/// Those of one source. Without a project it has none.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    project: Option<Arc<Project>>,
    source: String,
}

impl Functions {
    pub fn new(project: Option<Arc<Project>>, source: &str) -> Functions {
        Functions { project, source: source.to_owned() }
    }

    /// What `split_file` makes of each path (C-17).
    pub async fn split_files(&self, paths: Vec<String>) -> Result<Vec<Option<SplitFile>>, EvalError> {
        if self.project.is_none() {
            let same = |path| Some(SplitFile { path, ..SplitFile::default() });
            return Ok(paths.into_iter().map(same).collect());
        }
        self.ask(move |policies, source| {
            let mut all = Vec::with_capacity(paths.len());
            for part in paths.chunks(AT_ONCE) {
                let part: Vec<&str> = part.iter().map(String::as_str).collect();
                all.extend(policies.split_files(source, &part)?);
            }
            Ok(all)
        })
        .await
        .unwrap_or(Ok(vec![]))
    }

    /// Which refs the function `branches` wants; none without one.
    pub async fn branches_wanted(&self, refs: Vec<String>) -> Result<Option<Vec<bool>>, EvalError> {
        self.ask(move |policies, source| {
            let mut all = Vec::with_capacity(refs.len());
            for part in refs.chunks(AT_ONCE) {
                let part: Vec<&str> = part.iter().map(String::as_str).collect();
                match policies.branches_wanted(source, &part)? {
                    Some(wanted) => all.extend(wanted),
                    None => return Ok(None),
                }
            }
            Ok(Some(all))
        })
        .await
        .unwrap_or(Ok(None))
    }

    /// Whether the filter takes a pull request.
    pub async fn pull_request_wanted(&self, document: serde_json::Value) -> Result<bool, EvalError> {
        self.ask(move |policies, source| policies.pull_request_wanted(source, &document)).await.unwrap_or(Ok(true))
    }

    /// Changes with the category and project that functions give them.
    pub async fn stamped(&self, mut changes: Vec<NewChange>) -> Result<Vec<NewChange>, EvalError> {
        let kept = changes.clone();
        let asked = self.ask(move |policies, source| {
            for change in &mut changes {
                if let Some(category) = policies.source_category(source, change)? {
                    change.category = Some(category);
                }
                if let Some(project) = policies.source_project(source, change)? {
                    change.project = project;
                }
            }
            Ok(changes)
        });
        asked.await.unwrap_or(Ok(kept))
    }

    /// None: there is no project.
    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(Policies<'_>, &str) -> Result<T, EvalError> + Send + 'static,
    ) -> Option<Result<T, EvalError>> {
        let (project, source) = (self.project.clone()?, self.source.clone());
        let asked = tokio::task::spawn_blocking(move || call(project.policies(), &source)).await;
        Some(asked.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())))
    }
}
