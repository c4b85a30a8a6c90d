//! Documents of a server that answers in JSON, as pollers of forges ask for
//! them: bounded, to addresses that [`super::http`] allows, and always below
//! the base that the project file names. An address that an answer names is
//! never followed, so no token goes anywhere else.

use super::http::{Http, LONGEST};
use super::{PollError, World};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidemill_lang::definition::SecretText;
use tidemill_lang::policies::{HttpReply, HttpRequest};
use tidemill_model::repository::public_url;
use url::Url;

/// Gone, private, too large: as forges say it. 555 is Bitbucket's own. Neither
/// a login that is wrong nor a limit of requests is one of these.
const NOT_SHOWN: [u16; 6] = [404, 406, 409, 410, 422, 555];

pub struct Api {
    http: Http,
    base: Url,
    headers: Vec<(String, String)>,
}

impl Api {
    /// `local` is whether addresses of this machine may be reached.
    pub fn new(base: &str, local: bool) -> Result<Api, PollError> {
        let base = Url::parse(base)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && !u.cannot_be_a_base())
            .ok_or_else(|| {
                PollError::Refused(format!("`{}` is no address of a server: write https://…", public_url(base)))
            })?;
        Ok(Api { http: Http::new(local), base, headers: vec![] })
    }

    pub fn header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    pub fn login(&mut self, user: &SecretText, password: &SecretText, world: &World<'_>) -> Result<(), PollError> {
        let (user, password) = (world.secrets.resolve(user)?, world.secrets.resolve(password)?);
        self.header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        Ok(())
    }

    /// The text of a document; path and query are data, each part is escaped.
    pub async fn text(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, PollError> {
        Ok(self.ask(path, query).await?.body)
    }

    pub async fn json(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, PollError> {
        let reply = self.ask(path, query).await?;
        // Gerrit's guard against being read as a script.
        let body = reply.body.trim_start().strip_prefix(")]}'").unwrap_or(&reply.body);
        serde_json::from_str(body).map_err(|e| {
            let base = public_url(self.base.as_str());
            PollError::Output(format!("{base} answered with something that is no JSON: {e}"))
        })
    }

    /// The same; none where the server says that it does not show this one (any
    /// more), or cannot: that is no reason to find nothing else.
    pub async fn json_or_none(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<Value>, PollError> {
        match self.json(path, query).await {
            Ok(found) => Ok(Some(found)),
            Err(PollError::Answer { status, text }) if NOT_SHOWN.contains(&status) => {
                tracing::warn!(%text, "left out of a change");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, path: &[&str], query: &[(&str, &str)]) -> Result<HttpReply, PollError> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("checked when it was made").pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = HttpRequest {
            method: "GET".into(),
            url: url.into(),
            headers: self.headers.clone(),
            ..HttpRequest::default()
        };
        let reply = self.http.ask(&request, LONGEST).await.map_err(PollError::Output)?;
        if reply.status == 200 {
            return Ok(reply);
        }
        let shown = Url::parse(&request.url).map(|u| u.path().to_owned()).unwrap_or_default();
        let said: String = reply.body.chars().filter(|c| !c.is_control()).take(300).collect();
        let text = format!("GET {shown}: answer {}: {said}", reply.status);
        Err(PollError::Answer { status: reply.status, text })
    }
}
