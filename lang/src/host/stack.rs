//! Stack for what recurses. The parser, the compiler and lint go as deep as a
//! text is nested, and keeping a module's values goes as deep as those are. A
//! stack that is used up ends the whole process, whoever wrote the text: so what
//! recurses runs where there is enough of it, and what could need more is an
//! error. [`super::nesting`] bounds the texts.

use starlark::values::{FreezeError, FreezeResult, Heap};
use std::cell::Cell;
use std::thread;

/// Of the threads that read, evaluate and run steps. Only pages that are touched are used.
pub const STACK: usize = 256 << 20;

/// What keeping may use of it: the rest is for what was called before.
const KEEPING: usize = STACK - (32 << 20);

/// Bytes that keeping one value takes for what it holds, without optimisation
/// (measured): of lists, tuples, dicts and structs, functions and all else.
const LIST: usize = 260;
const TUPLE: usize = 420;
const DICT: usize = 680;
const OTHER: usize = 1900;

/// Values of ours in one another; each takes a few KiB.
const OWN_MAX: usize = 2000;

/// Runs something on a thread with room for the deepest text that is read.
///
/// # Errors
/// Why there is no such thread, or that `f` panicked.
pub(crate) fn deep<R: Send>(f: impl FnOnce() -> R + Send) -> Result<R, String> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("evaluate".into()).stack_size(STACK).spawn_scoped(scope, f);
        let handle = spawned.map_err(|error| error.to_string())?;
        handle.join().map_err(|_| "this is a fault in Tidemill, please report it".to_owned())
    })
}

/// Whether the values of a heap can be kept on the stack of [`deep`], however they hold each
/// other: in the worst case each is in the next.
pub(crate) fn may_be_kept(heap: Heap<'_>) -> Result<(), starlark::Error> {
    let summary = heap.allocated_summary().summary();
    let needed: usize = summary.iter().map(|(kind, (count, _))| count.saturating_mul(weight(kind))).sum();
    if needed <= KEEPING {
        return Ok(());
    }
    let message = "the file makes too many lists, dicts or functions to be kept, or nests them too deep";
    Err(starlark::Error::new_other(anyhow::anyhow!(message)))
}

fn weight(kind: &str) -> usize {
    match kind {
        // They hold nothing, or bound their depth themselves.
        "string" | "int" | "bigint" | "float" | "bool" | "NoneType" | "range" => 0,
        "descriptor" | "placeholder" | "custom_step" | "BuildFactory" | "constructor" => 0,
        "list" => LIST,
        "tuple" => TUPLE,
        "dict" | "struct" | "set" => DICT,
        // Of a list and of a function, which count for it.
        "array" | "value_captured" => 0,
        _ => OTHER,
    }
}

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// Keeps what a value of ours holds.
pub(crate) fn nested<R>(keep: impl FnOnce() -> FreezeResult<R>) -> FreezeResult<R> {
    let depth = OWN.get();
    if depth >= OWN_MAX {
        return Err(FreezeError::new("its values are nested too deep".to_owned()));
    }
    OWN.set(depth + 1);
    let kept = keep();
    OWN.set(depth);
    kept
}
