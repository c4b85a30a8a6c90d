//! Our own words, where the project file has no others: a subject, and a text for mails.

use super::context::text;
use crate::line::one_line;
use serde_json::Value;
use std::fmt::Write;
use tidemill_model::Results;

/// Longest of what strangers wrote within a line.
const WORD_MAX: usize = 200;

/// «[Tidemill] linux #12: new failure (main)».
pub fn subject(doc: &Value) -> String {
    let title = Some(text(doc, "/buildbot_title")).filter(|t| !t.is_empty()).unwrap_or("Tidemill".into());
    let what = text(doc, "/status_detected");
    if doc["moment"] == "test" {
        return format!("[{title}] a test");
    }
    if !doc["worker"].is_null() {
        return format!("[{title}] worker {}: missing", text(doc, "/worker/name"));
    }
    let mut line = match doc["build"]["number"].as_i64().filter(|_| doc["is_buildset"] != true) {
        Some(number) => format!("[{title}] {} #{number}: {what}", text(doc, "/buildername")),
        None if doc["request"].is_object() => {
            format!("[{title}] {}: request {}", text(doc, "/buildername"), text(doc, "/mode"))
        }
        None => format!("[{title}] {} builds: {}", doc["builds"].as_array().map_or(0, Vec::len), text(doc, "/result")),
    };
    let branches: Vec<String> = stamps(doc).map(|s| text(s, "/branch")).filter(|b| !b.is_empty()).collect();
    if !branches.is_empty() {
        let _ = write!(line, " ({})", branches.join(", "));
    }
    one_line(&line, 4 * WORD_MAX)
}

/// What happened, in a line: the text of a forge's status.
pub fn line(doc: &Value) -> String {
    if doc["moment"] == "test" {
        return "a test".into();
    }
    match doc["build"]["results"].as_i64() {
        None if doc["request"].is_object() && doc["mode"] == "cancelled" => "cancelled before it was built".into(),
        None if doc["request"].is_object() => "waits to be built".into(),
        None => "build started".into(),
        Some(_) => {
            let said = Some(text(doc, "/build/state_string")).filter(|s| !s.is_empty());
            one_line(&said.unwrap_or_else(|| text(doc, "/result")), WORD_MAX)
        }
    }
}

/// A comment on a pull request, in the markdown that all forges read. What others wrote stands in
/// code, where it calls nobody by name and is no markup.
pub fn comment(doc: &Value) -> String {
    let build = &doc["build"];
    let of = match build["number"].as_i64().filter(|_| doc["is_buildset"] != true) {
        Some(number) => format!("{} #{number}", code(&text(doc, "/buildername"))),
        None => code(&text(doc, "/buildername")),
    };
    let mut out = format!("{of}: **{}** — {}\n", text(doc, "/status_detected"), text(doc, "/build_url"));
    let failed = |s: &&Value| {
        let results = super::context::results(&s["results"]);
        matches!(results, Some(Results::Failure | Results::Exception | Results::Warnings)) && s["hidden"] != true
    };
    let failed: Vec<&Value> = build["steps"].as_array().into_iter().flatten().filter(failed).collect();
    if !failed.is_empty() {
        out.push('\n');
    }
    for step in failed {
        let _ = write!(out, "- {}: {}", code(&text(step, "/name")), code(&text(step, "/state_string")));
        for log in step["logs"].as_array().into_iter().flatten().take(3) {
            let _ = write!(out, " [{}]({})", code(&text(log, "/name")), text(log, "/url"));
        }
        out.push('\n');
    }
    out
}

fn code(text: &str) -> String {
    let line = one_line(&text.replace('`', "'"), WORD_MAX);
    format!("`{}`", if line.is_empty() { "-" } else { &line })
}

/// The text of a mail. `excerpt` is what a failed step's log says around its first error.
pub fn body(doc: &Value, excerpt: Option<&Excerpted>) -> String {
    let mut out = String::new();
    if doc["moment"] == "test" {
        let _ = writeln!(out, "This notice only tries whether it arrives; it was {}.", text(doc, "/why"));
    } else if doc["worker"].is_object() {
        missing(&mut out, doc);
    } else if doc["is_buildset"] == true {
        let _ = writeln!(out, "All builds of this set have ended: {}.\n", text(doc, "/result"));
        for build in doc["builds"].as_array().into_iter().flatten() {
            let result = super::context::results(&build["results"]).map_or("running", Results::name);
            let name = one_line(&text(build, "/builder/name"), WORD_MAX);
            let _ = writeln!(out, "  {name} #{}: {result}\n    {}", build["number"], text(build, "/url"));
        }
        out.push('\n');
        sources(&mut out, doc);
    } else if doc["request"].is_object() && doc["build"].is_null() {
        let name = one_line(&text(doc, "/buildername"), WORD_MAX);
        let what = if text(doc, "/mode") == "cancelled" { "was cancelled" } else { "was made" };
        let _ = writeln!(out, "A request of {name} {what}.\n  {}\n", text(doc, "/request/url"));
        sources(&mut out, doc);
    } else {
        one_build(&mut out, doc);
        if let Some(excerpt) = excerpt {
            let _ = writeln!(out, "\n{} of step {}, from line {}:\n", excerpt.log, excerpt.step, excerpt.first + 1);
            for line in &excerpt.lines {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

/// Lines of a log, and where they are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpted {
    pub step: String,
    pub log: String,
    /// Number of the first line, from 0.
    pub first: usize,
    pub lines: Vec<String>,
}

fn one_build(out: &mut String, doc: &Value) {
    let build = &doc["build"];
    let name = one_line(&text(doc, "/buildername"), WORD_MAX);
    let said = one_line(&text(build, "/state_string"), WORD_MAX);
    let _ = writeln!(out, "Build #{} of {name}: {} ({said}).", build["number"], text(doc, "/status_detected"));
    let _ = writeln!(out, "  {}\n", text(build, "/url"));
    if let (Some(before), false) = (build["prev_build"]["number"].as_i64(), build["results"].is_null()) {
        let result = super::context::results(&build["prev_build"]["results"]).map_or("still running", Results::name);
        let _ = writeln!(out, "Build #{before}, the one before it: {result}.");
    }
    let _ = writeln!(out, "Worker: {}", one_line(&text(doc, "/workername"), WORD_MAX));
    if let Some(seconds) = build["duration"].as_f64() {
        let _ = writeln!(out, "Took: {}", duration(seconds));
    }
    sources(out, doc);
    let failed = |s: &&Value| {
        let results = super::context::results(&s["results"]);
        matches!(results, Some(Results::Failure | Results::Exception | Results::Warnings))
    };
    let failed: Vec<&Value> = build["steps"].as_array().into_iter().flatten().filter(failed).collect();
    if !failed.is_empty() {
        out.push_str("\nSteps that did not succeed:\n");
        for step in failed {
            let (name, said) =
                (one_line(&text(step, "/name"), WORD_MAX), one_line(&text(step, "/state_string"), WORD_MAX));
            let _ = writeln!(out, "  {name}: {said}");
            for log in step["logs"].as_array().into_iter().flatten() {
                let _ = writeln!(out, "    {}: {}", one_line(&text(log, "/name"), WORD_MAX), text(log, "/url"));
            }
        }
    }
}

/// Why, of what, by whom.
fn sources(out: &mut String, doc: &Value) {
    let reason = one_line(&text(doc, "/reason"), WORD_MAX);
    if !reason.is_empty() {
        let _ = writeln!(out, "Reason: {reason}");
    }
    for stamp in stamps(doc) {
        let part = |pointer: &str, before: &str| {
            let text = one_line(&text(stamp, pointer), WORD_MAX);
            if text.is_empty() { String::new() } else { format!("{before}{text}") }
        };
        let all = [part("/revision", "revision "), part("/branch", "branch "), part("/repository", "of ")];
        let all: Vec<&str> = all.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
        if !all.is_empty() {
            let _ = writeln!(out, "Source: {}", all.join(", "));
        }
    }
    let changes: Vec<&Value> = doc["changes"].as_array().into_iter().flatten().collect();
    if !changes.is_empty() {
        let word = if changes.len() == 1 { "Change" } else { "Changes, newest first" };
        let _ = writeln!(out, "\n{word}:");
        for change in changes.iter().take(20) {
            let revision: String = text(change, "/revision").chars().take(12).collect();
            let first = text(change, "/comments").lines().next().unwrap_or_default().to_owned();
            let (author, first) = (one_line(&text(change, "/author"), WORD_MAX), one_line(&first, WORD_MAX));
            let _ = writeln!(out, "  {} {author}: {first}", one_line(&revision, WORD_MAX));
        }
        if changes.len() > 20 {
            let _ = writeln!(out, "  … and {} more", changes.len() - 20);
        }
    }
}

fn missing(out: &mut String, doc: &Value) {
    let _ = writeln!(out, "The worker {} has gone away.", one_line(&text(doc, "/worker/name"), WORD_MAX));
    if let Some(at) = doc["worker"]["last_connection"].as_i64()
        && let Ok(at) = time::OffsetDateTime::from_unix_timestamp(at)
    {
        let _ = writeln!(out, "It was last seen {} {:02}:{:02} UTC.", at.date(), at.hour(), at.minute());
    }
}

fn stamps(doc: &Value) -> impl Iterator<Item = &Value> {
    doc["buildset"]["sourcestamps"].as_array().into_iter().flatten()
}

/// «4 min 5 s».
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_comment_calls_nobody_and_holds_no_markup_of_others() {
        let step = json!({"name": "te`st @all", "state_string": "<img src=x>\n# big", "results": 2,
                          "logs": [{"name": "stdio", "url": "http://ci/logs/1"}]});
        let good = json!({"name": "fine", "results": 0});
        let doc = json!({"buildername": "linux", "status_detected": "failed build", "build_url": "http://ci/b/1",
                         "build": {"number": 3, "steps": [good, step]}});
        let expected = "`linux` #3: **failed build** — http://ci/b/1\n\n\
                        - `te'st @all`: `<img src=x> # big` [`stdio`](http://ci/logs/1)\n";
        assert_eq!(comment(&doc), expected);
    }
}
