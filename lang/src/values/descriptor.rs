//! What most constructors return: which one it was, its arguments, and where it
//! was called. Arguments are kept by reference, so a list that grows later is
//! seen grown, as in Python.

use super::rule::Rule;
use super::spec::{Kind, Spec};
use super::tree::Tree;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::host::stack::nested;
use crate::vocabulary::remedy::remedy;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::values::{
    Freeze, FreezeResult, Freezer, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};
use starlark::{starlark_complex_value, starlark_module};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Trace, Coerce, ProvidesStaticType, NoSerialize, Allocative)]
#[repr(C)]
pub(crate) struct DescriptorGen<V> {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub spec: &'static Spec,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub site: Site,
    /// What made it, if that is no constructor of the vocabulary: a custom step's rule.
    /// At most one.
    pub rule: Vec<V>,
    /// Only those of the right type.
    pub args: SmallMap<String, V>,
    /// Arguments about which an error was reported: what needs them is not checked.
    #[trace(unsafe_ignore)]
    pub refused: Vec<String>,
}

starlark_complex_value!(pub(crate) Descriptor);

impl<V: fmt::Display> fmt::Display for DescriptorGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule.first() {
            Some(rule) => write!(f, "{rule}(")?,
            None => write!(f, "{}(", self.spec.name)?,
        }
        for (i, (name, value)) in self.args.iter().enumerate() {
            write!(f, "{}{name}={value}", if i > 0 { ", " } else { "" })?;
        }
        write!(f, ")")
    }
}

#[starlark_value(type = "descriptor")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for DescriptorGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    /// `builder.name`: an argument, or `None` where it was not given.
    fn get_methods() -> Option<&'static Methods> {
        Some(DESCRIPTOR_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, _heap: Heap<'v>) -> Option<Value<'v>> {
        let given = self.args.get(attribute).map(|v| v.to_value());
        given.or_else(|| self.spec.type_of(attribute).map(|_| Value::new_none()))
    }

    fn dir_attr(&self) -> Vec<String> {
        self.spec.names().map(str::to_owned).collect()
    }
}

impl<'v> Freeze for Descriptor<'v> {
    type Frozen = FrozenDescriptor;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenDescriptor> {
        nested(|| {
            let args = self.args.into_iter().map(|(k, v)| Ok((k, v.freeze(freezer)?))).collect::<FreezeResult<_>>()?;
            let rule = self.rule.into_iter().map(|r| r.freeze(freezer)).collect::<FreezeResult<_>>()?;
            Ok(DescriptorGen { spec: self.spec, site: self.site, rule, args, refused: self.refused })
        })
    }
}

#[starlark_module]
fn descriptor_methods(builder: &mut MethodsBuilder) {
    /// How somebody holds a lock: the mode is `"counting"` or `"exclusive"`.
    fn access<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] mode: &str,
        #[starlark(default = 1)] count: i32,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        match Descriptor::from_value(this) {
            Some(lock) if lock.kind() == Kind::Lock => super::lock::access(this, mode, count, eval),
            Some(other) => Err(starlark::Error::new_other(anyhow::anyhow!("a {} has no access()", other.spec.name))),
            None => Err(starlark::Error::new_other(anyhow::anyhow!("only a lock has access()"))),
        }
    }
}

starlark::methods_static!(DESCRIPTOR_METHODS = descriptor_methods);

impl<'v> Descriptor<'v> {
    /// As people know it: the constructor's name, or that of the custom step.
    pub fn called(&self) -> String {
        self.custom().map_or_else(|| self.spec.name.to_owned(), |rule| rule.called())
    }

    /// The custom step that it is.
    pub fn custom(&self) -> Option<&'v Rule<'v>> {
        self.rule.first().and_then(|rule| Rule::from_value(*rule))
    }

    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    pub fn arg(&self, name: &str) -> Option<Value<'v>> {
        self.args.get(name).copied()
    }

    /// A copy of the arguments, checked once more: a list may have changed since.
    pub fn trees(&self, collector: &Collector) -> Trees {
        let mut trees = Trees { by_name: BTreeMap::new(), refused: self.refused.clone() };
        for (name, value) in &self.args {
            let tree = Tree::of(*value);
            let wrong = self.spec.type_of(name).and_then(|ty| Some((ty.mismatch(&tree)?, remedy(name, ty, &tree))));
            match wrong {
                _ if tree.has_broken() => trees.refused.push(name.clone()),
                None => {
                    trees.by_name.insert(name.clone(), tree);
                }
                Some((why, right)) => {
                    let found = mismatch(&self.called(), name, &why).maybe_hint(right);
                    collector.report(self.site.place_argument(name, found));
                    trees.refused.push(name.clone());
                }
            }
        }
        trees
    }
}

/// «`timeout` of steps.ShellCommand must be …».
pub(crate) fn mismatch(called: &str, name: &str, why: &str) -> Diagnostic {
    Diagnostic::error(format!("`{name}` of {called} {why}"))
}

/// Arguments as plain values, of the types that the spec demands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trees {
    pub by_name: BTreeMap<String, Tree>,
    pub refused: Vec<String>,
}

impl Trees {
    /// Reads an argument; `None` if it was not given or is not of the type.
    pub fn get<T>(&self, name: &str, read: impl FnOnce(&Tree) -> Option<T>) -> Option<T> {
        self.by_name.get(name).and_then(read)
    }

    /// Whether it was written, right or wrong.
    pub fn given(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.refused.iter().any(|r| r == name)
    }
}
