//! Values that only a build has: `util.Interpolate`, `util.Property` and
//! `util.renderer`. They are resolved just before a step starts, see
//! [`crate::render`].

use super::interpolate::Template;
use crate::host::site::Site;
use crate::host::stack::nested;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::{Arguments, Evaluator};
use starlark::values::tuple::UnpackTuple;
use starlark::values::{
    Freeze, FreezeResult, Freezer, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};
use starlark::{starlark_complex_value, starlark_module};
use std::fmt;

#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Values: `%s` arguments as `0`, `1` …, and keywords by name. Strict: a
    /// missing value is an error.
    Interpolate {
        template: Template,
        strict: bool,
    },
    /// Values: `default`, if one was given.
    Property {
        name: String,
        default_when_false: bool,
    },
    /// Values: the function under [`FUNCTION`], further arguments as `0`, `1` …, and keywords by name.
    Renderer,
    /// The same; the function does not get the properties first.
    Transform,
    /// Values: `0`.
    FlattenList,
    Secret {
        name: String,
    },
    UrlForBuild,
    /// A binary operator on `0` and `1`.
    Operator(Operation),
}

/// Where [`Form::Renderer`] and [`Form::Transform`] keep their function; no keyword can be so named.
pub(crate) const FUNCTION: &str = "function()";

/// Operators that work on placeholders when these are rendered (IN-09).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    BitAnd,
    Divide,
    Equal,
    FloorDivide,
    Greater,
    GreaterOrEqual,
    In,
    Less,
    LessOrEqual,
    Multiply,
    NotEqual,
    NotIn,
    Percent,
    Subtract,
}

impl Operation {
    pub fn sign(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::BitAnd => "&",
            Operation::Divide => "/",
            Operation::Equal => "==",
            Operation::FloorDivide => "//",
            Operation::Greater => ">",
            Operation::GreaterOrEqual => ">=",
            Operation::In => "in",
            Operation::Less => "<",
            Operation::LessOrEqual => "<=",
            Operation::Multiply => "*",
            Operation::NotEqual => "!=",
            Operation::NotIn => "not in",
            Operation::Percent => "%",
            Operation::Subtract => "-",
        }
    }
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

impl<V: fmt::Display> fmt::Display for PlaceholderGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |name: &str| self.values.get(name).map(|v| v.to_string()).unwrap_or_default();
        match &self.form {
            Form::Interpolate { template, .. } => write!(f, "Interpolate({:?})", template.source),
            Form::Property { name, .. } => write!(f, "Property({name:?})"),
            Form::Renderer => write!(f, "renderer({})", show(FUNCTION)),
            Form::Transform => write!(f, "Transform({})", show(FUNCTION)),
            Form::FlattenList => write!(f, "FlattenList({})", show("0")),
            Form::Secret { name } => write!(f, "Secret({name:?})"),
            Form::UrlForBuild => write!(f, "URLForBuild"),
            Form::Operator(operation) => write!(f, "{} {} {}", show("0"), operation.sign(), show("1")),
        }
    }
}

#[starlark_value(type = "placeholder")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for PlaceholderGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    fn get_methods() -> Option<&'static Methods> {
        Some(PLACEHOLDER_METHODS.methods())
    }

    /// `util.URLForBuild()`: with brackets it is the same.
    fn invoke(
        &self,
        me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let Some(placeholder) = Placeholder::from_value(me) else { return Ok(me) };
        match placeholder.form {
            Form::UrlForBuild => Ok(me),
            // As what Buildbot's decorator leaves is: a function of further arguments.
            Form::Renderer => Ok(eval.heap().alloc(placeholder.with(args, eval)?)),
            _ => Err(starlark::Error::new_other(anyhow::anyhow!("a placeholder is a value and cannot be called"))),
        }
    }
}

#[starlark_module]
fn placeholder_methods(builder: &mut MethodsBuilder) {
    /// A renderer with further arguments for its function.
    fn withArgs<'v>(
        this: Value<'v>,
        #[starlark(args)] positional: UnpackTuple<Value<'v>>,
        #[starlark(kwargs)] named: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        match Placeholder::from_value(this).filter(|p| matches!(p.form, Form::Renderer)) {
            Some(placeholder) => Ok(eval.heap().alloc(placeholder.extended(positional.items, named))),
            None => Err(starlark::Error::new_other(anyhow::anyhow!("only a util.renderer has withArgs"))),
        }
    }
}

starlark::methods_static!(PLACEHOLDER_METHODS = placeholder_methods);

impl<'v> Freeze for Placeholder<'v> {
    type Frozen = FrozenPlaceholder;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenPlaceholder> {
        nested(|| {
            let kept = self.values.into_iter().map(|(k, v)| Ok((k, v.freeze(freezer)?)));
            let values = kept.collect::<FreezeResult<_>>()?;
            Ok(PlaceholderGen { form: self.form, site: self.site, values })
        })
    }
}

impl<'v> Placeholder<'v> {
    pub fn value(&self, name: &str) -> Option<Value<'v>> {
        self.values.get(name).copied()
    }

    /// Arguments without a name, in order.
    pub fn positional(&self) -> Vec<Value<'v>> {
        (0..).map_while(|i: usize| self.value(&i.to_string())).collect()
    }

    /// Arguments with a name.
    pub fn named(&self) -> Vec<(&str, Value<'v>)> {
        let keyword = |n: &&String| *n != FUNCTION && n.parse::<usize>().is_err();
        self.values.iter().filter(|(n, _)| keyword(n)).map(|(n, v)| (n.as_str(), *v)).collect()
    }

    fn with(&self, args: &Arguments<'v, '_>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Placeholder<'v>> {
        let positional = args.positions(eval.heap())?.collect();
        let named = args.names_map()?.into_iter().map(|(n, v)| (n.as_str().to_owned(), v)).collect();
        Ok(self.extended(positional, named))
    }

    fn extended(&self, positional: Vec<Value<'v>>, named: SmallMap<String, Value<'v>>) -> Placeholder<'v> {
        let mut values = self.values.clone();
        let already = self.positional().len();
        values.extend(positional.into_iter().enumerate().map(|(i, v)| ((already + i).to_string(), v)));
        values.extend(named);
        PlaceholderGen { form: self.form.clone(), site: self.site.clone(), values }
    }
}
