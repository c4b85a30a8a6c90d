//! Policies over changes and their files: codebases, links, splitters.

use super::Policies;
use super::call::Function;
use super::host::NoHost;
use super::views::SplitFile;
use crate::host::diagnostics::EvalError;
use crate::values::alloc::json;
use crate::values::convert::{optional_text, text};
use crate::values::tree::Tree;
use regex::Regex;
use starlark::values::{Heap, Value};
use tidemill_model::NewChange;

/// A way from revisions to links.
pub(crate) enum RevlinkRule {
    Template { repository: Regex, link: String },
    Function(Function),
}

/// A change as `codebaseGenerator` gets it: a dict.
fn dict<'v>(change: &NewChange, heap: Heap<'v>) -> Value<'v> {
    let mut plain = serde_json::to_value(change).unwrap_or_default();
    if let Some(map) = plain.as_object_mut() {
        map.insert("who".into(), change.author.clone().into());
    }
    json(&plain, heap)
}

impl Policies<'_> {
    /// The codebase of a change that names none (CS-02). None: there is no such policy.
    pub fn codebase_of(&self, change: &NewChange) -> Result<Option<String>, EvalError> {
        let Some(function) = &self.global().codebase_generator else { return Ok(None) };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| vec![dict(change, eval.heap())],
            |answer, _| match answer.unpack_str() {
                Some(name) => Ok(Some(name.to_owned())),
                None => Err(function.wrong("the name of a codebase", answer)),
            },
        )
    }

    /// The link of a revision (CS-03); the first that fits.
    pub fn revlink(&self, revision: &str, repository: &str) -> Result<Option<String>, EvalError> {
        for rule in &self.global().revlinks {
            let link = match rule {
                RevlinkRule::Template { repository: pattern, link } => match pattern.captures(repository) {
                    Some(groups) if groups.get(0).is_some_and(|m| m.start() == 0) => {
                        let mut out = link.clone();
                        for (i, group) in groups.iter().enumerate().skip(1) {
                            out = out.replace(&format!("\\{i}"), group.map_or("", |m| m.as_str()));
                        }
                        Some(out.replace("%s", revision))
                    }
                    _ => None,
                },
                RevlinkRule::Function(function) => function.call(
                    &self.limits(),
                    &NoHost,
                    |eval| vec![eval.heap().alloc(revision), eval.heap().alloc(repository)],
                    |answer, _| {
                        optional_text(&Tree::of(answer)).ok_or_else(|| function.wrong("an address or None", answer))
                    },
                )?,
            };
            if link.is_some() {
                return Ok(link);
            }
        }
        Ok(None)
    }

    /// What `split_file` of a change source makes of a path; None is a file of no
    /// interest (C-17). Without a splitter every file is on the trunk (C-22).
    pub fn split_file(&self, source: &str, path: &str) -> Result<Option<SplitFile>, EvalError> {
        Ok(self.split_files(source, &[path])?.pop().flatten())
    }

    /// The same for many paths, all in one call's time.
    pub fn split_files(&self, source: &str, paths: &[&str]) -> Result<Vec<Option<SplitFile>>, EvalError> {
        let Some(function) = self.source(source).and_then(|s| s.split_file.as_ref()) else {
            let same = |p: &&str| Some(SplitFile { path: (*p).to_owned(), ..SplitFile::default() });
            return Ok(paths.iter().map(same).collect());
        };
        function.call_many(
            &self.limits(),
            &NoHost,
            paths.len(),
            |i, eval| vec![eval.heap().alloc(paths[i])],
            |answer| {
                let expected = "a dict with `path`, a pair (branch, path), or None";
                split(&Tree::of(answer)).ok_or_else(|| function.wrong(expected, answer))
            },
        )
    }

    /// The category of a change by the source's function; None where it has none.
    pub fn source_category(&self, source: &str, change: &NewChange) -> Result<Option<String>, EvalError> {
        let Some(function) = self.source(source).and_then(|s| s.category.as_ref()) else { return Ok(None) };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| vec![dict(change, eval.heap())],
            |answer, _| optional_text(&Tree::of(answer)).ok_or_else(|| function.wrong("a text or None", answer)),
        )
    }

    /// The project of a change by the source's function; None where it has none.
    pub fn source_project(&self, source: &str, change: &NewChange) -> Result<Option<String>, EvalError> {
        let Some(function) = self.source(source).and_then(|s| s.project.as_ref()) else { return Ok(None) };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| vec![dict(change, eval.heap())],
            |answer, _| text(&Tree::of(answer)).map(Some).ok_or_else(|| function.wrong("a text", answer)),
        )
    }

    /// Which of these refs, by their full names, the source's function wants. None: it has no such function.
    pub fn branches_wanted(&self, source: &str, refs: &[&str]) -> Result<Option<Vec<bool>>, EvalError> {
        let Some(function) = self.source(source).and_then(|s| s.branches.as_ref()) else { return Ok(None) };
        function.call_each(&self.limits(), &NoHost, refs.len(), |i, eval| vec![eval.heap().alloc(refs[i])]).map(Some)
    }

    /// Whether the source's `pullrequest_filter` takes a pull request, a document of its forge; true without a filter.
    pub fn pull_request_wanted(&self, source: &str, document: &serde_json::Value) -> Result<bool, EvalError> {
        let Some(function) = self.source(source).and_then(|s| s.pullrequest_filter.as_ref()) else { return Ok(true) };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| vec![json(document, eval.heap())],
            |answer, _| Ok(answer.to_bool()),
        )
    }
}

fn split(tree: &Tree) -> Option<Option<SplitFile>> {
    match tree {
        Tree::None => Some(None),
        Tree::List(pair) => match pair.as_slice() {
            [branch, path] => {
                Some(Some(SplitFile { path: text(path)?, branch: optional_text(branch)?, ..SplitFile::default() }))
            }
            _ => None,
        },
        Tree::Dict(entries) => {
            let mut found = SplitFile::default();
            let mut has_path = false;
            for (key, value) in entries {
                let value = optional_text(value)?;
                match text(key)?.as_str() {
                    "path" => {
                        found.path = value?;
                        has_path = true;
                    }
                    "branch" => found.branch = value,
                    "project" => found.project = value,
                    "repository" => found.repository = value,
                    "codebase" => found.codebase = value,
                    _ => return None,
                }
            }
            has_path.then_some(Some(found))
        }
        _ => None,
    }
}
