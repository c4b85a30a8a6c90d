//! Names that Buildbot has and Tidemill does not, yet: using one is an error
//! that says so, and not a guess at another name.

use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_simple_value;
use starlark::values::{Heap, NoSerialize, StarlarkValue, Value, starlark_value};
use std::fmt;

/// One name; calling it reports the error and gives [`Broken`].
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct Later(pub String);

starlark_simple_value!(Later);

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[starlark_value(type = "later")]
impl<'v> StarlarkValue<'v> for Later {
    fn invoke(
        &self,
        _me: Value<'v>,
        _args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let message = format!("{} is not in this release; it comes with a later one", self.0);
        let hint = "`tidemill doc` lists what there is; take this call out to go on";
        report(eval, Site::of(eval).place(Diagnostic::error(message).hint(hint)))?;
        Ok(eval.heap().alloc(Broken))
    }
}

/// A namespace in which each name is [`Later`].
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct LaterNamespace(pub &'static str);

starlark_simple_value!(LaterNamespace);

impl fmt::Display for LaterNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[starlark_value(type = "later_namespace")]
impl<'v> StarlarkValue<'v> for LaterNamespace {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        Some(heap.alloc(Later(format!("{}.{attribute}", self.0))))
    }
}

/// What a constructor gives that could not make its value: checks pass it over
/// in silence, because the error is already told.
#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct Broken;

starlark_simple_value!(Broken);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<not made>")
    }
}

#[starlark_value(type = "broken")]
impl<'v> StarlarkValue<'v> for Broken {
    /// So that reading an attribute of it, or calling it, is no second error.
    fn get_attr(&self, _attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        Some(heap.alloc(Broken))
    }

    fn invoke(
        &self,
        _me: Value<'v>,
        _args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        Ok(eval.heap().alloc(Broken))
    }
}
