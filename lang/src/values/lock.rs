//! Locks and how they are held, read from descriptors.

use super::convert::{counts, positive, text};
use super::descriptor::{Descriptor, DescriptorGen};
use super::spec::{Kind, Param, Spec, Type, required};
use super::tree::{self, Tree};
use crate::definition::{AccessMode, LockAccess, LockDef, LockKind};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use starlark::collections::SmallMap;
use starlark::eval::Evaluator;
use starlark::values::Value;

const ANYTHING: Type = Type { expected: "a value", placeholder: true, fits: |_| true };
const PARAMS: &[Param] =
    &[required("lock", ANYTHING, ""), required("mode", ANYTHING, ""), required("count", ANYTHING, "")];

/// What `lock.access(…)` gives.
static ACCESS: Spec = Spec {
    name: "lock.access",
    kind: Kind::LockAccess,
    params: &[PARAMS],
    positional: 0,
    doc: "How somebody holds a lock.",
    example: "",
};

pub(super) fn access<'v>(
    lock: Value<'v>,
    mode: &str,
    count: i32,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let refuse = |message: String| Err(starlark::Error::new_other(anyhow::anyhow!(message)));
    match (mode, count) {
        ("counting", 0..) | ("exclusive", 1) => {}
        ("counting", _) => return refuse(format!("the count of access() must be 0 or more, got {count}")),
        ("exclusive", _) => return refuse("an exclusive access has no count: it excludes all others".into()),
        _ => return refuse(format!("the mode of access() must be \"counting\" or \"exclusive\", got {mode:?}")),
    }
    let heap = eval.heap();
    let args: SmallMap<String, Value<'v>> = [("lock", lock), ("mode", heap.alloc(mode)), ("count", heap.alloc(count))]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    Ok(heap.alloc(DescriptorGen { spec: &ACCESS, site: Site::of(eval), rule: vec![], args, refused: vec![] }))
}

/// The accesses of a descriptor's argument `locks`, with a warning where more is asked for than there is.
pub(crate) fn held(of: &Descriptor<'_>, collector: &Collector) -> Vec<(LockAccess, Option<LockDef>)> {
    let held = of.arg("locks").map(accesses).unwrap_or_default();
    for (access, lock) in &held {
        let Some(lock) = lock else { continue };
        let most = lock.max_count_for_worker.values().copied().max().unwrap_or(0).max(lock.max_count);
        if access.count > most {
            let message = format!(
                "{} units of the lock `{}` are more than the {most} that there are: all of them are taken",
                access.count, lock.name
            );
            collector.report(of.site.place_argument("locks", Diagnostic::warning(message)));
        }
    }
    held
}

/// The accesses of a checked list, each with its lock. A lock alone is held exclusively.
pub(crate) fn accesses(value: Value<'_>) -> Vec<(LockAccess, Option<LockDef>)> {
    tree::items(value).unwrap_or_default().iter().filter_map(|v| one(*v)).collect()
}

fn one(value: Value<'_>) -> Option<(LockAccess, Option<LockDef>)> {
    let descriptor = Descriptor::from_value(value)?;
    if descriptor.kind() == Kind::Lock {
        let lock = definition(descriptor)?;
        return Some((LockAccess { lock: lock.name.clone(), mode: AccessMode::Exclusive, count: 1 }, Some(lock)));
    }
    let lock = definition(Descriptor::from_value(descriptor.arg("lock")?)?)?;
    let mode = match descriptor.arg("mode")?.unpack_str()? {
        "exclusive" => AccessMode::Exclusive,
        _ => AccessMode::Counting,
    };
    let count = u32::try_from(descriptor.arg("count")?.unpack_i32()?).ok()?;
    Some((LockAccess { lock: lock.name.clone(), mode, count }, Some(lock)))
}

/// A lock.
pub(crate) fn lock(value: Value<'_>) -> Option<LockDef> {
    definition(Descriptor::from_value(value)?)
}

fn definition(lock: &Descriptor<'_>) -> Option<LockDef> {
    let read = |name: &str| lock.arg(name).map(Tree::of);
    let count = read("maxCount").and_then(|t| positive(&t)).flatten().unwrap_or(1);
    Some(LockDef {
        name: text(&read("name")?)?,
        kind: if lock.spec.short() == "WorkerLock" { LockKind::Worker } else { LockKind::Master },
        max_count: u32::try_from(count).unwrap_or(u32::MAX),
        max_count_for_worker: read("maxCountForWorker").and_then(|t| counts(&t)).unwrap_or_default(),
        location: lock.site.location(),
    })
}
