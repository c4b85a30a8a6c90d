//! A delivery as a commit's status, a comment or a vote on a forge.

use super::commit::{Commit, property};
use super::dispatch::{Transports, basic, secret};
use super::gerrit;
use super::written::{lacking, nothing, unsaid, written};
use crate::app::App;
use crate::forge::{Details, Facts, Forge, Kind, Stage};
use crate::http::{Auth, Client};
use crate::message::Body;
use crate::outcome::Outcome;
use crate::render::context::{results, text};
use crate::render::{self, RenderError, Source, words};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_lang::definition::{ReporterKind, Verify, Wants};
use tidemill_model::Results;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::send::{Delivery, Told};

/// What a reporter says of requests where its file says nothing.
const PENDING: &str = "Build pending.";
/// What a status that only tries a reporter is called.
const TEST: &str = "tidemill/test";

pub(super) async fn send(
    app: &App,
    transports: &Transports,
    source: &Source,
    delivery: &Delivery,
) -> Result<Outcome, RenderError> {
    let kind = &source.reporter.kind;
    if let ReporterKind::Gerrit(settings) = kind {
        return gerrit::send(app, source, settings, delivery).await;
    }
    let Some(of) = kind_of(kind) else {
        return Ok(Outcome::Refused { why: format!("{} is told of no commit", kind.name()) });
    };
    let said = match delivery.told.moment {
        Moment::Test => match Commit::tested(kind, &delivery.address) {
            Ok(commit) => Said::test(app, source, &delivery.told, commit),
            Err(why) => return Ok(Outcome::Refused { why }),
        },
        _ => match said(app, source, &delivery.told, of).await? {
            Ok(said) => said,
            Err(outcome) => return Ok(outcome),
        },
    };
    match forge(app, transports, kind, of).await {
        Ok(forge) => Ok(forge.send(&said.facts()).await),
        Err(why) => Ok(lacking(why)),
    }
}

fn kind_of(kind: &ReporterKind) -> Option<Kind> {
    Some(match kind {
        ReporterKind::Github(_) => Kind::GitHub,
        ReporterKind::GithubComment(_) => Kind::GitHubComment,
        ReporterKind::Gitlab(_) => Kind::GitLab,
        ReporterKind::Gitea(forge) => Kind::Gitea { warning_as_success: forge.warning_as_success },
        ReporterKind::Bitbucket(_) => Kind::Bitbucket,
        ReporterKind::BitbucketServer(_) => Kind::BitbucketServer,
        ReporterKind::BitbucketServerCore(_) => Kind::BitbucketServerCore,
        ReporterKind::BitbucketServerComment(_) => Kind::BitbucketServerComment,
        ReporterKind::GerritVerify(_) => Kind::GerritVerify,
        _ => return None,
    })
}

/// The forge, with who asks there. Its secrets are read now and kept nowhere else.
async fn forge(app: &App, transports: &Transports, kind: &ReporterKind, of: Kind) -> Result<Forge, String> {
    use ReporterKind::*;
    let client = |verify: &Verify| -> Result<Client, String> { transports.client(app, verify, None) };
    let (client, base_url, auth, oauth) = match kind {
        Github(forge) | GithubComment(forge) | Gitlab(forge) | Gitea(forge) => {
            let token = secret(app, &forge.token).await?;
            let auth = match of {
                Kind::GitLab => Auth::Header("private-token", token),
                Kind::Gitea { .. } => Auth::Header("authorization", format!("token {}", token.trim())),
                _ => Auth::Bearer(token),
            };
            (client(&forge.verify)?, &forge.base_url, auth, None)
        }
        Bitbucket(forge) => {
            let oauth = match &forge.oauth {
                Some(login) => Some(transports.consumer(app, &forge.oauth_url, login).await?),
                None => None,
            };
            (client(&forge.verify)?, &forge.base_url, basic(app, forge.auth.as_ref()).await?, oauth)
        }
        BitbucketServer(forge) | BitbucketServerCore(forge) | BitbucketServerComment(forge) => {
            let auth = match &forge.token {
                Some(token) => Auth::Bearer(secret(app, token).await?),
                None => basic(app, forge.auth.as_ref()).await?,
            };
            (client(&forge.verify)?, &forge.base_url, auth, None)
        }
        GerritVerify(gerrit) => {
            (client(&gerrit.verify)?, &gerrit.base_url, basic(app, Some(&gerrit.auth)).await?, None)
        }
        other => return Err(format!("{} is told of no commit", other.name())),
    };
    Ok(Forge { kind: of, client, base_url: base_url.clone(), auth, oauth })
}

/// All that a forge is told, owned.
#[derive(Debug, Default)]
struct Said {
    commit: Commit,
    stage: Stage,
    context: String,
    name: Option<String>,
    description: String,
    text: String,
    url: String,
    build_number: Option<String>,
    parent: Option<String>,
    reference: Option<String>,
    duration: Option<Duration>,
    tests: Option<(u64, u64, u64)>,
    abstain: bool,
    category: Option<String>,
    reporter: Option<String>,
}

impl Said {
    fn facts(&self) -> Facts<'_> {
        Facts {
            repository: &self.commit.repository,
            revision: &self.commit.revision,
            branch: self.commit.branch.as_deref(),
            change: self.commit.change.as_deref(),
            stage: self.stage,
            context: &self.context,
            name: self.name.as_deref(),
            description: &self.description,
            url: &self.url,
            text: &self.text,
            labels: BTreeMap::new(),
            details: Details {
                build_number: self.build_number.as_deref(),
                parent: self.parent.as_deref(),
                reference: self.reference.as_deref(),
                duration: self.duration,
                tests: self.tests,
                abstain: self.abstain,
                category: self.category.as_deref(),
                reporter: self.reporter.as_deref(),
                project: self.commit.project.as_deref(),
                notify: None,
            },
        }
    }

    /// A good status of its own, so that it stands in nobody's way.
    fn test(app: &App, source: &Source, told: &Told, commit: Commit) -> Said {
        let text = format!("This only tries whether {} arrives; it was {}.", source.reporter.name, gerrit::why(told));
        Said {
            commit,
            stage: Stage::Done(Results::Success),
            context: TEST.into(),
            name: Some(TEST.into()),
            description: text.clone(),
            text,
            url: format!("{}/", render::site(&source.project, &app.settings.public_url).url),
            // A vote that does not count.
            abstain: true,
            ..Said::default()
        }
    }
}

/// What is told of a build. The inner error is an end without it.
async fn said(app: &App, source: &Source, told: &Told, of: Kind) -> Result<Result<Said, Outcome>, RenderError> {
    let comments = matches!(of, Kind::GitHubComment | Kind::BitbucketServerComment);
    // Our own words of a comment name the steps that failed.
    let own = Wants { steps: comments, logs: comments, ..Wants::default() };
    let Some(written) = written(app, source, told, &own).await? else { return Ok(Err(unsaid())) };
    let document = &written.document;
    let kind = &source.reporter.kind;
    let commit = Commit::of(kind, told, document);
    if commit.change.is_none() && comments {
        return Ok(Err(nothing("the build is not of a pull request")));
    }
    if commit.change.is_none() && of == Kind::GerritVerify {
        return Ok(Err(nothing("the build is not of a change of Gerrit")));
    }
    let (description, text_of) = match &written.body {
        // The kind's own word for a request is that of one that waits.
        Some(Body::Plain(text)) if text == PENDING && told.mode == "cancelled" => {
            (words::line(document), String::new())
        }
        Some(body) => (body.plain(), body.plain()),
        None if comments => (String::new(), words::comment(document)),
        None => (words::line(document), String::new()),
    };
    let terms = terms(source, document, names(kind)).await?;
    let term = |name: &str| terms.get(name).cloned();
    let pull = commit.change.is_some();
    let context = match kind {
        ReporterKind::Gitea(_) if pull => term("context_pr"),
        ReporterKind::Bitbucket(_) => term("status_key"),
        ReporterKind::BitbucketServer(_) | ReporterKind::BitbucketServerCore(_) => term("key"),
        ReporterKind::GerritVerify(_) => term("verification_name"),
        _ => term("context"),
    };
    let builder = text(document, "/buildername");
    let number = document["build"]["number"].as_i64().filter(|_| document["is_buildset"] != true);
    let mut said = Said {
        commit,
        stage: stage(told, document),
        context: context.unwrap_or_else(|| builder.clone()),
        name: term("status_name").or_else(|| term("statusName")),
        description,
        text: text_of,
        url: text(document, "/build_url"),
        duration: document["build"]["duration"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
        category: term("category"),
        reporter: term("reporter"),
        ..Said::default()
    };
    match kind {
        ReporterKind::BitbucketServerCore(_) => {
            let named = number.map_or_else(|| builder.clone(), |n| format!("{builder} #{n}"));
            said.name = said.name.or_else(|| Some(named + &term("statusSuffix").unwrap_or_default()));
            said.parent = term("parentName").or(Some(builder));
            said.build_number = term("buildNumber").or_else(|| number.map(|n| n.to_string()));
            said.reference = term("ref").or_else(|| said.commit.branch.clone().filter(|b| b.starts_with("refs/")));
            let milliseconds = term("duration").and_then(|t| t.trim().parse::<f64>().ok());
            let given = milliseconds.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
            said.duration = given.or(said.duration);
            said.tests = tests(document, &terms);
        }
        ReporterKind::GerritVerify(gerrit) => said.abstain = gerrit.abstain,
        _ => {}
    }
    Ok(Ok(said))
}

/// Arguments that are rendered for each build.
fn names(kind: &ReporterKind) -> &'static [&'static str] {
    use ReporterKind::*;
    match kind {
        Gitea(_) => &["context", "context_pr"],
        Github(_) | Gitlab(_) => &["context"],
        Bitbucket(_) => &["status_key", "status_name"],
        BitbucketServer(_) => &["key", "statusName"],
        BitbucketServerCore(_) => &[
            "key",
            "statusName",
            "statusSuffix",
            "parentName",
            "buildNumber",
            "ref",
            "duration",
            "testResults.successful",
            "testResults.failed",
            "testResults.skipped",
        ],
        GerritVerify(_) => &["verification_name", "category", "reporter"],
        _ => &[],
    }
}

async fn terms(
    source: &Source,
    document: &Value,
    names: &'static [&'static str],
) -> Result<BTreeMap<&'static str, String>, RenderError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let document = document.clone();
    let rendered = source.ask(move |s| {
        let mut terms = BTreeMap::new();
        for name in names {
            let found = s.project.policies().argument(&s.reporter.name, name, &document);
            if let Some(text) = found.map_err(|e| RenderError::Broken(e.to_string()))?.filter(|t| !t.is_empty()) {
                terms.insert(*name, text);
            }
        }
        Ok(terms)
    });
    rendered.await
}

/// Tests that passed, failed and were skipped, as the reporter or properties of the build say.
fn tests(document: &Value, terms: &BTreeMap<&'static str, String>) -> Option<(u64, u64, u64)> {
    let asked = terms.keys().any(|name| name.starts_with("testResults."));
    let count = |name: &str| match asked {
        true => terms.get(format!("testResults.{name}").as_str()).cloned(),
        false => property(document, &format!("tests_{name}")),
    };
    let all = ["successful", "failed", "skipped"].map(|name| count(name).and_then(|n| n.trim().parse::<u64>().ok()));
    let [successful, failed, skipped] = all;
    all.iter()
        .any(Option::is_some)
        .then(|| (successful.unwrap_or_default(), failed.unwrap_or_default(), skipped.unwrap_or_default()))
}

/// How far it was when the event happened.
fn stage(told: &Told, document: &Value) -> Stage {
    match (told.moment, told.mode.as_str()) {
        (Moment::Request, "cancelled") => Stage::Done(Results::Cancelled),
        (Moment::Request, _) => Stage::Waiting,
        (Moment::Start, _) => Stage::Running,
        // An end without a result is one that could not be read: nothing is called good for it.
        _ => Stage::Done(results(&document["results"]).unwrap_or(Results::Exception)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_of_tests_are_the_reporters_or_those_of_properties() {
        let document = json!({"build": {"properties": {"tests_failed": [2, "x"], "tests_successful": ["7", "x"]}}});
        assert_eq!(super::tests(&document, &BTreeMap::new()), Some((7, 2, 0)));
        let terms = BTreeMap::from([("testResults.failed", "1".to_owned())]);
        assert_eq!(super::tests(&document, &terms), Some((0, 1, 0)), "those of the reporter alone");
        assert_eq!(super::tests(&json!({"build": {"properties": {}}}), &BTreeMap::new()), None);
    }
}
