//! What notices promise: planned once, claimed by one, in order, and never lost.

mod common;
use common::*;
use serde_json::json;
use std::time::Duration;
use tidemill_model::{NewChange, Results, SourceStamp};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::events::{events_after, reader_advance, reader_take};
use tidemill_schema::notices::facts::{self, Wanted as Facts};
use tidemill_schema::notices::people::deliveries_retry;
use tidemill_schema::notices::plan::{Planned, READER, deliveries_insert, deliveries_supersede};
use tidemill_schema::notices::send::*;
use tidemill_schema::notices::{Way, content, people};
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Db, run_tx};
use time::OffsetDateTime;

const A: &str = "sender a";
const B: &str = "sender b";
const SOON: Duration = Duration::from_secs(60);
const DAY_US: u64 = 86_400_000_000;

/// A mail about event `event`.
fn mail(event: i64, to: &str) -> Planned {
    Planned { address: to.into(), ..planned(event) }
}

fn status(event: i64, key: &str) -> Planned {
    Planned { way: Way::Forge, destination: "forge:443".into(), order_key: Some(key.into()), ..mail(event, key) }
}

async fn plan(t: &TestDb, planned: &[Planned]) -> u64 {
    run_tx!(t.db, "test", |c| deliveries_insert(c, 1, planned).await).unwrap()
}

fn room(each: i32) -> Room {
    Room { ways: Way::ALL.to_vec(), busy: vec![], each, most: 1000, irc: vec![] }
}

async fn take(db: &Db, holder: &str, each: i32) -> Vec<Delivery> {
    run_tx!(db, "test", |c| deliveries_claim(c, &room(each), holder, SOON).await).unwrap()
}

async fn record(t: &TestDb, holder: &str, id: i64, became: Became) -> Vec<i64> {
    let became = [(id, became)];
    run_tx!(t.db, "test", |c| deliveries_record(c, holder, &became).await).unwrap()
}

fn sent() -> Became {
    Became::Sent { answer: "250 ok".into() }
}

async fn states(t: &TestDb) -> Vec<String> {
    sqlx::query_scalar("select state from deliveries order by id").fetch_all(t.db.pool()).await.unwrap()
}

#[tokio::test]
async fn an_event_is_planned_once_whoever_plans_it_again() {
    let t = TestDb::new().await;
    let all = [mail(1, "ann@x"), mail(1, "bob@x"), mail(2, "ann@x")];
    assert_eq!(plan(&t, &all).await, 3);
    assert_eq!(plan(&t, &all).await, 0);
    assert_eq!(scalar::<i64>(&t, "select count(*) from deliveries").await, 3);
    assert_eq!(scalar::<i64>(&t, "select count(*) from destinations").await, 1);
    t.drop().await;
}

#[tokio::test]
async fn the_place_in_the_stream_and_what_was_planned_commit_together_and_one_plans_at_a_time() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    run_tx!(t.db, "test", |c| reader_take(c, READER).await).unwrap();
    submit(&t.db, "b").await;
    let mut first = t.db.pool().begin().await.unwrap();
    let from = reader_take(&mut first, READER).await.unwrap().unwrap();
    // Another planner goes on without a turn.
    assert_eq!(run_tx!(t.db, "test", |c| reader_take(c, READER).await).unwrap(), None);
    // Other tests hold the horizon back for moments.
    let events = loop {
        let page = events_after(&mut first, from, 100).await.unwrap();
        if !page.events.is_empty() {
            break page.events;
        }
        tokio::task::yield_now().await;
    };
    deliveries_insert(&mut first, 1, &[mail(7, "ann@x")]).await.unwrap();
    reader_advance(&mut first, READER, events.last().unwrap().at_cursor).await.unwrap();
    first.rollback().await.unwrap();
    assert_eq!(scalar::<i64>(&t, "select count(*) from deliveries").await, 0);
    let again = run_tx!(t.db, "test", |c| reader_take(c, READER).await).unwrap();
    assert_eq!(again, Some(from), "what was not committed is read again");
    t.drop().await;
}

#[tokio::test]
async fn two_senders_at_once_never_have_the_same_notice() {
    let t = TestDb::new().await;
    let all: Vec<Planned> = (1..=200).map(|n| mail(n, "ann@x")).collect();
    plan(&t, &all).await;
    let (a, b) = tokio::join!(take(&t.db, A, 200), take(&t.db, B, 200));
    let mut ids: Vec<i64> = a.iter().chain(&b).map(|d| d.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), a.len() + b.len());
    assert!(take(&t.db, A, 200).await.len() + ids.len() == 200);
    t.drop().await;
}

#[tokio::test]
async fn what_a_newer_release_planned_and_this_one_cannot_tell_is_left_to_it() {
    let t = TestDb::new().await;
    plan(&t, &[mail(1, "ann@x"), mail(2, "ann@x"), mail(3, "bob@x")]).await;
    sql(&t, "alter table deliveries drop constraint deliveries_moment_check").await;
    sql(&t, "update deliveries set moment = 'eclipse' where event_id < 3").await;
    let got = take(&t.db, A, 10).await;
    assert_eq!(got.iter().map(|d| d.address.as_str()).collect::<Vec<_>>(), ["bob@x"]);
    assert_eq!(scalar::<i64>(&t, "select count(*) from deliveries where state = 'due'").await, 2);
    t.drop().await;
}

#[tokio::test]
async fn each_destination_has_its_own_room() {
    let t = TestDb::new().await;
    let mut all: Vec<Planned> = (1..=20).map(|n| mail(n, "ann@x")).collect();
    all.extend((1..=20).map(|n| Planned { destination: "other:25".into(), ..mail(n, "bob@x") }));
    plan(&t, &all).await;
    let got = take(&t.db, A, 3).await;
    assert_eq!(got.len(), 6);
    let busy: Vec<(i64, i32)> = vec![(got[0].destination, 0)];
    let more = Room { busy, ..room(3) };
    let more = run_tx!(t.db, "test", |c| deliveries_claim(c, &more, A, SOON).await).unwrap();
    assert_eq!(more.len(), 3);
    assert!(more.iter().all(|d| d.destination != got[0].destination));
    t.drop().await;
}

#[tokio::test]
async fn notices_of_one_order_go_one_after_the_other_also_when_the_first_has_to_be_tried_again() {
    let t = TestDb::new().await;
    let of = |request, status| Planned { request: Some(request), ..status };
    plan(&t, &[of(1, status(1, "commit")), of(1, status(2, "commit")), status(3, "other")]).await;
    let got = take(&t.db, A, 10).await;
    assert_eq!(got.iter().map(|d| d.address.as_str()).collect::<Vec<_>>(), ["commit", "other"]);
    assert!(take(&t.db, B, 10).await.is_empty());
    let mut c = t.db.pool().acquire().await.unwrap();
    assert!(overtaken(&mut c, &got[0], false).await.unwrap());
    let again = Became::Again { why: "busy".into(), after: Duration::from_secs(3600) };
    record(&t, A, got[0].id, again).await;
    assert!(take(&t.db, B, 10).await.is_empty(), "the second waits for the first however long");
    sql(&t, "update deliveries set not_before = tidemill_now() where state = 'due'").await;
    let first = take(&t.db, B, 10).await;
    assert_eq!(first.iter().map(|d| d.id).collect::<Vec<_>>(), [got[0].id]);
    assert_eq!(first[0].attempts, 2);
    record(&t, B, first[0].id, sent()).await;
    assert_eq!(take(&t.db, B, 10).await.len(), 1);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_status_is_old_news_when_a_later_one_of_its_request_waits_or_one_of_its_name_was_sent() {
    let t = TestDb::new().await;
    let of = |event, key: &str, request| Planned { request: Some(request), ..status(event, key) };
    plan(&t, &[of(1, "name", 1), of(2, "name", 2), of(3, "other", 3)]).await;
    let first = take(&t.db, A, 10).await.into_iter().find(|d| d.order_key.as_deref() == Some("name")).unwrap();
    let mut c = t.db.pool().acquire().await.unwrap();
    for one in [false, true] {
        assert!(!overtaken(&mut c, &first, one).await.unwrap(), "another request's waits, and may come to nothing");
    }
    record(&t, A, first.id, Became::Parked { why: "no".into() }).await;
    let second = take(&t.db, A, 10).await.remove(0);
    record(&t, A, second.id, sent()).await;
    // One that waits, however long, gives way as soon as a later one of its request is planned.
    plan(&t, &[of(4, "name", 4), of(5, "name", 5), of(6, "name", 4), of(7, "other", 3)]).await;
    sql(&t, "update deliveries set not_before = tidemill_now() + interval '1 day' where event_id = 4").await;
    let let_go = run_tx!(t.db, "test", |c| deliveries_supersede(c, &["name".into()]).await).unwrap();
    let told = scalar::<Vec<i64>>(&t, "select array_agg(event_id) from deliveries where state = 'superseded'").await;
    assert_eq!((let_go, told), (1, vec![4]));
    sql(&t, "delete from deliveries where event_id > 3").await;
    // Somebody sends the first again.
    assert!(overtaken(&mut c, &first, true).await.unwrap());
    assert!(!overtaken(&mut c, &first, false).await.unwrap(), "it may have had another name");
    assert!(!overtaken(&mut c, &second, true).await.unwrap());
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn what_a_sender_lost_is_due_again_under_the_same_message_id_and_the_lost_one_cannot_record_it() {
    let t = TestDb::new().await;
    plan(&t, &[mail(1, "ann@x")]).await;
    let first = take(&t.db, A, 1).await.remove(0);
    sql(&t, "update deliveries set held_until = tidemill_now() - interval '1 s'").await;
    assert_eq!(run_tx!(t.db, "test", |c| deliveries_reap(c).await).unwrap(), 1);
    let second = take(&t.db, B, 1).await.remove(0);
    assert_eq!((second.id, &second.message_id), (first.id, &first.message_id));
    assert!(record(&t, A, first.id, Became::Parked { why: "no".into() }).await.is_empty());
    assert_eq!(record(&t, B, first.id, sent()).await, [first.id]);
    assert_eq!(states(&t).await, ["sent"]);
    t.drop().await;
}

#[tokio::test]
async fn a_destination_that_is_down_is_left_alone_and_its_notices_spend_no_attempt() {
    let t = TestDb::new().await;
    plan(&t, &[mail(1, "ann@x"), mail(2, "ann@x"), status(3, "k")]).await;
    let got = take(&t.db, A, 1).await;
    let mail = got.iter().find(|d| d.order_key.is_none()).unwrap();
    let down = async || run_tx!(t.db, "test", |c| destination_down(c, mail.destination, "refused").await).unwrap();
    down().await;
    let rest = "select extract(epoch from not_before - failed_at)::float8 from destinations where kind = 'mail'";
    let rest = scalar::<f64>(&t, rest).await;
    assert!(rest > 0.5 && rest < 10.0, "{rest}");
    // Longer, so that this test may take its time.
    sql(&t, "update destinations set not_before = tidemill_now() + interval '1 hour' where kind = 'mail'").await;
    down().await;
    down().await;
    assert_eq!(
        scalar::<i32>(&t, "select failures from destinations where kind = 'mail'").await,
        1,
        "one failure for all"
    );
    record(&t, A, mail.id, Became::Down { why: "refused".into() }).await;
    assert!(take(&t.db, A, 10).await.is_empty());
    let mut c = t.db.pool().acquire().await.unwrap();
    let next = next_due(&mut c, &[Way::Mail], &[], &[]).await.unwrap().unwrap();
    assert!(next > Duration::from_secs(1800), "{next:?}");
    sql(&t, "update destinations set not_before = tidemill_now() where kind = 'mail'").await;
    let again = take(&t.db, A, 10).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|d| d.attempts == 1));
    assert!(run_tx!(t.db, "test", |c| destination_up(c, mail.destination).await).unwrap());
    assert!(!run_tx!(t.db, "test", |c| destination_up(c, mail.destination).await).unwrap());
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn many_notices_to_one_address_become_one_and_few_stay_what_they_are() {
    let t = TestDb::new().await;
    plan(&t, &(1..=5).map(|n| mail(n, "ann@x")).collect::<Vec<_>>()).await;
    plan(&t, &[mail(1, "bob@x")]).await;
    let leader = take(&t.db, A, 1).await.remove(0);
    let fold = |storm| {
        let (db, leader) = (t.db.clone(), leader.clone());
        async move { run_tx!(db, "test", |c| deliveries_fold(c, &leader, A, storm, 100).await).unwrap() }
    };
    assert!(fold(5).await.is_empty(), "four others are no storm of five");
    assert_eq!(fold(4).await.len(), 4);
    let mut c = t.db.pool().acquire().await.unwrap();
    let folded = deliveries_folded(&mut c, leader.id).await.unwrap();
    assert_eq!(folded.iter().map(|(_, f)| f.build).collect::<Vec<_>>(), [Some(2), Some(3), Some(4), Some(5)]);
    assert_eq!(take(&t.db, B, 10).await.len(), 1, "bob's goes by itself");
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn gathered_notices_are_due_together() {
    let t = TestDb::new().await;
    let gathered = |n| Planned { wait_us: 3_600_000_000, ..mail(n, "ann@x") };
    plan(&t, &[gathered(1)]).await;
    sql(&t, "update deliveries set not_before = not_before - interval '30 min'").await;
    plan(&t, &[gathered(2)]).await;
    assert_eq!(scalar::<i64>(&t, "select count(distinct not_before) from deliveries").await, 1);
    assert!(take(&t.db, A, 10).await.is_empty());
    t.drop().await;
}

#[tokio::test]
async fn what_is_too_old_is_not_told_and_can_be_asked_for() {
    let t = TestDb::new().await;
    let old =
        Planned { at: OffsetDateTime::now_utc() - Duration::from_secs(7200), max_age_us: 1_000_000, ..mail(1, "a@x") };
    assert_eq!(plan(&t, &[old, mail(2, "a@x")]).await, 1);
    assert_eq!(states(&t).await, ["expired", "due"]);
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from deliveries order by id").fetch_all(t.db.pool()).await.unwrap();
    let got = take(&t.db, A, 10).await.remove(0);
    record(&t, A, got.id, Became::Parked { why: "550 no such user\r\nBcc: x".into() }).await;
    assert_eq!(
        scalar::<String>(&t, "select answer from deliveries where state = 'parked'").await,
        "550 no such user  Bcc: x"
    );
    let all = run_tx!(t.db, "test", |c| deliveries_retry(c, None).await).unwrap();
    assert_eq!(all.due, [ids[1]]);
    let named = run_tx!(t.db, "test", |c| deliveries_retry(c, Some(&ids)).await).unwrap();
    assert_eq!((named.due, named.left), (vec![ids[0]], vec![ids[1]]));
    assert!(take(&t.db, A, 10).await.iter().all(|d| !d.expired && d.attempts == 1));
    t.drop().await;
}

/// Commits a change and a buildset of it, builds it, and returns the build.
async fn build(t: &TestDb, session: tidemill_model::SessionId, poll: u64, author: &str, results: Results) -> i64 {
    let change = NewChange {
        author: author.into(),
        revision: Some(format!("r{poll}")),
        repository: "r".into(),
        branch: Some("main".into()),
        ..NewChange::default()
    };
    let stamp = SourceStamp {
        repository: "r".into(),
        branch: Some("main".into()),
        revision: change.revision.clone(),
        ..SourceStamp::default()
    };
    let id = run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(&change), None).await).unwrap()[0];
    let mut set = NewBuildset {
        reason: "test".into(),
        sourcestamps: vec![stamp],
        builders: vec!["b".into()],
        changes: vec![id],
        ..NewBuildset::default()
    };
    set.properties.set("owner", "olga", "test");
    submit_set(&t.db, &set).await;
    let claim = claim(&t.db, session, poll, 1, i64::MAX - 1).await.remove(0);
    finish(&t.db, &claim, results).await;
    claim.build
}

#[tokio::test]
async fn facts_know_what_was_before_and_who_changed_what_since_it_was_good() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let s = worker(&t.db, "w").await;
    let good = build(&t, s, 1, "Ann <ann@x>", Results::Success).await;
    build(&t, s, 2, "Bob <bob@x>", Results::Exception).await;
    let bad = build(&t, s, 3, "Cid <cid@x>", Results::Failure).await;
    let worse = build(&t, s, 4, "Dan <dan@x>", Results::Failure).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let wanted = Facts { people: true, line: true };
    let found = facts::builds(&mut c, &[good, bad, worse], wanted).await.unwrap();
    let of = |id| found.iter().find(|f| f.build == id).unwrap();
    assert_eq!(of(good).line_verdict, None);
    assert_eq!(of(good).previous(), None);
    assert_eq!(of(bad).previous(), Some(Results::Exception));
    assert_eq!(of(bad).line_verdict, Some(Results::Success), "an exception is no verdict");
    assert_eq!(of(bad).authors, ["Bob <bob@x>", "Cid <cid@x>"]);
    assert_eq!(of(bad).owners, ["olga"]);
    assert_eq!(of(worse).line_verdict, Some(Results::Failure));
    assert_eq!(of(worse).history, [Some(Results::Failure), Some(Results::Exception), Some(Results::Success)]);
    // What steps set while it ran counts too.
    sqlx::query("insert into build_properties values ($1, 'owners', '[\"pia\", \"ron\"]', 's'), ($1, 'got_revision', '{\"a\": \"a1\"}', 's')")
        .bind(bad)
        .execute(t.db.pool())
        .await
        .unwrap();
    let found = facts::builds(&mut c, &[bad], wanted).await.unwrap().remove(0);
    assert_eq!(found.owners, ["olga", "pia", "ron"]);
    assert_eq!((found.got_revision("a"), found.got_revision("b")), (Some("a1"), None));
    let plain = facts::builds(&mut c, &[bad], Facts::default()).await.unwrap().remove(0);
    assert!(plain.authors.is_empty() && plain.line_verdict.is_none());
    let wants = content::Wants { properties: true, steps: true, logs: true };
    let document = content::build(&mut c, bad, wants).await.unwrap();
    assert_eq!(document["builder"]["name"], "b");
    assert_eq!(document["prev_build"]["results"], 4);
    assert_eq!(document["changes"].as_array().unwrap().len(), 2);
    assert_eq!(document["properties"]["owner"], json!(["olga", "test"]));
    assert_eq!(document["properties"]["owners"], json!([["pia", "ron"], "s"]));
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn who_opted_out_is_found_in_any_case_of_letters_and_may_come_back() {
    let t = TestDb::new().await;
    run_tx!(t.db, "test", |c| people::optout(c, "Ann@X.org", "mail").await).unwrap();
    run_tx!(t.db, "test", |c| people::optout(c, "bob@x.org", "").await).unwrap();
    let mut c = t.db.pool().acquire().await.unwrap();
    let all = ["ann@x.org".to_owned(), "bob@x.org".to_owned(), "cid@x.org".to_owned()];
    let mut out = people::opted_out(&mut c, &all, "mail").await.unwrap();
    out.sort();
    assert_eq!(out, ["ann@x.org", "bob@x.org"]);
    assert_eq!(people::opted_out(&mut c, &all, "other").await.unwrap(), ["bob@x.org"]);
    assert!(people::optin(&mut c, "ANN@x.org", "mail").await.unwrap());
    assert_eq!(people::opted_out(&mut c, &all, "mail").await.unwrap(), ["bob@x.org"]);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn of_a_storm_one_notice_is_in_hand_and_leads_the_others() {
    let t = TestDb::new().await;
    plan(&t, &(1..=30).map(|n| mail(n, "ann@x")).collect::<Vec<_>>()).await;
    plan(&t, &(1..=3).map(|n| mail(n, "bob@x")).collect::<Vec<_>>()).await;
    let calm = async |holder: &'static str, claimed: &[Delivery]| -> Vec<i64> {
        let ids: Vec<i64> = claimed.iter().map(|d| d.id).collect();
        run_tx!(t.db, "test", |c| deliveries_calm(c, holder, &ids, 10).await).unwrap()
    };
    let mut claimed = take(&t.db, A, 8).await;
    let back = calm(A, &claimed).await;
    claimed.retain(|d| !back.contains(&d.id));
    assert_eq!((back.len(), claimed.len()), (7, 1));
    let leader = claimed.remove(0);
    // While one leads, others claim in vain, though they may have what is no storm.
    let claimed = take(&t.db, B, 33).await;
    let back = calm(B, &claimed).await;
    let kept: Vec<&Delivery> = claimed.iter().filter(|d| !back.contains(&d.id)).collect();
    assert!(kept.len() == 3 && kept.iter().all(|d| d.address == "bob@x"), "{kept:?}");
    let folded = run_tx!(t.db, "test", |c| deliveries_fold(c, &leader, A, 9, 1000).await).unwrap();
    assert_eq!(folded.len(), 29);
    assert_eq!(scalar::<i64>(&t, "select count(*) from deliveries where attempts = 0 and state = 'folded'").await, 29);
    t.drop().await;
}

#[tokio::test]
async fn what_was_perhaps_sent_goes_as_it_was() {
    let t = TestDb::new().await;
    plan(&t, &[mail(1, "ann@x"), mail(2, "ann@x")]).await;
    let mut claimed = take(&t.db, A, 2).await;
    let (lost, cut) = (claimed.remove(0), claimed.remove(0));
    let after = Duration::ZERO;
    record(&t, A, cut.id, Became::Unsure { why: "cut".into(), after }).await;
    sql(&t, "update deliveries set held_until = tidemill_now() - interval '1 s' where state = 'sending'").await;
    run_tx!(t.db, "test", |c| deliveries_reap(c).await).unwrap();
    plan(&t, &(3..=30).map(|n| mail(n, "ann@x")).collect::<Vec<_>>()).await;
    let mut claimed = take(&t.db, A, 3).await;
    let fresh = claimed.remove(claimed.iter().position(|d| d.attempts == 1).unwrap());
    assert!(claimed.iter().all(|d| d.id == lost.id || d.id == cut.id));
    let fold = async |leader: &Delivery| -> usize {
        run_tx!(t.db, "test", |c| deliveries_fold(c, leader, A, 1, 1000).await).unwrap().len()
    };
    assert_eq!(fold(&claimed[0]).await, 0, "nothing is added to what was perhaps sent");
    for one in claimed {
        record(&t, A, one.id, Became::Again { why: "later".into(), after }).await;
    }
    assert_eq!(fold(&fresh).await, 27, "and it goes with nothing else");
    t.drop().await;
}

#[tokio::test]
async fn a_digest_is_told_as_long_as_its_youngest_notice_and_leaves_what_has_no_words() {
    let t = TestDb::new().await;
    let gathered = |n, age| Planned { wait_us: 1, max_age_us: age, ..mail(n, "ann@x") };
    plan(&t, &[gathered(1, 60_000_000), gathered(2, DAY_US), gathered(3, DAY_US)]).await;
    let claimed = loop {
        let claimed = take(&t.db, A, 10).await;
        if !claimed.is_empty() {
            break claimed;
        }
    };
    assert_eq!(claimed.len(), 1, "one of the gathered is in hand");
    assert!(take(&t.db, B, 10).await.is_empty(), "the others wait for it");
    let leader = &claimed[0];
    let folded = run_tx!(t.db, "test", |c| deliveries_fold(c, leader, A, 1, 10).await).unwrap();
    assert_eq!(folded.len(), 2);
    let day = "select expires_at > tidemill_now() + interval '1 hour' from deliveries where state = 'sending'";
    assert!(scalar::<bool>(&t, day).await);
    let broken = [(folded[0], "no such name\nin line 2".to_owned())];
    assert_eq!(run_tx!(t.db, "test", |c| deliveries_unfold(c, leader.id, &broken).await).unwrap(), 1);
    assert_eq!(states(&t).await, ["sending", "parked", "folded"]);
    t.drop().await;
}

#[tokio::test]
async fn what_led_others_and_goes_with_another_brings_them_along() {
    let t = TestDb::new().await;
    plan(&t, &(1..=4).map(|n| mail(n, "ann@x")).collect::<Vec<_>>()).await;
    let first = take(&t.db, A, 1).await.remove(0);
    assert_eq!(run_tx!(t.db, "test", |c| deliveries_fold(c, &first, A, 1, 10).await).unwrap().len(), 3);
    record(&t, A, first.id, Became::Again { why: "later".into(), after: Duration::ZERO }).await;
    plan(&t, &[mail(5, "ann@x")]).await;
    let both = take(&t.db, A, 2).await;
    let (first, second) = (&both[0], &both[1]);
    record(&t, A, first.id, Became::Again { why: "later".into(), after: Duration::ZERO }).await;
    assert_eq!(run_tx!(t.db, "test", |c| deliveries_fold(c, second, A, 1, 10).await).unwrap(), [first.id]);
    let mut c = t.db.pool().acquire().await.unwrap();
    let all = deliveries_folded(&mut c, second.id).await.unwrap();
    assert_eq!(all.iter().filter_map(|(_, told)| told.build).collect::<Vec<_>>(), [1, 2, 3, 4]);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn what_waits_is_hastened_and_what_is_gathered_goes_on_gathering() {
    let t = TestDb::new().await;
    plan(&t, &[mail(1, "ann@x"), Planned { wait_us: 3_600_000_000, ..mail(2, "bob@x") }]).await;
    let claimed = take(&t.db, A, 10).await.remove(0);
    let after = Duration::from_secs(3600);
    record(&t, A, claimed.id, Became::Again { why: "later".into(), after }).await;
    run_tx!(t.db, "test", |c| destination_down(c, claimed.destination, "refused").await).unwrap();
    assert!(take(&t.db, A, 10).await.is_empty());
    let due = run_tx!(t.db, "test", |c| people::deliveries_hasten(c).await).unwrap();
    assert_eq!(due, [claimed.id]);
    assert_eq!(take(&t.db, A, 10).await.iter().map(|d| d.id).collect::<Vec<_>>(), [claimed.id]);
    t.drop().await;
}
