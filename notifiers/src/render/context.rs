//! The document that templates and functions of the project see (RP-04). Its names are Buildbot's.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use tidemill_lang::definition::{LogsWanted, Wants};
use tidemill_lang::template::sample::result_names;
use tidemill_model::{LogId, Results, pages};
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::content;
use tidemill_schema::notices::send::Told;
use tidemill_schema::read::text::{Bounds, Line, Start, window};
use tidemill_schema::{Error, Result};

/// Most content of one log, and of all logs of a notice.
const LOG_MAX: i64 = 256 << 10;
const LOGS_MAX: usize = 2 << 20;
const LINE_MAX: usize = 16 << 10;

/// Where links lead, and what the place is called.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Without a slash at its end.
    pub url: String,
    pub title: String,
    pub title_url: String,
}

/// The document of a notice.
pub async fn document(c: &mut PgConnection, site: &Site, told: &Told, wants: &Wants) -> Result<Value> {
    let mut doc = Map::new();
    doc.insert("buildbot_title".into(), json!(site.title));
    doc.insert("buildbot_url".into(), json!(format!("{}/", site.url)));
    doc.insert("mode".into(), json!(told.mode));
    doc.insert("moment".into(), json!(told.moment.name()));
    doc.insert("why".into(), told.facts.get("why").cloned().unwrap_or_default());
    if let Some(worker) = told.worker {
        doc.insert("worker".into(), content::worker(c, worker).await?);
    }
    if let Some(build) = told.build {
        let mut build = self::build(c, site, build, wants).await?;
        if told.moment == Moment::Start && !build["results"].is_null() {
            as_it_began(&mut build);
        }
        about_build(&mut doc, build);
    } else if let Some(request) = told.request {
        about_request(&mut doc, site, content::request(c, request).await?);
    } else if let Some(set) = told.buildset {
        about_set(c, &mut doc, site, set, wants).await?;
    }
    let detected = detected(&doc, &told.mode);
    doc.insert("status_detected".into(), json!(detected));
    Ok(Value::Object(doc))
}

/// A build with its links and the contents of wanted logs.
async fn build(c: &mut PgConnection, site: &Site, id: i64, wants: &Wants) -> Result<Value> {
    let logs = wants.logs || wants.logs_content != LogsWanted::None;
    let what = content::Wants { properties: wants.properties, steps: wants.steps || logs, logs };
    let mut build = content::build(c, id, what).await?;
    if build.is_null() {
        return Err(Error::NotFound(format!("build {id} is not stored any more").into()));
    }
    let builder = text(&build, "/builder/name");
    let number = build["number"].as_i64().unwrap_or_default();
    build["url"] = json!(format!("{}{}", site.url, pages::build_path(&builder, number)));
    build["builder"]["url"] = json!(format!("{}{}", site.url, pages::builder_path(&builder)));
    if let Some(before) = build.pointer("/prev_build/number").and_then(Value::as_i64) {
        build["prev_build"]["url"] = json!(format!("{}{}", site.url, pages::build_path(&builder, before)));
    }
    let mut left = LOGS_MAX;
    for step in build["steps"].as_array_mut().into_iter().flatten() {
        let name = text(step, "/name");
        for log in step["logs"].as_array_mut().into_iter().flatten() {
            let id = log["logid"].as_i64().unwrap_or_default();
            log["url"] = json!(format!("{}{}", site.url, pages::log_path(id)));
            log["stepname"] = json!(name);
            if wants.logs_content.takes(&name, &text(log, "/name")) && left > 0 {
                let content = joined(&tail(c, id, LOG_MAX.min(left as i64)).await?);
                left = left.saturating_sub(content.len());
                log["content"] = json!(content);
            }
        }
    }
    Ok(build)
}

/// Its beginning may be told when it is over already.
fn as_it_began(build: &mut Value) {
    for end in ["results", "complete_at", "duration", "stop_reason"] {
        build[end] = Value::Null;
    }
    build["complete"] = json!(false);
    build["state_string"] = json!("started");
}

/// The last lines of a log.
pub(crate) async fn tail(c: &mut PgConnection, log: i64, bytes: i64) -> Result<Vec<Line>> {
    let bounds = Bounds { lines: i64::from(i32::MAX), line_bytes: LINE_MAX, read_bytes: bytes };
    let read = window(c, LogId(log), Start::Tail(i64::from(i32::MAX)), bounds).await?;
    Ok(read.lines)
}

/// Lines as one text.
pub(crate) fn joined(lines: &[Line]) -> String {
    lines.iter().map(Line::text).collect::<Vec<_>>().join("\n")
}

fn about_build(doc: &mut Map<String, Value>, build: Value) {
    let authors = people(&build);
    let results = build["results"].clone();
    doc.insert("buildername".into(), build["builder"]["name"].clone());
    doc.insert("workername".into(), build["workername"].clone());
    doc.insert("build_url".into(), build["url"].clone());
    doc.insert("results".into(), results.clone());
    doc.insert("result".into(), json!(names(&results)));
    doc.insert("result_names".into(), json!(result_names()));
    doc.insert("previous_results".into(), build.pointer("/prev_build/results").cloned().unwrap_or_default());
    doc.insert("buildset".into(), build["buildset"].clone());
    doc.insert("reason".into(), build["buildset"]["reason"].clone());
    doc.insert("sourcestamps".into(), json!(stamps(&build["buildset"]["sourcestamps"])));
    doc.insert("projects".into(), json!(projects(&build["buildset"]["sourcestamps"])));
    doc.insert("changes".into(), build["changes"].clone());
    doc.insert("blamelist".into(), json!(authors));
    doc.insert("is_buildset".into(), json!(false));
    doc.insert("summary".into(), build["state_string"].clone());
    doc.insert("build".into(), build);
}

fn about_request(doc: &mut Map<String, Value>, site: &Site, mut request: Value) {
    let builder = text(&request, "/builder/name");
    let id = request["buildrequestid"].as_i64().unwrap_or_default();
    request["url"] = json!(format!("{}{}", site.url, pages::request_path(id)));
    request["builder"]["url"] = json!(format!("{}{}", site.url, pages::builder_path(&builder)));
    doc.insert("buildername".into(), json!(builder));
    doc.insert("build_url".into(), request["url"].clone());
    doc.insert("results".into(), request["results"].clone());
    doc.insert("result".into(), json!(names(&request["results"])));
    doc.insert("result_names".into(), json!(result_names()));
    doc.insert("previous_results".into(), Value::Null);
    doc.insert("buildset".into(), request["buildset"].clone());
    doc.insert("reason".into(), request["buildset"]["reason"].clone());
    doc.insert("sourcestamps".into(), json!(stamps(&request["buildset"]["sourcestamps"])));
    doc.insert("projects".into(), json!(projects(&request["buildset"]["sourcestamps"])));
    doc.insert("changes".into(), json!([]));
    doc.insert("blamelist".into(), json!([]));
    doc.insert("is_buildset".into(), json!(false));
    doc.insert("summary".into(), request["reason"].clone());
    doc.insert("request".into(), request);
}

async fn about_set(
    c: &mut PgConnection,
    doc: &mut Map<String, Value>,
    site: &Site,
    id: i64,
    wants: &Wants,
) -> Result<()> {
    let mut set = content::buildset(c, id).await?;
    if set.is_null() {
        return Err(Error::NotFound(format!("buildset {id} is not stored any more").into()));
    }
    let mut builds = vec![];
    for build in set["builds"].as_array().into_iter().flatten().filter_map(Value::as_i64).take(200) {
        builds.push(self::build(c, site, build, wants).await?);
    }
    let mut authors: Vec<String> = builds.iter().flat_map(people).collect();
    authors.sort();
    authors.dedup();
    doc.insert("results".into(), set["results"].clone());
    doc.insert("result".into(), json!(names(&set["results"])));
    doc.insert("result_names".into(), json!(result_names()));
    doc.insert("buildername".into(), json!("whole buildset"));
    doc.insert("build_url".into(), json!(format!("{}/", site.url)));
    doc.insert("previous_results".into(), Value::Null);
    doc.insert("reason".into(), set["reason"].clone());
    doc.insert("sourcestamps".into(), json!(stamps(&set["sourcestamps"])));
    doc.insert("projects".into(), json!(projects(&set["sourcestamps"])));
    doc.insert("changes".into(), builds.first().map(|b| b["changes"].clone()).unwrap_or(json!([])));
    doc.insert("blamelist".into(), json!(authors));
    doc.insert("is_buildset".into(), json!(true));
    doc.insert("summary".into(), json!(names(&set["results"])));
    doc.insert("build".into(), builds.first().cloned().unwrap_or_default());
    set["builds"] = json!(builds);
    doc.insert("builds".into(), set["builds"].clone());
    doc.insert("buildset".into(), set);
    Ok(())
}

/// Authors of the changes, none twice.
fn people(build: &Value) -> Vec<String> {
    let mut all: Vec<String> = vec![];
    for change in build["changes"].as_array().into_iter().flatten() {
        let author = text(change, "/author");
        if !author.is_empty() && !all.contains(&author) {
            all.push(author);
        }
    }
    all
}

/// Sources in words: «main at 5f3c2a9d», with their codebases where there are several.
fn stamps(stamps: &Value) -> String {
    let one = |stamp: &Value| {
        let (codebase, branch, revision) = (text(stamp, "/codebase"), text(stamp, "/branch"), text(stamp, "/revision"));
        let branch = if branch.is_empty() { "the default branch".to_owned() } else { branch };
        let place = if revision.is_empty() { branch } else { format!("{branch} at {revision}") };
        if codebase.is_empty() { place } else { format!("{codebase}: {place}") }
    };
    stamps.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

fn projects(stamps: &Value) -> String {
    let mut all: Vec<String> = stamps.as_array().into_iter().flatten().map(|s| text(s, "/project")).collect();
    all.retain(|p| !p.is_empty());
    all.sort();
    all.dedup();
    all.join(", ")
}

pub(crate) fn results(value: &Value) -> Option<Results> {
    Results::try_from(i16::try_from(value.as_i64()?).ok()?).ok()
}

fn names(value: &Value) -> &'static str {
    results(value).map_or("", Results::name)
}

/// What happened in a few words: «new failure», «restored build», «failed build».
fn detected(doc: &Map<String, Value>, mode: &str) -> String {
    let of = |key: &str| doc.get(key).and_then(results);
    let (now, before) = (of("results"), of("previous_results"));
    let text = match (mode, now, before) {
        ("problem", ..) => "new failure",
        ("change", Some(Results::Success), Some(b)) if !b.is_good() => "restored build",
        ("change", Some(Results::Failure), _) => "new failure",
        ("missing", ..) => "missing worker",
        (_, None, _) => "started build",
        (_, Some(Results::Success), _) => "passing build",
        (_, Some(Results::Warnings), _) => "build with warnings",
        (_, Some(Results::Failure), _) => "failed build",
        (_, Some(Results::Exception), _) => "build exception",
        (_, Some(Results::Cancelled), _) => "cancelled build",
        (_, Some(Results::Skipped), _) => "skipped build",
        (_, Some(Results::Retry), _) => "build that is tried again",
    };
    text.to_owned()
}

/// A text inside a document; empty where there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
