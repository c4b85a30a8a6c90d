//! Results of tests as clients see them, and the broken ones of a build for its page.

use super::list::Scope;
use super::resource::{Resource, int, text, time};
use crate::Result;
use sqlx::PgConnection;

pub static TEST_SETS: Resource = Resource {
    name: "test_result_sets",
    table: "test_sets",
    alias: "t",
    fields: &[
        int("test_result_setid", "t.id", "Unique over all builds."),
        text("name", "t.name", "What the step calls these tests."),
        int("builderid", "t.builder_id", "The builder."),
        int("buildid", "t.build_id", "The build."),
        int("step", "t.step", "The number of its step."),
        int("stepid", "(select s.id from steps s where s.build_id = t.build_id and s.number = t.step)", "The step."),
        time!("complete_at", "t.complete_at", "When all of them were there."),
        int("tests_passed", "t.passed", "How many passed."),
        int("tests_failed", "t.failed", "How many failed."),
        int("tests_errors", "t.errors", "How many could not be run to their end."),
        int("tests_skipped", "t.skipped", "How many were not run."),
    ],
};

pub static TEST_RESULTS: Resource = Resource {
    name: "test_results",
    table: "test_results",
    alias: "r",
    fields: &[
        int("number", "r.ordinal::bigint", "Its place in the set, from 1."),
        int("test_result_setid", "r.set_id", "The set."),
        int("builderid", "r.builder_id", "The builder."),
        int("testid", "r.name_id", "The test: the same in all builds and builders."),
        text("test_name", "(select n.name from test_names n where n.id = r.name_id)", "Its name."),
        text(
            "test_code_path",
            "(select n.path from test_names n where n.id = r.name_id)",
            "Where it stands; may be empty.",
        ),
        text("result", "r.result", "passed, failed, skipped or error: it could not be run to its end."),
        int("duration_ms", "floor(r.seconds * 1000)::bigint", "How long it took; null: not said."),
        text("message", "r.message", "What it said, cut short; null: nothing."),
    ],
};

pub fn by_id(id: i64) -> Scope {
    Scope::new("t.id = ", id)
}

pub fn of_build(build: i64) -> Scope {
    Scope::new("t.build_id = ", build)
}

pub fn of_builder(builder: i64) -> Scope {
    Scope::new("t.builder_id = ", builder)
}

/// By the step's own id.
pub fn of_step(step: i64) -> Scope {
    Scope::within("(t.build_id, t.step) = (select s.build_id, s.number from steps s where s.id = ", step, ")")
}

/// Results of a set: of the one month that they are in.
pub fn of_set(set: i64) -> Scope {
    Scope::within("(r.set_id, r.complete_at) = (select s.id, s.complete_at from test_sets s where s.id = ", set, ")")
}

/// A set of a build.
#[derive(Clone, Debug)]
pub struct TestSet {
    pub id: i64,
    pub step: i64,
    pub name: String,
    pub passed: i32,
    pub failed: i32,
    pub skipped: i32,
    pub errors: i32,
}

/// A result that is not good.
#[derive(Clone, Debug)]
pub struct Broken {
    pub set: i64,
    pub name: String,
    pub path: String,
    pub result: String,
    pub message: Option<String>,
    /// The same set has a later result of it that is good.
    pub passed_again: bool,
    /// Number of the build in which it began to fail, if it fails there since and still does.
    pub since: Option<i64>,
    /// It passed and failed there on the same sources, in the last four weeks before it ran.
    pub flaky: bool,
}

/// The sets of a build, by step and name.
pub async fn sets_of(c: &mut PgConnection, build: i64) -> Result<Vec<TestSet>> {
    let rows = sqlx::query_as!(
        TestSet,
        r#"select id, step::bigint as "step!", name, passed, failed, skipped, errors from test_sets
            where build_id = $1 order by step, name limit 1000"#,
        build
    );
    Ok(rows.fetch_all(c).await?)
}

/// The first broken results of each set, in their order.
pub async fn broken_of(c: &mut PgConnection, sets: &[i64], most: i64) -> Result<Vec<Broken>> {
    let rows = sqlx::query_as!(
        Broken,
        r#"select t.id as set, n.name, n.path, r.result, r.message,
                  exists (select from test_results p
                           where p.set_id = t.id and p.complete_at = t.complete_at and p.name_id = r.name_id
                             and p.builder_id = t.builder_id and p.ordinal > r.ordinal and p.result = 'passed') as "passed_again!",
                  (select b.number from test_states s join builds b on b.id = s.since_build
                    where s.name_id = r.name_id and s.builder_id = t.builder_id and s.line = t.line and s.failing
                      and s.since <= t.complete_at) as since,
                  exists (select from test_flakes f
                           where f.name_id = r.name_id and f.builder_id = t.builder_id
                             and f.at between t.complete_at - interval '28 days' and t.complete_at) as "flaky!"
             from unnest($1::bigint[]) u(id)
            cross join lateral (select k.* from test_sets k where k.id = u.id and k.failed + k.errors > 0 offset 0) t
            cross join lateral (select k.* from test_results k
                                 where k.set_id = t.id and k.complete_at = t.complete_at and k.result in ('failed', 'error')
                                 order by k.ordinal limit $2) r
            join test_names n on n.id = r.name_id
            order by t.id, r.ordinal"#,
        sets,
        most
    );
    Ok(rows.fetch_all(c).await?)
}
