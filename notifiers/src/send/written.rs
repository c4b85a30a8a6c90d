//! A notice in the words of its project, for reporters that are no mail.

use crate::app::App;
use crate::http::Hidden;
use crate::message::Body;
use crate::outcome::Outcome;
use crate::render::{self, Made, RenderError, Source, context};
use serde_json::Value;
use std::collections::BTreeMap;
use tidemill_lang::definition::{FormatterDef, LogsWanted, Renderable, Wants};
use tidemill_lang::secret;
use tidemill_schema::notices::send::Told;

/// What is told.
pub(super) struct Written {
    /// What happened.
    pub document: Value,
    /// None: in our own words.
    pub body: Option<Body>,
    pub extra: BTreeMap<String, Value>,
}

/// None where the formatter says that nothing is to be told. `own` is what the document has to hold
/// beside what the project's formatter wants; properties it always has.
pub(super) async fn written(
    app: &App,
    source: &Source,
    told: &Told,
    own: &Wants,
) -> Result<Option<Written>, RenderError> {
    let formatter = render::formatter(&source.reporter, told).unwrap_or(&FormatterDef::Default);
    let asked = formatter.wants();
    let wants = Wants {
        properties: true,
        steps: asked.steps || own.steps,
        logs: asked.logs || own.logs,
        logs_content: if asked.logs_content == LogsWanted::None {
            own.logs_content.clone()
        } else {
            asked.logs_content
        },
    };
    let site = render::site(&source.project, &app.settings.public_url);
    let document = {
        let mut c = app.db.pool().acquire().await.map_err(tidemill_schema::Error::from)?;
        context::document(&mut c, &site, told, &wants).await?
    };
    let made = {
        let (told, document) = (told.clone(), document.clone());
        source.ask(move |s| render::made(&s.project, &s.reporter, &told, &document)).await?
    };
    Ok(match made {
        Made::Nothing => None,
        Made::Parts { body, extra, .. } => Some(Written { document, body, extra }),
    })
}

/// What becomes of a notice that is none.
pub(super) fn nothing(why: &str) -> Outcome {
    Outcome::Sent { answer: format!("nothing was sent: {why}") }
}

/// The same of one whose formatter gave nothing.
pub(super) fn unsaid() -> Outcome {
    nothing("its formatter says that nothing is to be told")
}

/// A value that nobody knows is mended by people, and then this one goes too.
pub(super) fn lacking(why: String) -> Outcome {
    Outcome::Again { why, after: None }
}

/// The further headers of a reporter, with the values of secrets, and these values.
pub(super) async fn headers(
    app: &App,
    source: &Source,
    document: &Value,
    written: &BTreeMap<String, Renderable>,
) -> Result<Result<(BTreeMap<String, String>, Hidden), String>, RenderError> {
    if written.is_empty() {
        return Ok(Ok((BTreeMap::new(), Hidden::default())));
    }
    let (app, document) = (app.clone(), document.clone());
    let rendered = source.ask(move |s| {
        let mark = tidemill_service::token::random_hex(16);
        let headers = s.project.policies().headers(&s.reporter.name, &document, &mark);
        let mut hidden = Hidden::default();
        let mut resolved = BTreeMap::new();
        for (name, text) in headers.map_err(|e| RenderError::Broken(e.to_string()))? {
            let value = secret::resolve(&text, &mark, |name| {
                let value = app.secrets.value(name).map_err(|e| e.to_string())?;
                hidden.add(&value);
                Ok::<_, String>(value)
            });
            match value {
                Ok(value) => resolved.insert(name, value.into_owned()),
                Err(why) => return Ok(Err(why)),
            };
        }
        Ok(Ok((resolved, hidden)))
    });
    rendered.await
}
