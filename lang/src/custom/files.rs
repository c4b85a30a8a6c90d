//! Commands on files: `stat`, `listdir`, `glob`, `mkdir`, `rmdir`, `cpdir`, `rmfile`.
//! Paths are below the builder's folder, as in Buildbot.

use super::command::{CommandValue, Outcome};
use super::host::{FileFault, FileReply, FileRequest};
use super::running::{Facts, below, failure, running};
use crate::values::convert;
use crate::values::tree::Tree;
use starlark::eval::Evaluator;
use starlark::values::{Heap, Value};
use std::collections::BTreeMap;

/// A file command of a step; fills in its outcome.
pub(super) fn run<'v>(
    facts: &Facts,
    command: &CommandValue<'v>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<()> {
    let request = request(&command.name, &command.args)?;
    let outcome = ask(facts, &request, eval)?;
    *command.outcome.borrow_mut() = outcome;
    Ok(())
}

pub(super) type Asked = Outcome;

/// The names that came; `None` where none could be read.
pub(super) fn names<'v>(outcome: &Outcome, heap: Heap<'v>) -> Value<'v> {
    let files = outcome.updates.get("files").and_then(|l| l.first());
    files.map_or(Value::new_none(), |t| t.alloc(heap))
}

/// One request and what came of it, with exit code 0 or the system's error number.
pub(super) fn ask(facts: &Facts, request: &FileRequest, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<Outcome> {
    let host = running(eval)?.host;
    let reply = host.file(request).map_err(|e| facts.told(e))?;
    let mut updates = BTreeMap::new();
    let mut reason = None;
    let mut stdout = String::new();
    let rc = match reply {
        FileReply::Done => 0,
        FileReply::Stat(stat) => {
            let int = |i: i64| Tree::Int(i);
            let mtime = Tree::Float(stat.mtime_us as f64 / 1e6);
            let size = i64::try_from(stat.size).unwrap_or(i64::MAX);
            // Python's order: mode, inode, device, links, user, group, size, times.
            let fields = vec![
                int(stat.mode.into()),
                int(0),
                int(0),
                int(1),
                int(0),
                int(0),
                int(size),
                mtime.clone(),
                mtime.clone(),
                mtime,
            ];
            updates.insert("stat".to_owned(), vec![Tree::List(fields)]);
            0
        }
        FileReply::Names(names) => {
            let names = names.into_iter().map(Tree::Text).collect();
            updates.insert("files".to_owned(), vec![Tree::List(names)]);
            0
        }
        FileReply::Content(bytes) => {
            stdout = String::from_utf8_lossy(&bytes).into_owned();
            0
        }
        FileReply::Variables(all) => {
            let all = all.into_iter().map(|(k, v)| (Tree::Text(k), Tree::Text(v))).collect();
            updates.insert("environ".to_owned(), vec![Tree::Dict(all)]);
            0
        }
        FileReply::Fault(fault, text) => {
            reason = Some(text);
            match fault {
                FileFault::NotFound => 2,
                FileFault::NotADirectory => 20,
                FileFault::Refused => 13,
                FileFault::TooLarge => 27,
                FileFault::Other => 1,
            }
        }
    };
    updates.insert("rc".to_owned(), vec![Tree::Int(rc.into())]);
    Ok(Outcome { rc: Some(rc), reason, stdout, stderr: String::new(), updates })
}

fn request(name: &str, args: &BTreeMap<String, Tree>) -> starlark::Result<FileRequest> {
    let base = args.get("workdir").and_then(convert::text).unwrap_or_default();
    let given = |keys: &[&str]| keys.iter().find_map(|k| args.get(*k));
    let path = |keys: &[&str]| {
        let tree =
            given(keys).ok_or_else(|| failure(format!("the command `{name}` needs the argument `{}`", keys[0])))?;
        let text = convert::text(tree).ok_or_else(|| {
            failure(format!("`{}` of the command `{name}` must be a path, got {}", keys[0], tree.describe()))
        })?;
        below(&base, &text)
    };
    let paths = |keys: &[&str]| match given(keys) {
        Some(Tree::List(items)) => {
            let texts = items.iter().map(convert::text).collect::<Option<Vec<_>>>();
            let texts = texts.ok_or_else(|| failure(format!("`{}` of the command `{name}` must be paths", keys[0])))?;
            texts.iter().map(|t| below(&base, t)).collect()
        }
        _ => path(keys).map(|p| vec![p]),
    };
    Ok(match name {
        "stat" => FileRequest::Stat { path: path(&["file", "path"])? },
        "listdir" => FileRequest::ListDir { path: path(&["dir", "path"])? },
        "glob" => FileRequest::Glob { pattern: path(&["path", "glob", "pattern"])? },
        "mkdir" => FileRequest::Mkdir { paths: paths(&["dir", "paths"])? },
        "rmdir" => FileRequest::Rmdir { paths: paths(&["dir", "paths"])? },
        "cpdir" => FileRequest::Copy { from: path(&["fromdir", "from"])?, to: path(&["todir", "to"])? },
        "rmfile" => FileRequest::Remove { path: path(&["path", "file"])? },
        other => {
            let known = ["shell", "stat", "listdir", "glob", "mkdir", "rmdir", "cpdir", "rmfile"];
            return Err(failure(format!("workers have no command `{other}`; there are {}", known.join(", "))));
        }
    })
}
