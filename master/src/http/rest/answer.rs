//! What goes out: rows as Postgres made them, in the shape of Buildbot's API.

use super::ask::{Operators, connection};
use crate::app::App;
use crate::http::ApiError;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sqlx::PgConnection;
use sqlx::types::JsonRawValue;
use tidemill_schema::read::query::Direction;
use tidemill_schema::read::{Listed, Resource, Scope, exists, list, one};

pub type Answer = Result<Response, ApiError>;

/// `{"builds": […], "meta": {…}}`
pub async fn rows(c: &mut PgConnection, resource: &'static Resource, scope: &[Scope], ops: &Operators) -> Answer {
    let query = ops.query(resource)?;
    let listed = list(c, resource, scope, &query).await?;
    Ok(list_body(resource, &listed, ops))
}

/// The same below something that must be there: an empty list says that it is.
pub async fn rows_of(
    c: &mut PgConnection,
    parent: (&'static Resource, Scope, &str),
    resource: &'static Resource,
    scope: &[Scope],
    ops: &Operators,
) -> Answer {
    let query = ops.query(resource)?;
    let listed = list(c, resource, scope, &query).await?;
    if listed.rows.is_empty() && !exists(c, parent.0, &[parent.1]).await? {
        return Err(missing(parent.2, parent.1.id));
    }
    Ok(list_body(resource, &listed, ops))
}

/// `{"builds": [one]}`, or not found.
pub async fn row(
    c: &mut PgConnection,
    resource: &'static Resource,
    scope: &[Scope],
    ops: &Operators,
    what: &str,
) -> Answer {
    let query = ops.query(resource)?;
    let id = scope.last().map_or(0, |s| s.id);
    let found = one(c, resource, scope, &query).await?.ok_or_else(|| missing(what, id))?;
    Ok(json(format!("{{\"{}\":[{}],\"meta\":{{\"total\":1}}}}", resource.name, found.get())))
}

/// A list of everything of a resource.
pub async fn all(app: &App, resource: &'static Resource, ops: &Operators) -> Answer {
    rows(&mut *connection(app).await?, resource, &[], ops).await
}

/// One by its id.
pub async fn by_id(app: &App, resource: &'static Resource, scope: Scope, ops: &Operators, what: &str) -> Answer {
    row(&mut *connection(app).await?, resource, &[scope], ops, what).await
}

pub fn missing(what: &str, id: i64) -> ApiError {
    ApiError::not_found(format!("there is no {what} {id}"))
}

fn list_body(resource: &'static Resource, listed: &Listed, ops: &Operators) -> Response {
    let size: usize = listed.rows.iter().map(|r| r.get().len() + 1).sum();
    let mut body = String::with_capacity(size + 200);
    body.push_str(&format!("{{\"{}\":[", resource.name));
    push_rows(&mut body, &listed.rows);
    body.push_str(&format!("],\"meta\":{{\"total\":{}", listed.total));
    if listed.total_is_bound {
        body.push_str(",\"total_is_at_least\":true");
    }
    if let Some(next) = listed.next {
        let link = serde_json::to_string(&next_link(resource, next, ops)).unwrap_or_default();
        body.push_str(&format!(",\"next\":{link}"));
    }
    body.push_str("}}");
    json(body)
}

fn push_rows(body: &mut String, rows: &[Box<JsonRawValue>]) {
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            body.push(',');
        }
        body.push_str(row.get());
    }
}

/// The same query from after the last row: the key instead of an offset, so
/// that a page costs the same wherever it is and no row comes twice.
fn next_link(resource: &Resource, (last, direction): (i64, Direction), ops: &Operators) -> String {
    let id = resource.id().name;
    let bound = match direction {
        Direction::Up => format!("{id}__gt"),
        Direction::Down => format!("{id}__lt"),
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (k, v) in ops.pairs.iter().filter(|(k, _)| *k != bound && k != "offset") {
        query.append_pair(k, v);
    }
    query.append_pair(&bound, &last.to_string());
    format!("{}?{}", ops.path, query.finish())
}

pub fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
