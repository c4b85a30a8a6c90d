//! Values that only a build has: `util.Interpolate`, `util.Property` and
//! `util.renderer`. They are resolved just before a step starts, see
//! [`crate::render`].

use super::interpolate::Template;
use crate::host::site::Site;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::collections::SmallMap;
use starlark::starlark_complex_value;
use starlark::values::{
    Freeze, FreezeResult, Freezer, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};
use std::fmt;

#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Values: `%s` arguments as `0`, `1` …, and keywords by name.
    Interpolate(Template),
    /// Values: `default`, if one was given.
    Property { name: String, default_when_false: bool },
    /// Values: `function`.
    Renderer,
}

#[derive(Debug, Trace, Coerce, ProvidesStaticType, NoSerialize, Allocative)]
#[repr(C)]
pub(crate) struct PlaceholderGen<V> {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub form: Form,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub site: Site,
    pub values: SmallMap<String, V>,
}

starlark_complex_value!(pub(crate) Placeholder);

impl<V> fmt::Display for PlaceholderGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Interpolate(template) => write!(f, "Interpolate({:?})", template.source),
            Form::Property { name, .. } => write!(f, "Property({name:?})"),
            Form::Renderer => write!(f, "renderer(…)"),
        }
    }
}

#[starlark_value(type = "placeholder")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for PlaceholderGen<V> where Self: ProvidesStaticType<'v> {}

impl<'v> Freeze for Placeholder<'v> {
    type Frozen = FrozenPlaceholder;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenPlaceholder> {
        let values = self.values.into_iter().map(|(k, v)| Ok((k, v.freeze(freezer)?))).collect::<FreezeResult<_>>()?;
        Ok(PlaceholderGen { form: self.form, site: self.site, values })
    }
}

impl<'v> Placeholder<'v> {
    pub fn value(&self, name: &str) -> Option<Value<'v>> {
        self.values.get(name).copied()
    }
}
