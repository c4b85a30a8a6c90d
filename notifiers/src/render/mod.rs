//! From a delivery to a message: the document of what happened, put into the
//! words of the revision that planned it.

pub mod context;
pub mod words;

use crate::line::one_line;
use crate::message::{Body, Message};
use context::Site;
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_lang::Project;
use tidemill_lang::definition::{FormatterDef, GeneratorDef, ReporterDef, TemplateType, Wants};
use tidemill_lang::policies::Which;
use tidemill_lang::template::Template;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::send::Told;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The project's template or function failed: no later attempt would do better.
    #[error("{0}")]
    Broken(String),
    #[error(transparent)]
    Schema(#[from] tidemill_schema::Error),
}

/// The formatter of what is told. None for reporters that have no generators.
pub fn formatter<'r>(reporter: &'r ReporterDef, told: &Told) -> Option<&'r FormatterDef> {
    let generator: &GeneratorDef = reporter.generators.get(usize::try_from(told.generator).ok()?)?;
    Some(if told.moment == Moment::Start { &generator.start_formatter } else { &generator.formatter })
}

/// What the formatter needs of the document.
pub fn wants(formatter: &FormatterDef) -> Wants {
    match formatter {
        // Our own words name the steps that failed and link their logs.
        FormatterDef::Default => Wants { steps: true, logs: true, ..Wants::default() },
        other => other.wants(),
    }
}

/// The place's name and address, by the project file or else by the process's settings.
pub fn site(project: &Project, public_url: &str) -> Site {
    let definition = project.definition();
    let url = if definition.buildbot_url.is_empty() { public_url } else { &definition.buildbot_url };
    Site {
        url: url.trim_end_matches('/').to_owned(),
        title: definition.title.clone(),
        title_url: definition.title_url.clone(),
    }
}

/// Renders a document. None: the words are the reporter's own, see [`words`]. Runs the project's
/// functions: not for an async thread.
pub fn message(
    project: &Project,
    reporter: &ReporterDef,
    told: &Told,
    document: &Value,
) -> Result<Option<Message>, RenderError> {
    let Some(formatter) = formatter(reporter, told) else { return Ok(None) };
    let broken = |why: String| RenderError::Broken(why);
    match formatter {
        FormatterDef::Default => Ok(None),
        FormatterDef::Empty => Ok(Some(Message::default())),
        FormatterDef::Template(template) => {
            let mut names = json!(template.ctx);
            merge(&mut names, document);
            let subject = match &template.subject {
                Some(subject) => Some(rendered(TemplateType::Plain, subject, &names)?),
                None => None,
            };
            let Some(text) = &template.template else {
                return Ok(subject.map(|subject| Message {
                    body: Body::Plain(words::body(document, None)),
                    subject: Some(subject),
                    ..Message::default()
                }));
            };
            let text = rendered(template.template_type, text, &names)?;
            Ok(Some(Message { subject, body: body(template.template_type, text)?, ..Message::default() }))
        }
        FormatterDef::Function { .. } | FormatterDef::Renderable { .. } => {
            let which = if told.moment == Moment::Start { Which::Start } else { Which::End };
            let generator = usize::try_from(told.generator).unwrap_or_default();
            let made = project.policies().format(&reporter.name, generator, which, document);
            let made = made.map_err(|e| broken(e.to_string()))?;
            let body = match made.body {
                Value::String(text) => body(made.template_type, text)?,
                other if made.template_type == TemplateType::Json => Body::Json(other),
                other => return Err(broken(format!("a message of this type must be a text, got {other}"))),
            };
            Ok(Some(Message { subject: made.subject, body, extra: made.extra }))
        }
    }
}

fn rendered(kind: TemplateType, text: &str, names: &Value) -> Result<String, RenderError> {
    let template = Template::compile(kind, text).map_err(|e| RenderError::Broken(e.to_string()))?;
    template.render(names).map_err(|e| RenderError::Broken(e.to_string()))
}

fn body(kind: TemplateType, text: String) -> Result<Body, RenderError> {
    Ok(match kind {
        TemplateType::Plain => Body::Plain(text),
        TemplateType::Html => Body::Html { plain: plain(&text), html: text },
        TemplateType::Json => Body::Json(serde_json::from_str(&text).map_err(|e| {
            let near = one_line(&text, 200);
            RenderError::Broken(format!("a template of type json must give JSON: {e}, in {near}"))
        })?),
    })
}

/// Names of `over` into `names`, over what is there.
fn merge(names: &mut Value, over: &Value) {
    if let (Some(names), Some(over)) = (names.as_object_mut(), over.as_object()) {
        names.extend(over.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}

/// What markup says, in plain words: without tags, entities as characters.
pub fn plain(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('<') {
            let end = rest.find('>').map_or(rest.len(), |e| e + 1);
            let tag = rest[1..end].trim_start_matches('/').to_ascii_lowercase();
            let breaks = ["br", "p", "div", "li", "tr", "h1", "h2", "h3", "pre", "ul", "ol", "table"];
            let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
            if breaks.contains(&name.as_str()) && !out.ends_with('\n') {
                out.push('\n');
            }
            rest = &rest[end..];
            continue;
        }
        let entities = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#x27;", '\''), ("&#39;", '\''), ("&nbsp;", ' ')];
        match entities.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, c)) => {
                out.push(*c);
                rest = &rest[name.len()..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// A project and one of its reporters.
#[derive(Clone)]
pub struct Source {
    pub project: Arc<Project>,
    pub reporter: ReporterDef,
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn markup_reads_as_plain_words() {
        assert_eq!(plain("<p>a &lt;b&gt; &amp;amp;</p><p>c<br>d</p>"), "\na <b> &amp;\nc\nd\n");
        assert_eq!(plain("no end <of a tag"), "no end ");
    }
}
