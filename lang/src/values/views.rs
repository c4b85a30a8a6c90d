//! What functions of the project file are called with: the running build, and a
//! change. Copies, so nothing that a function does reaches back.

use super::tree::Tree;
use crate::plan::BuildContext;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::structs::AllocStruct;
use starlark::values::{Heap, NoSerialize, StarlarkValue, Value, ValueError, starlark_value};
use starlark::{starlark_module, starlark_simple_value};
use std::fmt;
use std::sync::Arc;
use tidemill_model::{Change, NewChange, Properties, SourceStamp};

/// From which side a function looks at the build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Side {
    /// `props` of a renderer.
    Props,
    /// `step` of doStepIf and hideStepIf, by its name.
    Step(String),
    Build,
}

/// The running build: properties by name, and facts.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct BuildView {
    #[allocative(skip)]
    pub context: Arc<BuildContext>,
    #[allocative(skip)]
    pub side: Side,
}

starlark_simple_value!(BuildView);

impl fmt::Display for BuildView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.side {
            Side::Props => write!(f, "properties of {}#{}", self.context.builder, self.context.number),
            Side::Step(name) => write!(f, "step {name}"),
            Side::Build => write!(f, "build {}#{}", self.context.builder, self.context.number),
        }
    }
}

const BUILD_FACTS: [&str; 11] = [
    "builder",
    "number",
    "properties",
    "reason",
    "results",
    "sourcestamps",
    "changes",
    "url",
    "workername",
    "branch",
    "revision",
];

impl BuildView {
    fn fact<'v>(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let first = self.context.sourcestamps.first();
        Some(match name {
            "builder" | "buildername" => heap.alloc(self.context.builder.as_str()),
            "number" => heap.alloc(self.context.number),
            "workername" => heap.alloc(self.context.worker.as_str()),
            "reason" => heap.alloc(self.context.reason.as_str()),
            "results" => self.context.results.map_or(Value::new_none(), |r| heap.alloc(i32::from(r.code()))),
            "branch" => optional(first.and_then(|s| s.branch.as_deref()), heap),
            "revision" => optional(first.and_then(|s| s.revision.as_deref()), heap),
            "sourcestamps" => heap.alloc(AllocList(self.context.sourcestamps.iter().map(|s| sourcestamp(s, heap)))),
            "changes" => {
                let one = |c: &NewChange| heap.alloc(AllocStruct(new_change_fields(c, heap)));
                heap.alloc(AllocList(self.context.changes.iter().map(one).collect::<Vec<_>>()))
            }
            "url" => heap.alloc(self.context.url.as_str()),
            "properties" => heap.alloc(BuildView { context: self.context.clone(), side: Side::Props }),
            _ => return None,
        })
    }

    fn property<'v>(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        self.context.properties.get(name).map(|v| heap.alloc(v))
    }
}

#[starlark_value(type = "build")]
impl<'v> StarlarkValue<'v> for BuildView {
    fn get_methods() -> Option<&'static Methods> {
        Some(BUILD_METHODS.methods())
    }

    /// A renderer's `props.NAME` is a property; `step.build.NAME` is a fact.
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match (&self.side, attribute) {
            (Side::Step(name), "name") => Some(heap.alloc(name.as_str())),
            (Side::Step(_) | Side::Props, "build") => {
                Some(heap.alloc(BuildView { context: self.context.clone(), side: Side::Build }))
            }
            (Side::Props, name) => self.property(name, heap).or_else(|| self.fact(name, heap)),
            (_, name) => self.fact(name, heap),
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        let own: &[&str] = if self.side == Side::Build { &[] } else { &["build"] };
        BUILD_FACTS.iter().chain(own).map(|s| (*s).to_owned()).collect()
    }

    fn at(&self, index: Value<'v>, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        let name = index.unpack_str().unwrap_or_default();
        self.property(name, heap).ok_or_else(|| ValueError::KeyNotFound(index.to_repr()).into())
    }

    fn is_in(&self, other: Value<'v>) -> starlark::Result<bool> {
        Ok(other.unpack_str().is_some_and(|name| self.context.properties.get(name).is_some()))
    }
}

#[starlark_module]
fn build_methods(builder: &mut MethodsBuilder) {
    /// Value of a property, or the default.
    fn getProperty<'v>(
        this: &BuildView,
        #[starlark(require = pos)] name: &str,
        default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> starlark::Result<Value<'v>> {
        Ok(this.property(name, heap).or(default).unwrap_or(Value::new_none()))
    }

    /// Whether the property is set, be it to None.
    fn hasProperty(this: &BuildView, #[starlark(require = pos)] name: &str) -> starlark::Result<bool> {
        Ok(this.context.properties.get(name).is_some())
    }

    /// Value of a property, or the default, as with a dict.
    fn get<'v>(
        this: &BuildView,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] default: Option<Value<'v>>,
        heap: Heap<'v>,
    ) -> starlark::Result<Value<'v>> {
        Ok(this.property(name, heap).or(default).unwrap_or(Value::new_none()))
    }

    /// All properties as a dict.
    fn getProperties<'v>(this: &BuildView, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(properties(&this.context.properties, heap))
    }

    /// The build.
    fn getBuild<'v>(this: &BuildView, heap: Heap<'v>) -> starlark::Result<Value<'v>> {
        Ok(heap.alloc(BuildView { context: this.context.clone(), side: Side::Build }))
    }
}

starlark::methods_static!(BUILD_METHODS = build_methods);

fn optional<'v>(text: Option<&str>, heap: Heap<'v>) -> Value<'v> {
    text.map_or(Value::new_none(), |t| heap.alloc(t))
}

fn properties<'v>(all: &Properties, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocDict(all.0.iter().map(|(name, p)| (name.as_str(), heap.alloc(&p.value)))))
}

pub(crate) fn sourcestamp<'v>(stamp: &SourceStamp, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocStruct([
        ("branch", optional(stamp.branch.as_deref(), heap)),
        ("codebase", heap.alloc(stamp.codebase.as_str())),
        ("project", heap.alloc(stamp.project.as_str())),
        ("repository", heap.alloc(stamp.repository.as_str())),
        ("revision", optional(stamp.revision.as_deref(), heap)),
    ]))
}

/// A change, with Buildbot's names.
pub(crate) fn change<'v>(change: &Change, heap: Heap<'v>) -> Value<'v> {
    heap.alloc(AllocStruct(change_fields(change, heap)))
}

/// The same with `important`, for rules of schedulers.
pub(crate) fn important_change<'v>(change: &Change, important: bool, heap: Heap<'v>) -> Value<'v> {
    let own = [("important", heap.alloc(important))];
    heap.alloc(AllocStruct(change_fields(change, heap).into_iter().chain(own).collect::<Vec<_>>()))
}

/// A dict's entries as attributes.
pub(crate) fn attributes<'v>(map: &serde_json::Value, heap: Heap<'v>) -> Value<'v> {
    let entries = map.as_object().into_iter().flatten();
    heap.alloc(AllocStruct(entries.map(|(k, v)| (k.as_str(), super::alloc::json(v, heap))).collect::<Vec<_>>()))
}

fn change_fields<'v>(change: &Change, heap: Heap<'v>) -> Vec<(&'static str, Value<'v>)> {
    let mut fields = new_change_fields(&change.new, heap);
    fields.push(("number", heap.alloc(change.id.0)));
    fields
}

fn new_change_fields<'v>(new: &NewChange, heap: Heap<'v>) -> Vec<(&'static str, Value<'v>)> {
    let when = new.when.map_or(Value::new_none(), |w| heap.alloc(w.unix_timestamp_nanos() as f64 / 1e9));
    vec![
        ("author", heap.alloc(new.author.as_str())),
        ("branch", optional(new.branch.as_deref(), heap)),
        ("category", optional(new.category.as_deref(), heap)),
        ("codebase", heap.alloc(new.codebase.as_str())),
        ("comments", heap.alloc(new.comments.as_str())),
        ("committer", optional(new.committer.as_deref(), heap)),
        ("files", heap.alloc(AllocList(new.files.iter().map(String::as_str)))),
        ("project", heap.alloc(new.project.as_str())),
        ("properties", properties(&new.properties, heap)),
        ("repository", heap.alloc(new.repository.as_str())),
        ("revision", optional(new.revision.as_deref(), heap)),
        ("revlink", optional(new.revlink.as_deref(), heap)),
        ("when", when),
        ("who", heap.alloc(new.author.as_str())),
    ]
}

/// A fact of a source stamp for a template.
pub(crate) fn source_attribute(context: &BuildContext, codebase: &str, attribute: &str) -> Tree {
    let Some(stamp) = context.sourcestamps.iter().find(|s| s.codebase == codebase) else { return Tree::None };
    let text = match attribute {
        "branch" => stamp.branch.clone(),
        "revision" => stamp.revision.clone(),
        "codebase" => Some(stamp.codebase.clone()),
        "project" => Some(stamp.project.clone()),
        "repository" => Some(stamp.repository.clone()),
        _ => None,
    };
    text.map_or(Tree::None, Tree::Text)
}
