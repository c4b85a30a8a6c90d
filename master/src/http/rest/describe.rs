//! The OpenAPI description, made of the tables that the queries are made of:
//! a field that can be asked for is described, and nothing else.

use crate::app::App;
use axum::routing::MethodRouter;
use serde_json::json;
use tidemill_schema::read::{Field, Kind, Resource, query};
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, HttpMethod, InfoBuilder, KnownFormat, OpenApi, OpenApiBuilder, Ref, RefOr, Required,
    ResponseBuilder, Server,
};
use utoipa_axum::router::UtoipaMethodRouter;

type Route = UtoipaMethodRouter<App>;
type Named = Vec<(String, RefOr<Schema>)>;

/// The head of the document.
pub fn document() -> OpenApi {
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tidemill")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Resources, field names and filters of Buildbot's data API. Reading is open, \
                     but for the texts of project files; those and what changes something need a token.",
                ))
                .build(),
        )
        .servers(Some([Server::new("/api/v2")]))
        .components(Some(ComponentsBuilder::new().security_scheme("token", token).schema("Problem", problem()).build()))
        .build()
}

/// A list of a resource.
pub fn list(path: &str, resource: &'static Resource, summary: &str, handler: MethodRouter<App>) -> Route {
    let mut op = read(path, resource, summary);
    for (name, doc, kind) in [
        (
            "limit",
            format!("Rows in the answer, 0 to {}; {} if not given.", query::LIMIT_MAX, query::LIMIT_DEFAULT),
            Kind::Int,
        ),
        ("offset", "Rows to leave out first; `meta.next` is the better way.".to_owned(), Kind::Int),
        ("order", "A field, or `-field` for the other way; may be given again.".to_owned(), Kind::Text),
    ] {
        op = op.parameter(in_query(name, &doc, kind));
    }
    for field in resource.fields.iter().filter(|f| f.kind.comparable()) {
        let doc = match field.kind {
            Kind::Texts => format!("{} Filter as `{}__contains`.", field.doc, field.name),
            Kind::Bool => format!("{} Also with `__eq` and `__ne`.", field.doc),
            Kind::Text => {
                format!("{} Also with `__eq`, `__ne`, `__lt`, `__le`, `__gt`, `__ge`, `__contains`.", field.doc)
            }
            _ => format!("{} Also with `__eq`, `__ne`, `__lt`, `__le`, `__gt`, `__ge`.", field.doc),
        };
        let name = if field.kind == Kind::Texts { format!("{}__contains", field.name) } else { field.name.to_owned() };
        op = op.parameter(in_query(&name, &doc, field.kind));
    }
    get(path, op, vec![resource_schema(resource)], handler)
}

/// One row of a resource.
pub fn one(path: &str, resource: &'static Resource, summary: &str, handler: MethodRouter<App>) -> Route {
    get(path, read(path, resource, summary), vec![resource_schema(resource)], handler)
}

/// Something that is no resource.
pub fn other(path: &str, summary: &str, media: &str, parameters: &[(&str, &str)], handler: MethodRouter<App>) -> Route {
    let mut op = begin(path, summary);
    for (name, doc) in parameters {
        op = op.parameter(in_query(name, doc, Kind::Text));
    }
    let schema = if media == "application/json" { object() } else { of_type(Type::String) };
    let ok = ResponseBuilder::new().description("There it is.").content(media, Content::new(Some(schema))).build();
    get(path, op.response("200", ok).response("default", error()), vec![], handler)
}

/// What is read with a token only.
pub fn private(path: &str, summary: &str, handler: MethodRouter<App>) -> Route {
    let ok = ResponseBuilder::new()
        .description("There it is.")
        .content("application/json", Content::new(Some(object())))
        .build();
    let op = begin(path, summary)
        .response("200", ok)
        .response("default", error())
        .security(SecurityRequirement::new::<_, [&str; 0], &str>("token", []));
    get(path, op, vec![], handler)
}

/// Something that changes something. `body` is name and meaning of each field.
pub fn control(path: &str, status: &str, summary: &str, body: &[(&str, &str)], handler: MethodRouter<App>) -> Route {
    let fields = body.iter().fold(ObjectBuilder::new(), |o, (name, doc)| {
        o.property(
            *name,
            ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue).description(Some(*doc)),
        )
    });
    let wanted = RequestBodyBuilder::new()
        .content("application/json", Content::new(Some(Schema::from(fields.build()))))
        .required(Some(Required::False))
        .build();
    let ok = ResponseBuilder::new()
        .description("Done, and committed.")
        .content("application/json", Content::new(Some(object())))
        .build();
    let op = begin(path, summary)
        .request_body(Some(wanted))
        .response(status, ok)
        .response("default", error())
        .security(SecurityRequirement::new::<_, [&str; 0], &str>("token", []));
    (vec![], paths(path, HttpMethod::Post, op.build()), handler)
}

fn read(path: &str, resource: &'static Resource, summary: &str) -> OperationBuilder {
    let ok = ResponseBuilder::new()
        .description(summary)
        .content("application/json", Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(resource.name)))))
        .build();
    let op = begin(path, summary)
        .tag(resource.name)
        .response("200", ok)
        .response("default", error())
        .parameter(in_query("field", "A field to give, instead of all; may be given again.", Kind::Text));
    match resource.fields.iter().any(|f| f.kind == Kind::Properties) {
        true => op.parameter(in_query(
            "property",
            "Name of a property to give with each row, `*` for all; may be given again.",
            Kind::Text,
        )),
        false => op,
    }
}

fn begin(path: &str, summary: &str) -> OperationBuilder {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.fold(OperationBuilder::new().summary(Some(summary)), |op, name| {
        op.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(of_type(Type::String)))
                .build(),
        )
    })
}

fn get(path: &str, op: OperationBuilder, schemas: Named, handler: MethodRouter<App>) -> Route {
    (schemas, paths(path, HttpMethod::Get, op.build()), handler)
}

fn paths(path: &str, method: HttpMethod, op: Operation) -> Paths {
    let mut paths = Paths::new();
    paths.paths.insert(path.to_owned(), PathItem::new(method, op));
    paths
}

fn in_query(name: &str, doc: &str, kind: Kind) -> Parameter {
    let kind = match kind {
        Kind::Int | Kind::Time => Type::Integer,
        Kind::Bool => Type::Boolean,
        _ => Type::String,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(doc))
        .schema(Some(of_type(kind)))
        .build()
}

/// `{"builds": [{…}], "meta": {…}}`
fn resource_schema(resource: &'static Resource) -> (String, RefOr<Schema>) {
    let row = resource.fields.iter().fold(ObjectBuilder::new(), |o, f| o.property(f.name, field_schema(f)));
    let meta = ObjectBuilder::new()
        .property("total", of_type(Type::Integer))
        .property("total_is_at_least", of_type(Type::Boolean))
        .property("next", of_type(Type::String));
    let body = ObjectBuilder::new()
        .property(resource.name, ArrayBuilder::new().items(RefOr::T(Schema::from(row.build()))))
        .required(resource.name)
        .property("meta", meta);
    (resource.name.to_owned(), RefOr::T(body.build().into()))
}

fn field_schema(field: &Field) -> Schema {
    let nullable =
        |t: Type| ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::from_iter([t, Type::Null]));
    let described = match field.kind {
        Kind::Int | Kind::Time => nullable(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))),
        Kind::Bool => ObjectBuilder::new().schema_type(Type::Boolean),
        Kind::Text => nullable(Type::String),
        Kind::Texts => {
            let items = RefOr::T(of_type(Type::String));
            return ArrayBuilder::new().items(items).description(Some(field.doc)).build().into();
        }
        Kind::Json => ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue),
        Kind::Properties => ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true))),
    };
    let doc = match field.kind {
        Kind::Time => format!("{} Seconds since 1970.", field.doc),
        _ => field.doc.to_owned(),
    };
    described.description(Some(doc)).build().into()
}

fn problem() -> Schema {
    let wrong = ObjectBuilder::new().property("field", of_type(Type::String)).property("detail", of_type(Type::String));
    ObjectBuilder::new()
        .description(Some("RFC 9457"))
        .property("type", of_type(Type::String))
        .property("title", of_type(Type::String))
        .property("status", of_type(Type::Integer))
        .property("detail", of_type(Type::String))
        .property("errors", ArrayBuilder::new().items(RefOr::T(Schema::from(wrong.build()))))
        .examples([json!({"type": "not-found", "title": "Not found", "status": 404, "detail": "there is no build 7"})])
        .build()
        .into()
}

fn error() -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description("What is wrong, and what to do about it.")
        .content("application/problem+json", Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("Problem")))))
        .build()
}

fn of_type(t: Type) -> Schema {
    ObjectBuilder::new().schema_type(t).build().into()
}

fn object() -> Schema {
    ObjectBuilder::new().build().into()
}
