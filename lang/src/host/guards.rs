//! Operators with bounds.
//!
//! The interpreter looks at limits between calls and loop turns, so one native
//! that allocates much at once (`"x" * 2000000000`) or compares values with
//! more paths than parts would end the process before it looks. Each file's
//! operators are therefore replaced by these functions, which first look at the
//! size of what would come out. They also make placeholders of operators on
//! placeholders (IN-09).

use super::site::Site;
use crate::values::placeholder::{Form, Operation, Placeholder, PlaceholderGen};
use crate::values::tree;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::syntax::AstModule;
use starlark::values::dict::DictRef;
use starlark::values::structs::StructRef;
use starlark::values::{UnpackValue, Value};
use starlark_syntax::syntax::ast::{AssignOp, AssignTargetP, AstExpr, AstStmt, Expr, StmtP};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Longest text, and most items of a list, that an operator makes.
const TEXT_MAX: usize = 64 << 20;
const ITEMS_MAX: usize = 4 << 20;
/// Most parts of a value that is compared or put into a text, counted along each path.
const PATHS_MAX: usize = 1 << 20;
/// How deep its parts may be in one another: what compares and writes it recurses, on any thread.
const DEPTH_MAX: usize = 500;
/// Most bits that a number is shifted by.
const SHIFT_MAX: i64 = 4096;

const NAMES: [(&str, &str); 16] = [
    ("+", "operator_add"),
    ("-", "operator_subtract"),
    ("*", "operator_multiply"),
    ("/", "operator_divide"),
    ("//", "operator_floor_divide"),
    ("%", "operator_percent"),
    ("&", "operator_bit_and"),
    ("<<", "operator_left_shift"),
    ("==", "operator_equal"),
    ("!=", "operator_not_equal"),
    ("<", "operator_less"),
    ("<=", "operator_less_or_equal"),
    (">", "operator_greater"),
    (">=", "operator_greater_or_equal"),
    ("in", "operator_in"),
    ("not in", "operator_not_in"),
];

/// Whether a frame of a traceback is one of these functions: people wrote an operator.
pub(crate) fn is_guard(name: &str) -> bool {
    name.starts_with("operator_")
}

/// Makes the functions known.
pub(crate) fn register(builder: &mut GlobalsBuilder) {
    super::operators::operators(builder);
    super::bounded::register(builder);
}

/// Puts the guards in.
pub(crate) fn install(ast: &mut AstModule) {
    static MAP: LazyLock<HashMap<String, String>> =
        LazyLock::new(|| NAMES.iter().map(|(sign, name)| ((*sign).to_owned(), (*name).to_owned())).collect());
    ast.replace_binary_operators(&MAP);
}

/// An assignment with an operator that could not be bounded: its place, and what to write instead.
pub(crate) fn unguarded(ast: &AstModule) -> Option<(starlark::codemap::FileSpan, String)> {
    find(ast.statement()).map(|(stmt, text)| (ast.file_span(stmt.span), text))
}

fn find(stmt: &AstStmt) -> Option<(&AstStmt, String)> {
    if let StmtP::AssignModify(target, op, value) = &stmt.node {
        let own = match &target.node {
            AssignTargetP::Identifier(name) => Some(name.ident.as_str()),
            _ => None,
        };
        let name = own.unwrap_or("x");
        let sign = match op {
            AssignOp::Multiply => Some("*"),
            AssignOp::Percent => Some("%"),
            AssignOp::LeftShift => Some("<<"),
            AssignOp::Add if own.is_some_and(|own| mentions(value, own)) => Some("+"),
            _ => None,
        };
        return sign.map(|sign| (stmt, format!("write {name} = {name} {sign} …")));
    }
    let mut found = None;
    stmt.visit_stmt(|inner| found = found.take().or_else(|| find(inner)));
    found
}

fn mentions(expr: &AstExpr, name: &str) -> bool {
    if matches!(&expr.node, Expr::Identifier(i) if i.node.ident == name) {
        return true;
    }
    let mut found = false;
    expr.visit_expr(|inner| found = found || mentions(inner, name));
    found
}

fn too_large(what: &str) -> starlark::Error {
    starlark::Error::new_other(anyhow::anyhow!("{what} would be too large"))
}

fn is_placeholder(value: Value<'_>) -> bool {
    Placeholder::from_value(value).is_some()
}

/// A placeholder for the operator, if an operand is one.
fn deferred<'v>(op: Operation, a: Value<'v>, b: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> Option<Value<'v>> {
    if !is_placeholder(a) && !is_placeholder(b) {
        return None;
    }
    let values = [("0".to_owned(), a), ("1".to_owned(), b)].into_iter().collect();
    let form = Form::Operator(op);
    Some(eval.heap().alloc(PlaceholderGen { form, site: Site::of(eval), values }))
}

/// Why a value is neither compared nor put into a text.
#[derive(PartialEq)]
enum Bad {
    Large,
    Deep,
}

/// Counts the parts of a value along each path, and how deep they are.
fn measure(value: Value<'_>) -> Result<(), Bad> {
    let mut count = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        count += 1 + value.unpack_str().map_or(0, |s| s.len() / 64);
        if count > PATHS_MAX {
            return Err(Bad::Large);
        }
        if depth > DEPTH_MAX {
            return Err(Bad::Deep);
        }
        if let Some(items) = tree::items(value) {
            count += items.len() / 8;
            open.extend(items.iter().map(|item| (*item, depth + 1)));
        } else if let Some(dict) = DictRef::from_value(value) {
            open.extend(dict.iter().flat_map(|(k, v)| [(k, depth + 1), (v, depth + 1)]));
        } else if let Some(fields) = StructRef::from_value(value) {
            open.extend(fields.iter().map(|(_, v)| (v, depth + 1)));
        }
    }
    Ok(())
}

fn composed(value: Value<'_>) -> bool {
    tree::items(value).is_some() || DictRef::from_value(value).is_some() || StructRef::from_value(value).is_some()
}

pub(crate) fn check_paths(value: Value<'_>, what: &str) -> starlark::Result<()> {
    match composed(value).then(|| measure(value)) {
        None | Some(Ok(())) => Ok(()),
        Some(Err(Bad::Large)) => Err(too_large(what)),
        Some(Err(Bad::Deep)) => {
            Err(starlark::Error::new_other(anyhow::anyhow!("{what} is nested more than {DEPTH_MAX} deep")))
        }
    }
}

fn compared<'v>(a: Value<'v>, b: Value<'v>) -> starlark::Result<()> {
    // Where one is simple, comparing is quick whatever the other is.
    if composed(a) && composed(b) {
        check_paths(a, "what is compared")?;
        check_paths(b, "what is compared")?;
    }
    Ok(())
}

fn add<'v>(a: Value<'v>, b: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    if let (Some(x), Some(y)) = (a.unpack_str(), b.unpack_str())
        && x.len() + y.len() > TEXT_MAX
    {
        return Err(too_large("the text"));
    }
    if let (Some(x), Some(y)) = (tree::items(a), tree::items(b))
        && x.len() + y.len() > ITEMS_MAX
    {
        return Err(too_large("the list"));
    }
    a.add(b, eval.heap())
}

fn multiply<'v>(a: Value<'v>, b: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    let number = |v: Value<'v>| i64::unpack_value(v).ok().flatten();
    let is_int = |v: Value<'v>| v.get_type() == "int";
    for (what, times) in [(a, b), (b, a)] {
        let times = number(times).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
        if let Some(text) = what.unpack_str()
            && text.len().saturating_mul(times) > TEXT_MAX
        {
            return Err(too_large("the text"));
        }
        if let Some(items) = tree::items(what)
            && items.len().saturating_mul(times) > ITEMS_MAX
        {
            return Err(too_large("the list"));
        }
    }
    if is_int(a) && is_int(b) && number(a).is_none() && number(b).is_none() {
        return Err(too_large("the number"));
    }
    a.mul(b, eval.heap())
}

fn percent<'v>(a: Value<'v>, b: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    if let Some(template) = a.unpack_str() {
        check_paths(b, "the text")?;
        if template.len() > TEXT_MAX / 2 {
            return Err(too_large("the text"));
        }
    }
    a.percent(b, eval.heap())
}

pub(super) fn left_shift<'v>(a: Value<'v>, b: Value<'v>, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    if i64::unpack_value(b).ok().flatten().is_none_or(|n| n > SHIFT_MAX) {
        return Err(too_large("the number"));
    }
    a.left_shift(b, eval.heap())
}

/// The operator on values without placeholders.
pub(crate) fn apply<'v>(
    op: Operation,
    a: Value<'v>,
    b: Value<'v>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let heap = eval.heap();
    let ordered = |test: fn(Ordering) -> bool| {
        compared(a, b)?;
        Ok(Value::new_bool(test(a.compare(b)?)))
    };
    match op {
        Operation::Add => add(a, b, eval),
        Operation::Subtract => a.sub(b, heap),
        Operation::Multiply => multiply(a, b, eval),
        Operation::Divide => a.div(b, heap),
        Operation::FloorDivide => a.floor_div(b, heap),
        Operation::Percent => percent(a, b, eval),
        Operation::BitAnd => a.bit_and(b, heap),
        Operation::Equal => {
            compared(a, b)?;
            Ok(Value::new_bool(a.equals(b)?))
        }
        Operation::NotEqual => {
            compared(a, b)?;
            Ok(Value::new_bool(!a.equals(b)?))
        }
        Operation::Less => ordered(Ordering::is_lt),
        Operation::LessOrEqual => ordered(Ordering::is_le),
        Operation::Greater => ordered(Ordering::is_gt),
        Operation::GreaterOrEqual => ordered(Ordering::is_ge),
        Operation::In => {
            check_paths(a, "what is looked for")?;
            Ok(Value::new_bool(b.is_in(a)?))
        }
        Operation::NotIn => {
            check_paths(a, "what is looked for")?;
            Ok(Value::new_bool(!b.is_in(a)?))
        }
    }
}

#[inline]
pub(super) fn guard<'v>(
    op: Operation,
    a: Value<'v>,
    b: Value<'v>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    match deferred(op, a, b, eval) {
        Some(placeholder) => Ok(placeholder),
        None => apply(op, a, b, eval),
    }
}
