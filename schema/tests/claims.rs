//! What the claim promises.

mod common;
use common::*;
use std::collections::HashSet;
use tidemill_model::{Properties, Results};
use tidemill_schema::claims::{Payloads, Waiting, claim_builds, claim_by};
use tidemill_schema::config::{Wanted, WantedBuilder, revision_activate, revision_insert};
use tidemill_schema::ingest::batches_store;
use tidemill_schema::requests::{NewBuildset, requests_insert_bulk};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

#[tokio::test]
async fn a_claim_gives_a_build_with_its_source_properties_and_number() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let submitted = submit(&t.db, "linux").await;
    let claims = claim(&t.db, session, 1, 4, 0).await;
    assert_eq!(claims.len(), 1);
    let c = &claims[0];
    assert_eq!((c.builder.as_str(), c.number, c.attempt, c.request), ("linux", 1, 1, submitted.requests[0].0));
    assert_eq!(c.sourcestamps[0].repository, "r");
    assert_eq!(c.properties.get("buildername"), Some(&"linux".into()));
    assert_eq!(c.properties.get("workername"), Some(&"w".into()));
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_queue").await, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_poll_repeated_after_a_lost_reply_gets_the_same_build_and_no_other() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    for _ in 0..3 {
        submit(&t.db, "linux").await;
    }
    let first = claim(&t.db, session, 1, 1, 0).await;
    let again = claim(&t.db, session, 1, 1, 0).await;
    assert_eq!(first[0].build, again[0].build);
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(first[0].token, again[0].token);
    // Known now: the next poll gets the next one.
    let next = claim(&t.db, session, 2, 1, first[0].build).await;
    assert_ne!(next[0].build, first[0].build);
    t.drop().await;
}

#[tokio::test]
async fn a_stale_copy_of_an_older_poll_gets_nothing_new() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    submit(&t.db, "linux").await;
    let newer = claim(&t.db, session, 7, 1, 0).await;
    finish(&t.db, &newer[0], Results::Success).await;
    let stale = claim(&t.db, session, 6, 5, newer[0].build).await;
    assert!(stale.is_empty());
    t.drop().await;
}

#[tokio::test]
async fn undelivered_builds_count_against_the_free_slots() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    for _ in 0..5 {
        submit(&t.db, "linux").await;
    }
    // The reply to poll 1 was lost; poll 2 has two free slots, of which one is taken by it.
    let lost = claim(&t.db, session, 1, 1, 0).await;
    let got = claim(&t.db, session, 2, 2, 0).await;
    assert_eq!(got.len(), 2);
    assert!(got.iter().any(|c| c.build == lost[0].build));
    t.drop().await;
}

#[tokio::test]
async fn two_replicas_and_fifty_polls_claim_each_of_ten_thousand_requests_once() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let set = submit(&t.db, "linux").await;
    let builder = tidemill_model::BuilderId(scalar(&t, "select id from builders").await);
    let n = 9_999;
    run_tx!(t.db, "test", |c| requests_insert_bulk(c, set.buildset, builder, n).await).unwrap();
    let mut sessions = Vec::new();
    for i in 0..50 {
        sessions.push(worker(&t.db, &format!("w{i}")).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for replica in 0..2 {
        let (db, sessions) = (t.db.clone(), sessions.clone());
        tasks.spawn(async move {
            let mut got = Vec::new();
            for round in 0.. {
                // Both replicas hold copies of the same polls: replies lost, polls repeated elsewhere.
                let poll = round / 2 + 1;
                let waiting: Vec<Waiting> = sessions
                    .iter()
                    .map(|s| Waiting { session: *s, poll: poll + replica, free: 2, newest: i64::MAX - 1 })
                    .collect();
                let claimed = claim_all(&db, &waiting).await;
                let fresh = claimed.fresh;
                got.extend(claimed.by_session.into_values().flatten().map(|c| c.request));
                if fresh == 0 && round > 1 && lanes_empty(&db).await {
                    return got;
                }
            }
            got
        });
    }
    let mut seen = HashSet::new();
    let mut total = 0;
    while let Some(got) = tasks.join_next().await {
        let got = got.unwrap();
        total += got.len();
        seen.extend(got);
    }
    assert_eq!((total, seen.len()), (n + 1, n + 1));
    assert_eq!(scalar::<i64>(&t, "select count(distinct request_id) from builds").await, n as i64 + 1);
    assert_eq!(scalar::<i64>(&t, "select count(*) from builds").await, n as i64 + 1);
    t.drop().await;
}

async fn lanes_empty(db: &tidemill_schema::Db) -> bool {
    let n: i64 = sqlx::query_scalar("select count(*) from request_queue").fetch_one(db.pool()).await.unwrap();
    n == 0
}

#[tokio::test]
async fn higher_priority_goes_first_then_the_oldest_builder() {
    let t = TestDb::new().await;
    project(&t.db, &["a", "b"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "b").await;
    submit(&t.db, "a").await;
    let urgent = NewBuildset { builders: vec!["a".into()], priority: 5, ..NewBuildset::default() };
    submit_set(&t.db, &urgent).await;
    let mut order = Vec::new();
    let mut newest = 0;
    for poll in 1..=3 {
        let got = claim(&t.db, session, poll, 1, newest).await;
        newest = got[0].build;
        order.push((got[0].builder.clone(), got[0].request));
    }
    let builders: Vec<&str> = order.iter().map(|(b, _)| b.as_str()).collect();
    // `a` has the highest waiting priority; then it is `b`, whose request is the oldest.
    assert_eq!(builders, ["a", "b", "a"]);
    t.drop().await;
}

#[tokio::test]
async fn a_worker_gets_only_what_names_it() {
    let t = TestDb::new().await;
    let wanted = Wanted {
        builders: vec![
            WantedBuilder { name: "mac".into(), workernames: vec!["m".into()], ..WantedBuilder::default() },
            WantedBuilder { name: "any".into(), any_worker: true, ..WantedBuilder::default() },
        ],
        ..Wanted::default()
    };
    activate(&t.db, &wanted).await;
    let (l, m) = (worker(&t.db, "l").await, worker(&t.db, "m").await);
    submit(&t.db, "mac").await;
    submit(&t.db, "mac").await;
    submit(&t.db, "any").await;
    let linux = claim(&t.db, l, 1, 10, 0).await;
    assert_eq!(linux.iter().map(|c| c.builder.as_str()).collect::<Vec<_>>(), ["any"]);
    assert_eq!(claim(&t.db, m, 1, 10, 0).await.len(), 2);
    t.drop().await;
}

#[tokio::test]
async fn a_request_of_a_retired_builder_waits_until_it_is_back() {
    let t = TestDb::new().await;
    project(&t.db, &["old", "new"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "old").await;
    project(&t.db, &["new"]).await;
    assert!(claim(&t.db, session, 1, 1, 0).await.is_empty());
    project(&t.db, &["new", "old"]).await;
    assert_eq!(claim(&t.db, session, 2, 1, 0).await.len(), 1);
    t.drop().await;
}

#[tokio::test]
async fn a_worker_that_lacks_the_vocabulary_is_offered_nothing() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    sql(&t, "update config_revisions set vocabulary = 1000").await;
    assert!(claim(&t.db, session, 1, 1, 0).await.is_empty());
    assert_eq!(
        waits_for(&t, "linux").await,
        format!(
            "a worker of a newer release: the project file needs level 1000 of the vocabulary, \
             and those that may build it have at most {}",
            tidemill_model::wire::VOCABULARY
        )
    );
    sql(&t, "update config_revisions set vocabulary = 1").await;
    assert_eq!(waits_for(&t, "linux").await, "a free worker");
    sql(&t, "update worker_sessions set state = 'closed'").await;
    assert_eq!(waits_for(&t, "linux").await, "a worker that may build it: none is connected");
    t.drop().await;
}

/// A claim waits for the row of its session while another revision is activated: it goes by that
/// one wholly, by its settings and by the vocabulary that it needs.
#[tokio::test]
async fn a_claim_that_waited_through_an_activation_is_of_one_revision() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    for (poll, level) in [(1, 1), (2, 1_000)] {
        submit(&t.db, "linux").await;
        let mut other = t.db.pool().begin().await.unwrap();
        sqlx::query("select from worker_sessions for update").execute(&mut *other).await.unwrap();
        let waiting = {
            let db = t.db.clone();
            tokio::spawn(async move { claim(&db, session, poll, 1, i64::MAX).await })
        };
        waits_for_a_lock(&t).await;
        let mut properties = Properties::new();
        properties.set("revision", poll, "here");
        let builder = WantedBuilder { name: "linux".into(), any_worker: true, properties, ..WantedBuilder::default() };
        let wanted = Wanted { builders: vec![builder], ..Wanted::default() };
        let files = tidemill_model::revision::Files::single(format!("# {wanted:?}"));
        run_tx!(t.db, "test", |c| {
            let id = revision_insert(c, &files, &serde_json::json!({}), level, "", "test").await?;
            revision_activate(c, id, &wanted).await
        })
        .unwrap();
        other.commit().await.unwrap();
        let claims = waiting.await.unwrap();
        if level > 1 {
            assert!(claims.is_empty(), "the worker does not know the words of the new revision");
            continue;
        }
        assert_eq!(claims[0].properties.get("revision"), Some(&poll.into()));
        assert_eq!(claims[0].revision, files.hash());
    }
    t.drop().await;
}

async fn waits_for(t: &TestDb, builder: &str) -> String {
    use tidemill_schema::read::{builders, requests};
    let mut c = t.db.pool().acquire().await.unwrap();
    let builder = builders::resolve(&mut c, builder).await.unwrap().unwrap();
    requests::waiting(&mut c, builder, 1).await.unwrap().remove(0).waits_for.unwrap()
}

#[tokio::test]
async fn a_lane_is_read_from_its_bound_by_an_index_scan_at_a_hundred_thousand_rows() {
    let t = TestDb::new().await;
    sql(&t, "insert into request_queue (lane, request_id, buildset_id) select 1 + i % 3, i, 1 from generate_series(1, 100000) i").await;
    for analyzed in [false, true] {
        if analyzed {
            sql(&t, "analyze request_queue").await;
        }
        let plan: Vec<String> = sqlx::query_scalar(
            "explain select ticket from request_queue where lane = 1 and ticket >= 90000 order by ticket
              for update skip locked limit 10",
        )
        .fetch_all(t.db.pool())
        .await
        .unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan using request_queue_pkey"), "{plan}");
        assert!(!plan.contains("Sort"), "{plan}");
    }
    t.drop().await;
}

#[tokio::test]
async fn what_a_claim_gives_is_what_history_says_the_build_started_with() {
    let t = TestDb::new().await;
    let properties = |pairs: &[(&str, &str)]| {
        let mut p = Properties::new();
        pairs.iter().for_each(|(name, value)| p.set(*name, *value, "here"));
        p
    };
    let builder = WantedBuilder {
        name: "linux".into(),
        any_worker: true,
        default_properties: properties(&[("a", "default"), ("b", "default"), ("c", "default"), ("workername", "no")]),
        properties: properties(&[("b", "builder"), ("d", "builder")]),
        ..WantedBuilder::default()
    };
    activate(&t.db, &Wanted { builders: vec![builder.clone()], ..Wanted::default() }).await;
    let session = worker(&t.db, "w").await;
    let set = NewBuildset {
        builders: vec!["linux".into()],
        properties: properties(&[("b", "set"), ("c", "set"), ("e", "set")]),
        ..NewBuildset::default()
    };
    submit_set(&t.db, &set).await;
    submit_set(&t.db, &set).await;
    let claims = claim(&t.db, session, 1, 1, 0).await;
    let value = |name: &str| claims[0].properties.get(name).and_then(|v| v.as_str().map(str::to_owned));
    let seen: Vec<_> = ["a", "b", "c", "d", "e", "workername"].map(|n| value(n).unwrap_or_default()).to_vec();
    assert_eq!(seen, ["default", "builder", "set", "builder", "set", "w"]);
    // The builder's settings change: what was claimed before stays as it was.
    let changed = WantedBuilder { properties: properties(&[("b", "later")]), ..builder };
    activate(&t.db, &Wanted { builders: vec![changed], ..Wanted::default() }).await;
    let history: sqlx::types::Json<Properties> =
        sqlx::query_scalar("select build_started_with(id) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(history.0, claims[0].properties);
    // And delivered again, it says the same.
    let again = claim(&t.db, session, 2, 1, 0).await;
    assert_eq!((again[0].build, &again[0].properties), (claims[0].build, &claims[0].properties));
    let next = claim(&t.db, session, 3, 1, claims[0].build).await;
    assert_eq!(next[0].properties.get("b"), Some(&"later".into()));
    t.drop().await;
}

/// Index entries read by the claim of an idle session must not grow with what others built since.
#[tokio::test]
async fn a_sessions_builds_are_found_by_its_own_index_whatever_the_statistics_say() {
    let t = TestDb::new().await;
    for analyzed in [false, true] {
        for statement in [
            "explain select b.poll from builds b where b.session_id >= 7 and b.session_id <= 7
              order by b.session_id desc, b.id desc limit 1",
            "explain select b.id from builds b where (b.session_id, b.id) > (7, 5) and b.session_id <= 7
                and b.state <> 'finished' order by b.session_id, b.id",
        ] {
            let plan: Vec<String> = sqlx::query_scalar(statement).fetch_all(t.db.pool()).await.unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains("builds_session") && !plan.contains("builds_pkey"), "{plan}");
        }
        if !analyzed {
            sql(
                &t,
                "insert into builds (builder_id, number, request_id, worker_id, session_id, poll, attempt, token,
                                     revision_id, settings_id)
                 select 1, i, i, 1, case when i = 1 then 7 else 8 end, i, 1, 't', 1, 1 from generate_series(1, 50000) i",
            )
            .await;
            sql(&t, "analyze builds").await;
        }
    }
    t.drop().await;
}

/// Dead rows that a held snapshot keeps are behind the low bound: nothing walks over them, also
/// when the statistics were taken while almost all rows were dead.
#[tokio::test]
async fn a_claim_reads_no_dead_rows_while_a_snapshot_is_held() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let set = submit(&t.db, "linux").await;
    let builder = tidemill_model::BuilderId(scalar(&t, "select id from builders").await);
    let lane: i64 = scalar(&t, "select id from lanes").await;
    let session = worker(&t.db, "w").await;
    let mut holder = t.db.pool().begin().await.unwrap();
    sqlx::raw_sql("set transaction isolation level repeatable read; select count(*) from cluster")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut c = t.db.pool().acquire().await.unwrap();
    let mut payloads = Payloads::default();
    let (mut low, mut newest) = (0, 0);
    let mut before = 0;
    for poll in 1..=60 {
        run_tx!(t.db, "test", |c| requests_insert_bulk(c, set.buildset, builder, 100).await).unwrap();
        if poll == 50 {
            // Its count of live rows is what the planner believes from now on.
            sql(&t, "vacuum analyze request_queue").await;
            before = queue_entries_read(&mut c, &t).await;
        }
        let waiting = [Waiting { session, poll, free: 100, newest }];
        let mut claimed = claim_builds(&mut c, &mut payloads, &waiting, &[(lane, low)], TERM).await.unwrap();
        let claims = claimed.by_session.remove(&session).unwrap();
        assert_eq!(claims.len(), 100);
        low = claimed.lanes[&lane];
        newest = claims.iter().map(|c| c.build).max().unwrap();
        let ends: Vec<_> = claims.iter().map(|c| batch(c, 1, vec![finished(Results::Success)])).collect();
        batches_store(&t.db, &ends).await.unwrap();
    }
    // Eleven claims of 100: each finds its rows once, and the first of them once more.
    let read = queue_entries_read(&mut c, &t).await - before;
    assert!(read < 11 * 100 * 4, "{read} index entries read for 1,100 claims");
    holder.rollback().await.unwrap();
    drop(c);
    t.drop().await;
}

/// Properties nested deeper than a reader goes: stored by an older release, or by hand.
#[tokio::test]
async fn a_row_that_cannot_be_read_costs_its_own_build_and_no_other() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let sets = [submit(&t.db, "linux").await, submit(&t.db, "linux").await, submit(&t.db, "linux").await];
    sqlx::query(
        "update buildsets set properties = jsonb_build_object('deep',
             jsonb_build_array((repeat('[', 300) || repeat(']', 300))::jsonb, 'here')) where id = $1",
    )
    .bind(sets[1].buildset.0)
    .execute(t.db.pool())
    .await
    .unwrap();
    let good = vec![sets[0].requests[0].0, sets[2].requests[0].0];
    let requests = |claims: Vec<tidemill_model::wire::Claim>| {
        let mut ids: Vec<i64> = claims.iter().map(|c| c.request).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(requests(claim(&t.db, session, 1, 3, 0).await), good);
    // The answer was lost.
    assert_eq!(requests(claim(&t.db, session, 1, 3, 0).await), good);
    t.drop().await;
}

/// Whether a lane is empty is told by slots that could have taken something: a paused worker, or one that
/// has as many builds as it may, would hide the work from those that become free.
#[tokio::test]
async fn a_slot_that_may_take_nothing_is_not_spare() {
    let t = TestDb::new().await;
    let wanted = Wanted {
        builders: vec![WantedBuilder { name: "linux".into(), any_worker: true, ..WantedBuilder::default() }],
        workers: vec![common::locks::definition("full", &[], Some(2))],
        ..Wanted::default()
    };
    activate(&t.db, &wanted).await;
    let mut sessions = Vec::new();
    for name in ["good", "paused", "old", "full"] {
        sessions.push(worker(&t.db, name).await);
    }
    sql(
        &t,
        "update workers set paused = true where name = 'paused';
             update worker_sessions set vocabulary = 0 from workers w where w.id = worker_id and w.name = 'old'",
    )
    .await;
    let poll = |poll: u64| -> Vec<Waiting> {
        sessions.iter().map(|s| Waiting { session: *s, poll, free: 5, newest: i64::MAX - 1 }).collect()
    };
    let spare = |c: &tidemill_schema::claims::Claimed| sessions.iter().map(|s| c.spare[s]).collect::<Vec<_>>();
    let idle = claim_all(&t.db, &poll(1)).await;
    assert_eq!((idle.fresh, spare(&idle)), (0, vec![5, 0, 0, 2]));
    for _ in 0..8 {
        submit(&t.db, "linux").await;
    }
    let first = claim_all(&t.db, &poll(2)).await;
    assert_eq!((first.fresh, spare(&first)), (7, vec![0, 0, 0, 0]), "one is left, and no slot says that none is");
    let second = claim_all(&t.db, &poll(3)[1..]).await;
    assert_eq!((second.fresh, second.spare.values().sum::<u32>()), (0, 0), "nor now");
    t.drop().await;
}

/// Locks of a worker's definition, too: what a claim takes after it waited is of one revision.
#[tokio::test]
async fn a_claim_that_waited_through_an_activation_takes_the_locks_of_its_workers() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let mut other = t.db.pool().begin().await.unwrap();
    sqlx::query("select from worker_sessions for update").execute(&mut *other).await.unwrap();
    let waiting = {
        let db = t.db.clone();
        tokio::spawn(async move { claim(&db, session, 1, 1, i64::MAX).await })
    };
    waits_for_a_lock(&t).await;
    let with_locks = Wanted {
        workers: vec![common::locks::definition("w", &[common::locks::exclusive("board")], None)],
        ..common::locks::wanted(&[("board", 1)], &[("linux", &[])])
    };
    activate(&t.db, &with_locks).await;
    other.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
    assert_eq!(scalar::<i64>(&t, "select count(*) from lock_holds").await, 1);
    t.drop().await;
}

#[tokio::test]
async fn what_runs_is_counted_once_for_all_workers_with_a_limit() {
    let t = TestDb::new().await;
    let names: Vec<String> = (0..40).map(|n| format!("w{n}")).collect();
    let wanted = Wanted {
        builders: vec![WantedBuilder { name: "linux".into(), any_worker: true, ..WantedBuilder::default() }],
        workers: names.iter().map(|name| common::locks::definition(name, &[], Some(3))).collect(),
        ..Wanted::default()
    };
    activate(&t.db, &wanted).await;
    let set = submit(&t.db, "linux").await;
    let builder = tidemill_model::BuilderId(scalar(&t, "select id from builders").await);
    run_tx!(t.db, "test", |c| requests_insert_bulk(c, set.buildset, builder, 200).await).unwrap();
    let mut waiting = Vec::new();
    for name in &names {
        let session = worker(&t.db, name).await;
        waiting.push(Waiting { session, poll: 1, free: 2, newest: i64::MAX - 1 });
    }
    assert_eq!(claim_all(&t.db, &waiting).await.fresh, 80);
    waiting.iter_mut().for_each(|w| w.poll = 2);
    let (lanes, mut c) = (lanes(&t.db).await, t.db.pool().begin().await.unwrap());
    let read = "select (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint
                  from pg_stat_xact_user_tables where relname in ('leases', 'builds')";
    let claimed = claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await.unwrap();
    assert_eq!(claimed.fresh, 40, "one more for each");
    let rows: i64 = sqlx::query_scalar(read).fetch_one(&mut *c).await.unwrap();
    assert!(rows < 80 * 4, "{rows} rows read to count 80 leases of 40 workers");
    c.commit().await.unwrap();
    t.drop().await;
}

/// Its functions may have a say, of which the caller knows nothing yet.
#[tokio::test]
async fn a_claim_by_another_revision_gives_nothing_new_and_says_so() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    submit(&t.db, "linux").await;
    let (lanes, revision) = (lanes(&t.db).await, scalar::<i64>(&t, "select revision_id from active_revision").await);
    let mut c = t.db.pool().acquire().await.unwrap();
    let mut payloads = Payloads::default();
    for (poll, by, given) in [(1, revision + 1, 0), (2, revision, 1), (3, revision + 1, 1), (4, 0, 2)] {
        let waiting = [Waiting { session, poll, free: if poll < 4 { 1 } else { 2 }, newest: 0 }];
        let claimed = claim_by(&mut c, &mut payloads, &waiting, &lanes, by, TERM).await.unwrap();
        assert_eq!(claimed.moved, by > revision);
        let got = claimed.by_session.get(&session).map_or(0, Vec::len);
        assert_eq!((got, claimed.spare[&session]), (given, 0), "poll {poll}: what is open is given again");
    }
    drop(c);
    t.drop().await;
}
