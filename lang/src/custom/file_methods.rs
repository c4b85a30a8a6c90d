//! Methods of a running step that work on files.

use super::host::FileRequest;
use super::running::{below, failure};
use super::step::step_of;
use super::{command, files};
use crate::values::convert;
use starlark::environment::MethodsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::none::{NoneOr, NoneType};

/// Largest file that `readFile` reads.
const READ_MAX: u64 = 16 << 20;

/// Does a file request of a path below the builder's folder.
fn on_file<'v>(
    step: Value<'v>,
    path: &str,
    request: impl FnOnce(String) -> FileRequest,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<files::Asked> {
    let facts = step_of(step)?.facts.clone();
    let path = below("", path)?;
    files::ask(&facts, &request(path), eval)
}

#[starlark_module]
pub(super) fn file_methods(builder: &mut MethodsBuilder) {
    /// Makes a folder, below the builder's; true if that went well.
    fn runMkdir<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] dir: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<bool> {
        Ok(on_file(this, dir, |path| FileRequest::Mkdir { paths: vec![path] }, eval)?.rc == Some(0))
    }

    /// Removes a folder, below the builder's; true if that went well.
    fn runRmdir<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] dir: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<bool> {
        Ok(on_file(this, dir, |path| FileRequest::Rmdir { paths: vec![path] }, eval)?.rc == Some(0))
    }

    /// Removes a file, below the builder's folder; true if that went well.
    fn runRmFile<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<bool> {
        Ok(on_file(this, path, |path| FileRequest::Remove { path }, eval)?.rc == Some(0))
    }

    /// Whether something is there, below the builder's folder.
    fn pathExists<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<bool> {
        Ok(on_file(this, path, |path| FileRequest::Stat { path }, eval)?.rc == Some(0))
    }

    /// Names that match a pattern, below the builder's folder.
    fn runGlob<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] pattern: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let outcome = on_file(this, pattern, |pattern| FileRequest::Glob { pattern }, eval)?;
        Ok(files::names(&outcome, eval.heap()))
    }

    /// Names in a folder, below the builder's; `None` if it cannot be read.
    fn listdir<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let outcome = on_file(this, path, |path| FileRequest::ListDir { path }, eval)?;
        Ok(files::names(&outcome, eval.heap()))
    }

    /// Status of a file, below the builder's folder: a list as of Python's `os.stat`, see `util.stat`; `None` if it is not there.
    fn stat<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let outcome = on_file(this, path, |path| FileRequest::Stat { path }, eval)?;
        let stat = outcome.updates.get("stat").and_then(|l| l.first());
        Ok(stat.map_or(Value::new_none(), |t| t.alloc(eval.heap())))
    }

    /// Copies a folder, below the builder's; true if that went well.
    fn runCpdir<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] source: &str,
        #[starlark(require = pos)] target: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<bool> {
        let to = below("", target)?;
        Ok(on_file(this, source, |from| FileRequest::Copy { from, to }, eval)?.rc == Some(0))
    }

    /// Text of a file below the step's folder, at most 16 MiB; `None` if it is not there.
    fn readFile<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let path = step_of(this)?.facts.path(path)?;
        let outcome = on_file(this, &path, |path| FileRequest::Read { path, max: READ_MAX }, eval)?;
        match (outcome.rc, outcome.reason) {
            (Some(0), _) => Ok(eval.heap().alloc(outcome.stdout.as_str())),
            (Some(2), _) => Ok(Value::new_none()),
            (_, why) => Err(failure(format!("cannot read {path}: {}", why.unwrap_or_default()))),
        }
    }

    /// Writes a text to a file below the step's folder.
    fn writeFile<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] path: &str,
        #[starlark(require = pos)] content: Value<'v>,
        #[starlark(default = NoneOr::None)] mode: NoneOr<i32>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = step_of(this)?.facts.clone();
        let path = facts.path(path)?;
        let mut trees = command::rendered(&facts, [("content".to_owned(), content)], eval)?;
        let content = trees
            .remove("content")
            .and_then(|t| convert::text(&t))
            .ok_or_else(|| failure("the content must be a text"))?;
        let mode = mode.into_option().and_then(|m| u32::try_from(m).ok());
        let outcome = on_file(this, &path, |path| FileRequest::Write { path, content, mode }, eval)?;
        match outcome.rc {
            Some(0) => Ok(NoneType),
            _ => Err(failure(format!("cannot write {path}: {}", outcome.reason.unwrap_or_default()))),
        }
    }
}
