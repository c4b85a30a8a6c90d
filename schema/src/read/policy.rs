//! Questions that policies ask: a few conditions by equality, the newest rows
//! first, each row as the REST resource gives it.
//!
//! A question costs little however long the history: except where an index
//! finds the rows, only the newest [`WINDOW`] rows are looked at, and a
//! statement that takes longer than the caller allows is cancelled.

use super::list::{self, Scope};
use super::query::{Direction, Filter, Op, Query, Values};
use super::resource::{Field, Resource, text, texts};
use super::{builders, builds, changes, requests, workers};
use crate::{Db, Error, Result, run_tx};
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;

/// Newest rows among which a condition without an index of its own is looked for.
pub const WINDOW: i64 = 10_000;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Builds,
    Requests,
    Changes,
    Workers,
    Builders,
}

/// The branches and revisions of a build; that of no name is the empty text.
static BUILD_BRANCH: Field = texts(
    "branch",
    "array(select coalesce(ss.branch, '') from build_requests r
             join buildset_sourcestamps x on x.buildset_id = r.buildset_id
             join sourcestamps ss on ss.id = x.sourcestamp_id where r.id = b.request_id)",
    "",
);
static BUILD_REVISION: Field = texts(
    "revision",
    "array(select coalesce(ss.revision, '') from build_requests r
             join buildset_sourcestamps x on x.buildset_id = r.buildset_id
             join sourcestamps ss on ss.id = x.sourcestamp_id where r.id = b.request_id)",
    "",
);
static REQUEST_BRANCH: Field = texts(
    "branch",
    "array(select coalesce(ss.branch, '') from buildset_sourcestamps x
             join sourcestamps ss on ss.id = x.sourcestamp_id where x.buildset_id = r.buildset_id)",
    "",
);
static CHANGE_BRANCH: Field = text("branch", "coalesce(h.branch, '')", "");
static CHANGE_CATEGORY: Field = text("category", "coalesce(h.category, '')", "");
static BUILDER_TAG: Field = texts("tag", "u.tags", "");

impl About {
    fn resource(self) -> &'static Resource {
        match self {
            About::Builds => &builds::BUILDS,
            About::Requests => &requests::REQUESTS,
            About::Changes => &changes::CHANGES,
            About::Workers => &workers::WORKERS,
            About::Builders => &builders::BUILDERS,
        }
    }

    /// What a filter compares, where it is no field of the resource.
    fn field(self, name: &str) -> Option<&'static Field> {
        match (self, name) {
            (About::Builds, "branch") => Some(&BUILD_BRANCH),
            (About::Builds, "revision") => Some(&BUILD_REVISION),
            (About::Requests, "branch") => Some(&REQUEST_BRANCH),
            (About::Requests, "buildset") => self.resource().field("buildsetid"),
            (About::Changes, "branch") => Some(&CHANGE_BRANCH),
            (About::Changes, "category") => Some(&CHANGE_CATEGORY),
            (About::Builders, "tag") => Some(&BUILDER_TAG),
            _ => self.resource().field(name),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The question itself; the text is for its author.
    #[error("{0}")]
    Question(String),
    #[error("{0}")]
    Database(#[from] Error),
}

/// Answers a question within a time, by a connection of its own.
pub async fn ask(
    db: &Db,
    about: About,
    filters: &[(String, Value)],
    limit: i64,
    within: Duration,
) -> Result<Vec<Value>, AskError> {
    let answer = run_tx!(db, "policy.ask", |c| {
        let millis = within.as_millis().max(1).to_string();
        sqlx::query_scalar!("select set_config('statement_timeout', $1, true)", millis).fetch_one(&mut *c).await?;
        // What is wrong with the question is no failure of the transaction.
        Ok::<_, Error>(rows(c, about, filters, limit).await)
    })?;
    answer.map_err(|e| match e {
        AskError::Database(e) if e.is_cancelled() => AskError::Question(format!(
            "the question took longer than {} ms; ask for fewer rows, or filter by `builder`",
            within.as_millis()
        )),
        other => other,
    })
}

async fn rows(
    c: &mut PgConnection,
    about: About,
    filters: &[(String, Value)],
    limit: i64,
) -> Result<Vec<Value>, AskError> {
    let resource = about.resource();
    let mut query = Query { order: vec![(resource.id(), Direction::Down)], limit, ..Query::default() };
    if matches!(about, About::Builds | About::Requests) {
        query = query.with_properties();
    }
    let mut scope = Vec::new();
    let mut window = window(about, None);
    for (name, value) in filters {
        match (about, name.as_str()) {
            (About::Builds | About::Requests, "builder") => {
                let Some(id) = builders::by_name(c, &one_text(name, value)?).await? else { return Ok(Vec::new()) };
                scope.push(if about == About::Builds { builds::of_builder(id) } else { requests::of_builder(id) });
                window = window.and_then(|_| self::window(about, Some(id)));
                continue;
            }
            (About::Builds, "worker") => {
                let Some(id) = workers::by_name(c, &one_text(name, value)?).await? else { return Ok(Vec::new()) };
                scope.push(builds::of_worker(id));
                continue;
            }
            // What is open is few and found by itself, also where it is old.
            (_, "complete") if *value == Value::Bool(false) => window = None,
            (About::Requests, "buildset") => window = None,
            _ => {}
        }
        let field = about
            .field(name)
            .ok_or_else(|| AskError::Question(format!("{} cannot be filtered by `{name}`", resource.name)))?;
        query.filters.push(filter(field, name, value)?);
    }
    scope.extend(window);
    let listed = list::some(c, resource, &scope, &query).await?;
    Ok(list::typed(&listed)?)
}

/// The newest rows, of a builder where one is named.
fn window(about: About, builder: Option<i64>) -> Option<Scope> {
    const BUILDS_OF: &str = " order by x.number desc limit 10000)";
    const REQUESTS_OF: &str = " order by x.id desc limit 10000)";
    Some(match (about, builder) {
        (About::Builds, Some(id)) => {
            Scope::within("b.id in (select x.id from builds x where x.builder_id = ", id, BUILDS_OF)
        }
        (About::Builds, None) => {
            Scope::within("b.id in (select x.id from builds x order by x.id desc limit ", WINDOW, ")")
        }
        (About::Requests, Some(id)) => {
            Scope::within("r.id in (select x.id from build_requests x where x.builder_id = ", id, REQUESTS_OF)
        }
        (About::Requests, None) => {
            Scope::within("r.id in (select x.id from build_requests x order by x.id desc limit ", WINDOW, ")")
        }
        (About::Changes, _) => {
            Scope::within("h.id in (select x.id from changes x order by x.id desc limit ", WINDOW, ")")
        }
        (About::Workers | About::Builders, _) => return None,
    })
}

fn one_text(name: &str, value: &Value) -> Result<String, AskError> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "one name", value))
}

/// Equal to the value, or to one of a list of values. None of a branch,
/// revision or category is the empty text.
fn filter(field: &'static Field, name: &str, value: &Value) -> Result<Filter, AskError> {
    use super::resource::Kind;
    let single = std::slice::from_ref(value);
    let values = value.as_array().map_or(single, Vec::as_slice);
    let op = if field.kind == Kind::Texts { Op::Contains } else { Op::Eq };
    fn all<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        values.iter().map(read).collect()
    }
    let (read, expected) = match field.kind {
        Kind::Int | Kind::Time => (all(values, Value::as_i64).map(Values::Ints), "an int"),
        Kind::Bool => (all(values, Value::as_bool).map(Values::Bools), "True or False"),
        _ => {
            let read =
                |v: &Value| if v.is_null() { Some(String::new()) } else { v.as_str().map(crate::changes::clean) };
            (all(values, read).map(Values::Texts), "a text")
        }
    };
    Ok(Filter { field, op, values: read.ok_or_else(|| wrong(name, expected, value))? })
}

fn wrong(name: &str, expected: &str, got: &Value) -> AskError {
    let got: String = got.to_string().chars().take(100).collect();
    AskError::Question(format!("the filter `{name}` must be {expected}, got {got}"))
}
