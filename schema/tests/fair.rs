//! Who gets what: chosen workers, workers for trusted changes, shares of
//! projects, virtual builders, and what functions of the project refused.

mod common;
use common::*;
use std::collections::BTreeMap;
use tidemill_model::wire::Claim;
use tidemill_model::{BuilderId, Properties, RequestId, Results, SessionId, SourceStamp};
use tidemill_schema::Db;
use tidemill_schema::active::eligibility;
use tidemill_schema::claims::{Claimed, Payloads, Pick, Picked, Waiting, claim_picked};
use tidemill_schema::config::{Wanted, WantedBuilder, WantedWorker};
use tidemill_schema::read::waiting::{self, Why};
use tidemill_schema::refusals::{Refusal, refusals_prune, refusals_store};
use tidemill_schema::request_control::requests_prioritize;
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert, requests_insert_bulk, waits_release};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

fn builder(name: &str, project: &str) -> WantedBuilder {
    WantedBuilder { name: name.into(), project: project.into(), any_worker: true, ..WantedBuilder::default() }
}

fn set(builder: &str, properties: &[(&str, &str)]) -> NewBuildset {
    let mut all = Properties::new();
    for (name, value) in properties {
        all.set(*name, *value, "test");
    }
    NewBuildset {
        reason: "test".into(),
        sourcestamps: vec![SourceStamp { repository: "r".into(), ..SourceStamp::default() }],
        properties: all,
        builders: vec![builder.into()],
        ..NewBuildset::default()
    }
}

async fn submit_for(db: &Db, builder: &str, worker: &str) -> Submitted {
    submit_set(db, &set(builder, &[("workername", worker)])).await
}

/// Of a revision that only an outsider announced.
async fn submit_outside(t: &TestDb, builder: &str) -> Submitted {
    submit_set(&t.db, &outside(builder)).await
}

fn outside(builder: &str) -> NewBuildset {
    let stamp = SourceStamp { repository: "r".into(), revision: Some("evil".into()), ..SourceStamp::default() };
    NewBuildset { sourcestamps: vec![stamp], ..set(builder, &[]) }
}

const HELD: &str = "insert into held_changes (dialect, pull, repository, revision, change, why)
                    values ('github', '1', 'r', 'evil', '{}', 'a stranger')";

async fn why(t: &TestDb, made: &Submitted) -> Vec<(Why, String)> {
    let mut c = t.db.pool().acquire().await.unwrap();
    let found = waiting::waiting(&mut c, made.requests[0].0).await.unwrap().unwrap();
    found.into_iter().map(|w| (w.why, w.text)).collect()
}

fn ids(claims: &[Claim]) -> Vec<i64> {
    let mut ids: Vec<i64> = claims.iter().map(|c| c.request).collect();
    ids.sort_unstable();
    ids
}

fn of(claimed: &mut Claimed, session: SessionId) -> Vec<i64> {
    ids(&claimed.by_session.remove(&session).unwrap_or_default())
}

fn poll(session: SessionId, poll: u64, free: u32) -> Waiting {
    Waiting { session, poll, free, newest: i64::MAX - 1 }
}

#[tokio::test]
async fn only_the_chosen_worker_gets_a_request_and_others_pass_it() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let (ada, bob) = (worker(&t.db, "ada").await, worker(&t.db, "bob").await);
    let chosen = submit_for(&t.db, "linux", "ada").await;
    let open = submit(&t.db, "linux").await;
    assert_eq!(ids(&claim(&t.db, bob, 1, 5, 0).await), [open.requests[0].0]);
    assert_eq!(ids(&claim(&t.db, bob, 2, 5, i64::MAX - 1).await), [] as [i64; 0]);
    let got = claim(&t.db, ada, 1, 5, 0).await;
    assert_eq!(ids(&got), [chosen.requests[0].0]);
    assert_eq!(got[0].properties.get("workername"), Some(&"ada".into()));
    // Tried again after a lost build, and with another priority, it is still for the same worker.
    finish(&t.db, &got[0], Results::Retry).await;
    let (moved, _) = run_tx!(t.db, "test", |c| requests_prioritize(c, &chosen.requests, 7).await).unwrap();
    assert_eq!(moved, chosen.requests);
    sql(&t, "update request_waits set until = tidemill_now()").await;
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    assert_eq!(ids(&claim(&t.db, bob, 3, 5, i64::MAX - 1).await), [] as [i64; 0]);
    assert_eq!(ids(&claim(&t.db, ada, 2, 5, i64::MAX - 1).await), ids(&got));
    t.drop().await;
}

#[tokio::test]
async fn why_a_request_waits_for_its_worker_is_said() {
    let t = TestDb::new().await;
    let mut wanted = Wanted { builders: vec![builder("linux", "")], ..Wanted::default() };
    activate(&t.db, &wanted).await;
    let bob = worker(&t.db, "bob").await;
    let chosen = submit_for(&t.db, "linux", "ada").await;
    let text = |state: &str| (Why::ChosenWorker, format!("worker ada, which was chosen for it and {state}"));
    assert_eq!(why(&t, &chosen).await, [text("is not connected")]);
    let ada = worker(&t.db, "ada").await;
    assert_eq!(why(&t, &chosen).await[0].0, Why::Free);
    sql(&t, "update workers set paused = true where name = 'ada'").await;
    assert_eq!(why(&t, &chosen).await, [text("is paused")]);
    sql(&t, "update workers set paused = false; update worker_sessions set slots = 1").await;
    let first = submit_for(&t.db, "linux", "ada").await;
    assert_eq!(claim(&t.db, ada, 1, 1, 0).await.len(), 1);
    assert_eq!(why(&t, &first).await[0], text("is busy"));
    assert_eq!(ids(&claim(&t.db, bob, 1, 1, 0).await), [] as [i64; 0]);
    wanted.builders[0].any_worker = false;
    wanted.builders[0].workernames = vec!["bob".into()];
    activate(&t.db, &wanted).await;
    assert_eq!(why(&t, &first).await, [text("is none that its builder may use")]);
    t.drop().await;
}

fn picky(name: &str) -> WantedWorker {
    WantedWorker { name: name.into(), trusted_only: true, ..WantedWorker::default() }
}

#[tokio::test]
async fn a_worker_for_trusted_changes_never_gets_what_outsiders_sent() {
    let t = TestDb::new().await;
    let wanted = Wanted { builders: vec![builder("linux", "")], workers: vec![picky("signer")], ..Wanted::default() };
    activate(&t.db, &wanted).await;
    sql(&t, HELD).await;
    let (signer, plain) = (worker(&t.db, "signer").await, worker(&t.db, "plain").await);
    let evil = submit_outside(&t, "linux").await;
    let good = submit(&t.db, "linux").await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let known = eligibility(&mut c).await.unwrap();
    drop(c);
    let lane: i64 = scalar(&t, "select lane from request_queue order by ticket limit 1").await;
    assert!(known.may("plain", lane) && !known.may("signer", lane));
    // Also behind a long line of what it may not take, it finds what it may.
    assert_eq!(ids(&claim(&t.db, signer, 1, 5, 0).await), [good.requests[0].0]);
    sql(
        &t,
        "update worker_sessions set state = 'closed' where worker_id = (select id from workers where name = 'plain')",
    )
    .await;
    let said = why(&t, &evil).await;
    assert_eq!(said[0].0, Why::TrustedOnly);
    assert!(said[0].1.ends_with("the one that may build it and is connected takes trusted changes only"), "{said:?}");
    sql(&t, "update worker_sessions set state = 'open'").await;
    let got = claim(&t.db, plain, 1, 5, 0).await;
    assert_eq!((ids(&got), got[0].trusted), (vec![evil.requests[0].0], false));
    // Also the next attempt.
    finish(&t.db, &got[0], Results::Retry).await;
    sql(&t, "update request_waits set until = tidemill_now()").await;
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    assert_eq!(ids(&claim(&t.db, signer, 2, 5, i64::MAX - 1).await), [] as [i64; 0]);
    assert_eq!(ids(&claim(&t.db, plain, 2, 5, i64::MAX - 1).await), ids(&got));
    // Chosen by name, it waits and says so.
    let chosen = submit_set(
        &t.db,
        &NewBuildset { properties: set("linux", &[("workername", "signer")]).properties, ..outside("linux") },
    )
    .await;
    assert_eq!(
        why(&t, &chosen).await,
        [(Why::ChosenWorker, "worker signer, which was chosen for it and takes trusted changes only".into())]
    );
    t.drop().await;
}

/// Nothing was said of it when they were asked for: neither by the project nor by a forge.
#[tokio::test]
async fn what_is_found_to_be_an_outsiders_while_it_waits_moves_apart_at_the_claim() {
    let t = TestDb::new().await;
    let mut wanted = Wanted { builders: vec![builder("linux", "")], ..Wanted::default() };
    activate(&t.db, &wanted).await;
    let (signer, plain) = (worker(&t.db, "signer").await, worker(&t.db, "plain").await);
    let (e1, g1) = (submit_outside(&t, "linux").await, submit(&t.db, "linux").await);
    let (e2, g2) = (submit_outside(&t, "linux").await, submit(&t.db, "linux").await);
    let e3 = submit_outside(&t, "linux").await;
    sql(&t, HELD).await;
    wanted.workers = vec![picky("signer")];
    activate(&t.db, &wanted).await;
    let id = |made: &Submitted| made.requests[0].0;
    // Five rows for five slots, of which one may have what is not trusted.
    let mut claimed = claim_all(&t.db, &[poll(signer, 1, 4), poll(plain, 1, 1)]).await;
    let (signers, plains) = (of(&mut claimed, signer), of(&mut claimed, plain));
    assert_eq!(signers, [id(&g1), id(&g2)]);
    assert_eq!(plains.len(), 1);
    assert!([id(&e1), id(&e2), id(&e3)].contains(&plains[0]));
    assert_eq!(
        scalar::<i64>(&t, "select count(*) from request_queue q join lanes n on n.id = q.lane and not n.trusted").await,
        2
    );
    assert_eq!(scalar::<i64>(&t, "select count(*) from build_requests where not trusted").await, 2);
    // By a pick of the project's functions too.
    sql(&t, "delete from held_changes").await;
    let (evil, good) = (submit_outside(&t, "linux").await, submit(&t.db, "linux").await);
    sql(&t, HELD).await;
    let mut picks = vec![];
    for made in [&evil, &good] {
        let (lane, ticket) = sqlx::query_as("select lane, ticket from request_queue where request_id = $1")
            .bind(id(made))
            .fetch_one(t.db.pool())
            .await
            .unwrap();
        picks.push(Pick { lane, ticket, session: signer, locks: None });
    }
    let revision = scalar(&t, "select revision_id from active_revision").await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let picked = Picked { revision, picks };
    let mut claimed =
        claim_picked(&mut c, &mut Payloads::default(), &[poll(signer, 2, 5)], &picked, TERM).await.unwrap();
    assert_eq!(of(&mut claimed, signer), [id(&good)]);
    drop(c);
    assert_eq!(ids(&claim(&t.db, plain, 2, 9, i64::MAX - 1).await).len(), 3);
    t.drop().await;
}

async fn many(t: &TestDb, builder: &str, count: usize) {
    let made = submit(&t.db, builder).await;
    let id: i64 = sqlx::query_scalar("select id from builders where name = $1")
        .bind(builder)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    run_tx!(t.db, "test", |c| requests_insert_bulk(c, made.buildset, BuilderId(id), count - 1).await).unwrap();
}

fn by_builder(claims: &[Claim]) -> BTreeMap<&str, usize> {
    let mut counted = BTreeMap::new();
    claims.iter().for_each(|c| *counted.entry(c.builder.as_str()).or_default() += 1);
    counted
}

#[tokio::test]
async fn free_slots_are_dealt_out_by_the_shares_of_projects() {
    let t = TestDb::new().await;
    let mut wanted = Wanted {
        builders: vec![builder("a1", "a"), builder("a2", "a"), builder("b", "b"), builder("none", "")],
        ..Wanted::default()
    };
    activate(&t.db, &wanted).await;
    let w = worker(&t.db, "w").await;
    for name in ["a1", "a2", "b", "none"] {
        many(&t, name, 40).await;
    }
    // Without shares age alone counts.
    let first = claim(&t.db, w, 1, 8, 0).await;
    assert_eq!(by_builder(&first), BTreeMap::from([("a1", 8)]));
    for build in &first {
        finish(&t.db, build, Results::Success).await;
    }
    wanted.shares = vec![("a".into(), 3.0)];
    activate(&t.db, &wanted).await;
    let dealt = claim(&t.db, w, 2, 10, i64::MAX - 1).await;
    assert_eq!(by_builder(&dealt), BTreeMap::from([("a1", 6), ("b", 2), ("none", 2)]));
    // What runs counts: those who have less go first.
    for build in dealt.iter().filter(|c| c.builder == "b") {
        finish(&t.db, build, Results::Success).await;
    }
    let more = claim(&t.db, w, 3, 2, i64::MAX - 1).await;
    assert_eq!(by_builder(&more), BTreeMap::from([("b", 2)]));
    // A higher priority goes before fairness.
    let urgent =
        run_tx!(t.db, "test", |c| { buildset_insert(c, &NewBuildset { priority: 1, ..set("a2", &[]) }).await })
            .unwrap();
    assert_eq!(ids(&claim(&t.db, w, 4, 1, i64::MAX - 1).await), [urgent.requests[0].0]);
    // Where one project has nothing more, the others get all of it.
    sql(
        &t,
        "delete from request_queue q using lanes n, builders b
              where n.id = q.lane and b.id = n.builder_id and b.name like 'a_'",
    )
    .await;
    let rest = claim(&t.db, w, 5, 20, i64::MAX - 1).await;
    assert_eq!(rest.len(), 20);
    assert_eq!(by_builder(&rest), BTreeMap::from([("b", 10), ("none", 10)]));
    wanted.shares = vec![];
    activate(&t.db, &wanted).await;
    assert_eq!(by_builder(&claim(&t.db, w, 6, 5, i64::MAX - 1).await).len(), 1);
    t.drop().await;
}

/// As deep as the backlog may be, a fair claim reads as much as it deals out.
#[tokio::test]
async fn a_fair_claim_reads_no_more_of_a_deep_queue() {
    let t = TestDb::new().await;
    let wanted = Wanted {
        builders: vec![builder("a", "a"), builder("b", "b")],
        shares: vec![("a".into(), 2.0)],
        ..Wanted::default()
    };
    activate(&t.db, &wanted).await;
    let w = worker(&t.db, "w").await;
    let mut read = vec![];
    let mut c = t.db.pool().acquire().await.unwrap();
    for (round, depth) in [(1, 50), (2, 20_000)] {
        many(&t, "a", depth).await;
        many(&t, "b", depth).await;
        sql(&t, "analyze").await;
        let lanes = lanes(&t.db).await;
        let before = queue_entries_read(&mut c, &t).await;
        let waiting = [poll(w, round, 10)];
        let claimed =
            tidemill_schema::claims::claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await;
        assert_eq!(claimed.unwrap().fresh, 10);
        read.push(queue_entries_read(&mut c, &t).await - before);
    }
    assert!(read[1] <= read[0] + 20, "{read:?} entries of the queue read at 50 and at 20,000 requests a lane");
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_build_appears_under_the_virtual_builder_that_its_request_names() {
    let t = TestDb::new().await;
    let mut wanted = Wanted { builders: vec![builder("spawner", "")], ..Wanted::default() };
    activate(&t.db, &wanted).await;
    let w = worker(&t.db, "w").await;
    let named = |name: &str| {
        let mut new =
            set("spawner", &[("virtual_builder_name", name), ("virtual_builder_description", "of a repository")]);
        new.properties.set("virtual_builder_tags", serde_json::json!(["x"]), "test");
        new
    };
    let one = submit_set(&t.db, &named("owner/repo")).await;
    let plain = submit(&t.db, "spawner").await;
    let two = submit_set(&t.db, &named("owner/repo")).await;
    let other = submit_set(&t.db, &named("other")).await;
    // What a request does not say stays what an earlier one said.
    let bare = submit_set(&t.db, &set("spawner", &[("virtual_builder_name", "other")])).await;
    let kept =
        "select count(*) from builders where virtual and description = 'of a repository' and tags = '{x,_virtual_}'";
    assert_eq!(scalar::<i64>(&t, kept).await, 2);
    run_tx!(t.db, "test", |c| tidemill_schema::requests::requests_cancel(c, &bare.requests, "test").await).unwrap();
    let mut claimed = claim_all(&t.db, &[poll(w, 1, 9)]).await;
    let claims = claimed.by_session.remove(&w).unwrap();
    let shown = |made: &Submitted| {
        let claim = claims.iter().find(|c| c.request == made.requests[0].0).unwrap();
        assert_eq!((claim.builder.as_str(), claim.properties.get("buildername")), ("spawner", Some(&"spawner".into())));
        (claimed.shown.get(&claim.build).map_or("spawner", String::as_str), claim.number)
    };
    assert_eq!(
        [&one, &plain, &two, &other].map(shown),
        [("owner-repo", 1), ("spawner", 1), ("owner-repo", 2), ("other", 1)]
    );
    let row: (String, Vec<String>, bool, bool) =
        sqlx::query_as("select description, tags, active, virtual from builders where name = 'owner-repo'")
            .fetch_one(t.db.pool())
            .await
            .unwrap();
    assert_eq!(row, ("of a repository".into(), vec!["x".into(), "_virtual_".into()], true, true));
    // A lost delivery comes again as what it is.
    let again = claim_all(&t.db, &[Waiting { session: w, poll: 2, free: 0, newest: 0 }]).await;
    assert_eq!(again.shown, claimed.shown);
    assert!(again.by_session[&w].iter().all(|c| c.builder == "spawner"));
    // Lost, it waits for its builder and comes back under the virtual one.
    let first = claims.iter().find(|c| c.request == one.requests[0].0).unwrap();
    finish(&t.db, first, Results::Retry).await;
    sql(&t, "update request_waits set until = tidemill_now()").await;
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    let mut claimed = claim_all(&t.db, &[poll(w, 3, 9)]).await;
    let third = claimed.by_session.remove(&w).unwrap();
    assert_eq!((third[0].number, claimed.shown.len()), (3, 1));
    // Nothing is asked of it, and a revision that does not know it leaves it alone.
    let refused = run_tx!(t.db, "test", |c| buildset_insert(c, &set("owner-repo", &[])).await).unwrap_err();
    assert!(refused.to_string().contains("is virtual"), "{refused}");
    assert_eq!(
        scalar::<i64>(&t, "select count(*) from lanes l join builders b on b.id = l.builder_id where b.virtual").await,
        0
    );
    wanted.builders.push(builder("more", ""));
    activate(&t.db, &wanted).await;
    assert!(scalar::<bool>(&t, "select active and virtual from builders where name = 'owner-repo'").await);
    // One that defines it makes a builder of it; its numbers go on, and builds appear where they are asked of.
    let late = submit_set(&t.db, &named("owner/repo")).await;
    wanted.builders.push(builder("owner-repo", ""));
    activate(&t.db, &wanted).await;
    let own = submit(&t.db, "owner-repo").await;
    let after = submit_set(&t.db, &named("owner/repo")).await;
    let mut claimed = claim_all(&t.db, &[poll(w, 4, 9)]).await;
    assert!(claimed.shown.is_empty());
    let claims = claimed.by_session.remove(&w).unwrap();
    let number = |made: &Submitted| {
        claims.iter().find(|c| c.request == made.requests[0].0).map(|c| (c.builder.as_str(), c.number)).unwrap()
    };
    assert_eq!([&late, &own, &after].map(number), [("spawner", 2), ("owner-repo", 4), ("spawner", 3)]);
    t.drop().await;
}

#[tokio::test]
async fn two_transactions_that_need_the_same_virtual_builder_make_one() {
    let t = TestDb::new().await;
    project(&t.db, &["spawner"]).await;
    let new = set("spawner", &[("virtual_builder_name", "v")]);
    let mut held = t.db.pool().begin().await.unwrap();
    buildset_insert(&mut held, &new).await.unwrap();
    let (db, again) = (t.db.clone(), new.clone());
    let second = tokio::spawn(async move { submit_set(&db, &again).await });
    waits_for_a_lock(&t).await;
    held.commit().await.unwrap();
    second.await.unwrap();
    assert_eq!(scalar::<i64>(&t, "select count(*) from builders where virtual").await, 1);
    assert_eq!(scalar::<i64>(&t, "select count(distinct virtual_id) from build_requests").await, 1);
    t.drop().await;
}

#[tokio::test]
async fn what_a_function_refused_is_told_and_written_once() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let _w = worker(&t.db, "w").await;
    let made = submit(&t.db, "linux").await;
    let id: i64 = scalar(&t, "select id from builders").await;
    let no = |said: &str, wait_seconds| Refusal {
        builder: id,
        request: Some(made.requests[0]),
        policy: "canStartBuild",
        said: said.into(),
        wait_seconds,
    };
    let store = async |refused: &[Refusal], allowed: &[RequestId]| {
        let mut c = t.db.pool().acquire().await.unwrap();
        refusals_store(&mut c, refused, &[id], allowed).await.unwrap();
    };
    store(&[no("the board is out", None)], &[]).await;
    let said = why(&t, &made).await;
    assert_eq!(said[0].0, Why::Refused);
    assert!(said[0].1.starts_with("its function canStartBuild, which said no: the board is out (since "), "{said:?}");
    // Asked a hundred times with the same answer nothing is written.
    let version = "select concat(xmin, ctid) from policy_refusals";
    let before: String = scalar(&t, version).await;
    for _ in 0..100 {
        store(&[no("the board is out", None)], &[]).await;
    }
    assert_eq!(scalar::<String>(&t, version).await, before);
    // Of the builder as a whole.
    store(&[Refusal::of_builder(id, "nextBuild")], &[]).await;
    assert!(why(&t, &made).await[0].1.starts_with("its function nextBuild, which chose nothing of its builder"));
    store(&[], &made.requests).await;
    assert_eq!(why(&t, &made).await[0].0, Why::Free);
    // With a time it leaves the queue, and comes back.
    store(&[no("full", Some(3600))], &[]).await;
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_queue").await, 0);
    let said = why(&t, &made).await;
    assert_eq!((said.len(), said[0].0), (1, Why::Refused));
    assert!(said[0].1.contains("which said no: full; it is asked again at "), "{said:?}");
    sql(&t, "update request_waits set until = tidemill_now()").await;
    let lanes = run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    assert_eq!(lanes.len(), 1);
    assert_eq!(scalar::<i32>(&t, "select attempt from request_queue").await, 1);
    // Rows of what is gone go.
    store(&[no("x", None)], &[]).await;
    assert_eq!(run_tx!(t.db, "test", |c| refusals_prune(c).await).unwrap(), 0);
    sql(&t, "delete from request_queue").await;
    assert_eq!(run_tx!(t.db, "test", |c| refusals_prune(c).await).unwrap(), 1);
    t.drop().await;
}
