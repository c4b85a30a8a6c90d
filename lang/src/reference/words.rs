//! From the tables to items.

use super::{Arg, Item, Reference};
use crate::custom;
use crate::host::dialect::globals;
use crate::policies;
use crate::project::engines;
use crate::project::root::KEYS;
use crate::values::convert::OPEN;
use crate::values::factory;
use crate::values::spec::{Param, Spec, Status};
use crate::vocabulary;
use starlark::docs::{DocItem, DocMember, DocModule};
use starlark::environment::Methods;
use starlark::typing::Ty;

pub(super) fn all() -> Reference {
    let mut items: Vec<Item> = KEYS.iter().map(|(name, doc)| key(name, doc)).collect();
    for namespace in ["util", "steps", "schedulers", "changes", "worker", "reporters", "secrets"] {
        let mut own: Vec<Item> = vocabulary::specs().filter(|s| of(s.name, namespace)).map(item).collect();
        if namespace == "util" {
            let docs = globals().documentation();
            if let Some(DocItem::Module(module)) = docs.members.get("util") {
                functions("util", module, &mut own);
            }
        }
        own.sort_by(|a, b| a.name.cmp(&b.name));
        items.extend(own);
    }
    for (namespace, methods) in
        custom::documented().into_iter().chain(policies::documented()).chain([("factory", factory::methods())])
    {
        let mut own = methods_of(namespace, methods);
        own.sort_by(|a, b| a.name.cmp(&b.name));
        items.extend(own);
    }
    Reference { items }
}

fn of(name: &str, namespace: &str) -> bool {
    name.split_once('.').is_some_and(|(n, _)| n == namespace)
}

fn summary(doc: &str) -> String {
    match doc.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => doc.to_owned(),
    }
}

fn key(name: &str, doc: &str) -> Item {
    Item {
        name: format!("c[\"{name}\"]"),
        namespace: "c".into(),
        summary: summary(doc),
        doc: doc.to_owned(),
        accepted_only: engines::key_accepted_only(name),
        ..Item::default()
    }
}

fn item(spec: &'static Spec) -> Item {
    Item {
        name: spec.name.to_owned(),
        namespace: spec.name.split('.').next().unwrap_or_default().to_owned(),
        summary: summary(spec.doc),
        doc: spec.doc.to_owned(),
        args: spec.all().filter_map(|param| argument(spec, param)).collect(),
        example: spec.example.to_owned(),
        signature: String::new(),
        accepted_only: engines::accepted_only(spec),
    }
}

/// What Buildbot has and this release has not is no argument yet.
fn argument(spec: &'static Spec, param: &'static Param) -> Option<Arg> {
    let mut arg = Arg {
        name: if param.name == OPEN.name { "…".into() } else { param.name.to_owned() },
        default: param.default.to_owned(),
        doc: param.doc.to_owned(),
        accepted_only: engines::argument_accepted_only(spec, param.name),
        ..Arg::default()
    };
    match param.status {
        Status::Required(ty) | Status::Optional(ty) => {
            arg.r#type = ty.expected.to_owned();
            arg.renderable = ty.placeholder && param.name != OPEN.name;
            arg.required = matches!(param.status, Status::Required(_));
        }
        Status::Alias(to) => arg.alias_of = Some(to.to_owned()),
        Status::Ignored(why) => arg.ignored = Some(why.to_owned()),
        Status::Moved(_) | Status::Later => return None,
    }
    Some(arg)
}

/// Functions of a namespace that are no constructors: `util.pad`, `util.re.match` ….
fn functions(prefix: &str, module: &DocModule, found: &mut Vec<Item>) {
    for (name, member) in &module.members {
        let name = format!("{prefix}.{name}");
        match member {
            DocItem::Module(inner) => functions(&name, inner, found),
            DocItem::Member(DocMember::Function(function)) => {
                let doc = function.docs.as_ref().map(text).unwrap_or_default();
                found.push(Item {
                    namespace: "util".into(),
                    summary: summary(&doc),
                    doc,
                    signature: signature(&member.render_as_code(&name)),
                    name,
                    ..Item::default()
                });
            }
            _ => {}
        }
    }
}

fn text(docs: &starlark::docs::DocString) -> String {
    match &docs.details {
        Some(details) => format!("{} {}", docs.summary, details),
        None => docs.summary.clone(),
    }
}

/// `def name(…) -> type: …` as `name(…)`.
fn signature(code: &str) -> String {
    let line: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = match line.find("def ") {
        Some(at) => &line[at + 4..],
        None => &line,
    };
    let end = line.rfind("->").or_else(|| line.rfind("):").map(|i| i + 1)).unwrap_or(line.len());
    line[..end]
        .trim()
        .trim_end_matches(':')
        .replace("_this, /, ", "")
        .replace("*, ", "")
        .replace("/, ", "")
        .replace("( ", "(")
}

fn methods_of(namespace: &str, methods: &'static Methods) -> Vec<Item> {
    let docs = methods.documentation(Ty::any());
    let mut found = vec![];
    for (name, member) in &docs.members {
        let DocMember::Function(function) = member else { continue };
        let name = format!("{namespace}.{name}");
        let doc = function.docs.as_ref().map(text).unwrap_or_default();
        let code = DocItem::Member(member.clone()).render_as_code(&name);
        found.push(Item {
            namespace: namespace.to_owned(),
            summary: summary(&doc),
            doc,
            signature: signature(&code),
            name,
            ..Item::default()
        });
    }
    found
}
