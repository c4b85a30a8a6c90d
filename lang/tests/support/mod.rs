//! What the tests share.
#![allow(dead_code)]

use std::collections::BTreeMap;
use tidemill_lang::{BuildContext, Diagnostic, Diagnostics, Limits, Project, RenderedStep};
use tidemill_model::revision::Files;
use tidemill_model::{Change, ChangeId, NewChange, SourceStamp};

pub fn evaluate(text: &str) -> Result<Project, Diagnostics> {
    Project::evaluate(&Files::single(text), &Limits::default())
}

#[track_caller]
pub fn project(text: &str) -> Project {
    evaluate(text).unwrap_or_else(|e| panic!("{e}"))
}

pub fn files(all: &[(&str, &str)]) -> Files {
    Files(all.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>())
}

/// The errors of a text that must have some.
#[track_caller]
pub fn errors(text: &str) -> Vec<Diagnostic> {
    let found = evaluate(text).expect_err("this was to fail");
    found.errors().cloned().collect()
}

#[track_caller]
pub fn one_error(text: &str) -> Diagnostic {
    let mut found = errors(text);
    assert_eq!(found.len(), 1, "{}", Diagnostics(found));
    found.remove(0)
}

/// A project of one builder `b` with one step.
pub fn with_step(step: &str) -> String {
    format!(
        "c = {{}}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], \
         factory = util.BuildFactory([{step}]))]\n"
    )
}

#[track_caller]
pub fn render(step: &str, ctx: &BuildContext) -> RenderedStep {
    let project = project(&with_step(step));
    project.steps("b").unwrap()[0].render(ctx).unwrap_or_else(|e| panic!("{e}"))
}

pub fn context() -> BuildContext {
    let mut ctx = BuildContext {
        builder: "b".into(),
        number: 7,
        worker: "w".into(),
        reason: "a reason".into(),
        sourcestamps: vec![SourceStamp {
            branch: Some("main".into()),
            revision: Some("abc".into()),
            repository: "https://example.org/r.git".into(),
            ..SourceStamp::default()
        }],
        ..BuildContext::default()
    };
    ctx.properties.set("name", "value", "test");
    ctx.properties.set("zero", 0, "test");
    ctx.properties.set("jobs", 4, "test");
    ctx.properties.set("none", serde_json::Value::Null, "test");
    ctx.properties.set("list", serde_json::json!(["a", "b"]), "test");
    ctx
}

pub fn change(new: NewChange) -> Change {
    Change { id: ChangeId(1), received_at: time::OffsetDateTime::UNIX_EPOCH, new }
}

pub fn change_on(branch: Option<&str>) -> Change {
    change(NewChange { branch: branch.map(str::to_owned), ..NewChange::default() })
}
