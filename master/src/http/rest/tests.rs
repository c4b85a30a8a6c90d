//! `test_result_sets`, and the results in one.

use super::answer::{self, Answer};
use super::ask::{At, Operators, connection};
use super::builders::found;
use super::describe;
use crate::app::App;
use axum::extract::State;
use axum::routing::get;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::steps::{self, STEPS};
use tidemill_schema::read::tests::{self, TEST_RESULTS, TEST_SETS};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    let results = "/test_result_sets/{test_result_setid}/results";
    OpenApiRouter::default()
        .routes(describe::list("/test_result_sets", &TEST_SETS, "All sets of test results", get(all)))
        .routes(describe::one("/test_result_sets/{test_result_setid}", &TEST_SETS, "One set", get(by_id)))
        .routes(describe::list(results, &TEST_RESULTS, "Its results, one a test and run", get(results_of)))
        .routes(describe::list("/builds/{buildid}/test_result_sets", &TEST_SETS, "Those of a build", get(of_build)))
        .routes(describe::list("/steps/{stepid}/test_result_sets", &TEST_SETS, "Those of a step", get(of_step)))
        .routes(describe::list(
            "/builders/{builder}/test_result_sets",
            &TEST_SETS,
            "Those of a builder",
            get(of_builder),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &TEST_SETS, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &TEST_SETS, tests::by_id(id), &ops, "set of test results").await
}

async fn results_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let parent = (&TEST_SETS, tests::by_id(id), "set of test results");
    answer::rows_of(&mut c, parent, &TEST_RESULTS, &[tests::of_set(id)], &ops).await
}

async fn of_build(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&BUILDS, builds::by_id(id), "build"), &TEST_SETS, &[tests::of_build(id)], &ops).await
}

async fn of_step(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&STEPS, steps::by_id(id), "step"), &TEST_SETS, &[tests::of_step(id)], &ops).await
}

async fn of_builder(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let builder = found(&mut c, &builder).await?;
    answer::rows(&mut c, &TEST_SETS, &[tests::of_builder(builder)], &ops).await
}
