//! Schedulers' functions: which builders, which priority, and rules of the project's own.

use super::context::{self, Context, Role};
use super::host::{NoHost, PolicyHost};
use super::values::change;
use super::views::{NewBuildset, RuleInput, RuleOutput};
use super::{Policies, unknown};
use crate::definition::SchedulerKind;
use crate::host::diagnostics::EvalError;
use crate::values::alloc::json;
use crate::values::convert::{int32, optional_text, properties, text, texts};
use crate::values::tree::Tree;
use crate::values::views;
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::structs::AllocStruct;
use tidemill_model::{Change, SourceStamp};

impl Policies<'_> {
    /// Names of the builders that a scheduler starts for the changes (SC-01): its
    /// list, or what its function returns.
    pub fn scheduler_builders(&self, scheduler: &str, changes: &[Change]) -> Result<Vec<String>, EvalError> {
        let definition = self.scheduler_definition(scheduler)?;
        let Some(function) = self.scheduler(scheduler).and_then(|s| s.builders.as_ref()) else {
            return Ok(definition.builder_names.clone());
        };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| {
                let heap = eval.heap();
                let list = changes.iter().map(|c| change(c, heap)).collect::<Vec<_>>();
                vec![heap.alloc(AllocList(list))]
            },
            |answer, _| {
                let names =
                    texts(&Tree::of(answer)).ok_or_else(|| function.wrong("a list of names of builders", answer))?;
                match names.iter().find(|n| !self.has_builder(n)) {
                    Some(name) => Err(format!(
                        "`builderNames` of scheduler `{scheduler}` returned `{name}`, which does not exist"
                    )),
                    None => Ok(names),
                }
            },
        )
    }

    /// The priority of a scheduler's requests (SC-06).
    pub fn scheduler_priority(
        &self,
        scheduler: &str,
        builders: &[String],
        changes: &[Change],
    ) -> Result<i32, EvalError> {
        let definition = self.scheduler_definition(scheduler)?;
        let Some(function) = self.scheduler(scheduler).and_then(|s| s.priority.as_ref()) else {
            return Ok(definition.priority.unwrap_or_default());
        };
        function.call(
            &self.limits(),
            &NoHost,
            |eval| {
                let heap = eval.heap();
                let list = changes.iter().map(|c| change(c, heap)).collect::<Vec<_>>();
                vec![heap.alloc(AllocList(builders.iter().map(String::as_str))), heap.alloc(AllocList(list))]
            },
            |answer, _| int32(&Tree::of(answer)).ok_or_else(|| function.wrong("an int", answer)),
        )
    }

    /// Asks the rule of a `schedulers.Custom` (SC-23).
    pub fn schedule(&self, scheduler: &str, input: RuleInput, host: &dyn PolicyHost) -> Result<RuleOutput, EvalError> {
        let definition = self.scheduler_definition(scheduler)?;
        let (Some(function), SchedulerKind::Custom(custom)) =
            (self.scheduler(scheduler).and_then(|s| s.rule.as_ref()), &definition.kind)
        else {
            return Err(unknown("custom scheduler", scheduler));
        };
        function.call(
            &self.limits(),
            host,
            |eval| {
                let heap = eval.heap();
                let mut facts = context::facts(input.now_us, scheduler, &custom.attrs, heap);
                let changes = input.changes.iter().map(|(c, important)| views::important_change(c, *important, heap));
                facts.insert("changes".to_owned(), heap.alloc(AllocList(changes.collect::<Vec<_>>())));
                let finished = input.finished.iter().map(|f| {
                    heap.alloc(AllocStruct([
                        ("buildset", heap.alloc(f.buildset)),
                        ("scheduler", heap.alloc(f.scheduler.as_str())),
                        ("results", heap.alloc(i32::from(f.results))),
                        (
                            "sourcestamps",
                            heap.alloc(AllocList(f.sourcestamps.iter().map(|s| views::sourcestamp(s, heap)))),
                        ),
                        (
                            "properties",
                            heap.alloc(AllocDict(
                                f.properties.0.iter().map(|(n, p)| (n.as_str(), json(&p.value, heap))),
                            )),
                        ),
                    ]))
                });
                facts.insert("finished".to_owned(), heap.alloc(AllocList(finished.collect::<Vec<_>>())));
                facts.insert("timer".to_owned(), heap.alloc(input.timer));
                vec![Context::alloc(&input.state, facts, Role::Scheduler, heap)]
            },
            |_, args| {
                let left = Context::left(args[0])?;
                let made = left.made.into_iter().map(|args| self.buildset(args));
                let buildsets = made.collect::<Result<Vec<_>, String>>()?;
                Ok(RuleOutput { buildsets, state: left.state, wake_at_us: left.wake_at_us })
            },
        )
    }

    fn buildset(&self, args: Vec<(String, Tree)>) -> Result<NewBuildset, String> {
        let mut new = NewBuildset::default();
        for (name, tree) in args.into_iter().filter(|(_, t)| !matches!(t, Tree::None)) {
            let wrong = || format!("`{name}` of addBuildset cannot be {}", tree.describe());
            match name.as_str() {
                "builderNames" => {
                    let names = texts(&tree).ok_or_else(wrong)?;
                    if let Some(unknown) = names.iter().find(|n| !self.has_builder(n)) {
                        return Err(format!("addBuildset names the builder `{unknown}`, which does not exist"));
                    }
                    new.builder_names = Some(names);
                }
                "changes" => {
                    let Tree::List(items) = &tree else { return Err(wrong()) };
                    let ids = items.iter().map(|t| if let Tree::Int(i) = t { Some(*i) } else { None });
                    new.changes = ids.collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "sourcestamps" => {
                    let Tree::List(items) = &tree else { return Err(wrong()) };
                    new.sourcestamps = items.iter().map(stamp).collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "properties" => new.properties = properties(&tree).ok_or_else(wrong)?,
                "reason" => new.reason = Some(text(&tree).ok_or_else(wrong)?),
                _ => new.priority = Some(int32(&tree).ok_or_else(wrong)?),
            }
        }
        Ok(new)
    }
}

/// A dict with `codebase`, `repository`, `project`, `branch`, `revision`.
fn stamp(tree: &Tree) -> Option<SourceStamp> {
    let Tree::Dict(entries) = tree else { return None };
    let mut stamp = SourceStamp::default();
    for (key, value) in entries {
        let value = optional_text(value)?;
        match text(key)?.as_str() {
            "codebase" => stamp.codebase = value.unwrap_or_default(),
            "repository" => stamp.repository = value.unwrap_or_default(),
            "project" => stamp.project = value.unwrap_or_default(),
            "branch" => stamp.branch = value,
            "revision" => stamp.revision = value,
            _ => return None,
        }
    }
    Some(stamp)
}
