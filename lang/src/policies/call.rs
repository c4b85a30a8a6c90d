//! One call of a policy function.

use super::host::{PolicyHost, PollHost};
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::host::site::Site;
use crate::values::descriptor::Descriptor;
use crate::values::tree::Tree;
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;
use starlark::values::{OwnedFrozenValue, Value};
use std::cell::Cell;

/// A function of the project, and where it was given.
pub(crate) struct Function {
    function: OwnedFrozenValue,
    site: Site,
    argument: String,
}

/// What natives of policies reach through `eval.extra`.
#[derive(ProvidesStaticType)]
pub(super) struct Asking<'h> {
    pub host: &'h dyn PolicyHost,
    /// Set for what may reach outside: a poll, a latent worker.
    pub outside: Option<&'h dyn PollHost>,
    /// Questions so far.
    pub asked: Cell<u32>,
}

impl Function {
    /// From an argument of a descriptor; none if it is not given or is no function.
    pub fn of(
        descriptor: &Descriptor<'_>,
        argument: &str,
        own: &dyn Fn(Value<'_>) -> Option<OwnedFrozenValue>,
    ) -> Option<Function> {
        let value = descriptor.arg(argument).filter(|v| matches!(Tree::of(*v), Tree::Function))?;
        Some(Function { function: own(value)?, site: descriptor.site.clone(), argument: argument.to_owned() })
    }

    /// From a key of the configuration.
    pub fn new(function: OwnedFrozenValue, site: Site, argument: &str) -> Function {
        Function { function, site, argument: argument.to_owned() }
    }

    /// Calls it under the limits; `read` takes the answer apart while it lives.
    pub fn call<R>(
        &self,
        limits: &Limits,
        host: &dyn PolicyHost,
        args: impl for<'v, 'a, 'e> FnOnce(&mut Evaluator<'v, 'a, 'e>) -> Vec<Value<'v>>,
        read: impl for<'v> FnOnce(Value<'v>, &[Value<'v>]) -> Result<R, String>,
    ) -> Result<R, EvalError> {
        self.call_with(limits, &Asking { host, outside: None, asked: Cell::new(0) }, args, read)
    }

    /// The same for a function that may reach outside.
    pub(super) fn call_with<R>(
        &self,
        limits: &Limits,
        asking: &Asking<'_>,
        args: impl for<'v, 'a, 'e> FnOnce(&mut Evaluator<'v, 'a, 'e>) -> Vec<Value<'v>>,
        read: impl for<'v> FnOnce(Value<'v>, &[Value<'v>]) -> Result<R, String>,
    ) -> Result<R, EvalError> {
        self.call_through(limits, asking, args, |answer, args| read(answer?, args).map_err(|why| self.error(why)))
    }

    /// The same; `read` also sees what a call that failed left behind.
    pub(super) fn call_through<R>(
        &self,
        limits: &Limits,
        asking: &Asking<'_>,
        args: impl for<'v, 'a, 'e> FnOnce(&mut Evaluator<'v, 'a, 'e>) -> Vec<Value<'v>>,
        read: impl for<'v> FnOnce(Result<Value<'v>, EvalError>, &[Value<'v>]) -> R,
    ) -> R {
        let extra = asking;
        limits.run_with(&extra, |eval| {
            let args = args(eval);
            let function = eval.heap().access_owned_frozen_value(&self.function);
            let answer = eval.eval_function(function, &args, &[]).map_err(EvalError::from);
            read(answer.map_err(|e| e.or_placed(|d| self.site.place_argument(&self.argument, d))), &args)
        })
    }

    /// An error at the place where the function was given.
    pub(super) fn error(&self, why: String) -> EvalError {
        EvalError::new(self.site.place_argument(&self.argument, Diagnostic::error(why)))
    }

    /// «`nextBuild` must return …, got …».
    pub fn wrong(&self, expected: &str, got: Value<'_>) -> String {
        format!("`{}` must return {expected}, got {}", self.argument, Tree::of(got).describe())
    }
}

impl Function {
    /// Calls it several times under one call's limits; each answer is yes or no.
    pub fn call_each(
        &self,
        limits: &Limits,
        host: &dyn PolicyHost,
        count: usize,
        args: impl for<'v, 'a, 'e> FnMut(usize, &mut Evaluator<'v, 'a, 'e>) -> Vec<Value<'v>>,
    ) -> Result<Vec<bool>, EvalError> {
        self.call_many(limits, host, count, args, |answer| Ok(answer.to_bool()))
    }

    /// The same with answers that `read` takes apart while they live.
    pub fn call_many<R>(
        &self,
        limits: &Limits,
        host: &dyn PolicyHost,
        count: usize,
        mut args: impl for<'v, 'a, 'e> FnMut(usize, &mut Evaluator<'v, 'a, 'e>) -> Vec<Value<'v>>,
        read: impl for<'v> Fn(Value<'v>) -> Result<R, String>,
    ) -> Result<Vec<R>, EvalError> {
        let extra = &Asking { host, outside: None, asked: Cell::new(0) };
        let answers = limits.run_with(&extra, |eval| {
            let function = eval.heap().access_owned_frozen_value(&self.function);
            let mut answers = Vec::with_capacity(count);
            for i in 0..count {
                let args = args(i, eval);
                let answer = eval.eval_function(function, &args, &[]).map_err(EvalError::from)?;
                answers.push(read(answer).map_err(|why| self.error(why))?);
            }
            Ok(answers)
        });
        answers.map_err(|e: EvalError| e.or_placed(|d| self.site.place_argument(&self.argument, d)))
    }
}
