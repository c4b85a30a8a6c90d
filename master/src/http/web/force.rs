//! The form of a ForceScheduler: on the pages of its builders and on one of its
//! own, where several builders can be chosen. Without scripts; what was typed
//! stays when something is wrong, with the error beside its field.

use super::page::{Page, html};
use super::show::{builder_path, segment};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::{At, body};
use crate::http::rest::forced::{self, Form};
use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use tidemill_lang::definition::{Field, FieldKind};
use tidemill_lang::force::Values;
use tidemill_model::problem::FieldError;

/// A line of the form: a field, or the begin or end of a group.
#[derive(Default)]
pub struct Line {
    /// `open`, `close`, or how the field is shown: `text`, `number`, `area`, `check`, `select`, `list`.
    pub is: &'static str,
    pub id: String,
    pub name: String,
    pub label: String,
    pub tooltip: String,
    pub value: String,
    pub required: bool,
    pub multiple: bool,
    pub checked: bool,
    pub cols: u64,
    pub rows: u64,
    /// Choices, and whether each is chosen.
    pub choices: Vec<(String, bool)>,
    pub error: String,
}

/// A form as a page shows it.
pub struct Shown {
    pub id: String,
    pub label: String,
    pub button: String,
    pub action: String,
    pub enabled: bool,
    /// Builders to choose from, and whether each is chosen; empty on the page of one.
    pub builders: Vec<(String, bool)>,
    pub builder: String,
    /// Workers to choose from, if the form lets.
    pub workers: Vec<String>,
    pub lines: Vec<Line>,
    /// What is wrong and belongs to no field that is shown.
    pub errors: Vec<FieldError>,
}

impl Shown {
    /// For the page of one builder.
    pub fn of_builder(form: &Form, builder: &str) -> Shown {
        Shown { builder: builder.to_owned(), ..Shown::filled(form, &Values::new(), Vec::new()) }
    }

    /// With what was typed, and what is wrong with it.
    pub fn filled(form: &Form, values: &Values, errors: Vec<FieldError>) -> Shown {
        let id = segment(form.name());
        let chosen: Vec<&str> = texts(values, "builderNames");
        let builders = form.scheduler.builder_names.iter();
        let mut shown = Shown {
            label: form.label().to_owned(),
            button: form.button().to_owned(),
            action: format!("/forceschedulers/{id}/force"),
            enabled: form.enabled,
            builders: builders.map(|b| (b.clone(), chosen.is_empty() || chosen.contains(&b.as_str()))).collect(),
            builder: String::new(),
            workers: form.workers.iter().map(|w| w.worker.clone()).collect(),
            lines: Vec::new(),
            errors,
            id,
        };
        for field in form.form.all() {
            shown.push(field, values);
        }
        shown
    }

    fn push(&mut self, field: &Field, values: &Values) {
        if field.hide || field.kind == FieldKind::Fixed {
            return;
        }
        let label = match field.label.trim().trim_end_matches(':') {
            "" => field.name.clone(),
            label => label.to_owned(),
        };
        if field.is_group() {
            let many = field.fields().iter().any(|f| !f.hide && f.kind != FieldKind::Fixed);
            // A group without words needs no frame.
            let framed = many && !label.is_empty();
            if framed {
                self.lines.push(Line { is: "open", label, ..Line::default() });
            }
            field.fields().iter().for_each(|f| self.push(f, values));
            if framed {
                self.lines.push(Line { is: "close", ..Line::default() });
            }
            return;
        }
        if field.kind == FieldKind::AnyProperty {
            for (part, word) in [("name", "name"), ("value", "value")] {
                let full_name = format!("{}_{part}", field.full_name);
                let kind = FieldKind::String;
                self.push(&Field { full_name, kind, ..Field::string(part, &format!("{label}: {word}")) }, values);
            }
            return;
        }
        let typed = values.get(&field.full_name);
        let chosen: Vec<String> = match typed {
            Some(typed) => typed.iter().map(plain).collect(),
            None => match &field.default {
                Value::Array(items) => items.iter().map(plain).collect(),
                one => vec![plain(one)],
            },
        };
        let value = chosen.last().cloned().unwrap_or_default();
        let mut line = Line {
            is: "text",
            id: format!("f-{}-{}", self.id, field.full_name),
            name: field.full_name.clone(),
            label,
            tooltip: field.tooltip.clone(),
            required: field.required,
            multiple: field.multiple,
            error: self.take_error(&field.full_name),
            ..Line::default()
        };
        match &field.kind {
            FieldKind::Int => line.is = "number",
            FieldKind::Boolean => {
                line.is = "check";
                line.checked = value == "true" || value == "1";
            }
            FieldKind::Text { cols, rows } => (line.is, line.cols, line.rows) = ("area", *cols, *rows),
            FieldKind::File => (line.is, line.cols, line.rows) = ("area", 80, 8),
            FieldKind::Choice { choices, strict } => {
                line.is = if *strict || field.multiple { "select" } else { "list" };
                let mut choices = choices.clone();
                // What somebody may leave open has a choice for that.
                let open = !field.required && field.default.is_null() && !field.multiple;
                if (open || !choices.contains(&value)) && line.is == "select" && !field.multiple {
                    choices.insert(0, String::new());
                }
                line.choices = choices.into_iter().map(|c| (chosen.contains(&c), c)).map(|(y, c)| (c, y)).collect();
            }
            FieldKind::WorkerChoice => {
                line.is = "select";
                let known = self.workers.iter().map(|w| (w.clone(), chosen.contains(w)));
                // What was typed elsewhere stays to be seen, with its error.
                let strange = (!value.is_empty() && !self.workers.contains(&value)).then(|| (value.clone(), true));
                line.choices = known.chain(strange).collect();
                if !field.required {
                    line.choices.insert(0, (String::new(), value.is_empty()));
                }
            }
            FieldKind::InheritBuild if line.tooltip.is_empty() => line.tooltip = "BUILDER/NUMBER".into(),
            _ => {}
        }
        line.value = value;
        self.lines.push(line);
    }

    fn take_error(&mut self, field: &str) -> String {
        let (own, others) = std::mem::take(&mut self.errors).into_iter().partition::<Vec<_>, _>(|e| e.field == field);
        self.errors = others;
        own.into_iter().map(|e| e.detail).collect::<Vec<_>>().join("; ")
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn texts<'v>(values: &'v Values, name: &str) -> Vec<&'v str> {
    values.get(name).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[derive(Template)]
#[template(path = "force.html")]
struct ForcePage {
    page: Page,
    form: Shown,
}

fn shown(app: &App, who: &Who, form: Shown) -> Result<Response, ApiError> {
    html(&ForcePage { page: Page::new(app, who, form.label.clone(), "builders"), form })
}

pub async fn page(State(app): State<App>, who: Who, At(name): At<String>) -> Result<Response, ApiError> {
    let form = forced::form(&mut *app.people.pool().acquire().await?, &name).await?;
    shown(&app, &who, Shown::filled(&form, &Values::new(), Vec::new()))
}

pub async fn post(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let form = forced::form(&mut *app.people.pool().acquire().await?, &name).await?;
    let mut values = Values::new();
    for (name, value) in url::form_urlencoded::parse(&body(request).await?).into_owned() {
        // Browsers end lines of text areas with both.
        values.entry(name).or_default().push(value.replace("\r\n", "\n").into());
    }
    values.remove("token");
    let many = texts(&values, "builderNames").len() != 1;
    match forced::force(&app, &form, values.clone(), &who, None).await {
        Ok(made) => Ok(match (made.requests.as_slice(), many) {
            ([only], _) => Redirect::to(&format!("/buildrequests/{}", only.0)).into_response(),
            (_, false) => Redirect::to(&builder_path(texts(&values, "builderNames")[0])).into_response(),
            _ => Redirect::to("/builders").into_response(),
        }),
        Err(error) if !error.problem().errors.is_empty() => {
            let errors = error.problem().errors.clone();
            let page = shown(&app, &who, Shown::filled(&form, &values, errors))?;
            Ok((StatusCode::BAD_REQUEST, page).into_response())
        }
        Err(error) => Err(error),
    }
}
