//! The words of messages: what the formatters of a project say.

use super::call::Function;
use super::host::NoHost;
use super::rendered::{Argument, limits};
use super::values::Master;
use super::{Policies, unknown};
use crate::definition::TemplateType;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::site::Site;
use crate::template::{Template, TemplateError};
use crate::values::alloc::json;
use crate::values::tree::Tree;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Formatters of one generator.
pub(crate) struct GeneratorRules {
    pub start: FormatterRules,
    pub end: FormatterRules,
}

/// How a message is made.
pub(crate) enum FormatterRules {
    Default,
    Empty,
    Template(Box<TemplateRules>),
    Function { function: Function, kind: TemplateType },
    Raw { function: Function, master: bool },
    Renderable { template: Argument, subject: Option<Argument> },
}

pub(crate) struct TemplateRules {
    pub kind: TemplateType,
    pub body: Option<Template>,
    pub subject: Option<Template>,
    pub ctx: BTreeMap<String, Json>,
    pub extra: Option<Function>,
    pub site: Site,
}

/// Which end of an event a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Start,
    End,
}

/// A message as a formatter made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FormatOutput {
    /// None: the reporter's own.
    pub subject: Option<String>,
    /// None: the reporter's own words. Of `json` any value, else a text.
    pub body: Option<Json>,
    pub template_type: TemplateType,
    /// What the formatter gives beside the text.
    pub extra: BTreeMap<String, Json>,
}

impl FormatOutput {
    /// The body as text; JSON as it is written.
    pub fn text(&self) -> Option<String> {
        self.body.as_ref().map(|body| match body {
            Json::String(text) if self.template_type != TemplateType::Json => text.clone(),
            other => other.to_string(),
        })
    }
}

impl Policies<'_> {
    /// The message of one generator of a reporter about what `context` says. None: nothing is to be told.
    ///
    /// # Errors
    /// There is no such reporter or generator, or the project's template or function fails.
    pub fn format(
        &self,
        reporter: &str,
        generator: usize,
        which: Which,
        context: &Json,
    ) -> Result<Option<FormatOutput>, EvalError> {
        let (_, rules) = self.reporter(reporter)?;
        let found = rules.generators.get(generator);
        let rules = found.ok_or_else(|| unknown("generator", &format!("{generator} of {reporter}")))?;
        match if which == Which::Start { &rules.start } else { &rules.end } {
            FormatterRules::Default => Ok(Some(FormatOutput::default())),
            FormatterRules::Empty => Ok(Some(FormatOutput { body: Some(Json::from("")), ..FormatOutput::default() })),
            FormatterRules::Template(rules) => template(rules, context).map(Some),
            FormatterRules::Function { function, kind } => simple(function, *kind, context),
            FormatterRules::Raw { function, master } => raw(function, *master, context),
            FormatterRules::Renderable { template, subject } => {
                let Some(body) = template.render(context, "")? else { return Ok(None) };
                let subject = subject.as_ref().map_or(Ok(None), |s| s.render(context, ""))?;
                Ok(Some(FormatOutput { subject, body: Some(Json::from(body)), ..FormatOutput::default() }))
            }
        }
    }
}

fn template(rules: &TemplateRules, context: &Json) -> Result<FormatOutput, EvalError> {
    let mut names: Map<String, Json> = rules.ctx.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Json::Object(own) = context {
        names.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    let names = Json::Object(names);
    let error = |argument: &str, e: TemplateError| {
        let found = Diagnostic::error(e.message.clone()).maybe_hint(e.hint.clone()).notes(e.place());
        EvalError::new(rules.site.place_argument(argument, found))
    };
    let body = rules.body.as_ref().map(|t| match rules.kind {
        TemplateType::Json => t.render_json(&names),
        _ => t.render(&names).map(Json::from),
    });
    let body = body.transpose().map_err(|e| error("template", e))?;
    let subject = rules.subject.as_ref().map(|t| t.render(&names)).transpose().map_err(|e| error("subject", e))?;
    let extra = match &rules.extra {
        Some(function) => function.call(
            &limits(),
            &NoHost,
            |eval| vec![json(context, eval.heap())],
            |answer, _| object(&Tree::of(answer)).ok_or_else(|| function.wrong("a dict", answer)),
        )?,
        None => BTreeMap::new(),
    };
    Ok(FormatOutput { subject, body, template_type: rules.kind, extra })
}

/// A dict of plain values; none is empty.
fn object(tree: &Tree) -> Option<BTreeMap<String, Json>> {
    match (tree, tree.to_json()) {
        (Tree::None, _) => Some(BTreeMap::new()),
        (_, Some(Json::Object(map))) => Some(map.into_iter().collect()),
        _ => None,
    }
}

fn simple(function: &Function, kind: TemplateType, context: &Json) -> Result<Option<FormatOutput>, EvalError> {
    function.call(
        &limits(),
        &NoHost,
        |eval| vec![json(context, eval.heap())],
        |answer, _| {
            let tree = Tree::of(answer);
            let body = match (&tree, kind) {
                (Tree::None, _) => return Ok(None),
                (_, TemplateType::Json) => tree.to_json(),
                (Tree::Text(text), _) => Some(Json::from(text.as_str())),
                _ => None,
            };
            let expected = if kind == TemplateType::Json { "a plain value" } else { "a text" };
            let body = body.ok_or_else(|| function.wrong(expected, answer))?;
            Ok(Some(FormatOutput { body: Some(body), template_type: kind, ..FormatOutput::default() }))
        },
    )
}

fn raw(function: &Function, master: bool, context: &Json) -> Result<Option<FormatOutput>, EvalError> {
    function.call(
        &limits(),
        &NoHost,
        |eval| {
            let document = json(context, eval.heap());
            if master { vec![eval.heap().alloc(Master), document] } else { vec![document] }
        },
        |answer, _| {
            let expected = "a dict of `body`, `type`, `subject` and `extra_info`";
            let wrong = || function.wrong(expected, answer);
            let tree = Tree::of(answer);
            if matches!(tree, Tree::None) {
                return Ok(None);
            }
            let mut output = FormatOutput::default();
            for (name, value) in object(&tree).ok_or_else(wrong)? {
                match (name.as_str(), &value) {
                    ("body", _) => output.body = Some(value),
                    ("subject", Json::Null) => {}
                    ("subject", Json::String(text)) => output.subject = Some(text.clone()),
                    ("type", Json::String(text)) => output.template_type = template_type(text).ok_or_else(wrong)?,
                    ("extra" | "extra_info", Json::Object(map)) => {
                        output.extra = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                    }
                    ("extra" | "extra_info", Json::Null) => {}
                    _ => return Err(wrong()),
                }
            }
            let text = matches!(output.body, None | Some(Json::String(_)));
            if output.template_type != TemplateType::Json && !text { Err(wrong()) } else { Ok(Some(output)) }
        },
    )
}

/// By its name in a project file.
pub(crate) fn template_type(name: &str) -> Option<TemplateType> {
    [TemplateType::Plain, TemplateType::Html, TemplateType::Json].into_iter().find(|t| t.name() == name)
}
