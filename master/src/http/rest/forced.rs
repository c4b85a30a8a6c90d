//! Forced builds by a ForceScheduler: the one way from a filled form to a
//! buildset, whether a page, a program or the command line filled it.

use super::answer::missing;
use super::control::{self, from_sources};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use tidemill_lang::definition::{Field, FieldKind, ForceDef, SchedulerDef, SchedulerKind};
use tidemill_lang::force::{self, By, Forced, ForcedPatch, ForcedSource, Inherited, Values};
use tidemill_model::problem::{FieldError, kinds};
use tidemill_model::{NewPatch, PATCH_MAX, Properties, SourceStamp};
use tidemill_schema::patches::patch_intern;
use tidemill_schema::read::workers::{Usable, workers_usable};
use tidemill_schema::read::{builders, control as read};
use tidemill_schema::requests::{NewBuildset, Submitted};

/// Source of properties that a person gives, as in Buildbot.
pub const FORM: &str = "Force Build Form";

/// A ForceScheduler of the active revision.
pub struct Form {
    pub scheduler: SchedulerDef,
    pub form: ForceDef,
    pub enabled: bool,
    /// Workers that may build for at least one of its builders: those to choose from.
    pub workers: Vec<Usable>,
}

impl Form {
    pub fn name(&self) -> &str {
        &self.scheduler.name
    }

    pub fn label(&self) -> &str {
        self.form.label.as_deref().filter(|l| !l.is_empty()).unwrap_or(self.name())
    }

    pub fn button(&self) -> &str {
        self.form.button_name.as_deref().filter(|b| !b.is_empty()).unwrap_or(self.name())
    }

    /// As in Buildbot's data API.
    pub fn describe(&self) -> Value {
        json!({
            "name": self.name(),
            "label": self.label(),
            "button_name": self.button(),
            "builder_names": self.scheduler.builder_names,
            "enabled": self.enabled,
            "all_fields": self.form.all().map(|f| describe(f, &self.workers)).collect::<Vec<_>>(),
        })
    }
}

fn describe(field: &Field, workers: &[Usable]) -> Value {
    let (kind, more) = match &field.kind {
        FieldKind::Fixed => ("fixed", json!({})),
        FieldKind::String => ("text", json!({})),
        FieldKind::Text { cols, rows } => ("textarea", json!({ "cols": cols, "rows": rows })),
        FieldKind::Int => ("int", json!({})),
        FieldKind::Boolean => ("bool", json!({})),
        FieldKind::Choice { choices, strict } => ("list", json!({ "choices": choices, "strict": strict })),
        FieldKind::UserName { need_email } => ("username", json!({ "need_email": need_email })),
        FieldKind::File => ("file", json!({})),
        FieldKind::AnyProperty => ("any", json!({})),
        FieldKind::InheritBuild => ("inherit", json!({})),
        FieldKind::WorkerChoice => {
            ("worker", json!({ "choices": workers.iter().map(|w| &w.worker).collect::<Vec<_>>(), "strict": true }))
        }
        FieldKind::Nested { layout, columns, .. } => ("nested", json!({ "layout": layout, "columns": columns })),
        FieldKind::Codebase { codebase, layout, columns, .. } => {
            ("nested", json!({ "codebase": codebase, "layout": layout, "columns": columns }))
        }
        FieldKind::Patch { .. } => ("nested", json!({ "layout": "vertical" })),
    };
    let mut all = json!({
        "name": field.name,
        "fullName": field.full_name,
        "label": if field.label.is_empty() { &field.name } else { &field.label },
        "tablabel": field.tablabel,
        "tooltip": field.tooltip,
        "type": kind,
        "default": field.default,
        "required": field.required,
        "multiple": field.multiple,
        "hide": field.hide,
        "maxsize": field.maxsize,
        "regex": field.regex,
        "autopopulate": field.autopopulate,
    });
    if field.is_group() {
        all["fields"] = field.fields().iter().map(|f| describe(f, workers)).collect();
    }
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

/// All forms, or those by which a builder can be set off.
pub async fn forms(c: &mut PgConnection, builder: Option<&str>) -> Result<Vec<Form>, ApiError> {
    let mut found = Vec::new();
    for row in read::force_schedulers(c).await? {
        // Of another release's shape: left out, and seen by `checkconfig` there.
        let Ok(scheduler) = serde_json::from_value::<SchedulerDef>(row.definition) else { continue };
        let SchedulerKind::Force(form) = &scheduler.kind else { continue };
        if builder.is_none_or(|b| scheduler.builder_names.iter().any(|n| n == b)) {
            let form = (**form).clone();
            let workers = match chooses(&form) {
                true => {
                    let of: Vec<String> = match builder {
                        Some(one) => vec![one.to_owned()],
                        None => scheduler.builder_names.clone(),
                    };
                    workers_usable(c, &of).await?
                }
                false => vec![],
            };
            found.push(Form { form, enabled: row.enabled, scheduler, workers });
        }
    }
    Ok(found)
}

/// Whether somebody who fills the form may choose a worker.
fn chooses(form: &ForceDef) -> bool {
    choice(form.all()).is_some()
}

fn choice<'f>(fields: impl IntoIterator<Item = &'f Field>) -> Option<&'f Field> {
    fields.into_iter().find_map(|field| match field.kind {
        FieldKind::WorkerChoice => Some(field),
        _ => choice(field.fields()),
    })
}

pub async fn form(c: &mut PgConnection, name: &str) -> Result<Form, ApiError> {
    let all = forms(c, None).await?;
    all.into_iter().find(|f| f.name() == name).ok_or_else(|| {
        let shown: String = name.chars().take(200).collect();
        ApiError::not_found(format!("there is no ForceScheduler `{shown}` in the active configuration"))
    })
}

/// Values of a body: a list gives several.
pub fn values(body: Map<String, Value>) -> Values {
    let several = |value| match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    body.into_iter().map(|(name, value)| (name, several(value))).collect()
}

/// Builds what the form asks for.
pub async fn force(
    app: &App,
    form: &Form,
    mut values: Values,
    who: &Who,
    key: Option<String>,
) -> Result<Submitted, ApiError> {
    let name = form.name();
    if !form.enabled {
        return Err(ApiError::conflict(
            kinds::CONFLICT,
            format!("the scheduler `{name}` is disabled: enable it first"),
        ));
    }
    let mut c = app.people.pool().acquire().await?;
    by_id(&mut c, &mut values).await?;
    // Who sits at this machine has no name of his own.
    let by = By { login: Some(who.name.as_str()).filter(|n| *n != "local"), otherwise: &who.name };
    let forced = force::force(&form.scheduler, &form.form, &values, by).map_err(ApiError::fields)?;
    // What only the database knows to be wrong is told together too (D-53).
    let mut wrong = Vec::new();
    let mut properties = inherited(&mut c, &forced, &mut wrong).await?;
    if let Some(worker) = &forced.worker {
        wrong.extend(unusable(&mut c, &form.form, &forced.builders, worker).await?);
        // That is how a request names its worker, as in Buildbot.
        properties.set("workername", worker.as_str(), FORM);
    }
    for (key, value) in &forced.properties {
        properties.set(key, value.clone(), FORM);
    }
    properties.set("scheduler", name, "Scheduler");
    if let Err(fault) = properties.check() {
        wrong.push(FieldError { field: "properties".into(), detail: fault.to_string() });
    }
    let sourcestamps = sources(&mut c, &form.form, &forced, &mut wrong).await?;
    drop(c);
    if !wrong.is_empty() {
        return Err(ApiError::fields(wrong));
    }
    let new = NewBuildset {
        reason: forced.reason,
        scheduler: name.to_owned(),
        sourcestamps,
        properties,
        builders: forced.builders,
        priority: forced.priority,
        dedupe_key: key,
        ..NewBuildset::default()
    };
    control::submit(app, new).await
}

/// Programs name a builder by its id.
async fn by_id(c: &mut PgConnection, values: &mut Values) -> Result<(), ApiError> {
    for id in values.remove("builderid").unwrap_or_default() {
        let id = id.as_i64().or_else(|| id.as_str().and_then(|t| t.trim().parse().ok()));
        let id = id.ok_or_else(|| ApiError::field("builderid", "give a whole number"))?;
        let name = builders::name(c, id).await?.ok_or_else(|| missing("builder", id))?;
        if !values.contains_key("builderNames") {
            values.insert("builderNames".into(), vec![name.into()]);
        }
    }
    Ok(())
}

/// A worker that none of the builders may use would never come.
async fn unusable(
    c: &mut PgConnection,
    form: &ForceDef,
    builders: &[String],
    worker: &str,
) -> Result<Option<FieldError>, ApiError> {
    let known = workers_usable(c, builders).await?;
    let of = known.iter().find(|u| u.worker == worker).map(|u| u.builders.as_slice()).unwrap_or_default();
    let Some(not) = builders.iter().find(|b| !of.contains(b)) else { return Ok(None) };
    let field = choice(form.all()).map_or("workername", |f| f.full_name.as_str());
    let shown: String = worker.chars().take(100).collect();
    let there: Vec<&str> =
        known.iter().filter(|u| u.builders.contains(not)).map(|u| u.worker.as_str()).take(20).collect();
    let hint = match there.is_empty() {
        true => "no worker that is enrolled may".to_owned(),
        false => format!("choose one of {}", there.join(", ")),
    };
    let detail = format!("worker `{shown}` may not build `{not}`; {hint}");
    Ok(Some(FieldError { field: field.to_owned(), detail }))
}

async fn inherited(c: &mut PgConnection, forced: &Forced, wrong: &mut Vec<FieldError>) -> Result<Properties, ApiError> {
    let mut properties = Properties::new();
    for Inherited { field, builder, number } in &forced.inherit {
        let build = read::build_numbered(c, builder, *number).await?;
        let origin = match build {
            Some(build) => read::build_origin(c, build).await?,
            None => None,
        };
        match origin {
            Some(origin) => properties.update(&origin.properties),
            None => {
                let shown: String = builder.chars().take(200).collect();
                wrong
                    .push(FieldError { field: field.clone(), detail: format!("there is no build `{shown}/{number}`") });
            }
        }
    }
    Ok(properties)
}

/// Where the form leaves open which repository or project is meant, it is that of
/// the builder's newest buildset, or of the change source of the codebase.
async fn sources(
    c: &mut PgConnection,
    form: &ForceDef,
    forced: &Forced,
    wrong: &mut Vec<FieldError>,
) -> Result<Vec<SourceStamp>, ApiError> {
    let mut known = Vec::new();
    if let Some(builder) = forced.builders.first()
        && let Some(id) = builders::by_name(c, builder).await?
    {
        known = read::latest_stamps(c, id).await?;
    }
    let mut stamps = Vec::new();
    for source in &forced.sources {
        let patch = match source.patch.as_ref().map(new_patch) {
            Some(Ok(patch)) => Some(patch_intern(c, &patch).await?),
            Some(Err(fault)) => {
                wrong.push(FieldError { field: patch_field(form, source), detail: fault.into() });
                None
            }
            None => None,
        };
        let mut like = known.iter().find(|s| s.codebase == source.codebase).cloned();
        if like.is_none() && source.repository.is_none() {
            let wanted = control::Force { codebase: Some(source.codebase.clone()), ..control::Force::default() };
            like = from_sources(c, &wanted).await.ok().and_then(|found| found.into_iter().next());
        }
        let like = like.unwrap_or_default();
        stamps.push(SourceStamp {
            codebase: source.codebase.clone(),
            repository: source.repository.clone().unwrap_or(like.repository),
            project: source.project.clone().unwrap_or(like.project),
            branch: source.branch.clone(),
            revision: source.revision.clone(),
            patch,
        });
    }
    Ok(stamps)
}

fn new_patch(given: &ForcedPatch) -> Result<NewPatch, &'static str> {
    // A text area ends every line with CR LF, whatever was pasted into it.
    let lines = given.body.matches('\n').count();
    let pasted = lines > 0 && given.body.matches("\r\n").count() == lines;
    let body = if pasted { given.body.replace("\r\n", "\n") } else { given.body.clone() };
    let patch = NewPatch {
        body: body.into_bytes(),
        level: u32::try_from(given.level).unwrap_or(u32::MAX),
        subdir: given.subdir.clone(),
        author: given.author.clone(),
        comment: given.comment.clone(),
    };
    match patch.fault() {
        Some(fault) => Err(fault),
        None if patch.body.len() > PATCH_MAX => Err("a patch may have at most 10 MiB"),
        None => Ok(patch),
    }
}

fn patch_field(form: &ForceDef, source: &ForcedSource) -> String {
    let codebase = form
        .codebases
        .iter()
        .find(|f| matches!(&f.kind, FieldKind::Codebase { codebase, .. } if *codebase == source.codebase));
    let patch = codebase.and_then(|f| f.fields().iter().find(|f| matches!(f.kind, FieldKind::Patch { .. })));
    patch.and_then(|p| p.fields().first()).map_or_else(|| "patch".into(), |f| f.full_name.clone())
}
