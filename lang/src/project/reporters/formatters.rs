//! Formatters of a generator. Templates are compiled here, and tried.

use super::generators::logs;
use super::reading::{Reading, rendered};
use crate::definition::{FormatterDef, GeneratorKind, LogsWanted, TemplateDef, TemplateType, Wants};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::names;
use crate::policies::{Argument, FormatterRules, Function, TemplateRules, template_type};
use crate::template::{Template, check};
use crate::values::convert::{optional_text, properties};
use crate::values::descriptor::Descriptor;
use starlark::docs::{DocItem, DocMember};
use starlark::values::Value;

/// The formatter under an argument of a generator.
pub(super) fn read(generator: &Reading<'_, '_>, argument: &str, kind: GeneratorKind) -> (FormatterDef, FormatterRules) {
    let value = generator.service.arg(argument).filter(|_| generator.trees.by_name.contains_key(argument));
    let Some(descriptor) = value.and_then(Descriptor::from_value) else {
        return (FormatterDef::Default, FormatterRules::Default);
    };
    let r = Reading::new(generator.config, descriptor, generator.collector);
    formatter(&r, kind).unwrap_or((FormatterDef::Default, FormatterRules::Default))
}

/// The same of one that was read already: nothing of it is reported twice.
pub(super) fn read_quietly(
    generator: &Reading<'_, '_>,
    argument: &str,
    kind: GeneratorKind,
) -> (FormatterDef, FormatterRules) {
    let nobody = Collector::default();
    let quiet = Reading::new(generator.config, generator.service, &nobody);
    read(&quiet, argument, kind)
}

/// None where something of it is wrong, which is reported.
fn formatter(r: &Reading<'_, '_>, kind: GeneratorKind) -> Option<(FormatterDef, FormatterRules)> {
    let own = |value: Value<'_>| r.own(value);
    let wants = wants(r);
    match r.service.spec.short() {
        "MessageFormatter" | "MessageFormatterMissingWorker" => template(r, kind, wants),
        "MessageFormatterFunction" => {
            let function = Function::of(r.service, "function", &own)?;
            let template_type = the_type(r);
            let shown = FormatterDef::Function { template_type, raw: false, wants };
            Some((shown, FormatterRules::Function { function, kind: template_type }))
        }
        "MessageFormatterFunctionRaw" => {
            let function = Function::of(r.service, "function", &own)?;
            let master = r.service.arg("function").is_some_and(|f| parameters(f) > 1);
            let shown = FormatterDef::Function { template_type: TemplateType::Plain, raw: true, wants };
            Some((shown, FormatterRules::Raw { function, master }))
        }
        "MessageFormatterRenderable" => {
            let part = |name: &str| {
                let value = r.service.arg(name).filter(|v| !v.is_none() && r.trees.by_name.contains_key(name))?;
                rendered(r.config, &r.service.site, name, value, false, r.collector)
            };
            let (shown, template) = match part("template") {
                Some((shown, template)) => (Some(shown), template),
                None => (None, Argument::Text(None)),
            };
            let (subject_shown, subject) = part("subject").unzip();
            let shown = FormatterDef::Renderable { template: shown, subject: subject_shown };
            Some((shown, FormatterRules::Renderable { template, subject }))
        }
        _ => Some((FormatterDef::Empty, FormatterRules::Empty)),
    }
}

fn template(r: &Reading<'_, '_>, kind: GeneratorKind, wants: Wants) -> Option<(FormatterDef, FormatterRules)> {
    let template_type = the_type(r);
    let ctx = r.get("ctx", properties).unwrap_or_default();
    let text = |name: &str| r.get(name, optional_text).flatten();
    let (body, subject) = (text("template"), text("subject"));
    for (argument, text, kind_of) in [("template", &body, template_type), ("subject", &subject, TemplateType::Plain)] {
        let Some(text) = text else { continue };
        for finding in check::check(kind_of, text, kind, &ctx) {
            let place = finding.error.place();
            let diagnostic = match finding.doubt {
                true => Diagnostic::warning(finding.error.message),
                false => Diagnostic::error(finding.error.message),
            };
            r.report(argument, diagnostic.maybe_hint(finding.error.hint).notes(place));
        }
    }
    let compiled = |kind: TemplateType, text: &Option<String>| match text {
        Some(text) => Template::compile(kind, text).map(Some).ok(),
        None => Some(None),
    };
    let own = |value: Value<'_>| r.own(value);
    let rules = TemplateRules {
        kind: template_type,
        body: compiled(template_type, &body)?,
        subject: compiled(TemplateType::Plain, &subject)?,
        ctx: ctx.clone(),
        extra: Function::of(r.service, "extra_info_cb", &own),
        site: r.service.site.clone(),
    };
    let shown = TemplateDef { template_type, template: body, subject, ctx, wants };
    Some((FormatterDef::Template(shown), FormatterRules::Template(Box::new(rules))))
}

fn the_type(r: &Reading<'_, '_>) -> TemplateType {
    let Some(name) = r.text("template_type") else { return TemplateType::Plain };
    template_type(&name).unwrap_or_else(|| {
        let known = ["plain", "html", "json"];
        let hint = names::nearest(&name, known)
            .map_or_else(|| format!("there are {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
        r.error("template_type", format!("`template_type` of {} cannot be {name:?}", r.called()), Some(hint));
        TemplateType::Plain
    })
}

fn wants(r: &Reading<'_, '_>) -> Wants {
    let logs_content = r.get("want_logs_content", logs).unwrap_or_default();
    let logs = r.flag("want_logs", false) || logs_content != LogsWanted::None;
    Wants {
        properties: r.flag("want_properties", true),
        steps: r.flag("want_steps", false) || logs,
        logs,
        logs_content,
    }
}

/// How many arguments a function takes without their names.
fn parameters(function: Value<'_>) -> usize {
    match function.documentation() {
        DocItem::Member(DocMember::Function(docs)) => docs.params.pos_only.len() + docs.params.pos_or_named.len(),
        _ => 1,
    }
}
