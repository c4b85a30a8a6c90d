//! What a filled form of a ForceScheduler asks for: a pure function of the form,
//! the values and who sent them. The page, the REST API and the command line all
//! come through here, so they refuse the same things in the same words.
//!
//! All fields that are wrong are told at once (D-53). A blank value counts as
//! missing and takes the default; for a field that is required it is an error.

use crate::definition::{Field, FieldKind, ForceDef, SchedulerDef};
use regex::RegexBuilder;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_model::problem::FieldError;

/// Names that no property of a form may have.
pub const RESERVED: [&str; 3] = ["owner", "builderNames", "builderid"];
/// Most bytes of a file or a patch where the field does not say.
pub const FILE_MAX: u64 = 10 << 20;
/// Largest compiled expression.
pub(crate) const REGEX_MAX: usize = 1 << 20;

/// Values by the full names of their fields.
pub type Values = BTreeMap<String, Vec<Json>>;

/// Who filled the form.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Wins over what the form says.
    pub login: Option<&'a str>,
    /// Where neither says.
    pub otherwise: &'a str,
}

/// What is to be built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forced {
    pub builders: Vec<String>,
    pub owner: String,
    pub reason: String,
    pub priority: i32,
    pub properties: BTreeMap<String, Json>,
    pub sources: Vec<ForcedSource>,
    /// Builds whose properties it begins with, the later one over the former.
    pub inherit: Vec<Inherited>,
    /// The worker that somebody chose; the property of the field's name says the same.
    pub worker: Option<String>,
}

/// A build whose properties a forced one begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Inherited {
    /// The field that names it.
    pub field: String,
    pub builder: String,
    pub number: i64,
}

/// A codebase of a forced build; what is none was left open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForcedSource {
    pub codebase: String,
    pub repository: Option<String>,
    pub project: Option<String>,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub patch: Option<ForcedPatch>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForcedPatch {
    pub body: String,
    pub level: i64,
    pub author: String,
    pub comment: String,
    pub subdir: String,
}

/// Reads a filled form; otherwise everything that is wrong with it.
pub fn force(
    scheduler: &SchedulerDef,
    form: &ForceDef,
    values: &Values,
    by: By<'_>,
) -> Result<Forced, Vec<FieldError>> {
    let mut reader = Reader::new(form, values);
    let mut forced = Forced { builders: reader.builders(scheduler), ..Forced::default() };
    let named = match by.login {
        Some(_) => None,
        None => reader.text(&form.username),
    };
    forced.owner = by.login.map(str::to_owned).or(named).unwrap_or_else(|| by.otherwise.to_owned());
    let reason = reader.text(&form.reason).unwrap_or_default();
    forced.priority = reader.priority(&form.priority);
    for field in &form.codebases {
        let source = reader.source(field, &mut forced);
        forced.sources.push(source);
    }
    let mut properties = Map::new();
    for field in &form.properties {
        reader.collect(field, &mut properties, &mut forced);
    }
    forced.properties.extend(properties);
    let pattern = form.reason_string.as_deref().unwrap_or("A build was forced by '%(owner)s': %(reason)s");
    forced.reason = pattern.replace("%(reason)s", &reason).replace("%(owner)s", &forced.owner);
    forced.properties.insert("reason".into(), reason.into());
    forced.properties.insert("owner".into(), forced.owner.clone().into());
    reader.unknown(form);
    if reader.wrong.is_empty() { Ok(forced) } else { Err(reader.wrong) }
}

/// Whether a default, as the project file gives it, is one that the field takes.
pub(crate) fn default_fault(field: &Field) -> Option<String> {
    let values = match &field.default {
        Json::Null => return None,
        Json::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    values.iter().find_map(|v| parse(field, v).err())
}

struct Reader<'a> {
    values: &'a Values,
    /// What choices say of fields that are left empty.
    populated: BTreeMap<&'a str, &'a Json>,
    wrong: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    fn new(form: &'a ForceDef, values: &'a Values) -> Reader<'a> {
        let mut populated = BTreeMap::new();
        let mut open: Vec<&Field> = form.all().collect();
        while let Some(field) = open.pop() {
            open.extend(field.fields());
            let chosen = values.get(&field.full_name).and_then(|v| v.last()).or(Some(&field.default));
            let others = chosen.and_then(Json::as_str).and_then(|choice| field.autopopulate.get(choice));
            populated.extend(others.into_iter().flatten().map(|(name, value)| (name.as_str(), value)));
        }
        Reader { values, populated, wrong: Vec::new() }
    }

    fn refuse(&mut self, field: &str, detail: impl Into<String>) {
        self.wrong.push(FieldError { field: field.to_owned(), detail: detail.into() });
    }

    /// Those of the scheduler's builders that were asked for; all of them if nobody says.
    fn builders(&mut self, scheduler: &SchedulerDef) -> Vec<String> {
        let given = self.given("builderNames");
        if given.is_empty() {
            return scheduler.builder_names.clone();
        }
        let asked: BTreeSet<&str> = given.iter().filter_map(|v| v.as_str()).map(str::trim).collect();
        let cut: Vec<String> = scheduler.builder_names.iter().filter(|b| asked.contains(b.as_str())).cloned().collect();
        if cut.is_empty() {
            let there = scheduler.builder_names.join(", ");
            let name = &scheduler.name;
            self.refuse("builderNames", format!("none of these is a builder of `{name}`; it has {there}"));
        }
        cut
    }

    /// What was given under a name and is not blank.
    fn given(&self, name: &str) -> Vec<&'a Json> {
        let blank = |v: &&Json| match v {
            Json::Null => true,
            Json::String(text) => text.trim().is_empty(),
            _ => false,
        };
        self.values.get(name).into_iter().flatten().filter(|v| !blank(v)).collect()
    }

    /// The value of a field; none if it is wrong, which is told, or nothing.
    fn value(&mut self, field: &Field) -> Option<Json> {
        let default = || match (&field.kind, &field.default) {
            (_, Json::Null) if field.multiple => Json::Array(vec![]),
            (FieldKind::Boolean, Json::Null) => Json::Bool(false),
            (_, Json::Null) => Json::Null,
            (_, given) => match given {
                Json::Array(items) => items.iter().filter_map(|v| parse(field, v).ok()).collect(),
                one => parse(field, one).unwrap_or_else(|_| one.clone()),
            },
        };
        if field.kind == FieldKind::Fixed {
            return Some(field.default.clone());
        }
        let mut given = self.given(&field.full_name);
        if given.is_empty()
            && let Some(value) = self.populated.get(field.full_name.as_str())
        {
            given.push(value);
        }
        if given.is_empty() {
            if field.required {
                self.refuse(&field.full_name, format!("{} is needed", shown(field)));
                return None;
            }
            return Some(default()).filter(|v| !v.is_null());
        }
        if !field.multiple {
            // A box that is not ticked is sent as «no» before the «yes» of one that is.
            given.drain(..given.len() - 1);
        }
        let mut parsed = Vec::new();
        for value in given {
            match parse(field, value) {
                Ok(value) => parsed.push(value),
                Err(detail) => {
                    self.refuse(&field.full_name, detail);
                    return None;
                }
            }
        }
        if field.multiple { Some(Json::Array(parsed)) } else { parsed.pop() }
    }

    fn text(&mut self, field: &Field) -> Option<String> {
        match self.value(field)? {
            Json::String(text) => Some(text).filter(|t| !t.trim().is_empty()),
            other => Some(other.to_string()),
        }
    }

    fn priority(&mut self, field: &Field) -> i32 {
        let Some(value) = self.value(field) else { return 0 };
        match value.as_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(priority) => priority,
            None => {
                self.refuse(&field.full_name, "give a whole number of at most nine digits");
                0
            }
        }
    }

    fn source(&mut self, codebase: &Field, forced: &mut Forced) -> ForcedSource {
        let mut source = ForcedSource::default();
        if let FieldKind::Codebase { codebase, .. } = &codebase.kind {
            source.codebase = codebase.clone();
        }
        let mut more = Map::new();
        for field in codebase.fields() {
            match field.name.as_str() {
                "branch" => source.branch = self.text(field),
                "revision" => source.revision = self.text(field),
                "repository" => source.repository = self.text(field),
                "project" => source.project = self.text(field),
                _ if matches!(field.kind, FieldKind::Patch { .. }) => source.patch = self.patch(field),
                _ => self.collect(field, &mut more, forced),
            }
        }
        forced.properties.extend(more);
        source
    }

    fn patch(&mut self, field: &Field) -> Option<ForcedPatch> {
        let mut patch = ForcedPatch { level: 1, ..ForcedPatch::default() };
        for field in field.fields() {
            let text = |value: Option<Json>| match value {
                Some(Json::String(text)) => text,
                Some(other) => other.to_string(),
                None => String::new(),
            };
            let value = self.value(field);
            match field.name.as_str() {
                "body" => patch.body = text(value),
                "level" => patch.level = value.and_then(|v| v.as_i64()).unwrap_or(1),
                "author" => patch.author = text(value),
                "comment" => patch.comment = text(value),
                "subdir" => patch.subdir = text(value),
                _ => {}
            }
        }
        Some(patch).filter(|p| !p.body.trim().is_empty())
    }

    /// Puts the properties of a field where they belong.
    fn collect(&mut self, field: &Field, into: &mut Map<String, Json>, forced: &mut Forced) {
        match &field.kind {
            FieldKind::Nested { fields, .. } | FieldKind::Codebase { fields, .. } | FieldKind::Patch { fields } => {
                let mut inner = Map::new();
                fields.iter().for_each(|f| self.collect(f, &mut inner, forced));
                match field.name.is_empty() {
                    // A group without a name only stands together.
                    true => into.extend(inner),
                    false => {
                        into.insert(field.name.clone(), inner.into());
                    }
                }
            }
            FieldKind::AnyProperty => {
                let part = |part: &str| Field {
                    full_name: format!("{}_{part}", field.full_name),
                    kind: FieldKind::String,
                    required: field.required && part == "name",
                    ..Field::default()
                };
                let (name, value) = (self.text(&part("name")), self.value(&part("value")));
                match name.map(|n| n.trim().to_owned()) {
                    Some(name) if RESERVED.contains(&name.as_str()) => {
                        self.refuse(&part("name").full_name, format!("a form cannot set the property `{name}`"));
                    }
                    Some(name) => {
                        into.insert(name, value.unwrap_or_else(|| "".into()));
                    }
                    None => {}
                }
            }
            FieldKind::InheritBuild => {
                if let Some(build) = self.text(field) {
                    let named =
                        build.rsplit_once('/').and_then(|(b, n)| Some((b.trim().to_owned(), n.trim().parse().ok()?)));
                    match named {
                        Some((builder, number)) => {
                            let field = field.full_name.clone();
                            forced.inherit.push(Inherited { field, builder, number });
                        }
                        None => self.refuse(&field.full_name, "name a build as BUILDER/NUMBER"),
                    }
                }
            }
            // No property where nobody chose, for who asks whether there is one.
            FieldKind::WorkerChoice => {
                if let Some(worker) = self.text(field) {
                    into.insert(field.name.clone(), worker.as_str().into());
                    forced.worker = Some(worker);
                }
            }
            _ => {
                // What may be nothing and is: no property of an empty text where a number is meant.
                let value = self.value(field).or(matches!(
                    field.kind,
                    FieldKind::String
                        | FieldKind::Text { .. }
                        | FieldKind::Choice { .. }
                        | FieldKind::File
                        | FieldKind::UserName { .. }
                )
                .then(|| "".into()));
                into.extend(value.map(|v| (field.name.clone(), v)));
            }
        }
    }

    fn unknown(&mut self, form: &ForceDef) {
        let known: BTreeSet<String> = form.all().flat_map(Field::value_names).collect();
        let always = ["builderNames", "builderid", "owner", "username", "reason", "priority"];
        let strange: Vec<&String> =
            self.values.keys().filter(|k| !known.contains(*k) && !always.contains(&k.as_str())).collect();
        for name in strange.into_iter().take(50) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = crate::names::hint(name, &known, "there are");
            let shown: String = name.chars().take(100).collect();
            self.refuse(&shown, format!("the form has no such field; {hint}"));
        }
    }
}

fn shown(field: &Field) -> &str {
    let label = field.label.trim().trim_end_matches(':');
    if label.is_empty() { &field.full_name } else { label }
}

/// One value of a field, of the type of the field.
fn parse(field: &Field, value: &Json) -> Result<Json, String> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(_) | Json::Bool(_) => value.to_string(),
        _ => return Err("give a text, a number, true or false".into()),
    };
    if text.contains('\0') {
        return Err("a NUL character is not allowed".into());
    }
    let most = field.maxsize.or(matches!(field.kind, FieldKind::File).then_some(FILE_MAX));
    if let Some(most) = most.filter(|m| text.len() as u64 > *m) {
        return Err(format!("has {} bytes, and {most} are allowed", text.len()));
    }
    if let Some(pattern) = &field.regex {
        let regex = RegexBuilder::new(pattern).size_limit(REGEX_MAX).build();
        let fits = regex.is_ok_and(|r| r.find(&text).is_some_and(|m| m.start() == 0));
        if !fits {
            return Err(format!("must match the pattern `{pattern}` from its start"));
        }
    }
    match &field.kind {
        FieldKind::Int => text
            .trim()
            .parse::<i64>()
            .map(Json::from)
            .map_err(|_| format!("`{}` is not a whole number", text.chars().take(40).collect::<String>())),
        FieldKind::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true.into()),
            "false" | "off" | "no" | "0" => Ok(false.into()),
            _ => Err("give true or false".into()),
        },
        FieldKind::Choice { choices, strict: true } if !choices.contains(&text) => {
            Err(format!("`{}` is not one of {}", text.chars().take(40).collect::<String>(), choices.join(", ")))
        }
        FieldKind::UserName { need_email: true } if !mail_address(&text) => {
            Err("give a mail address, as in `Jo Doe <jo@example.org>`".into())
        }
        _ => Ok(text.into()),
    }
}

/// `name@host`, alone or in pointed brackets after a name.
fn mail_address(text: &str) -> bool {
    let text = text.trim();
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    let parts = address.split_once('@');
    parts.is_some_and(|(name, host)| {
        let plain = |t: &str| !t.is_empty() && !t.contains(|c: char| c.is_whitespace() || "<>@".contains(c));
        plain(name) && plain(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::SchedulerKind;

    fn field(name: &str, kind: FieldKind) -> Field {
        Field { kind, ..Field::string(name, "") }
    }

    fn scheduler() -> SchedulerDef {
        SchedulerDef {
            name: "force".into(),
            kind: SchedulerKind::Triggerable,
            builder_names: vec!["linux".into(), "mac".into()],
            builders_function: false,
            codebases: vec![],
            codebase_defaults: BTreeMap::new(),
            properties: BTreeMap::new(),
            absolute: false,
            reason: String::new(),
            priority: None,
            priority_function: false,
            location: String::new(),
        }
    }

    fn form(properties: Vec<Field>) -> ForceDef {
        ForceDef {
            reason: Field { default: "try".into(), ..Field::string("reason", "") },
            username: field("username", FieldKind::UserName { need_email: true }),
            priority: Field { default: 0.into(), ..field("priority", FieldKind::Int) },
            properties,
            ..ForceDef::default()
        }
    }

    const LOCAL: By<'static> = By { login: None, otherwise: "local" };

    fn filled(values: &[(&str, Json)]) -> Values {
        let mut all = Values::new();
        for (name, value) in values {
            all.entry((*name).into()).or_default().push(value.clone());
        }
        all
    }

    #[test]
    fn all_fields_that_are_wrong_are_told_at_once() {
        let mut needed = field("target", FieldKind::String);
        needed.required = true;
        let mut pattern = field("tag", FieldKind::String);
        pattern.regex = Some("v[0-9]".into());
        let choice = field("kind", FieldKind::Choice { choices: vec!["a".into(), "b".into()], strict: true });
        let form = form(vec![needed, pattern, choice, field("jobs", FieldKind::Int)]);
        let values = filled(&[
            ("target", "  ".into()),
            ("tag", "xv1".into()),
            ("kind", "c".into()),
            ("jobs", "many".into()),
            ("username", "jo".into()),
            ("builderNames", "windows".into()),
            ("jobz", 1.into()),
        ]);
        let wrong = force(&scheduler(), &form, &values, LOCAL).unwrap_err();
        let fields: Vec<&str> = wrong.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["builderNames", "username", "target", "tag", "kind", "jobs", "jobz"]);
        assert!(wrong[6].detail.contains("did you mean `jobs`"), "{}", wrong[6].detail);
    }

    #[test]
    fn a_blank_value_takes_the_default_and_a_pattern_matches_from_the_start_only() {
        let mut pattern = field("tag", FieldKind::String);
        pattern.regex = Some("v[0-9]".into());
        let mut jobs = field("jobs", FieldKind::Int);
        jobs.default = 4.into();
        let form = form(vec![pattern, jobs, field("clean", FieldKind::Boolean)]);
        let values = filled(&[("tag", "v1-and-more".into()), ("jobs", " ".into()), ("clean", "on".into())]);
        let forced = force(&scheduler(), &form, &values, LOCAL).unwrap();
        assert_eq!(forced.properties["tag"], "v1-and-more");
        assert_eq!(forced.properties["jobs"], 4);
        assert_eq!(forced.properties["clean"], true);
        assert_eq!(forced.builders, ["linux", "mac"]);
        assert_eq!((forced.owner.as_str(), forced.reason.as_str()), ("local", "A build was forced by 'local': try"));
    }

    #[test]
    fn names_of_nested_fields_join_and_their_values_are_a_dict() {
        let mut inner = field("debug", FieldKind::Boolean);
        inner.full_name = "options_debug".into();
        let nested =
            field("options", FieldKind::Nested { layout: "simple".into(), columns: None, fields: vec![inner] });
        let form = form(vec![nested, field("more", FieldKind::AnyProperty)]);
        let values = filled(&[
            ("options_debug", true.into()),
            ("more_name", "x".into()),
            ("more_value", "1".into()),
            ("builderNames", "mac".into()),
        ]);
        let forced = force(&scheduler(), &form, &values, By { login: Some("jo"), otherwise: "" }).unwrap();
        assert_eq!(forced.properties["options"], serde_json::json!({ "debug": true }));
        assert_eq!(forced.properties["x"], "1");
        assert_eq!(forced.builders, ["mac"]);
        assert_eq!(forced.owner, "jo");
        let owner = filled(&[("more_name", "owner".into())]);
        let wrong = force(&scheduler(), &form, &owner, LOCAL).unwrap_err();
        assert_eq!(wrong[0].field, "more_name");
    }

    #[test]
    fn a_chosen_worker_is_a_property_and_no_choice_is_none() {
        let form = form(vec![field("workername", FieldKind::WorkerChoice)]);
        let forced = force(&scheduler(), &form, &filled(&[("workername", "w1".into())]), LOCAL).unwrap();
        assert_eq!(forced.properties["workername"], "w1");
        assert_eq!(forced.worker.as_deref(), Some("w1"));
        let forced = force(&scheduler(), &form, &filled(&[("workername", " ".into())]), LOCAL).unwrap();
        assert!(!forced.properties.contains_key("workername"));
    }

    #[test]
    fn a_mail_address_is_one_with_a_name_and_a_host() {
        for good in ["jo@example.org", "Jo Doe <jo@host>"] {
            assert!(mail_address(good), "{good}");
        }
        for bad in ["jo", "@host", "jo@", "Jo <jo@host", "a@b@c", "jo doe@x"] {
            assert!(!mail_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_choice_fills_fields_that_are_left_empty() {
        let mut choice = field("preset", FieldKind::Choice { choices: vec!["small".into()], strict: true });
        choice.autopopulate = BTreeMap::from([("small".into(), BTreeMap::from([("jobs".into(), 1.into())]))]);
        let form = form(vec![choice, field("jobs", FieldKind::Int)]);
        let forced = force(&scheduler(), &form, &filled(&[("preset", "small".into())]), LOCAL).unwrap();
        assert_eq!(forced.properties["jobs"], 1);
        let said = filled(&[("preset", "small".into()), ("jobs", 8.into())]);
        assert_eq!(force(&scheduler(), &form, &said, LOCAL).unwrap().properties["jobs"], 8);
    }
}
