//! Bounds of an evaluation or call, always set.
//!
//! They stop loops, recursion and growth that people write by accident, and are
//! checked every thousand calls or loop turns. Between these, operators bound
//! what they make (see [`super::guards`]). A stranger who tries may still grow
//! by methods of texts, so files are first evaluated in a child process with a
//! bounded address space.

use starlark::any::AnyLifetime;
use starlark::environment::Module;
use starlark::eval::Evaluator;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls and loop turns.
    pub ticks: u64,
    /// Bytes of Starlark values.
    pub heap_bytes: usize,
    /// Time on the wall.
    pub time: Duration,
    /// Depth of calls; at most 1000, which fits the stack of any thread.
    pub callstack: usize,
}

impl Default for Limits {
    /// For a project file: far above what real ones need.
    fn default() -> Self {
        Limits { ticks: 20_000_000, heap_bytes: 256 << 20, time: Duration::from_secs(10), callstack: 200 }
    }
}

/// 3000 frames fit 2 MiB, and 10,000 abort the process: stay well below.
const CALLSTACK_MAX: usize = 1000;

impl Limits {
    pub(crate) fn deadline(&self) -> Instant {
        // A time too large to add is no limit in practice.
        Instant::now().checked_add(self.time).unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400))
    }

    /// Sets all limits on a new evaluator.
    pub(crate) fn apply(&self, eval: &mut Evaluator<'_, '_, '_>, deadline: Instant) {
        let fresh = "a new evaluator has no limits, and these are not zero";
        eval.set_max_tick_count(self.ticks.max(1)).expect(fresh);
        eval.set_max_heap_size(self.heap_bytes.max(1)).expect(fresh);
        eval.set_max_callstack_size(self.callstack.clamp(1, CALLSTACK_MAX)).expect(fresh);
        eval.set_check_cancelled(Box::new(move || Instant::now() > deadline));
    }

    /// For a policy on a master: a window of requests, not a computation.
    pub fn policy() -> Limits {
        Limits { ticks: 1_000_000, heap_bytes: 64 << 20, time: Duration::from_secs(1), callstack: 100 }
    }

    /// For a step function, which may take hours: bounded in memory and depth.
    /// Time and loops end with the build's own limits.
    pub fn step() -> Limits {
        Limits {
            ticks: u64::MAX,
            heap_bytes: 512 << 20,
            time: Duration::from_secs(u64::from(u32::MAX)),
            callstack: 200,
        }
    }

    /// As [`Limits::apply`], ended by a word from outside instead of by time.
    pub(crate) fn apply_until<'a>(&self, eval: &mut Evaluator<'_, 'a, '_>, ended: impl Fn() -> bool + 'a) {
        self.apply(eval, self.deadline());
        eval.set_check_cancelled(Box::new(ended));
    }

    /// Runs `f` with an evaluator of its own, until `ended` says so, with
    /// something for natives to reach.
    pub(crate) fn run_until<'x, T: AnyLifetime<'x>, R>(
        &self,
        extra: &T,
        ended: impl Fn() -> bool,
        f: impl for<'v, 'a> FnOnce(&mut Evaluator<'v, 'a, 'x>) -> R,
    ) -> R {
        Module::with_temp_heap(|module| {
            let mut eval = Evaluator::new(&module);
            self.apply_until(&mut eval, &ended);
            eval.extra = Some(extra);
            f(&mut eval)
        })
    }

    /// The same, with something for natives to reach.
    pub(crate) fn run_with<'x, T: AnyLifetime<'x>, R>(
        &self,
        extra: &T,
        f: impl for<'v, 'a> FnOnce(&mut Evaluator<'v, 'a, 'x>) -> R,
    ) -> R {
        Module::with_temp_heap(|module| {
            let mut eval = Evaluator::new(&module);
            self.apply(&mut eval, self.deadline());
            eval.extra = Some(extra);
            f(&mut eval)
        })
    }

    /// Runs `f` with an evaluator of its own under these limits.
    pub(crate) fn run<R>(&self, f: impl for<'v, 'a, 'e> FnOnce(&mut Evaluator<'v, 'a, 'e>) -> R) -> R {
        Module::with_temp_heap(|module| {
            let mut eval = Evaluator::new(&module);
            self.apply(&mut eval, self.deadline());
            f(&mut eval)
        })
    }
}
