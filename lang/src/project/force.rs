//! The form of a ForceScheduler, from its parameters: what a person could never
//! fill in rightly is an error here.

use crate::definition::{Field, FieldKind, ForceDef};
use crate::force::{REGEX_MAX, RESERVED, default_fault};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::values::convert::{boolean, count, optional_text, text, texts};
use crate::values::declare;
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::tree::{self, Tree};
use regex::RegexBuilder;
use serde_json::Value as Json;
use starlark::values::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Groups in groups; nobody fills in a deeper form.
const DEPTH_MAX: usize = 8;

pub(super) fn read(scheduler: &Descriptor<'_>, trees: &Trees, collector: &Collector) -> ForceDef {
    let mut reader = Reader { collector, seen: BTreeSet::new() };
    let one = |reader: &mut Reader<'_>, role: &str, otherwise: Field| match given(scheduler, role) {
        Some(value) => reader.field(scheduler, role, value, role, "", 0).unwrap_or(otherwise),
        None => {
            reader.seen.insert(otherwise.full_name.clone());
            otherwise
        }
    };
    let username = Field { kind: FieldKind::UserName { need_email: false }, ..Field::string("username", "Your name") };
    let username = one(&mut reader, "username", username);
    let reason = Field { default: "force build".into(), ..Field::string("reason", "Reason") };
    let reason = one(&mut reader, "reason", reason);
    let priority = Field { default: 0.into(), kind: FieldKind::Int, ..Field::string("priority", "Priority") };
    let priority = one(&mut reader, "priority", priority);
    let mut many = |role: &str| -> Option<Vec<Field>> {
        let items = given(scheduler, role).and_then(tree::items)?;
        Some(items.iter().filter_map(|item| reader.field(scheduler, role, *item, "", "", 0)).collect())
    };
    // A project that says nothing has one codebase, without a name.
    let codebases = many("codebases").filter(|c| !c.is_empty());
    let properties = many("properties").unwrap_or_default();
    let codebases = codebases.unwrap_or_else(|| reader.codebase_named(scheduler, "").into_iter().collect());
    ForceDef {
        label: trees.get("label", optional_text).flatten(),
        button_name: trees.get("buttonName", optional_text).flatten(),
        reason_string: trees.get("reasonString", optional_text).flatten(),
        reason,
        username,
        priority,
        codebases,
        properties,
    }
}

fn given<'v>(descriptor: &Descriptor<'v>, name: &str) -> Option<Value<'v>> {
    descriptor.arg(name).filter(|v| !v.is_none())
}

fn join(group: &str, name: &str) -> String {
    match (group, name) {
        ("", name) => name.to_owned(),
        (group, "") => group.to_owned(),
        (group, name) => format!("{group}_{name}"),
    }
}

struct Reader<'c> {
    collector: &'c Collector,
    /// Full names so far.
    seen: BTreeSet<String>,
}

impl Reader<'_> {
    fn report(&self, at: &Descriptor<'_>, argument: &str, diagnostic: Diagnostic) {
        self.collector.report(at.site.place_argument(argument, diagnostic));
    }

    /// The field that `value` describes. `otherwise` is its name where it has none.
    fn field(
        &mut self,
        scheduler: &Descriptor<'_>,
        role: &str,
        value: Value<'_>,
        otherwise: &str,
        group: &str,
        depth: usize,
    ) -> Option<Field> {
        let Some(part) = Descriptor::from_value(value) else {
            return match (role, value.unpack_str()) {
                // A codebase by its name alone.
                ("codebases", Some(name)) => self.codebase_named(scheduler, name),
                _ => None,
            };
        };
        if depth > DEPTH_MAX {
            self.report(part, "fields", Diagnostic::error(format!("groups are nested more than {DEPTH_MAX} deep")));
            return None;
        }
        let trees = part.trees(self.collector);
        let kind = part.spec.short();
        let codebase = trees.get("codebase", text).unwrap_or_default();
        let otherwise = match kind {
            "CodebaseParameter" => &codebase,
            "PatchParameter" if otherwise.is_empty() => "patch",
            "WorkerChoiceParameter" if otherwise.is_empty() => "workername",
            "UserNameParameter" if otherwise.is_empty() => "username",
            _ => otherwise,
        };
        let name = trees.get("name", text).unwrap_or_else(|| otherwise.to_owned());
        let mut field = common(part, &trees, name, group);
        let fields = |reader: &mut Self, names: &[&str]| -> Vec<Field> {
            let group = field.full_name.clone();
            let mut fields: Vec<Field> =
                names.iter().filter_map(|n| reader.of_codebase(part, n, &group, depth)).collect();
            for item in given(part, "fields").and_then(tree::items).unwrap_or_default() {
                fields.extend(reader.field(scheduler, "fields", *item, "", &group, depth + 1));
            }
            fields
        };
        let number = |name: &str, otherwise: u64| trees.get(name, count).flatten().unwrap_or(otherwise);
        let flag = |name: &str, otherwise: bool| trees.get(name, boolean).unwrap_or(otherwise);
        let layout = || trees.get("layout", text).unwrap_or_else(|| "vertical".into());
        field.kind = match kind {
            "FixedParameter" => FieldKind::Fixed,
            "StringParameter" => FieldKind::String,
            "TextParameter" => FieldKind::Text { cols: number("cols", 80), rows: number("rows", 20) },
            "IntParameter" => FieldKind::Int,
            "BooleanParameter" => FieldKind::Boolean,
            "ChoiceStringParameter" => FieldKind::Choice {
                choices: trees.get("choices", texts).unwrap_or_default(),
                strict: flag("strict", true),
            },
            "UserNameParameter" => FieldKind::UserName { need_email: flag("need_email", true) },
            "FileParameter" => FieldKind::File,
            "AnyPropertyParameter" => FieldKind::AnyProperty,
            "InheritBuildParameter" => FieldKind::InheritBuild,
            "WorkerChoiceParameter" => FieldKind::WorkerChoice,
            "NestedParameter" => FieldKind::Nested {
                layout: layout(),
                columns: trees.get("columns", count).flatten(),
                fields: fields(self, &[]),
            },
            "CodebaseParameter" => FieldKind::Codebase {
                codebase,
                layout: layout(),
                columns: trees.get("columns", count).flatten(),
                fields: fields(self, &["branch", "revision", "repository", "project", "patch"]),
            },
            "PatchParameter" => {
                let own = fields(self, &[]);
                FieldKind::Patch { fields: if own.is_empty() { patch_fields(&field.full_name) } else { own } }
            }
            _ => {
                let message = format!("{} is no field of a form", part.spec.name);
                self.collector.report(part.site.place(Diagnostic::error(message)));
                return None;
            }
        };
        self.check(part, role, &field);
        Some(field)
    }

    /// `branch`, `revision` … of a codebase: a field, a fixed text, or `None` for nothing.
    fn of_codebase(&mut self, codebase: &Descriptor<'_>, name: &str, group: &str, depth: usize) -> Option<Field> {
        let Some(value) = codebase.arg(name) else {
            let field = open_source_field(name, group)?;
            self.seen.insert(field.full_name.clone());
            return Some(field);
        };
        if value.is_none() {
            return None;
        }
        if let Some(text) = value.unpack_str() {
            let full_name = join(group, name);
            let default = text.into();
            return Some(Field { full_name, default, kind: FieldKind::Fixed, ..Field::string(name, "") });
        }
        let Some(part) = Descriptor::from_value(value) else {
            let message =
                format!("`{name}` of a codebase is a field, a text or None, got {}", Tree::of(value).describe());
            self.report(codebase, name, Diagnostic::error(message));
            return None;
        };
        let mut field = self.field(part, "codebases", value, name, group, depth + 1)?;
        // Whatever it is called, it is this part of the source.
        field.name = name.into();
        Some(field)
    }

    fn codebase_named(&mut self, scheduler: &Descriptor<'_>, name: &str) -> Option<Field> {
        let names = ["branch", "revision", "repository", "project"];
        let fields: Vec<Field> = names.iter().filter_map(|n| open_source_field(n, name)).collect();
        for field in &fields {
            self.unique(scheduler, "codebases", &field.full_name);
        }
        let kind = FieldKind::Codebase { codebase: name.into(), layout: "vertical".into(), columns: None, fields };
        Some(Field { kind, ..Field::string(name, name) })
    }

    /// What makes a field that nobody can fill in, or that would mean two things.
    fn check(&mut self, part: &Descriptor<'_>, role: &str, field: &Field) {
        let name = &field.full_name;
        if !field.is_group() {
            if field.name.is_empty() {
                let message = format!("this {} has no name", part.spec.short());
                self.collector.report(part.site.place(Diagnostic::error(message).hint("give `name`")));
            }
            for name in field.value_names() {
                self.unique(part, "name", &name);
            }
        }
        if role == "properties" && RESERVED.contains(&name.as_str()) {
            let message = format!("a field cannot be called `{name}`: a forced build has that already");
            self.report(part, "name", Diagnostic::error(message).hint("choose another name"));
        }
        if role == "priority" && field.kind != FieldKind::Int && field.kind != FieldKind::Fixed {
            let message = format!("`priority` of a form is a util.IntParameter, got a {}", part.spec.short());
            self.collector.report(part.site.place(Diagnostic::error(message)));
        }
        if let Some(pattern) = &field.regex
            && let Err(error) = RegexBuilder::new(pattern).size_limit(REGEX_MAX).build()
        {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("`regex` is not a regular expression that can be used: {reason}");
            return self.report(part, "regex", Diagnostic::error(message));
        }
        if field.kind != FieldKind::Fixed
            && let Some(fault) = default_fault(field)
        {
            let message = format!("the default of `{name}` is not a value that it takes: {fault}");
            self.report(part, "default", Diagnostic::error(message));
        }
    }

    fn unique(&mut self, at: &Descriptor<'_>, argument: &str, name: &str) {
        if !self.seen.insert(name.to_owned()) {
            let message = format!("two fields of the form are called `{name}`");
            self.report(at, argument, Diagnostic::error(message).hint("names of groups and fields join with `_`"));
        }
    }
}

fn common(part: &Descriptor<'_>, trees: &Trees, name: String, group: &str) -> Field {
    let flag = |name: &str| trees.get(name, boolean).unwrap_or(false);
    let words = |name: &str| trees.get(name, optional_text).flatten().unwrap_or_default();
    let default = part.arg("default").map_or(Json::Null, declare::value);
    let populate = |value: Json| -> Option<(String, BTreeMap<String, Json>)> {
        match value {
            Json::Object(map) => Some((String::new(), map.into_iter().collect())),
            _ => None,
        }
    };
    let autopopulate = match part.arg("autopopulate").map(declare::value) {
        Some(Json::Object(map)) => {
            map.into_iter().filter_map(|(choice, value)| Some((choice, populate(value)?.1))).collect()
        }
        _ => BTreeMap::new(),
    };
    Field {
        full_name: join(group, &name),
        label: words("label"),
        tablabel: words("tablabel"),
        tooltip: words("tooltip"),
        default,
        required: flag("required"),
        hide: flag("hide"),
        multiple: flag("multiple"),
        maxsize: trees.get("maxsize", count).flatten(),
        regex: trees.get("regex", optional_text).flatten(),
        autopopulate,
        kind: FieldKind::Fixed,
        name,
    }
}

/// A part of a source stamp of which the file says nothing.
fn open_source_field(name: &str, group: &str) -> Option<Field> {
    let label = match name {
        "branch" => "Branch",
        "revision" => "Revision",
        "repository" => "Repository",
        "project" => "Project",
        // A patch only where it is asked for.
        _ => return None,
    };
    Some(Field { full_name: join(group, name), ..Field::string(name, label) })
}

fn patch_fields(group: &str) -> Vec<Field> {
    let field = |name: &str, label: &str, kind: FieldKind, default: Json| Field {
        full_name: join(group, name),
        kind,
        default,
        ..Field::string(name, label)
    };
    vec![
        field("body", "Patch", FieldKind::File, Json::Null),
        field("level", "Path components to strip", FieldKind::Int, 1.into()),
        field("author", "Author", FieldKind::String, Json::Null),
        field("comment", "Comment", FieldKind::String, Json::Null),
        field("subdir", "Folder to apply it in", FieldKind::String, Json::Null),
    ]
}
