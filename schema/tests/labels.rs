//! Builders with requirements, and who may build them.

mod common;

use common::*;
use serde_json::json;
use tidemill_model::requires::{Labels, labels};
use tidemill_schema::config::{Wanted, WantedBuilder};
use tidemill_schema::labels::worker_labelled;
use tidemill_schema::read::waiting::waiting;
use tidemill_schema::testing::TestDb;
use tidemill_schema::{run_tx, workers};

fn builder(name: &str, requires: &str, workernames: &[&str]) -> WantedBuilder {
    WantedBuilder {
        name: name.into(),
        any_worker: workernames.is_empty(),
        workernames: workernames.iter().map(|w| (*w).to_owned()).collect(),
        requires: Some(requires.into()),
        ..WantedBuilder::default()
    }
}

async fn says(t: &TestDb, name: &str, said: &str) -> bool {
    let token = workers::worker_enrol(&t.db, name).await.unwrap();
    run_tx!(t.db, "test", |c| {
        let (id, _) = workers::worker_by_token(c, &token).await?.expect("just enrolled");
        worker_labelled(c, id, &labels(said).expect("good labels")).await
    })
    .unwrap()
}

async fn fits(t: &TestDb) -> Vec<(String, String)> {
    sqlx::query_as(
        "select b.name, w.worker_name from builder_workers w join builders b on b.id = w.builder_id order by 1, 2",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn those_fit_whose_labels_do_by_their_hello_and_by_the_project_which_wins() {
    let t = TestDb::new().await;
    let wanted = |given: Labels| Wanted {
        builders: vec![
            builder("gpu", "gpu and mem >= 8", &[]),
            builder("linux", "os == 'linux'", &["a", "later"]),
            WantedBuilder { name: "any".into(), any_worker: true, ..WantedBuilder::default() },
        ],
        worker_labels: vec![("a".into(), given)],
        ..Wanted::default()
    };
    says(&t, "a", "gpu,mem=16,os=linux").await;
    activate(&t.db, &wanted(Labels::new())).await;
    assert_eq!(fits(&t).await, pairs(&[("gpu", "a"), ("linux", "a")]));
    assert!(!says(&t, "a", "gpu,mem=16,os=linux").await, "as it was");
    assert!(says(&t, "a", "gpu,mem=4,os=linux").await);
    assert_eq!(fits(&t).await, pairs(&[("linux", "a")]));
    assert!(says(&t, "later", "os=linux").await);
    assert!(says(&t, "b", "gpu,mem=8,os=linux").await, "who was enrolled after the activation fits too");
    assert_eq!(fits(&t).await, pairs(&[("gpu", "b"), ("linux", "a"), ("linux", "later")]), "b is not named");
    let given = serde_json::from_value(json!({"mem": 32, "os": "mac"})).unwrap();
    activate(&t.db, &wanted(given)).await;
    assert_eq!(fits(&t).await, pairs(&[("gpu", "a"), ("gpu", "b"), ("linux", "later")]), "the project says otherwise");
    says(&t, "a", "gpu,mem=1,os=linux").await;
    assert_eq!(fits(&t).await.len(), 3, "and it wins over what a worker says later");
    t.drop().await;
}

#[tokio::test]
async fn a_claim_goes_by_who_fits_and_a_request_without_one_says_what_it_needs() {
    let t = TestDb::new().await;
    activate(&t.db, &Wanted { builders: vec![builder("gpu", "gpu", &[])], ..Wanted::default() }).await;
    let session = worker(&t.db, "w").await;
    let request = submit(&t.db, "gpu").await.requests[0];
    assert!(claim(&t.db, session, 1, 1, 0).await.is_empty());
    let why = waiting(&mut t.db.pool().acquire().await.unwrap(), request.0).await.unwrap().unwrap();
    assert_eq!(why[0].text, "a worker that may build it: none is connected that fits gpu");
    assert!(says(&t, "w", "gpu").await);
    assert_eq!(claim(&t.db, session, 2, 1, 0).await.len(), 1);
    t.drop().await;
}
