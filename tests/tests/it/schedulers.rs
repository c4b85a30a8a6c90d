//! Schedulers that changes, other buildsets and the clock set off, on two
//! replicas, through kills and disabling: each thing once.

use serde_json::json;
use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::run_tx;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// Builders `b` and `c` that any worker builds, a configuration `c`, and schedulers.
pub fn project(schedulers: &str) -> String {
    format!(
        "c = {{}}\n\
         good = util.BuildFactory([steps.ShellCommand(name = \"run\", command = [\"true\"])])\n\
         bad = util.BuildFactory([steps.ShellCommand(name = \"run\", command = [\"false\"])])\n\
         c[\"builders\"] = [\n    \
             util.BuilderConfig(name = name, workernames = [\"*\"], factory = f, collapseRequests = False)\n    \
             for name, f in [(\"b\", good), (\"c\", good), (\"bad\", bad)]]\n\
         c[\"schedulers\"] = [{schedulers}]\n"
    )
}

pub async fn announce(t: &Cluster, branch: &str, revision: &str) {
    let change = NewChange { branch: Some(branch.into()), revision: Some(revision.into()), ..NewChange::default() };
    run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(&change), None).await).unwrap();
}

/// Waits until a question has this answer.
pub async fn until<T>(t: &Cluster, sql: &'static str, wanted: T)
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres>
        + sqlx::Type<sqlx::Postgres>
        + Send
        + Unpin
        + PartialEq
        + std::fmt::Debug,
{
    wait_until(sql, || async {
        let found: Option<T> = sqlx::query_scalar(sql).fetch_one(t.db.pool()).await.map_err(|e| e.to_string())?;
        holds(found.as_ref() == Some(&wanted), format!("{found:?}, and not {wanted:?}"))
    })
    .await;
}

pub async fn texts(t: &Cluster, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(t.db.pool()).await.unwrap()
}

/// From now on it is this moment for all replicas, and time goes on from there.
pub async fn it_is(t: &Cluster, moment: &str) {
    let sql = format!(
        "do $do$ begin execute format(
             'create or replace function tidemill_now() returns timestamptz language sql volatile parallel safe
              as $f$ select %L::timestamptz + (clock_timestamp() - %L::timestamptz) $f$',
             '{moment}', clock_timestamp()); end $do$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(t.db.pool()).await.unwrap();
}

/// Revisions of the changes of each buildset, with its scheduler.
const BUILT: &str = "select s.scheduler || ':' || coalesce((
        select string_agg(h.revision, ',' order by h.id) from buildset_changes x join changes h on h.id = x.change_id
         where x.buildset_id = s.id), '') from buildsets s order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn each_branch_waits_by_itself_though_all_masters_are_killed() {
    let mut t = Cluster::start().await;
    let (a, _) = (t.master().await, t.master().await);
    t.configure(
        a,
        &project(
            r#"schedulers.AnyBranchScheduler(
                name = "any", builderNames = ["b"], treeStableTimer = 3600, codebases = {"": {"repository": "r"}},
                fileIsImportant = lambda change: change.revision != "doc",
            )"#,
        ),
    )
    .await;
    for (branch, revision) in [("main", "m1"), ("topic", "t1"), ("main", "doc"), ("quiet", "doc")] {
        announce(&t, branch, revision).await;
    }
    until(
        &t,
        "select count(*) from schedulers, jsonb_each(state -> 'branches') b where b.value ->> 'fires_at_us' is not null",
        2_i64,
    )
    .await;
    let address = t.masters[a].address;
    t.masters.iter_mut().for_each(|m| m.process.kill9());
    it_is(&t, "2027-01-01T00:00:00Z").await;
    announce(&t, "main", "m2").await;
    t.master_restart(a, address).await;
    // The timers of before fire; what came since has one of its own.
    until(&t, "select count(*) from buildsets", 2_i64).await;
    assert_eq!(texts(&t, BUILT).await, ["any:m1,doc", "any:t1"]);
    until(&t, "select next_at > tidemill_now() + interval '50 min' from schedulers", true).await;
    it_is(&t, "2027-01-01T02:00:00Z").await;
    until(&t, "select count(*) from buildsets", 3_i64).await;
    assert_eq!(texts(&t, BUILT).await, ["any:m1,doc", "any:m2", "any:t1"]);
    let api = t.api(a);
    let scheduler = api.list("schedulers/any").await.unwrap().remove(0);
    assert_eq!(scheduler["kind"], json!("AnyBranchScheduler"));
    assert_eq!(scheduler["summary"], json!("when 1 h passed without a change; 1 unimportant so far"));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_dependent_schedulers_builds_the_same_sources_once_though_a_master_is_killed() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(
        a,
        &project(
            r#"
    schedulers.SingleBranchScheduler(name = "first", builderNames = ["b", "c"]),
    schedulers.Dependent(name = "second", upstream = "first", builderNames = ["c"]),
    schedulers.Dependent(name = "third", upstream = "second", builderNames = lambda changes: ["b"] if changes else []),
    schedulers.SingleBranchScheduler(name = "fails", builderNames = ["b", "bad"]),
    schedulers.Dependent(name = "never", upstream = "fails", builderNames = ["b"])"#,
        ),
    )
    .await;
    t.worker("w", &t.master_url(b), 4).await;
    for i in 0..6 {
        announce(&t, "main", &format!("r{i}")).await;
    }
    until(&t, "select count(*) > 0 from buildsets where scheduler = 'second'", true).await;
    t.masters[a].process.kill9();
    for i in 6..10 {
        announce(&t, "main", &format!("r{i}")).await;
    }
    until(&t, "select count(*) from buildsets where scheduler = 'third' and complete_at is not null", 10_i64).await;
    until(&t, "select bool_and(complete_at is not null) from buildsets", true).await;
    until(&t, "select count(*) from scheduler_upstreams", 0_i64).await;
    until(&t, "select count(*) from buildsets where scheduler = 'fails' and results = 2", 10_i64).await;
    let mut wanted: Vec<String> = Vec::new();
    for name in ["fails", "first", "second", "third"] {
        wanted.extend((0..10).map(|i| format!("{name}:r{i}")));
    }
    assert_eq!(texts(&t, BUILT).await, wanted);
    let stamps =
        "select distinct (buildset_stamps(s.id) #>> '{0,revision}') || (buildset_stamps(s.id) #>> '{0,branch}')
                    from buildsets s where scheduler = 'third' order by 1";
    assert_eq!(texts(&t, stamps).await, (0..10).map(|i| format!("r{i}main")).collect::<Vec<_>>());
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_scheduler_remembers_what_it_waits_for_and_ignores_what_was_made_while_it_was_disabled() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(
        a,
        &project(
            r#"
    schedulers.SingleBranchScheduler(name = "up", builderNames = ["b"]),
    schedulers.Dependent(name = "down", upstream = "up", builderNames = ["c"])"#,
        ),
    )
    .await;
    announce(&t, "main", "waited-for").await;
    until(&t, "select count(*) from scheduler_upstreams", 1_i64).await;
    t.api(b).post("schedulers/down/enable", json!({ "enabled": false })).await.unwrap();
    announce(&t, "main", "made-meanwhile").await;
    until(&t, "select count(*) from buildsets", 2_i64).await;
    t.worker("w", &t.master_url(b), 2).await;
    until(&t, "select count(*) from buildsets where complete_at is not null", 2_i64).await;
    // It has passed both by.
    until(
        &t,
        "select (heard_xid, heard_id) >= (select xid, id from events where kind = 'buildsets.complete'
                                           order by xid desc, id desc limit 1) from schedulers where name = 'down'",
        true,
    )
    .await;
    t.api(a)
        .post("schedulers/down", json!({ "method": "enable", "params": { "enabled": true }, "id": 7 }))
        .await
        .unwrap();
    until(&t, "select count(*) from buildsets where scheduler = 'down'", 1_i64).await;
    announce(&t, "main", "later").await;
    until(&t, "select count(*) from buildsets where scheduler = 'down'", 2_i64).await;
    assert_eq!(
        texts(&t, BUILT).await,
        ["down:later", "down:waited-for", "up:later", "up:made-meanwhile", "up:waited-for"]
    );
    until(&t, "select bool_and(complete_at is not null) from buildsets", true).await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nightly_fires_once_at_its_time_by_the_zone_and_once_for_all_that_it_missed() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    it_is(&t, "2027-03-27T12:00:00Z").await;
    t.configure(
        a,
        &project(
            r#"
    schedulers.Nightly(name = "plain", builderNames = ["b"], hour = 2, minute = 30, timezone = "Europe/Berlin", branch = "main"),
    schedulers.Nightly(
        name = "changed", builderNames = ["b"], hour = 2, minute = 30, timezone = "Europe/Berlin", onlyIfChanged = True,
        branch = "main", change_filter = util.ChangeFilter(category = None), codebases = {"": {"repository": "r"}},
        createAbsoluteSourceStamps = True,
    )"#,
        ),
    )
    .await;
    until(&t, "select count(*) from schedulers where next_at = '2027-03-28T01:00:00Z'", 2_i64).await;
    announce(&t, "other", "not its branch").await;
    announce(&t, "main", "r1").await;
    until(&t, "select count(*) from schedulers where state -> 'collected' is not null", 1_i64).await;
    it_is(&t, "2027-03-28T00:59:30Z").await;
    until(&t, "select count(*) from schedulers where next_at > tidemill_now()", 2_i64).await;
    assert_eq!(texts(&t, BUILT).await, [""; 0]);
    // The night in which half past two is left out.
    it_is(&t, "2027-03-28T01:00:10Z").await;
    until(&t, "select count(*) from schedulers where next_at = '2027-03-29T00:30:00Z'", 2_i64).await;
    assert_eq!(texts(&t, BUILT).await, ["changed:r1", "plain:"]);
    // Days without a master are one run; without a change none.
    let address = t.masters[a].address;
    t.masters[a].process.kill9();
    t.masters[b].process.kill9();
    it_is(&t, "2027-04-05T12:00:00Z").await;
    t.master_restart(a, address).await;
    until(&t, "select count(*) from schedulers where next_at = '2027-04-06T00:30:00Z'", 2_i64).await;
    assert_eq!(texts(&t, BUILT).await, ["changed:r1", "plain:", "plain:"]);
    // What was seen last is built, if somebody wants it.
    t.api(a).post("schedulers/changed/run", json!({})).await.unwrap();
    until(&t, "select count(*) from buildsets", 4_i64).await;
    let stamps = "select concat_ws(' ', b.scheduler, s.repository, s.branch, s.revision)
                    from buildsets b join buildset_sourcestamps x on x.buildset_id = b.id
                    join sourcestamps s on s.id = x.sourcestamp_id order by b.scheduler, b.id";
    assert_eq!(texts(&t, stamps).await, ["changed  main r1", "changed  main r1", "plain  main", "plain  main"]);
    invariants::check(&t.db).await;
}
