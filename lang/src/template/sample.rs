//! The document that templates and functions of formatters get, filled in.
//!
//! Names are Buildbot's. It is what `checkconfig` renders templates against, and
//! what docs/project-file.md lists; notifiers make documents with these keys (their
//! tests compare). Times are seconds since 1970.

use crate::definition::GeneratorKind;
use serde_json::{Map, Value as Json, json};
use tidemill_model::Results;

/// A key of an object that stands for any key: its names are the project's own.
pub(super) const ANY: &str = "$any";

/// A document with every key that there may be, each with a value; where names
/// are free (properties, facts of a worker) it has the one key `$any`.
pub fn sample(kind: GeneratorKind) -> Json {
    let mut all = project();
    let more = match kind {
        GeneratorKind::Build | GeneratorKind::BuildStartEnd | GeneratorKind::Buildset => of_build(kind),
        GeneratorKind::BuildsetCombined => of_buildset(),
        GeneratorKind::Request => of_request(),
        GeneratorKind::WorkerMissing => of_worker(),
    };
    all.extend(more);
    Json::Object(all)
}

/// The names of results, by their codes.
pub fn result_names() -> Vec<&'static str> {
    Results::ALL.iter().map(|r| r.name()).collect()
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        _ => unreachable!("the samples are objects"),
    }
}

fn project() -> Map<String, Json> {
    object(json!({
        "buildbot_title": "Example",
        "buildbot_url": "https://ci.example.org/",
        "mode": ["failing", "passing", "warnings"],
        "result_names": result_names(),
        "results": 2,
        "summary": "failed compile",
    }))
}

fn stamp() -> Json {
    json!({
        "codebase": "", "branch": "main", "revision": "5f3c2a9d", "repository": "https://example.org/r.git",
        "project": "example",
    })
}

fn change() -> Json {
    json!({
        "changeid": 7, "author": "Ada <ada@example.org>", "committer": "Ada <ada@example.org>", "comments": "Say it.",
        "revision": "5f3c2a9d", "branch": "main", "repository": "https://example.org/r.git", "codebase": "",
        "project": "example", "files": ["src/a.c", "src/b.c"], "revlink": "https://example.org/r/5f3c2a9d",
        "outsider": "a pull request of a stranger", "when": 1_700_000_000,
    })
}

fn patch() -> Json {
    json!({
        "patchid": 3, "author": "ada", "comment": "does it build?", "level": 1, "subdir": "src", "bytes": 120,
    })
}

fn builder() -> Json {
    json!({
        "builderid": 1, "name": "linux", "tags": ["release", "fast"], "description": "On Linux.", "project": "example",
    })
}

fn buildset() -> Json {
    json!({
        "bsid": 5, "reason": "a change", "scheduler": "main", "external_idstring": "x-5", "results": 2,
        "parent_buildid": 4, "submitted_at": 1_700_000_000, "complete_at": 1_700_000_100,
        "sourcestamps": [stamp(), stamp()],
    })
}

fn log() -> Json {
    json!({
        "logid": 9, "name": "stdio", "slug": "stdio", "type": "s", "num_lines": 2, "bytes": 20, "stepname": "compile",
        "url": "https://ci.example.org/logs/9", "url_raw": "https://ci.example.org/logs/9/raw",
        "content": "make all\nerror: no\n",
    })
}

fn step() -> Json {
    json!({
        "number": 0, "name": "compile", "state_string": "failed compile", "results": 2, "hidden": false,
        "urls": [{"name": "report", "url": "https://example.org/report"}],
        "started_at": 1_700_000_010, "complete_at": 1_700_000_090, "logs": [log(), log()],
    })
}

fn build() -> Json {
    json!({
        "buildid": 12, "number": 34, "builderid": 1, "buildrequestid": 11, "workerid": 2, "workername": "w1",
        "attempt": 1, "state_string": "failed compile", "results": 2, "complete": true,
        "started_at": 1_700_000_010, "complete_at": 1_700_000_100, "duration": 90.5,
        "stop_reason": "stopped by ada", "url": "https://ci.example.org/builders/linux/builds/34",
        "builder": builder(), "buildset": buildset(),
        "buildrequest": {"buildrequestid": 11, "priority": 0, "submitted_at": 1_700_000_000, "results": 2},
        "prev_build": {
            "buildid": 10, "number": 33, "results": 0, "url": "https://ci.example.org/builders/linux/builds/33",
        },
        "properties": {ANY: ["1", "Build"]},
        "steps": [step(), step()],
        "changes": [change(), change()],
        "patch": patch(),
    })
}

/// One build: at its beginning, its end, or the end of its buildset.
fn of_build(kind: GeneratorKind) -> Map<String, Json> {
    object(json!({
        "build": build(),
        "buildset": buildset(),
        "buildername": "linux",
        "workername": "w1",
        "is_buildset": kind == GeneratorKind::Buildset,
        "projects": "example",
        "previous_results": 0,
        "status_detected": "failed build",
        "build_url": "https://ci.example.org/builders/linux/builds/34",
        "blamelist": ["Ada <ada@example.org>", "Grace <grace@example.org>"],
        "sourcestamps": "main at 5f3c2a9d",
        "changes": [change(), change()],
        "patch": patch(),
        "reason": "a change",
    }))
}

fn of_buildset() -> Map<String, Json> {
    object(json!({
        "buildset": buildset(),
        "builds": [build(), build()],
        "is_buildset": true,
        "projects": "example",
        "status_detected": "failed build",
        "build_url": "https://ci.example.org/builders/linux/builds/34",
        "blamelist": ["Ada <ada@example.org>", "Grace <grace@example.org>"],
        "sourcestamps": "main at 5f3c2a9d",
        "changes": [change(), change()],
        "patch": patch(),
        "reason": "a change",
    }))
}

fn of_request() -> Map<String, Json> {
    object(json!({
        "request": {
            "buildrequestid": 11, "builderid": 1, "priority": 0, "results": 6, "complete": true, "reason": "cancelled by ada",
            "submitted_at": 1_700_000_000, "builder": builder(), "buildset": buildset(),
            "properties": {ANY: ["1", "Build"]}, "url": "https://ci.example.org/buildrequests/11",
        },
        "buildset": buildset(),
        "buildername": "linux",
        "is_buildset": false,
        "projects": "example",
        "status_detected": "pending build",
        "build_url": "https://ci.example.org/buildrequests/11",
        "blamelist": ["Ada <ada@example.org>", "Grace <grace@example.org>"],
        "sourcestamps": "main at 5f3c2a9d",
        "changes": [change(), change()],
        "patch": patch(),
        "reason": "a change",
    }))
}

fn of_worker() -> Map<String, Json> {
    object(json!({
        "worker": {
            "workerid": 2, "name": "w1", "last_connection": 1_700_000_000, "workerinfo": {ANY: "text"},
            "url": "https://ci.example.org/workers/w1",
        },
        "workername": "w1",
        "status_detected": "missing worker",
    }))
}
