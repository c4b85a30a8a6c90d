//! From a delivery to a message: the document of what happened, put into the
//! words of the revision that planned it.

pub mod context;
pub mod words;

use crate::message::Body;
use context::Site;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_lang::Project;
use tidemill_lang::definition::{FormatterDef, GeneratorDef, ReporterDef, TemplateType, Wants};
use tidemill_lang::policies::Which;
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

/// What a formatter made of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// It says that nothing is to be told.
    Nothing,
    /// A part that is none is in our own words, see [`words`].
    Parts { subject: Option<String>, body: Option<Body>, extra: BTreeMap<String, Value> },
}

/// Asks the formatter. Runs the project's functions: not for an async thread.
pub fn made(project: &Project, reporter: &ReporterDef, told: &Told, document: &Value) -> Result<Made, RenderError> {
    if reporter.generators.is_empty() || told.moment == Moment::Test {
        return Ok(Made::Parts { subject: None, body: None, extra: BTreeMap::new() });
    }
    let which = if told.moment == Moment::Start { Which::Start } else { Which::End };
    let generator = usize::try_from(told.generator).unwrap_or_default();
    let found = project.policies().format(&reporter.name, generator, which, document);
    let Some(found) = found.map_err(|e| RenderError::Broken(e.to_string()))? else { return Ok(Made::Nothing) };
    let body = match (found.template_type, &found.body) {
        (_, None) => None,
        (TemplateType::Json, Some(value)) => Some(Body::Json(value.clone())),
        (TemplateType::Plain, Some(_)) => found.text().map(Body::Plain),
        (TemplateType::Html, Some(_)) => found.text().map(|html| Body::Html { plain: plain(&html), html }),
    };
    Ok(Made::Parts { subject: found.subject, body, extra: found.extra })
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
        let entities = [
            ("&amp;", '&'),
            ("&lt;", '<'),
            ("&gt;", '>'),
            ("&quot;", '"'),
            ("&#x27;", '\''),
            ("&#39;", '\''),
            ("&nbsp;", ' '),
        ];
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

impl Source {
    /// Runs what may run functions of the project, off the async threads.
    pub async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&Source) -> Result<R, RenderError> + Send + 'static,
    ) -> Result<R, RenderError> {
        let source = self.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&source)).await;
        asked.map_err(|e| RenderError::Broken(format!("rendering failed within: {e}")))?
    }
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
