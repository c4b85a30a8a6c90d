//! The resources of the REST API as commands read them. Unknown fields are
//! ignored and most have defaults, so that a client of one release reads the
//! answers of its neighbours.

use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use tidemill_model::Results;

#[derive(Clone, Debug, Deserialize)]
pub struct Build {
    pub buildid: i64,
    pub number: i64,
    #[serde(default)]
    pub buildername: String,
    #[serde(default)]
    pub workername: Option<String>,
    #[serde(default)]
    pub complete: bool,
    #[serde(default, deserialize_with = "seconds")]
    pub started_at: Option<i64>,
    #[serde(default, deserialize_with = "seconds")]
    pub complete_at: Option<i64>,
    #[serde(default)]
    pub results: Option<Results>,
    #[serde(default)]
    pub state_string: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub stepid: i64,
    pub number: i64,
    pub name: String,
    #[serde(default)]
    pub results: Option<Results>,
    #[serde(default, deserialize_with = "seconds")]
    pub started_at: Option<i64>,
    #[serde(default, deserialize_with = "seconds")]
    pub complete_at: Option<i64>,
    #[serde(default)]
    pub complete: bool,
    #[serde(default)]
    pub hidden: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    pub logid: i64,
    pub name: String,
    #[serde(default)]
    pub slug: String,
    #[serde(default)]
    pub num_lines: i64,
    #[serde(default)]
    pub complete: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Builder {
    pub builderid: i64,
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BuildRequest {
    pub buildrequestid: i64,
    #[serde(default)]
    pub complete: bool,
    #[serde(default)]
    pub results: Option<Results>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Change {
    pub changeid: i64,
    #[serde(default)]
    pub revision: Option<String>,
    #[serde(default)]
    pub repository: String,
    #[serde(default, deserialize_with = "seconds")]
    pub received_at: Option<i64>,
}

/// A time as the API gives it: seconds since 1970, whole or not.
pub fn seconds<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
        _ => None,
    })
}

/// The list under `key` of an answer, with each entry as the server wrote it.
pub async fn list_raw(client: &Client, path: &str, key: &str) -> Result<Vec<Value>> {
    let mut answer: BTreeMap<String, Value> = client.get(path).await?;
    match answer.remove(key) {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(Failure::internal(format!("the master's answer for {path} has no list `{key}`"))),
    }
}

/// All of a list, however long: page after page as the masters give them.
pub async fn all_raw(client: &Client, path: &str, key: &str) -> Result<Vec<Value>> {
    let join = if path.contains('?') { '&' } else { '?' };
    let mut next = Some(format!("{path}{join}limit={PAGE}"));
    let mut all = Vec::new();
    while let Some(path) = next {
        let answer: Value = client.get(&path).await?;
        let Some(rows) = answer[key].as_array() else {
            return Err(Failure::internal(format!("the master's answer for {path} has no list `{key}`")));
        };
        all.extend(rows.iter().cloned());
        next = answer["meta"]["next"].as_str().map(|link| link.trim_start_matches("/api/v2/").to_owned());
    }
    Ok(all)
}

/// The most that masters give at once.
const PAGE: u32 = 1000;

/// [`list_raw`], typed.
pub async fn list<T: serde::de::DeserializeOwned>(client: &Client, path: &str, key: &str) -> Result<Vec<T>> {
    let raw = list_raw(client, path, key).await?;
    typed(raw, path)
}

/// [`all_raw`], typed.
pub async fn all<T: serde::de::DeserializeOwned>(client: &Client, path: &str, key: &str) -> Result<Vec<T>> {
    typed(all_raw(client, path, key).await?, path)
}

fn typed<T: serde::de::DeserializeOwned>(raw: Vec<Value>, path: &str) -> Result<Vec<T>> {
    let parsed: std::result::Result<Vec<T>, _> = raw.into_iter().map(serde_json::from_value).collect();
    parsed.map_err(|e| Failure::internal(format!("the master's answer for {path} is unexpected: {e}")))
}

/// A name as one part of a path.
pub fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub async fn builder(client: &Client, name: &str) -> Result<Builder> {
    let found: Result<Vec<Builder>> = list(client, &format!("builders/{}", segment(name)), "builders").await;
    match found {
        Ok(found) => found.into_iter().next().ok_or_else(|| no_builder(name)),
        Err(f) if f.exit == Exit::NotFound => Err(no_builder(name)),
        Err(f) => Err(f),
    }
}

fn no_builder(name: &str) -> Failure {
    Failure::not_found(format!("there is no builder {name:?}")).hint("`tidemill builders` lists them")
}

/// How a person names a build: its id, or BUILDER/NUMBER. The number `latest`
/// is the newest.
pub async fn build(client: &Client, named: &str) -> Result<Build> {
    let path = match named.rsplit_once('/') {
        None => match named.parse::<i64>() {
            Ok(id) => format!("builds/{id}"),
            Err(_) => {
                return Err(Failure::usage(format!("{named:?} does not name a build"))
                    .hint("give its id, or BUILDER/NUMBER, or BUILDER/latest; `tidemill builds` lists them"));
            }
        },
        Some((builder_name, "latest")) => {
            let builder = builder(client, builder_name).await?;
            format!("builds?builderid={}&order=-number&limit=1", builder.builderid)
        }
        Some((builder_name, number)) => {
            let number: i64 =
                number.parse().map_err(|_| Failure::usage(format!("{number:?} in {named:?} is not a build number")))?;
            format!("builders/{}/builds/{number}", segment(builder_name))
        }
    };
    let none = || Failure::not_found(format!("there is no build {named}")).hint("`tidemill builds` lists them");
    let found: Result<Vec<Build>> = list(client, &path, "builds").await;
    match found {
        Ok(found) => found.into_iter().next().ok_or_else(none),
        Err(f) if f.exit == Exit::NotFound => Err(none()),
        Err(f) => Err(f),
    }
}

pub async fn build_by_id(client: &Client, id: i64) -> Result<Build> {
    build(client, &id.to_string()).await
}

/// All steps, in order; hidden ones too.
pub async fn steps(client: &Client, build: i64) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = list(client, &format!("builds/{build}/steps?limit=1000"), "steps").await?;
    steps.sort_by_key(|s| s.number);
    Ok(steps)
}

pub async fn logs(client: &Client, step: i64) -> Result<Vec<Log>> {
    all(client, &format!("steps/{step}/logs"), "logs").await
}

/// Lines that are read to find the last ones a command wrote: what the worker
/// says itself (the environment, how it ended) stands between and after.
const TAIL_READ: i64 = 400;

/// The last lines that a command wrote, without their ends.
pub async fn last_lines(client: &Client, log: &Log, count: usize) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Chunk {
        content: String,
    }
    let offset = (log.num_lines - TAIL_READ).max(0);
    let path = format!("logs/{}/contents?offset={offset}&limit={}", log.logid, TAIL_READ + 1);
    let chunks: Vec<Chunk> = list(client, &path, "logchunks").await?;
    // Each line begins with the letter of its channel.
    let text: String = chunks.into_iter().map(|c| c.content).collect();
    let lines: Vec<String> =
        text.lines().filter(|l| !l.starts_with('h')).map(|l| l.chars().skip(1).collect()).collect();
    Ok(lines[lines.len().saturating_sub(count)..].to_vec())
}
