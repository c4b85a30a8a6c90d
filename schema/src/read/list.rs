//! The one engine behind every list: a resource, where it is asked, and the
//! query, made into one statement of allow-listed texts and bound values.

use super::query::{Direction, Filter, Op, Query, Values};
use super::resource::{Kind, Resource};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use sqlx::types::{Json, JsonRawValue};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

/// Rows counted for a total; beyond that it is «at least».
pub const TOTAL_MAX: i64 = 100_000;

/// What the path says: a condition with one id in it.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub before: &'static str,
    pub id: i64,
    pub after: &'static str,
}

impl Scope {
    /// `sql` and the id after it.
    pub fn new(sql: &'static str, id: i64) -> Scope {
        Scope { before: sql, id, after: "" }
    }

    pub fn within(before: &'static str, id: i64, after: &'static str) -> Scope {
        Scope { before, id, after }
    }
}

/// A row as JSON, not parsed: it goes to the client as Postgres made it.
pub type RawRow = Box<JsonRawValue>;

#[derive(Debug)]
pub struct Listed {
    pub rows: Vec<RawRow>,
    /// Rows that match, whatever limit and offset say.
    pub total: i64,
    /// The total is a lower bound: counting stopped there.
    pub total_is_bound: bool,
    /// The key of the last row, if more rows follow in the order of the key.
    pub next: Option<(i64, Direction)>,
}

/// The rows of a resource.
pub async fn list(c: &mut PgConnection, resource: &Resource, scope: &[Scope], query: &Query) -> Result<Listed> {
    let mut sql = QueryBuilder::<Postgres>::new("select ");
    select_object(&mut sql, resource, query);
    sql.push(", ").push(resource.id().sql).push(" from (select ").push(resource.alias).push(".* from ");
    rows_that_match(&mut sql, resource, scope, query);
    order_by(&mut sql, resource, query);
    // One row more than asked for tells whether there are more.
    sql.push(" limit ").push_bind(query.limit + 1).push(" offset ").push_bind(query.offset);
    sql.push(") ").push(resource.alias);
    order_by(&mut sql, resource, query);
    let found = sql.build().fetch_all(&mut *c).await?;

    let more = found.len() as i64 > query.limit;
    let mut rows = Vec::with_capacity(found.len());
    let mut last = None;
    for row in found.iter().take(query.limit as usize) {
        rows.push(row.try_get::<Json<RawRow>, _>(0)?.0);
        last = Some(row.try_get::<i64, _>(1)?);
    }
    let next = query.by_id(resource).filter(|_| more).and_then(|direction| Some((last?, direction)));
    // A page past the end does not know how many came before it.
    let exact = !more && (query.offset == 0 || !rows.is_empty());
    let total =
        if exact { query.offset + rows.len() as i64 } else { count(c, resource, scope, query, TOTAL_MAX).await? };
    Ok(Listed { rows, total, total_is_bound: total >= TOTAL_MAX && !exact, next })
}

/// The rows alone, without how many there are besides.
pub async fn some(c: &mut PgConnection, resource: &Resource, scope: &[Scope], query: &Query) -> Result<Vec<RawRow>> {
    let mut sql = QueryBuilder::<Postgres>::new("select ");
    select_object(&mut sql, resource, query);
    sql.push(" from (select ").push(resource.alias).push(".* from ");
    rows_that_match(&mut sql, resource, scope, query);
    order_by(&mut sql, resource, query);
    sql.push(" limit ").push_bind(query.limit).push(") ").push(resource.alias);
    order_by(&mut sql, resource, query);
    let found: Vec<Json<RawRow>> = sql.build_query_scalar().fetch_all(c).await?;
    Ok(found.into_iter().map(|j| j.0).collect())
}

/// How many rows match, at most `bound`.
pub async fn count(
    c: &mut PgConnection,
    resource: &Resource,
    scope: &[Scope],
    query: &Query,
    bound: i64,
) -> Result<i64> {
    let mut sql = QueryBuilder::<Postgres>::new("select count(*) from (select 1 from ");
    rows_that_match(&mut sql, resource, scope, query);
    sql.push(" limit ").push_bind(bound).push(") x");
    Ok(sql.build_query_scalar().fetch_one(c).await?)
}

/// The first row, if any.
pub async fn one(c: &mut PgConnection, resource: &Resource, scope: &[Scope], query: &Query) -> Result<Option<RawRow>> {
    let query = Query { limit: 1, ..query.clone() };
    let mut sql = QueryBuilder::<Postgres>::new("select ");
    select_object(&mut sql, resource, &query);
    sql.push(" from ");
    rows_that_match(&mut sql, resource, scope, &query);
    order_by(&mut sql, resource, &query);
    sql.push(" limit 1");
    let found: Option<Json<RawRow>> = sql.build_query_scalar().fetch_optional(c).await?;
    Ok(found.map(|j| j.0))
}

/// Whether there is such a row.
pub async fn exists(c: &mut PgConnection, resource: &Resource, scope: &[Scope]) -> Result<bool> {
    Ok(count(c, resource, scope, &Query::default(), 1).await? > 0)
}

/// Rows as the type that a page works with.
pub fn typed<T: DeserializeOwned>(rows: &[RawRow]) -> Result<Vec<T>> {
    rows.iter().map(|r| typed_one(r)).collect()
}

pub fn typed_one<T: DeserializeOwned>(row: &JsonRawValue) -> Result<T> {
    serde_json::from_str(row.get())
        .map_err(|e| Error::Inconsistent(format!("a row does not fit {}: {e}", std::any::type_name::<T>())))
}

fn select_object(sql: &mut QueryBuilder<Postgres>, resource: &Resource, query: &Query) {
    let chosen: Vec<_> = if query.fields.is_empty() { resource.fields.iter().collect() } else { query.fields.to_vec() };
    sql.push("json_build_object(");
    for (n, field) in chosen.iter().enumerate() {
        sql.push(if n == 0 { "'" } else { ", '" }).push(field.name).push("', ");
        match field.kind {
            // A bigint of Postgres is a JSON number as it is; so are text, boolean and arrays.
            Kind::Properties if query.properties.is_empty() => {
                sql.push("'{}'::json");
            }
            Kind::Properties => {
                let (before, after) = field.sql.split_once("$P").expect("its SQL has the place for the names");
                sql.push(before).push_bind(query.properties.clone()).push(after);
            }
            _ => {
                sql.push(field.sql);
            }
        }
    }
    sql.push(")");
}

/// `table alias where …`
fn rows_that_match(sql: &mut QueryBuilder<Postgres>, resource: &Resource, scope: &[Scope], query: &Query) {
    sql.push(resource.table).push(" ").push(resource.alias).push(" where true");
    for s in scope {
        sql.push(" and ").push(s.before).push_bind(s.id).push(s.after);
    }
    for f in &query.filters {
        sql.push(" and ");
        condition(sql, f);
    }
}

fn condition(sql: &mut QueryBuilder<Postgres>, f: &Filter) {
    sql.push("(");
    match (&f.values, f.op) {
        (Values::Bools(values), op) => {
            let wanted: Vec<bool> =
                [true, false].into_iter().filter(|b| values.contains(b) == (op == Op::Eq)).collect();
            sql.push(f.field.sql).push(" = any(").push_bind(wanted.clone()).push(")");
            if let ([false], Some(also)) = (wanted.as_slice(), f.field.when_false) {
                sql.push(" and ").push(also);
            }
        }
        (Values::Texts(parts), Op::Contains) if f.field.kind == Kind::Texts => {
            sql.push(f.field.sql).push(" && ").push_bind(parts.clone());
        }
        (Values::Texts(parts), Op::Contains) => {
            // Not LIKE: `%` and `_` are just characters of what is looked for.
            sql.push("exists (select 1 from unnest(")
                .push_bind(parts.clone())
                .push("::text[]) part where position(part in ");
            sql.push(f.field.sql).push(") > 0)");
        }
        (values, Op::Eq) => {
            sql.push(f.field.sql).push(" = any(");
            bind_all(sql, values);
            sql.push(")");
        }
        (values, Op::Ne) => {
            // What is not set differs from every value.
            sql.push(f.field.sql).push(" is null or ").push(f.field.sql).push(" <> all(");
            bind_all(sql, values);
            sql.push(")");
        }
        (values, op) => {
            let sign = match op {
                Op::Lt => " < ",
                Op::Le => " <= ",
                Op::Gt => " > ",
                _ => " >= ",
            };
            sql.push(f.field.sql).push(sign);
            match values {
                Values::Ints(v) => sql.push_bind(v[0]),
                Values::Texts(v) => sql.push_bind(v[0].clone()),
                Values::Bools(v) => sql.push_bind(v[0]),
            };
        }
    }
    sql.push(")");
}

fn bind_all(sql: &mut QueryBuilder<Postgres>, values: &Values) {
    match values {
        Values::Ints(v) => sql.push_bind(v.clone()),
        Values::Texts(v) => sql.push_bind(v.clone()),
        Values::Bools(v) => sql.push_bind(v.clone()),
    };
}

/// Always total: rows that are equal in the wanted order come by their key.
fn order_by(sql: &mut QueryBuilder<Postgres>, resource: &Resource, query: &Query) {
    sql.push(" order by ");
    for (field, direction) in &query.order {
        sql.push(field.sql).push(if *direction == Direction::Up { ", " } else { " desc, " });
    }
    let down = query.order.first().is_some_and(|(_, d)| *d == Direction::Down);
    sql.push(resource.id().sql).push(if down { " desc" } else { "" });
}
