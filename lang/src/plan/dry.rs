//! A dry run: which steps a build would run, with what, and why it would skip others.

use super::{BuildContext, RenderedStep};
use crate::host::diagnostics::EvalError;
use crate::secret;
use crate::steps::{Condition, Step};
use serde::{Deserialize, Serialize};
use tidemill_model::Results;

/// The steps of a build in order. Each earlier step is taken as successful;
/// `SetProperty` takes effect, what commands would set is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub builder: String,
    pub steps: Vec<Planned>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Unique within the plan (D-10).
    pub name: String,
    /// `steps.Compile`, or the name of a custom step.
    pub kind: String,
    /// `file:line` of its constructor call.
    pub location: String,
    pub verdict: Verdict,
    /// Pages would leave it out, were it successful (or skipped, where it is skipped).
    pub hidden: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Secrets show as `<secret NAME>`.
    Run(Box<RenderedStep>),
    /// With the reason, such as `doStepIf is False`.
    Skipped { reason: String, step: Box<RenderedStep> },
    /// A placeholder or function fails: the step would be an exception.
    Broken { error: String },
}

/// Marks secrets in a plan, where nothing resolves them.
const MARK: &str = "plan";

pub(crate) fn plan(builder: &str, steps: &[Step], context: &BuildContext) -> Plan {
    let mut context = BuildContext { secret_mark: MARK.into(), results: None, ..context.clone() };
    let mut plan = Plan { builder: builder.to_owned(), steps: vec![] };
    for step in steps {
        let (mut planned, effect) = one(step, &context);
        for (name, value) in effect {
            context.properties.set(name, value, planned.name.clone());
        }
        let base = planned.name.clone();
        let mut n = 0;
        while plan.steps.iter().any(|s| s.name == planned.name) {
            n += 1;
            planned.name = format!("{base}_{n}");
        }
        context.results = Some(Results::Success);
        plan.steps.push(planned);
    }
    plan
}

/// The step, and the properties that it would certainly set.
fn one(step: &Step, context: &BuildContext) -> (Planned, Vec<(String, serde_json::Value)>) {
    let mut planned = Planned {
        name: step.name().to_owned(),
        kind: step.kind(),
        location: step.location(),
        verdict: Verdict::Broken { error: String::new() },
        hidden: false,
    };
    match judge(step, context) {
        Ok((rendered, condition, hidden)) => {
            planned.name = rendered.name.clone();
            planned.hidden = hidden;
            let effect = match &rendered.action {
                super::Action::SetProperty { property, value } if condition.runs => {
                    vec![(property.clone(), value.clone())]
                }
                _ => vec![],
            };
            let shown = Box::new(secret::shown(&rendered, MARK));
            planned.verdict = match condition.runs {
                true => Verdict::Run(shown),
                false => Verdict::Skipped { reason: condition.reason, step: shown },
            };
            (planned, effect)
        }
        Err(error) => {
            planned.verdict = Verdict::Broken { error: error.to_string() };
            (planned, vec![])
        }
    }
}

fn judge(step: &Step, context: &BuildContext) -> Result<(RenderedStep, Condition, bool), EvalError> {
    let rendered = step.render(context)?;
    let condition = step.condition(context)?;
    let results = if condition.runs { Results::Success } else { Results::Skipped };
    let hidden = step.hide_step_if(context, results)?;
    Ok((rendered, condition, hidden))
}
