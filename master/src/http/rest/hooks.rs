//! `POST /change_hook/<dialect>`: forges and scripts announce changes.
//!
//! In this order: the dialect must be enabled in the project file; what headers
//! alone can prove or cannot is told before anything of the body is read; the
//! body is read within its bound and its time; what it proves is checked over
//! the bytes as they came; only then anything is parsed, off the async threads
//! and a few at once; all changes are
//! stored in one transaction with the delivery's id; the answer follows the
//! commit and says what became of it (WH-01, WH-09, A12). The guard before all
//! routes lets these through without a token and says who it is if there is one.

use super::super::access::Who;
use crate::app::App;
use crate::hooks::proof::{self, Proof};
use crate::hooks::store::{Plan, Stored, plan, store};
use crate::hooks::{self, Refused, Said, Sent, lookup};
use crate::http::ApiError;
use crate::policies::announced;
use crate::pollers::pull_requests::github;
use axum::Json;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::definition::{HookDef, HookDialect, HookUser, SecretText};
use tidemill_lang::policies::HookOutput;
use tidemill_lang::{EvalError, Project};
use tidemill_schema::hooks::{Delivery, source_names, sources_poll_now};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Deliveries that a replica holds in memory at once, each up to the bound of a body.
const AT_ONCE: usize = 16;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(20);
/// Longest id of a delivery.
const ID_MAX: usize = 255;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
/// Longest time for a body: who lets it trickle in keeps others from their turn.
const BODY: Duration = Duration::from_secs(15);
/// Parsed at once: as values, a body of megabytes may take a hundred times as much.
const PARSED: usize = 4;
static PARSING: Semaphore = Semaphore::const_new(PARSED);

/// Beside the API, not below it.
pub fn hook_router() -> Router<App> {
    Router::new().route("/change_hook/{dialect}", post(hook)).route("/change_hook/{dialect}/", post(hook))
}

async fn hook(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    who: Who,
    request: Request,
) -> Result<Response, ApiError> {
    let (revision, project, def) = enabled(&app, &name).await?;
    let (parts, body) = request.into_parts();
    // The turn is given back when all is done with the body, and before others are asked.
    let (body, proven, turn) = match proven_body(&app, &project, &def, &parts.headers, body, &who).await {
        Ok(taken) => taken,
        Err(Denied::Wrong(error)) => return Err(error),
        Err(Denied::Refused(refusal)) => return Ok(*refusal),
        Err(Denied::NoSecret(why)) => {
            app.failures.failed_saying(&app.db, revision, Subject::Project, "change_hook_dialects", why);
            return Err(ApiError::internal(format!("hook {name}: what proves a delivery cannot be read")));
        }
    };
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    if def.dialect == HookDialect::Poller {
        return poll(&app, &def, &query).await;
    }
    let delivery = delivery(&def, &parts.headers, &body)?;
    let read = Reading { project: project.clone(), def: def.clone(), headers: parts.headers, query, body, proven };
    let parsing = PARSING.acquire().await;
    let said = tokio::task::spawn_blocking(move || read.run()).await;
    drop(parsing);
    let said = match said {
        Ok(Ok(said)) => said,
        Ok(Err(Failed::Refused(Refused(why)))) => return Err(ApiError::bad_request(why)),
        Ok(Err(Failed::Function(policy, error))) => {
            app.failures.failed(&app.db, revision, Subject::Project, policy, &error);
            return Err(ApiError::internal(format!("hook {name}: the project's function failed; nothing is stored")));
        }
        Err(e) => return Err(ApiError::internal(e)),
    };
    drop(turn);
    let (said, note) = looked_up(&app, &def, said, proven).await?;
    let mut plan = plan(said, def.outsiders, proven);
    plan.notes.extend(note);
    let plan = completed(&app, plan).await?;
    match store(&app, &def.name, delivery.as_ref(), &plan).await? {
        Stored::Answer(status, answer) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED);
            Ok((status, Json(answer)).into_response())
        }
        Stored::OtherBody => Err(ApiError::bad_request("the id of this delivery was used before, for another body")),
    }
}

/// The dialect as the active project defines it: no other is open (WH-01).
async fn enabled(app: &App, name: &str) -> Result<(i64, Arc<Project>, HookDef), ApiError> {
    if let Some((revision, project)) = app.projects.active(&app.db).await? {
        let found = project.definition().hooks.iter().find(|h| h.name == name).cloned();
        if let Some(def) = found {
            return Ok((revision, project, def));
        }
    }
    let short: String = name.chars().take(100).collect();
    Err(ApiError::bad_request(format!(
        "there is no hook {short:?}: the project file enables dialects in c[\"www\"][\"change_hook_dialects\"]"
    )))
}

/// Never more than the bound, whatever the sender announced.
async fn read_body(headers: &HeaderMap, body: axum::body::Body, most: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let detail = format!("a delivery may have at most {most} bytes (`master.hook_body_max_bytes`)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Too large", detail)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse().ok());
    if announced.is_some_and(|n: usize| n > most) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY, to_bytes(body, most)).await;
    let slow = || {
        let detail = format!("the body had not come within {} s", BODY.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Too slow", detail)
    };
    read.map_err(|_| slow())?.map_err(|e| match e.to_string().contains("length limit") {
        true => too_large(),
        false => ApiError::bad_request("the body broke off"),
    })
}

/// Why a delivery is not read.
enum Denied {
    Refused(Box<Response>),
    Wrong(ApiError),
    /// The master lacks what it would compare with.
    NoSecret(String),
}

impl Denied {
    fn because(why: String) -> Denied {
        Denied::Refused(Box::new(ApiError::bad_request(why).into_response()))
    }
}

/// The body, and whether its sender proved to be who it says. An unproven
/// delivery passes only where the project says `strict = False`, and then it is
/// an outsider's.
async fn proven_body(
    app: &App,
    project: &Project,
    def: &HookDef,
    headers: &HeaderMap,
    body: axum::body::Body,
    who: &Who,
) -> Result<(Bytes, bool, SemaphorePermit<'static>), Denied> {
    let proof = proof::of(def);
    let secret = def.secret.as_ref().filter(|_| proof != Proof::None);
    let signed = match secret {
        None => Err(of_headers(app, project, def, headers, who).await?),
        Some(secret) => match proof::given(&proof, headers) {
            Ok(_) => Ok(value(app, secret).await?),
            Err(_) if !def.strict => Err(false),
            Err(why) => return Err(Denied::because(why)),
        },
    };
    let turn = tokio::time::timeout(TURN, TURNS.acquire()).await;
    let Ok(Ok(turn)) = turn else { return Err(Denied::Wrong(ApiError::unavailable())) };
    let body = read_body(headers, body, app.settings.hook_body_max).await.map_err(Denied::Wrong)?;
    match signed {
        Err(proven) => Ok((body, proven, turn)),
        Ok(secret) => match proof::check(&proof, &secret, headers, &body) {
            Ok(()) => Ok((body, true, turn)),
            Err(why) => Err(Denied::because(why)),
        },
    }
}

/// Whether a sender without a signature is known.
async fn of_headers(
    app: &App,
    project: &Project,
    def: &HookDef,
    headers: &HeaderMap,
    who: &Who,
) -> Result<bool, Denied> {
    if who.has_token {
        return Ok(true);
    }
    let users = &project.definition().hook_users;
    if let Some((name, password)) = proof::basic(headers)
        && known(app, users, &name, &password).await?
    {
        return Ok(true);
    }
    if !def.strict && proof::basic(headers).is_none() {
        return Ok(false);
    }
    let mut refusal = ApiError::unauthorized(
        "this hook needs a proof: a secret of its dialect, a user of change_hook_auth, or an API token",
    )
    .into_response();
    if !users.is_empty() {
        refusal.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"tidemill hooks\", charset=\"UTF-8\""),
        );
    }
    Err(Denied::Refused(Box::new(refusal)))
}

async fn known(app: &App, users: &[HookUser], name: &str, password: &str) -> Result<bool, Denied> {
    let mut good = false;
    for user in users.iter().filter(|u| proof::same(&u.name, name)) {
        good |= proof::same(&value(app, &user.password).await?, password);
    }
    Ok(good)
}

/// A text of the project file, or the value of the secret that it names.
async fn value(app: &App, text: &SecretText) -> Result<String, Denied> {
    let (app, text) = (app.clone(), text.clone());
    let read = tokio::task::spawn_blocking(move || app.secrets.resolve(&text)).await;
    match read {
        Ok(Ok(value)) if !value.is_empty() => Ok(value),
        Ok(Ok(_)) => Err(Denied::NoSecret("the secret of a hook is empty".into())),
        Ok(Err(e)) => Err(Denied::NoSecret(e.to_string())),
        Err(e) => Err(Denied::NoSecret(e.to_string())),
    }
}

/// What tells the delivery from others; none where the sender says nothing.
fn delivery(def: &HookDef, headers: &HeaderMap, body: &[u8]) -> Result<Option<Delivery>, ApiError> {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let names: &[&str] = match def.dialect {
        HookDialect::Github => &["x-github-delivery"],
        HookDialect::Gitea => &["x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery"],
        HookDialect::Bitbucket => &["x-request-uuid"],
        HookDialect::BitbucketServer => &["x-request-id"],
        _ => &[],
    };
    let mut id = names.iter().chain(&["idempotency-key"]).find_map(|name| headers.get(*name));
    let event = headers.get("x-gitlab-event-uuid").filter(|_| def.dialect == HookDialect::Gitlab);
    id = id.or(event);
    let id = match id.map(|id| id.to_str()) {
        None => None,
        Some(Ok(id)) if !id.is_empty() && id.len() <= ID_MAX => Some(id),
        Some(_) => {
            return Err(ApiError::bad_request(format!(
                "the id of a delivery has 1 to {ID_MAX} visible ASCII characters"
            )));
        }
    };
    // GitLab's id of an event is shared by all that the event causes.
    let id = match (id, event) {
        (Some(id), Some(event)) if event.to_str().is_ok_and(|e| e == id) => {
            Some(format!("{id} {}", hex::encode(digest)))
        }
        (id, _) => id.map(str::to_owned),
    };
    // What these sign bears a time, so that no honest sender sends the same bytes for two events.
    let once = matches!(
        def.dialect,
        HookDialect::Github | HookDialect::Gitea | HookDialect::BitbucketServer | HookDialect::Gerrit
    );
    if id.is_none() && !once {
        return Ok(None);
    }
    Ok(Some(Delivery { dialect: def.name.clone(), id, body: digest, once }))
}

/// A delivery on its way through a blocking thread.
struct Reading {
    project: Arc<Project>,
    def: HookDef,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Bytes,
    proven: bool,
}

enum Failed {
    Refused(Refused),
    /// A function of the project, by the name of its option.
    Function(&'static str, EvalError),
}

impl Reading {
    fn run(&self) -> Result<Said, Failed> {
        let sent =
            Sent { headers: &self.headers, query: &self.query, body: &self.body, hook: &self.def, proven: self.proven };
        let mut said = match self.def.dialect {
            HookDialect::Custom => {
                let asked = self.project.policies().hook(&self.def.name, &hooks::input(&sent));
                hooks::finished(
                    &sent,
                    match asked.map_err(|e| Failed::Function("function", e))? {
                        HookOutput::Changes(changes) => Said::Changes(changes),
                        HookOutput::Ignored(why) if why.is_empty() => {
                            Said::Ignored("the project's function says so".into())
                        }
                        HookOutput::Ignored(why) => Said::Ignored(why),
                    },
                )
            }
            _ => hooks::read(&sent).map_err(Failed::Refused)?,
        };
        if self.def.codebase_function && !matches!(said, Said::Ignored(_)) {
            let payload = hooks::payload(&sent).map_err(Failed::Refused)?;
            let asked = self.project.policies().hook_codebase(&self.def.name, &payload);
            if let Some(codebase) = asked.map_err(|e| Failed::Function("codebase", e))? {
                match &mut said {
                    Said::Changes(changes) => changes.iter_mut().for_each(|c| c.codebase = codebase.clone()),
                    Said::Pull { change: Some(change), .. } => change.codebase = codebase,
                    _ => {}
                }
            }
        }
        Ok(said)
    }
}

/// With what the forge is asked for, where the project gives a token for that.
async fn looked_up(app: &App, def: &HookDef, said: Said, proven: bool) -> Result<(Said, Option<String>), ApiError> {
    let Some(token) = def.token.as_ref().filter(|_| proven && def.dialect == HookDialect::Github) else {
        return Ok((said, None));
    };
    let api = match value(app, token).await {
        Ok(token) => github::api(def.api.as_deref(), Some(&token), app.settings.poll_local_addresses),
        Err(Denied::NoSecret(why)) => return Ok((said, Some(format!("GitHub is not asked for more: {why}")))),
        Err(Denied::Refused(_) | Denied::Wrong(_)) => return Ok((said, None)),
    };
    Ok(match api {
        Ok(api) => lookup::completed(&api, def, said).await,
        Err(error) => (said, Some(error.to_string())),
    })
}

/// With what the project adds to changes that come in, and within the bounds of properties.
async fn completed(app: &App, mut plan: Plan) -> Result<Plan, ApiError> {
    plan.changes = announced::completed(app, plan.changes).await;
    let (keys, held): (Vec<_>, Vec<_>) = plan.held.into_iter().unzip();
    plan.held = keys.into_iter().zip(announced::completed(app, held).await).collect();
    for change in plan.changes.iter().chain(plan.held.iter().map(|(_, c)| c)) {
        change.properties.check().map_err(|e| ApiError::field("properties", e.to_string()))?;
    }
    Ok(plan)
}

/// The `poller` dialect: sources poll now (WH-07).
async fn poll(app: &App, def: &HookDef, query: &[(String, String)]) -> Result<Response, ApiError> {
    let asked: Vec<String> = query.iter().filter(|(n, _)| n == "poller").map(|(_, v)| v.clone()).collect();
    if let Some(no) = asked.iter().find(|name| def.allowed.as_ref().is_some_and(|a| !a.contains(name))) {
        return Err(ApiError::bad_request(format!("this hook may not let {no:?} poll")));
    }
    if !asked.is_empty() {
        let mut c = app.people.pool().acquire().await?;
        let known = source_names(&mut c).await?;
        if let Some(no) = asked.iter().find(|name| !known.contains(name)) {
            return Err(ApiError::bad_request(format!("there is no poller {no:?}")));
        }
    }
    let names = if asked.is_empty() { def.allowed.clone() } else { Some(asked) };
    let polled = run_tx!(app.people, "hook.poll", |c| sources_poll_now(c, names.as_deref()).await)?;
    app.wakes.send(Wake::Poll);
    let detail = format!("no change found; {} to poll now", polled.len());
    Ok((StatusCode::ACCEPTED, Json(json!({ "changes": 0, "polled": polled, "detail": detail }))).into_response())
}
