//! What the language lacks: `util.pad`, `util.re`, `util.hash`, `util.date`,
//! `util.stat`, `util.svn`. No clock and no chance: the same arguments give the same result.

mod date;
mod hash;
mod pad;
mod regex;
mod stat;
mod svn;

use starlark::environment::GlobalsBuilder;

pub(crate) use regex::compile;

pub(crate) fn register(builder: &mut GlobalsBuilder) {
    pad::functions(builder);
    builder.namespace("re", regex::functions);
    builder.namespace("hash", hash::functions);
    builder.namespace("date", date::functions);
    builder.namespace("stat", stat::register);
    builder.namespace("svn", svn::functions);
}

fn error(text: String) -> starlark::Error {
    starlark::Error::new_other(anyhow::anyhow!(text))
}
