//! What goes first, and where: `prioritizeBuilders`, `nextBuild`, `nextWorker`,
//! `canStartBuild`, locks of a builder.

use super::host::{NoHost, PolicyHost};
use super::values::{Master, builder, request, request_id, worker};
use super::views::{BuilderView, RequestView, WorkerView};
use super::{LocksRule, Pick, Policies, Verdict};
use crate::definition::LockAccess;
use crate::host::diagnostics::EvalError;
use crate::values::{convert, lock, tree};
use starlark::values::Value;
use starlark::values::list::AllocList;
use std::sync::Arc;

/// Longest reason, in characters.
const SAID_MAX: usize = 500;
/// Longest time that one answer may hold back a request: a day.
const WAIT_MAX: u64 = 86_400;
const VERDICTS: &str = "true or false, or `(False, \"why\")`, or `(False, \"why\", seconds)`";

/// Anything that is true or false, or a tuple of that with a text and seconds; none if it is neither.
fn verdict(answer: Value<'_>) -> Option<Verdict> {
    let no = |said: &str, wait_seconds| {
        let said = said.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
        Verdict::No { said, wait_seconds }
    };
    // An empty list or tuple is false, as everywhere.
    let items = if answer.get_type() == "tuple" { tree::items(answer).unwrap_or_default() } else { &[] };
    match items {
        [] => Some(if answer.to_bool() { Verdict::Yes } else { no("", None) }),
        [first, ..] if first.unpack_bool() == Some(true) => Some(Verdict::Yes),
        [first, said] if first.unpack_bool() == Some(false) => Some(no(said.unpack_str()?, None)),
        [first, said, wait] if first.unpack_bool() == Some(false) => {
            let wait = convert::seconds(&tree::Tree::of(*wait))?;
            let seconds = wait.map(|us| us.div_ceil(1_000_000).min(WAIT_MAX) as u32);
            Some(no(said.unpack_str()?, seconds.filter(|s| *s > 0)))
        }
        _ => None,
    }
}

impl Policies<'_> {
    /// Names of builders in the order in which they get workers; those left out
    /// get none (C-09). None: there is no such policy.
    pub fn prioritize_builders(
        &self,
        builders: &[BuilderView],
        host: &dyn PolicyHost,
    ) -> Result<Option<Vec<String>>, EvalError> {
        let Some(function) = &self.global().prioritize_builders else { return Ok(None) };
        let ordered = function.call(
            &self.limits(),
            host,
            |eval| {
                let heap = eval.heap();
                let list = builders.iter().map(|b| builder(b, heap)).collect::<Vec<_>>();
                vec![heap.alloc(Master), heap.alloc(AllocList(list))]
            },
            |answer, _| {
                let wrong = || function.wrong("a list of the builders it was given", answer);
                let items = tree::items(answer).ok_or_else(wrong)?;
                let mut names: Vec<String> = vec![];
                for item in items {
                    let name = super::values::struct_name(*item).ok_or_else(wrong)?;
                    if !builders.iter().any(|b| b.name == name) {
                        return Err(format!(
                            "`prioritizeBuilders` returned the builder `{name}`, which it was not given"
                        ));
                    }
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                Ok(names)
            },
        )?;
        Ok(Some(ordered))
    }

    /// Which of a builder's waiting requests starts next (C-11).
    pub fn next_build(
        &self,
        view: &BuilderView,
        requests: &[Arc<RequestView>],
        host: &dyn PolicyHost,
    ) -> Result<Pick<i64>, EvalError> {
        let Some(function) = self.builder(&view.name).and_then(|b| b.next_build.as_ref()) else {
            return Ok(Pick::NoPolicy);
        };
        function.call(
            &self.limits(),
            host,
            |eval| {
                let heap = eval.heap();
                let list = requests.iter().map(|r| request(r, heap)).collect::<Vec<_>>();
                vec![builder(view, heap), heap.alloc(AllocList(list))]
            },
            |answer, _| {
                if answer.is_none() {
                    return Ok(Pick::Nothing);
                }
                let id = request_id(answer).or_else(|| answer.unpack_i32().map(i64::from));
                match id.filter(|id| requests.iter().any(|r| r.id == *id)) {
                    Some(id) => Ok(Pick::One(id)),
                    None => Err(function.wrong("one of the requests it was given, or None", answer)),
                }
            },
        )
    }

    /// Which of the free workers builds the request (BU-11).
    pub fn next_worker(
        &self,
        view: &BuilderView,
        workers: &[WorkerView],
        of: Option<&Arc<RequestView>>,
        host: &dyn PolicyHost,
    ) -> Result<Pick<String>, EvalError> {
        let own = self.builder(&view.name).and_then(|b| b.next_worker.as_ref());
        let Some(function) = own.or(self.global().select_next_worker.as_ref()) else { return Ok(Pick::NoPolicy) };
        function.call(
            &self.limits(),
            host,
            |eval| {
                let heap = eval.heap();
                let list = workers.iter().map(|w| worker(w, heap)).collect::<Vec<_>>();
                let of = of.map_or(starlark::values::Value::new_none(), |r| request(r, heap));
                vec![builder(view, heap), heap.alloc(AllocList(list)), of]
            },
            |answer, _| {
                if answer.is_none() {
                    return Ok(Pick::Nothing);
                }
                match super::values::struct_name(answer).filter(|n| workers.iter().any(|w| w.name == *n)) {
                    Some(name) => Ok(Pick::One(name)),
                    None => Err(function.wrong("one of the workers it was given, or None", answer)),
                }
            },
        )
    }

    /// Whether the request may start on the worker now (BU-13); yes without a policy.
    pub fn can_start_build(
        &self,
        view: &BuilderView,
        on: &WorkerView,
        of: &Arc<RequestView>,
        host: &dyn PolicyHost,
    ) -> Result<Verdict, EvalError> {
        let Some(function) = self.builder(&view.name).and_then(|b| b.can_start_build.as_ref()) else {
            return Ok(Verdict::Yes);
        };
        function.call(
            &self.limits(),
            host,
            |eval| {
                let heap = eval.heap();
                vec![builder(view, heap), worker(on, heap), request(of, heap)]
            },
            |answer, _| verdict(answer).ok_or_else(|| function.wrong(VERDICTS, answer)),
        )
    }

    /// Locks that the build would hold (BU-09): those of its builder, by its
    /// function where it has one, and those of the worker's definition (LK-06).
    pub fn builder_locks(
        &self,
        view: &BuilderView,
        on: &WorkerView,
        of: &RequestView,
    ) -> Result<Vec<LockAccess>, EvalError> {
        let mut locks = self.build_locks(view, on, of)?;
        let worker = self.definition().workers.iter().find(|w| w.name == on.name);
        locks.extend(worker.map(|w| w.locks.clone()).unwrap_or_default());
        Ok(locks)
    }

    /// Those of its builder alone.
    pub fn build_locks(
        &self,
        view: &BuilderView,
        on: &WorkerView,
        of: &RequestView,
    ) -> Result<Vec<LockAccess>, EvalError> {
        let definition = self.definition();
        Ok(match self.builder(&view.name).and_then(|b| b.locks.as_ref()) {
            None => {
                let found = definition.builders.iter().find(|b| b.name == view.name);
                found.map(|b| b.locks.clone()).unwrap_or_default()
            }
            Some(LocksRule(function)) => {
                let of = Arc::new(of.clone());
                function.call(
                    &self.limits(),
                    &NoHost,
                    |eval| {
                        let heap = eval.heap();
                        vec![builder(view, heap), worker(on, heap), request(&of, heap)]
                    },
                    |answer, _| {
                        let wrong = || function.wrong("a list of locks with their access", answer);
                        let items = if answer.is_none() { &[] } else { tree::items(answer).ok_or_else(wrong)? };
                        let found: Vec<LockAccess> = lock::accesses(answer).into_iter().map(|(a, _)| a).collect();
                        let known = |a: &LockAccess| definition.locks.iter().any(|l| l.name == a.lock);
                        match found.iter().find(|a| !known(a)) {
                            _ if found.len() != items.len() => Err(wrong()),
                            Some(a) => Err(format!(
                                "the lock `{}` is not known: name it in c[\"locks\"], because locks are rows",
                                a.lock
                            )),
                            None => Ok(found),
                        }
                    },
                )?
            }
        })
    }
}
