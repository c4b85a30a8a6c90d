//! `util.pad`: what formats such as `%05d` do elsewhere.

use super::error;
use crate::values::tree::Tree;
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;
use starlark::values::Value;

/// Widest column.
const WIDTH_MAX: i32 = 10_000;

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// A text or number, filled up to a width: `util.pad(7, 3, "0")` is `"007"`.
    /// Texts are filled at the right and numbers at the left, unless `align` is `"left"` or `"right"`
    /// (or `"center"`) and says where the value stands.
    fn pad<'v>(
        #[starlark(require = pos)] value: Value<'v>,
        width: i32,
        #[starlark(default = " ")] fill: &str,
        #[starlark(default = "")] align: &str,
    ) -> starlark::Result<String> {
        let tree = Tree::of(value);
        let number = matches!(tree, Tree::Int(_) | Tree::Float(_));
        let text = tree.printed();
        let mut chars = fill.chars();
        let (Some(fill), None) = (chars.next(), chars.next()) else {
            return Err(error(format!("`fill` of util.pad must be one character, got {fill:?}")));
        };
        if !(0..=WIDTH_MAX).contains(&width) {
            return Err(error(format!("`width` of util.pad must be between 0 and {WIDTH_MAX}, got {width}")));
        }
        let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
        let run = |n: usize| fill.to_string().repeat(n);
        Ok(match align {
            "left" => text + &run(missing),
            "right" => run(missing) + &text,
            "center" => run(missing / 2) + &text + &run(missing - missing / 2),
            // The sign stays before the zeros.
            "" if number && fill == '0' && text.starts_with('-') => format!("-{}{}", run(missing), &text[1..]),
            "" if number => run(missing) + &text,
            "" => text + &run(missing),
            other => {
                return Err(error(format!(
                    "`align` of util.pad must be \"left\", \"right\" or \"center\", got {other:?}"
                )));
            }
        })
    }
}
