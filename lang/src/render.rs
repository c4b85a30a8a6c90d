//! Resolves placeholders against a running build.

use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::guards;
use crate::plan::BuildContext;
use crate::secret;
use crate::values::descriptor::Descriptor;
use crate::values::interpolate::{From, Operator, Part, Template};
use crate::values::placeholder::{FUNCTION, Form, Placeholder};
use crate::values::spec::Kind;
use crate::values::tree::{self, DEPTH_MAX, NODES_MAX, Tree};
use crate::values::views::{self, BuildView, Side};
use starlark::eval::Evaluator;
use starlark::values::dict::DictRef;
use starlark::values::{Heap, Value};
use std::sync::Arc;

/// Longest text that a template may give: more fits no command and no property.
const TEXT_MAX: usize = 8 << 20;

/// One rendering, under the evaluator's limits.
pub(crate) struct Rendering<'r, 'v, 'a, 'e> {
    eval: &'r mut Evaluator<'v, 'a, 'e>,
    context: Arc<BuildContext>,
    /// Secrets that may be named; none is all.
    secrets: Option<&'r [String]>,
    nodes: usize,
    depth: usize,
}

impl<'r, 'v, 'a, 'e> Rendering<'r, 'v, 'a, 'e> {
    pub fn new(eval: &'r mut Evaluator<'v, 'a, 'e>, context: &BuildContext) -> Self {
        Rendering { eval, context: Arc::new(context.clone()), secrets: None, nodes: 0, depth: 0 }
    }

    pub fn allow_secrets(&mut self, secrets: Option<&'r [String]>) {
        self.secrets = secrets;
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
        if let Some(part) = Descriptor::from_value(value).filter(|d| d.kind() == Kind::ShellArg) {
            let mut entries = vec![];
            for (name, value) in &part.args {
                entries.push((Tree::Text(name.clone()), self.render(*value)?));
            }
            return Ok(Tree::Dict(entries));
        }
        match Placeholder::from_value(value) {
            Some(placeholder) => self.resolve(placeholder),
            None => Ok(Tree::of(value)),
        }
    }

    fn resolve(&mut self, placeholder: &Placeholder<'v>) -> Result<Tree, EvalError> {
        match &placeholder.form {
            Form::Interpolate { template, strict } => self.interpolate(template, *strict, placeholder).map(Tree::Text),
            Form::Property { name, default_when_false } => {
                let value = self.context.properties.get(name).map(Tree::from_json);
                match (value, placeholder.value("default")) {
                    (Some(value), Some(_)) if value.truth() || !default_when_false => Ok(value),
                    (_, Some(default)) => self.render(default),
                    (value, None) => Ok(value.unwrap_or(Tree::None)),
                }
            }
            Form::Renderer => {
                let props = self.view(Side::Props);
                self.apply(placeholder, vec![props])
            }
            Form::Transform => self.apply(placeholder, vec![]),
            Form::FlattenList => {
                let list = placeholder.value("0").map_or(Ok(Tree::List(vec![])), |v| self.render(v))?;
                let mut flat = vec![];
                flatten(list, &mut flat);
                Ok(Tree::List(flat))
            }
            Form::Secret { name } => self.secret(name, placeholder).map(Tree::Text),
            Form::UrlForBuild => Ok(Tree::Text(self.context.url.clone())),
            Form::Operator(operation) => {
                let mut operand = |name: &str| {
                    let tree = placeholder.value(name).map_or(Ok(Tree::None), |v| self.render(v))?;
                    Ok::<_, EvalError>(tree.alloc(self.eval.heap()))
                };
                let (a, b) = (operand("0")?, operand("1")?);
                let result = guards::apply(*operation, a, b, self.eval).map_err(EvalError::from);
                result.map(Tree::of).map_err(|e| e.or_placed(|d| placeholder.site.place(d)))
            }
        }
    }

    /// Calls the placeholder's function with the given arguments and its own, rendered.
    fn apply(&mut self, placeholder: &Placeholder<'v>, first: Vec<Value<'v>>) -> Result<Tree, EvalError> {
        let mut positional = first;
        for value in placeholder.positional() {
            let tree = self.render(value)?;
            positional.push(self.back(value, &tree));
        }
        let mut named = vec![];
        for (name, value) in placeholder.named() {
            let tree = self.render(value)?;
            named.push((name, self.back(value, &tree)));
        }
        let function = placeholder.value(FUNCTION).expect("it is made with its function");
        // A renderer may itself be what is called: util.Transform(util.renderer(f), …).
        let result = match Placeholder::from_value(function) {
            Some(inner) => self.apply(inner, positional)?,
            None => {
                let result = self.eval.eval_function(function, &positional, &named).map_err(EvalError::from);
                let result = result.map_err(|e| e.or_placed(|d| placeholder.site.place(d)))?;
                return self.render(result);
            }
        };
        Ok(result)
    }

    /// A rendered argument as a value; what is no plain value stays what it was.
    fn back(&self, value: Value<'v>, tree: &Tree) -> Value<'v> {
        let plain = matches!(
            tree,
            Tree::None | Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) | Tree::Text(_) | Tree::List(_) | Tree::Dict(_)
        );
        if plain { tree.alloc(self.eval.heap()) } else { value }
    }

    fn secret(&self, name: &str, placeholder: &Placeholder<'v>) -> Result<String, EvalError> {
        if let Some(allowed) = self.secrets
            && !allowed.iter().any(|a| a == name)
        {
            let message = format!("the secret `{name}` may not be used here");
            let hint = "steps of the change's own tree use those that `allowed_secrets` of steps.StepsFrom names";
            return Err(EvalError::new(placeholder.site.place(Diagnostic::error(message).hint(hint))));
        }
        Ok(secret::mark(&self.context.secret_mark, name))
    }

    fn interpolate(
        &mut self,
        template: &Template,
        strict: bool,
        placeholder: &Placeholder<'v>,
    ) -> Result<String, EvalError> {
        let mut out = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Lookup { from, operator } => {
                    let value = self.look_up(from, placeholder)?;
                    let there = value.is_some();
                    let truth = value.as_ref().is_some_and(Tree::truth);
                    let own = || match &value {
                        None if strict => Err(missing(from, placeholder)),
                        // A property that is set to nothing is as dangerous in a path.
                        Some(Tree::None) if strict => Err(missing(from, placeholder)),
                        value => text_of(value.as_ref().unwrap_or(&Tree::None), placeholder),
                    };
                    let text = match operator {
                        None => own()?,
                        Some(Operator::IfMissing(_)) if there => own()?,
                        Some(Operator::IfFalse(_)) if truth => own()?,
                        Some(Operator::IfMissing(other) | Operator::IfFalse(other)) => {
                            self.interpolate(other, strict, placeholder)?
                        }
                        Some(Operator::IfPresent(other)) if there => self.interpolate(other, strict, placeholder)?,
                        Some(Operator::IfPresent(_)) => String::new(),
                        Some(Operator::Choice { truth: by_truth, yes, no }) => {
                            let chosen = if if *by_truth { truth } else { there } { yes } else { no };
                            self.interpolate(chosen, strict, placeholder)?
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

    /// `None` is a missing property, source stamp, keyword or fact.
    fn look_up(&mut self, from: &From, placeholder: &Placeholder<'v>) -> Result<Option<Tree>, EvalError> {
        Ok(match from {
            From::Property(name) => {
                // `util.WithProperties(…, name = function)`.
                if let Some(function) = placeholder.value(name) {
                    let build = self.view(Side::Build);
                    let value = self.call(function, &[build])?;
                    return self.render(value).map(Some);
                }
                self.context.properties.get(name).map(Tree::from_json)
            }
            From::Source { codebase, attribute } => match views::source_attribute(&self.context, codebase, attribute) {
                Tree::None => None,
                value => Some(value),
            },
            From::Keyword(name) => placeholder.value(name).map(|v| self.render(v)).transpose()?,
            From::Secret(name) => Some(Tree::Text(self.secret(name, placeholder)?)),
            From::Worker(name) => self.context.worker_info.get(name).map(Tree::from_json),
        })
    }

    /// The build as a function sees it.
    pub fn view(&self, side: Side) -> Value<'v> {
        self.eval.heap().alloc(BuildView { context: self.context.clone(), side })
    }

    pub fn call(&mut self, function: Value<'v>, args: &[Value<'v>]) -> Result<Value<'v>, EvalError> {
        self.eval.eval_function(function, args, &[]).map_err(EvalError::from)
    }

    pub fn heap(&self) -> Heap<'v> {
        self.eval.heap()
    }

    pub fn alloc_int(&self, int: i32) -> Value<'v> {
        self.eval.heap().alloc(int)
    }
}

fn flatten(tree: Tree, out: &mut Vec<Tree>) {
    match tree {
        Tree::List(items) => items.into_iter().for_each(|t| flatten(t, out)),
        other => out.push(other),
    }
}

fn missing(from: &From, placeholder: &Placeholder<'_>) -> EvalError {
    let what = match from {
        From::Property(name) => format!("the property `{name}`"),
        From::Source { codebase, attribute } if codebase.is_empty() => format!("the {attribute} of the source stamp"),
        From::Source { codebase, attribute } => format!("the {attribute} of the codebase `{codebase}`"),
        From::Keyword(name) => format!("the argument `{name}`"),
        From::Secret(name) => format!("the secret `{name}`"),
        From::Worker(name) => format!("the worker's `{name}`"),
    };
    let message = format!("{what} has no value, and the template is strict");
    let hint = "write a value for that case, as in %(prop:x:-default)s";
    EvalError::new(placeholder.site.place(Diagnostic::error(message).hint(hint)))
}

fn text_of(value: &Tree, placeholder: &Placeholder<'_>) -> Result<String, EvalError> {
    value.interpolated().ok_or_else(|| {
        let message = format!("{} cannot be put into a text", value.describe());
        EvalError::new(placeholder.site.place(Diagnostic::error(message)))
    })
}
