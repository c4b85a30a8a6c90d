//! Resolves placeholders against a running build.

use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::plan::BuildContext;
use crate::values::interpolate::{From, Operator, Part, Template};
use crate::values::placeholder::{Form, Placeholder};
use crate::values::tree::{self, DEPTH_MAX, NODES_MAX, Tree};
use crate::values::views::{self, BuildView, Side};
use starlark::eval::Evaluator;
use starlark::values::Value;
use starlark::values::dict::DictRef;
use std::sync::Arc;

/// Longest text that a template may give: more fits no command and no property.
const TEXT_MAX: usize = 8 << 20;

/// One rendering, under the evaluator's limits.
pub(crate) struct Rendering<'r, 'v, 'a, 'e> {
    eval: &'r mut Evaluator<'v, 'a, 'e>,
    context: Arc<BuildContext>,
    nodes: usize,
    depth: usize,
}

impl<'r, 'v, 'a, 'e> Rendering<'r, 'v, 'a, 'e> {
    pub fn new(eval: &'r mut Evaluator<'v, 'a, 'e>, context: &BuildContext) -> Self {
        Rendering { eval, context: Arc::new(context.clone()), nodes: 0, depth: 0 }
    }

    /// The value with all placeholders resolved.
    pub fn render(&mut self, value: Value<'v>) -> Result<Tree, EvalError> {
        self.nodes += 1;
        if self.depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Ok(Tree::TooLarge);
        }
        self.depth += 1;
        let rendered = self.render_inner(value);
        self.depth -= 1;
        rendered
    }

    fn render_inner(&mut self, value: Value<'v>) -> Result<Tree, EvalError> {
        if let Some(items) = tree::items(value) {
            return items.iter().map(|v| self.render(*v)).collect::<Result<_, _>>().map(Tree::List);
        }
        if let Some(dict) = DictRef::from_value(value) {
            let entries: Vec<_> = dict.iter().collect();
            let mut rendered = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                rendered.push((self.render(key)?, self.render(value)?));
            }
            return Ok(Tree::Dict(rendered));
        }
        match Placeholder::from_value(value) {
            Some(placeholder) => self.resolve(placeholder),
            None => Ok(Tree::of(value)),
        }
    }

    fn resolve(&mut self, placeholder: &Placeholder<'v>) -> Result<Tree, EvalError> {
        match &placeholder.form {
            Form::Interpolate(template) => self.interpolate(template, placeholder).map(Tree::Text),
            Form::Property { name, default_when_false } => {
                let value = self.context.properties.get(name).map(Tree::from_json);
                match (value, placeholder.value("default")) {
                    (Some(value), Some(_)) if value.truth() || !default_when_false => Ok(value),
                    (_, Some(default)) => self.render(default),
                    (value, None) => Ok(value.unwrap_or(Tree::None)),
                }
            }
            Form::Renderer => {
                let function = placeholder.value("function").expect("a renderer is made with its function");
                let props = self.view(Side::Props);
                let result = self.call(function, &[props]);
                let result = result.map_err(|e| e.or_placed(|d| placeholder.site.place(d)))?;
                self.render(result)
            }
        }
    }

    fn interpolate(&mut self, template: &Template, placeholder: &Placeholder<'v>) -> Result<String, EvalError> {
        let mut out = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Lookup { from, operator } => {
                    let value = self.look_up(from, placeholder)?;
                    let there = value.is_some();
                    let truth = value.as_ref().is_some_and(Tree::truth);
                    let own = || text_of(&value.clone().unwrap_or(Tree::None), placeholder);
                    let text = match operator {
                        None => own()?,
                        Some(Operator::IfMissing(_)) if there => own()?,
                        Some(Operator::IfFalse(_)) if truth => own()?,
                        Some(Operator::IfMissing(other) | Operator::IfFalse(other)) => {
                            self.interpolate(other, placeholder)?
                        }
                        Some(Operator::IfPresent(other)) if there => self.interpolate(other, placeholder)?,
                        Some(Operator::IfPresent(_)) => String::new(),
                        Some(Operator::Choice { truth: by_truth, yes, no }) => {
                            let chosen = if if *by_truth { truth } else { there } { yes } else { no };
                            self.interpolate(chosen, placeholder)?
                        }
                    };
                    out.push_str(&text);
                }
            }
            if out.len() > TEXT_MAX {
                let message = format!("the text grows beyond {} MiB", TEXT_MAX >> 20);
                return Err(EvalError::new(placeholder.site.place(Diagnostic::error(message))));
            }
        }
        Ok(out)
    }

    /// `None` is a missing property, source stamp or keyword.
    fn look_up(&mut self, from: &From, placeholder: &Placeholder<'v>) -> Result<Option<Tree>, EvalError> {
        Ok(match from {
            From::Property(name) => self.context.properties.get(name).map(Tree::from_json),
            From::Source { codebase, attribute } => match views::source_attribute(&self.context, codebase, attribute) {
                Tree::None => None,
                value => Some(value),
            },
            From::Keyword(name) => placeholder.value(name).map(|v| self.render(v)).transpose()?,
        })
    }

    /// The build as a function sees it.
    pub fn view(&self, side: Side) -> Value<'v> {
        self.eval.heap().alloc(BuildView { context: self.context.clone(), side })
    }

    pub fn call(&mut self, function: Value<'v>, args: &[Value<'v>]) -> Result<Value<'v>, EvalError> {
        self.eval.eval_function(function, args, &[]).map_err(EvalError::from)
    }

    pub fn alloc_int(&self, int: i32) -> Value<'v> {
        self.eval.heap().alloc(int)
    }
}

fn text_of(value: &Tree, placeholder: &Placeholder<'_>) -> Result<String, EvalError> {
    value.interpolated().ok_or_else(|| {
        let message = format!("{} cannot be put into a text", value.describe());
        EvalError::new(placeholder.site.place(Diagnostic::error(message)))
    })
}
