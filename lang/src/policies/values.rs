//! Requests, builders, workers and the master as policy functions see them.

use super::call::Asking;
use super::host::{QUERIES_MAX, QUERY_MAX, Query, Resource};
use super::views::{BuilderView, RequestView, WorkerView};
use crate::names;
use crate::values::alloc::json;
use crate::values::tree::Tree;
use crate::values::views;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::structs::{AllocStruct, StructRef};
use starlark::values::{Heap, NoSerialize, StarlarkValue, Value, ValueLike, starlark_value};
use starlark::{starlark_module, starlark_simple_value};
use std::fmt;
use std::sync::Arc;

/// A request, or one of its source stamps.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(super) struct RequestValue {
    #[allocative(skip)]
    pub view: Arc<RequestView>,
    /// Set for `request.source`.
    source: Option<usize>,
}

starlark_simple_value!(RequestValue);

impl fmt::Display for RequestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(_) => write!(f, "source stamp of request {}", self.view.id),
            None => write!(f, "request {}", self.view.id),
        }
    }
}

pub(super) fn request<'v>(view: &Arc<RequestView>, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(RequestValue { view: view.clone(), source: None })
}

/// The request that a function gave back.
pub(super) fn request_id(value: Value<'_>) -> Option<i64> {
    value.downcast_ref::<RequestValue>().filter(|r| r.source.is_none()).map(|r| r.view.id)
}

impl RequestValue {
    fn stamp<'v>(&self, index: usize, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let source = self.view.sources.get(index)?;
        let text = |t: &Option<String>| t.as_deref().map_or(Value::new_none(), |t| heap.alloc(t));
        Some(match attribute {
            "branch" => text(&source.stamp.branch),
            "revision" => text(&source.stamp.revision),
            "repository" => heap.alloc(source.stamp.repository.as_str()),
            "project" => heap.alloc(source.stamp.project.as_str()),
            "codebase" => heap.alloc(source.stamp.codebase.as_str()),
            "patch" => heap.alloc(source.patch),
            "changes" => heap.alloc(AllocList(source.changes.iter().copied())),
            _ => return None,
        })
    }
}

#[starlark_value(type = "BuildRequest")]
impl<'v> StarlarkValue<'v> for RequestValue {
    fn get_methods() -> Option<&'static Methods> {
        Some(REQUEST_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        if let Some(index) = self.source {
            return self.stamp(index, attribute, heap);
        }
        let view = &*self.view;
        let source = |index| heap.alloc(RequestValue { view: self.view.clone(), source: Some(index) });
        Some(match attribute {
            "id" => heap.alloc(view.id),
            "buildset" | "bsid" => heap.alloc(view.buildset),
            "builder" | "buildername" => heap.alloc(view.builder.as_str()),
            "priority" => heap.alloc(view.priority),
            "reason" => heap.alloc(view.reason.as_str()),
            "submittedAt" | "submitted_at" => heap.alloc(view.submitted_at_us as f64 / 1e6),
            "waitedFor" | "waited_for" => heap.alloc(view.waited_for),
            "attempts" => heap.alloc(view.attempts),
            "properties" => {
                heap.alloc(AllocDict(view.properties.0.iter().map(|(n, p)| (n.as_str(), json(&p.value, heap)))))
            }
            "source" if view.sources.is_empty() => Value::new_none(),
            "source" => source(0),
            "sources" => heap
                .alloc(AllocDict(view.sources.iter().enumerate().map(|(i, s)| (s.stamp.codebase.as_str(), source(i))))),
            "sourcestamps" => heap.alloc(AllocList((0..view.sources.len()).map(source))),
            _ => return None,
        })
    }

    fn dir_attr(&self) -> Vec<String> {
        let names: &[&str] = match self.source {
            Some(_) => &["branch", "revision", "repository", "project", "codebase", "patch", "changes"],
            None => &[
                "id",
                "buildset",
                "builder",
                "priority",
                "reason",
                "submittedAt",
                "waitedFor",
                "attempts",
                "properties",
                "source",
                "sources",
                "sourcestamps",
            ],
        };
        names.iter().map(|n| (*n).to_owned()).collect()
    }
}

#[starlark_module]
fn request_methods(builder: &mut MethodsBuilder) {
    /// Whether the built-in rule would merge the two: requests, or source stamps.
    fn canBeMergedWith<'v>(this: &RequestValue, #[starlark(require = pos)] other: Value<'v>) -> starlark::Result<bool> {
        let Some(other) = other.downcast_ref::<RequestValue>() else {
            let got = Tree::of(other).describe();
            return Err(starlark::Error::new_other(anyhow::anyhow!("a request is compared with a request, got {got}")));
        };
        Ok(match (this.source, other.source) {
            (Some(a), Some(b)) => this.view.sources[a].compatible_with(&other.view.sources[b]),
            _ => this.view.compatible_with(&other.view),
        })
    }

    /// Value of a property of its buildset, or the default.
    fn getProperty<'v>(
        this: &RequestValue,
        #[starlark(require = pos)] name: &str,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> starlark::Result<Value<'v>> {
        Ok(this.view.properties.get(name).map(|v| json(v, heap)).or(default).unwrap_or(Value::new_none()))
    }
}

starlark::methods_static!(REQUEST_METHODS = request_methods);

pub(super) fn builder<'v>(view: &BuilderView, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocStruct([
        ("name", heap.alloc(view.name.as_str())),
        ("master", heap.alloc(Master)),
        ("tags", heap.alloc(AllocList(view.tags.iter().map(String::as_str)))),
        ("project", heap.alloc(view.project.as_str())),
        ("pending", heap.alloc(view.pending as i64)),
        ("building", heap.alloc(view.building as i64)),
        ("highest_priority", view.highest_priority.map_or(Value::new_none(), |p| heap.alloc(p))),
        ("oldest_request", view.oldest_request_us.map_or(Value::new_none(), |us| heap.alloc(us as f64 / 1e6))),
    ]))
}

pub(super) fn worker<'v>(view: &WorkerView, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocStruct([
        ("name", heap.alloc(view.name.as_str())),
        ("workername", heap.alloc(view.name.as_str())),
        ("free", heap.alloc(view.free)),
        ("building", heap.alloc(view.building)),
        ("max_builds", view.max_builds.map_or(Value::new_none(), |n| heap.alloc(n))),
        ("properties", heap.alloc(AllocDict(view.properties.iter().map(|(n, v)| (n.as_str(), json(v, heap)))))),
        ("info", heap.alloc(AllocDict(view.info.iter().map(|(n, v)| (n.as_str(), v.as_str()))))),
    ]))
}

/// The name of a struct that a policy was given, or the text itself.
pub(super) fn struct_name(value: Value<'_>) -> Option<String> {
    if let Some(text) = value.unpack_str() {
        return Some(text.to_owned());
    }
    let fields = StructRef::from_value(value)?;
    let (_, name) = fields.iter().find(|(field, _)| field.as_str() == "name")?;
    name.unpack_str().map(str::to_owned)
}

pub(super) fn change<'v>(change: &tidemill_model::Change, heap: Heap<'v>) -> Value<'v> {
    views::change(change, heap)
}

/// What policies may ask (C-07, C-13).
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(super) struct Master;

starlark_simple_value!(Master);

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("master")
    }
}

#[starlark_value(type = "master")]
impl<'v> StarlarkValue<'v> for Master {
    fn get_methods() -> Option<&'static Methods> {
        Some(MASTER_METHODS.methods())
    }
}

fn ask<'v>(
    resource: Resource,
    filters: SmallMap<String, Value<'v>>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let failure = |text: String| starlark::Error::new_other(anyhow::anyhow!(text));
    let asking = asking(eval).ok_or_else(|| failure("the master answers only while a policy is asked".into()))?;
    if asking.asked.replace(asking.asked.get() + 1) >= QUERIES_MAX {
        return Err(failure(format!("a policy may ask {QUERIES_MAX} questions at most")));
    }
    let mut query = Query { resource, filters: vec![], limit: 20 };
    for (name, value) in filters {
        let tree = Tree::of(value);
        if name == "limit" {
            let limit = crate::values::convert::positive(&tree).flatten().and_then(|n| u32::try_from(n).ok());
            query.limit = limit.filter(|n| *n <= QUERY_MAX).ok_or_else(|| {
                failure(format!("`limit` must be between 1 and {QUERY_MAX}, got {}", tree.describe()))
            })?;
            continue;
        }
        if !resource.fields().contains(&name.as_str()) {
            let hint = names::hint(&name, resource.fields(), "there are");
            return Err(failure(format!("there is no filter `{name}`; {hint}")));
        }
        let value =
            tree.to_json().ok_or_else(|| failure(format!("the filter `{name}` cannot be {}", tree.describe())))?;
        query.filters.push((name, value));
    }
    let mut rows = asking.host.query(&query).map_err(failure)?;
    rows.truncate(query.limit as usize);
    let heap = eval.heap();
    Ok(heap.alloc(AllocList(rows.iter().map(|row| record(row, heap)))))
}

pub(super) fn asking<'e>(eval: &Evaluator<'_, '_, 'e>) -> Option<&'e Asking<'e>> {
    eval.extra.and_then(|extra| extra.downcast_ref::<&'e Asking<'e>>()).copied()
}

/// A row: its fields as attributes.
fn record<'v>(row: &serde_json::Value, heap: Heap<'v>) -> Value<'v> {
    match row {
        serde_json::Value::Object(map) => {
            heap.alloc(AllocStruct(map.iter().map(|(k, v)| (k.as_str(), json(v, heap))).collect::<Vec<_>>()))
        }
        other => json(other, heap),
    }
}

#[starlark_module]
fn master_methods(builder: &mut MethodsBuilder) {
    /// The newest builds, filtered: `master.builds(builder = "linux", limit = 10)`.
    fn builds<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(kwargs)] filters: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        ask(Resource::Builds, filters, eval)
    }

    /// The newest requests, filtered.
    fn requests<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(kwargs)] filters: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        ask(Resource::Requests, filters, eval)
    }

    /// The newest changes, filtered.
    fn changes<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(kwargs)] filters: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        ask(Resource::Changes, filters, eval)
    }

    /// Workers, filtered.
    fn workers<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(kwargs)] filters: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        ask(Resource::Workers, filters, eval)
    }

    /// Builders, filtered.
    fn builders<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(kwargs)] filters: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        ask(Resource::Builders, filters, eval)
    }
}

starlark::methods_static!(MASTER_METHODS = master_methods);

/// For the reference.
pub(super) fn methods() -> [&'static Methods; 2] {
    [REQUEST_METHODS.methods(), MASTER_METHODS.methods()]
}
