//! Scheduling when the project's own functions are slow.

use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::run_tx;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// Changes that are there at once.
const CHANGES: i64 = 20;

/// A transaction that runs a slow filter over all that waits would hold the rows of every scheduler as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_filter_is_given_a_few_changes_at_a_time() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(
        m,
        r#"
def slow(change):
    n = 0
    for i in range(400000):
        n += i
    return n >= 0

c = {}
c["schedulers"] = [schedulers.SingleBranchScheduler(
    name = "s",
    builderNames = ["b"],
    change_filter = util.ChangeFilter(filter_fn = slow),
)]
f = util.BuildFactory([steps.ShellCommand(name = "run", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["nobody"], factory = f)]
"#,
    )
    .await;
    let changes: Vec<NewChange> = (0..CHANGES)
        .map(|i| NewChange { revision: Some(format!("r{i}")), comments: "c".into(), ..NewChange::default() })
        .collect();
    run_tx!(t.db, "test", |c| changes_insert(c, &changes, None).await).unwrap();
    wait_until("a buildset for each change", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from buildsets")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(n == CHANGES, n)
    })
    .await;
    // Rows of one transaction have the same xid.
    let sizes: Vec<i64> =
        sqlx::query_scalar("select count(*) from events where kind = 'buildsets.new' group by xid order by xid")
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    assert!(sizes.len() > 2, "transactions scheduled {sizes:?}");
    invariants::check(&t.db).await;
}
