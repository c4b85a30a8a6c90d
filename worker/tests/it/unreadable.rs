//! Claims that this worker cannot read.

use crate::master::{Master, sh};
use crate::worker::Worker;
use serde_json::Value;
use tidemill_model::Results;

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_cannot_be_read_is_given_back_at_once_and_the_others_run() {
    let master = Master::start().await;
    let deep = (0..200).fold(Value::from(1), |inner, _| Value::Array(vec![inner]));
    let (first, bad, last) = (master.build(&sh("echo 1")), master.build(&sh("echo 2")), master.build(&sh("echo 3")));
    master.set(|m| m.queue[1].properties.set("deep", deep, "somebody"));
    let _worker = Worker::start(&master, 4);
    let (results, summary) = master.finished(bad).await;
    assert_eq!(results, Results::Retry);
    assert!(summary.starts_with("lost: the worker cannot read"), "{summary}");
    for build in [first, last] {
        assert_eq!(master.finished(build).await.0, Results::Success);
    }
    assert_eq!(master.lock().violations, Vec::<String>::new());
}
