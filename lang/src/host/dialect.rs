//! The language: Starlark as Bazel and Buck know it, with what makes a
//! configuration readable (top-level `for` and `if`, f-strings, keyword-only
//! arguments, type annotations) and nothing that reaches outside.

use crate::vocabulary;
use starlark::environment::{Globals, GlobalsBuilder, LibraryExtension};
use starlark::syntax::{Dialect, DialectTypes};
use std::sync::LazyLock;

pub(crate) fn dialect() -> Dialect {
    Dialect {
        enable_f_strings: true,
        enable_types: DialectTypes::Enable,
        enable_keyword_only_arguments: true,
        enable_top_level_stmt: true,
        ..Dialect::Extended
    }
}

/// Names that are ready in every file. Immutable, shared by all evaluations.
pub(crate) fn globals() -> &'static Globals {
    static GLOBALS: LazyLock<Globals> = LazyLock::new(|| {
        let extensions = [
            LibraryExtension::EnumType,
            LibraryExtension::Filter,
            LibraryExtension::Json,
            LibraryExtension::Map,
            LibraryExtension::Partial,
            LibraryExtension::RecordType,
            LibraryExtension::SetType,
            LibraryExtension::StructType,
            LibraryExtension::Typing,
        ];
        let mut builder = GlobalsBuilder::extended_by(&extensions);
        vocabulary::register(&mut builder);
        builder.build()
    });
    &GLOBALS
}
