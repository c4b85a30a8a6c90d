//! Functions of the language that could make too much at once, with bounds.

use super::guards::check_paths;
use starlark::environment::{Globals, GlobalsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::string::StarlarkStr;
use starlark::values::tuple::UnpackTuple;
use starlark::values::{StringValue, Value};
use std::sync::LazyLock;

/// Longest range: a list of it takes 400 MB.
const RANGE_MAX: i64 = 50_000_000;

pub(super) fn register(builder: &mut GlobalsBuilder) {
    functions(builder);
    builder.namespace("json", json);
}

/// The language's own functions, behind the bounds.
fn original<'v>(name: &str) -> Value<'v> {
    static GLOBALS: LazyLock<Globals> = LazyLock::new(Globals::standard);
    let found = GLOBALS.iter().find(|(n, _)| *n == name);
    found.expect("the language has it").1.to_value()
}

#[starlark_module]
fn functions(builder: &mut GlobalsBuilder) {
    /// The numbers from `start` (0 if not given) to before `stop`, by steps.
    fn range<'v>(
        #[starlark(require = pos)] first: i32,
        #[starlark(require = pos)] second: Option<i32>,
        #[starlark(require = pos)] step: Option<i32>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let (start, stop) = second.map_or((0, first), |stop| (first, stop));
        let step = step.unwrap_or(1);
        let length = (i64::from(stop) - i64::from(start)).checked_div(step.into()).unwrap_or(0);
        if length > RANGE_MAX {
            let text = format!("a range of {length} numbers is too long: the most is {RANGE_MAX}");
            return Err(starlark::Error::new_other(anyhow::anyhow!(text)));
        }
        let args = [start, stop, step].map(|n| eval.heap().alloc(n));
        eval.eval_function(original("range"), &args, &[])
    }

    /// The value as text.
    #[starlark(as_type = StarlarkStr)]
    fn str<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<StringValue<'v>> {
        if let Some(text) = StringValue::new(value) {
            return Ok(text);
        }
        check_paths(value, "the text")?;
        Ok(eval.heap().alloc_str(&value.to_str()))
    }

    /// Ends the evaluation with an error of these words.
    fn fail<'v>(
        #[starlark(args)] words: UnpackTuple<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        for word in &words.items {
            check_paths(*word, "the error")?;
        }
        eval.eval_function(original("fail"), &words.items, &[])
    }

    /// The value as Python writes it.
    fn repr<'v>(#[starlark(require = pos)] value: Value<'v>) -> starlark::Result<String> {
        check_paths(value, "the text")?;
        Ok(value.to_repr())
    }
}

#[starlark_module]
fn json(builder: &mut GlobalsBuilder) {
    /// The value as JSON.
    fn encode<'v>(#[starlark(require = pos)] value: Value<'v>) -> starlark::Result<String> {
        check_paths(value, "the text")?;
        Ok(value.to_json()?)
    }

    /// The value that a JSON text stands for; `default`, if one is given, where it is no JSON.
    fn decode<'v>(
        #[starlark(require = pos)] text: &str,
        default: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        match (serde_json::from_str::<serde_json::Value>(text), default) {
            (Ok(json), _) => Ok(eval.heap().alloc(json)),
            (Err(_), Some(default)) => Ok(default),
            (Err(error), None) => Err(starlark::Error::new_other(anyhow::anyhow!("this is no JSON: {error}"))),
        }
    }
}
