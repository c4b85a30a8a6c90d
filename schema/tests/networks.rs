//! IRC in rows: who speaks, what a channel settled, what people asked for.

mod common;
use common::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_model::Results;
use tidemill_schema::Result;
use tidemill_schema::notices::Way;
use tidemill_schema::notices::chat;
use tidemill_schema::notices::control::*;
use tidemill_schema::notices::networks::*;
use tidemill_schema::notices::plan::{Planned, READER, deliveries_insert};
use tidemill_schema::notices::send::{Delivery, Room, deliveries_claim, deliveries_fold, next_due};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

const LONG: Duration = Duration::from_secs(600);

async fn hold(t: &TestDb, network: &str, holder: &str, term: Duration) -> bool {
    run_tx!(t.db, "test", |c| network_claim(c, network, holder, term).await).unwrap()
}

async fn renew(t: &TestDb, network: &str, holder: &str) -> bool {
    run_tx!(t.db, "test", |c| network_renew(c, network, holder, LONG).await).unwrap()
}

fn line(event: i64, network: &str) -> Planned {
    let order_key = Some(format!("{network} #ci"));
    let (way, destination, address) = (Way::Irc, network.into(), "#ci".into());
    Planned { reporter: network.into(), way, destination, address, order_key, ..planned(event) }
}

async fn take(t: &TestDb, irc: &[&str]) -> Vec<Delivery> {
    let irc = irc.iter().map(|n| (*n).to_owned()).collect();
    let room = Room { ways: Way::ALL.to_vec(), busy: vec![], each: 10, most: 100, irc };
    run_tx!(t.db, "test", |c| deliveries_claim(c, &room, "a", LONG).await).unwrap()
}

#[tokio::test]
async fn of_all_who_want_a_network_one_has_it_until_its_time_is_past() {
    let t = TestDb::new().await;
    let names: Vec<String> = (0..8).map(|n| format!("notifier{n}")).collect();
    let all = futures(&t, &names).await;
    assert_eq!(all.iter().filter(|had| **had).count(), 1, "{all:?}");
    let holder = &names[all.iter().position(|had| *had).unwrap()];
    let other = names.iter().find(|n| *n != holder).unwrap();
    assert!(renew(&t, "libera", holder).await && !renew(&t, "libera", other).await);
    assert!(hold(&t, "oftc", other, LONG).await, "another network is another lease");
    sql(&t, "update notifier_leases set held_until = tidemill_now() - interval '1 second' where network = 'libera'")
        .await;
    assert!(renew(&t, "libera", holder).await, "nobody took it");
    sql(&t, "update notifier_leases set held_until = tidemill_now() - interval '1 second' where network = 'libera'")
        .await;
    assert!(hold(&t, "libera", other, LONG).await && !renew(&t, "libera", holder).await);
    run_tx!(t.db, "test", |c| network_release(c, "libera", holder).await).unwrap();
    assert!(!hold(&t, "libera", holder, LONG).await, "who lost it lets nothing go");
    run_tx!(t.db, "test", |c| network_release(c, "libera", other).await).unwrap();
    assert!(hold(&t, "libera", holder, LONG).await);
    t.drop().await;
}

async fn futures(t: &TestDb, names: &[String]) -> Vec<bool> {
    let tasks: Vec<_> = names
        .iter()
        .map(|name| {
            let (db, name) = (t.db.clone(), name.clone());
            tokio::spawn(async move { run_tx!(db, "test", |c| network_claim(c, "libera", &name, LONG).await).unwrap() })
        })
        .collect();
    let mut all = vec![];
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

#[tokio::test]
async fn only_who_holds_a_network_gets_its_notices_and_what_nobody_can_hold_is_parked() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let rows = [line(1, "libera"), line(2, "libera"), line(3, "libera"), line(4, "gone")];
    run_tx!(t.db, "test", |c| deliveries_insert(c, 1, &rows).await).unwrap();
    let mut c = t.db.pool().acquire().await.unwrap();
    assert_eq!(next_due(&mut c, &Way::ALL, &[], &[]).await.unwrap(), None);
    assert!(next_due(&mut c, &Way::ALL, &["libera".into()], &[]).await.unwrap().is_some());
    assert!(take(&t, &[]).await.is_empty() && take(&t, &["oftc"]).await.is_empty());
    let first = take(&t, &["libera"]).await;
    assert_eq!(first.len(), 1, "one after the other in a place");
    let folded = run_tx!(t.db, "test", |c| deliveries_fold(c, &first[0], "a", 2, 100).await).unwrap();
    assert_eq!(folded.len(), 2, "what waits behind it goes with it");

    let active: i64 = scalar(&t, "select revision_id from active_revision").await;
    let names = ["libera".to_owned()];
    let orphaned = async |revision| run_tx!(t.db, "test", |c| networks_orphaned(c, revision, &names).await).unwrap();
    assert_eq!(orphaned(active + 1).await, 0, "by who knows the active revision only");
    assert_eq!(orphaned(active).await, 1);
    let parked: String = scalar(&t, "select reporter from deliveries where state = 'parked'").await;
    assert_eq!(parked, "gone");
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn what_a_channel_settled_is_kept_by_who_speaks_there() {
    let t = TestDb::new().await;
    let set = async |holder: &str, document: serde_json::Value| {
        run_tx!(t.db, "test", |c| place_set(c, "libera", holder, "#ci", &document).await).unwrap()
    };
    assert!(!set("a", json!({"muted": true})).await, "nobody holds it");
    hold(&t, "libera", "a", LONG).await;
    assert!(set("a", json!({"muted": true})).await && !set("b", json!({})).await);
    let mut c = t.db.pool().acquire().await.unwrap();
    assert_eq!(place(&mut c, "libera", "#ci").await.unwrap(), Some(json!({"muted": true})));
    assert_eq!(place(&mut c, "libera", "#other").await.unwrap(), None);
    run_tx!(t.db, "test", |c| network_release(c, "libera", "a").await).unwrap();
    assert_eq!(place(&mut c, "libera", "#ci").await.unwrap(), Some(json!({"muted": true})));
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn strangers_of_any_number_of_nicks_settle_no_more_than_fits() {
    let t = TestDb::new().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    sqlx::query("insert into irc_places (network, place) select 'libera', 'nick' || i from generate_series(2, $1) i")
        .bind(PLACES_MAX)
        .execute(&mut *c)
        .await
        .unwrap();
    assert!(place_room(&mut c, "libera", "one more").await.unwrap());
    sqlx::query("insert into irc_places (network, place) values ('libera', 'one more')")
        .execute(&mut *c)
        .await
        .unwrap();
    assert!(!place_room(&mut c, "libera", "too many").await.unwrap());
    assert!(
        place_room(&mut c, "libera", "nick7").await.unwrap() && place_room(&mut c, "oftc", "too many").await.unwrap()
    );
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_ends_while_somebody_begins_to_watch_is_told_or_was_not_watched() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    run_tx!(t.db, "test", |c| tidemill_schema::events::reader_take(c, READER).await).unwrap();
    let session = worker(&t.db, "w").await;
    submit(&t.db, "b").await;
    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let builder: i64 = scalar(&t, "select id from builders").await;
    // Somebody plans the page with its end.
    let mut planner = t.db.pool().begin().await.unwrap();
    tidemill_schema::events::reader_take(&mut planner, READER).await.unwrap().unwrap();
    let db = t.db.clone();
    let watching =
        tokio::spawn(async move { run_tx!(db, "test", |c| place_watch(c, "libera", "#ci", builder).await).unwrap() });
    waits_for_a_lock(&t).await;
    finish(&t.db, &build, Results::Success).await;
    planner.commit().await.unwrap();
    assert!(watching.await.unwrap().is_empty(), "it has ended");

    submit(&t.db, "b").await;
    let build = claim(&t.db, session, 2, 1, build.build).await.remove(0);
    let numbers = run_tx!(t.db, "test", |c| place_watch(c, "libera", "#ci", builder).await).unwrap();
    assert_eq!(numbers, [2]);
    let again = run_tx!(t.db, "test", |c| place_watch(c, "libera", "#ci", builder).await).unwrap();
    assert_eq!(again, [2]);
    let mut c = t.db.pool().acquire().await.unwrap();
    let names = ["libera".to_owned()];
    assert_eq!(places(&mut c, &names).await.unwrap()[0].watched, [build.build]);
    places_told(&mut c, &names, &[build.build]).await.unwrap();
    assert!(places(&mut c, &names).await.unwrap()[0].watched.is_empty());
    drop(c);
    t.drop().await;
}

async fn open(t: &TestDb) -> Result<Vec<Open>> {
    controls_open(&mut *t.db.pool().acquire().await?).await
}

#[tokio::test]
async fn what_was_asked_for_is_answered_once_and_not_when_it_is_too_old() {
    let t = TestDb::new().await;
    let wish = Wish::Force {
        branch: Some("main".into()),
        revision: None,
        codebase: None,
        project: None,
        properties: BTreeMap::from([("a".into(), "b\0c".into())]),
        reason: "because".into(),
    };
    let ask = async |wish: &Wish, term| {
        run_tx!(t.db, "test", |c| control_ask(c, "linux", wish, "irc:ada", term).await).unwrap()
    };
    let id = ask(&wish, LONG).await;
    let answered = async |id| control_answer(&mut t.db.pool().acquire().await.unwrap(), id).await.unwrap();
    assert_eq!(answered(id).await, None);
    let all = open(&t).await.unwrap();
    assert_eq!((all.len(), all[0].id, &*all[0].builder, &*all[0].by), (1, id, "linux", "irc:ada"));
    assert!(matches!(&all[0].wish, Wish::Force { reason, .. } if reason == "because"));
    let end = async |answer: Answer| run_tx!(t.db, "test", |c| control_end(c, id, &answer).await).unwrap();
    assert!(end(Answer::Requests(vec![7])).await && !end(Answer::Requests(vec![8])).await);
    assert_eq!(answered(id).await, Some(Answer::Requests(vec![7])));
    assert!(open(&t).await.unwrap().is_empty());

    let late = ask(&Wish::Stop { reason: "enough".into() }, Duration::ZERO).await;
    while !open(&t).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(answered(late).await, Some(Answer::Expired));
    assert_eq!(answered(late + 1).await, Some(Answer::Expired), "one that is forgotten");
    sql(&t, "update control_requests set ended_at = ended_at - interval '31 days' where state = 'done'").await;
    assert_eq!(controls_prune(&t.db, 30).await.unwrap(), 1);
    t.drop().await;
}

#[tokio::test]
async fn people_see_what_runs_waits_and_was() {
    let t = TestDb::new().await;
    project(&t.db, &["b", "c"]).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let all = chat::builders(&mut c, &[], None).await.unwrap();
    assert_eq!(all.iter().map(|b| (&*b.name, b.offline)).collect::<Vec<_>>(), [("b", true), ("c", true)]);
    assert!(chat::builders(&mut c, &["tag".into()], None).await.unwrap().is_empty());
    let session = worker(&t.db, "w").await;
    for _ in 0..3 {
        submit(&t.db, "b").await;
    }
    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let b = chat::builders(&mut c, &[], Some("b")).await.unwrap().remove(0);
    assert_eq!((b.offline, b.running, b.waiting), (false, 1, 2));
    let running = chat::running(&mut c, b.id).await.unwrap();
    assert_eq!((running.len(), running[0].number, &running[0].step), (1, 1, &None));
    assert!(chat::last(&mut c, b.id, 5).await.unwrap().is_empty());
    finish(&t.db, &build, Results::Failure).await;
    let last = chat::last(&mut c, b.id, 5).await.unwrap();
    assert_eq!((last.len(), last[0].number, last[0].results), (1, 1, Results::Failure));
    assert!(chat::commits(&mut c, Some(b.id), 5).await.unwrap().is_empty());
    let workers = chat::workers(&mut c).await.unwrap();
    assert_eq!((&*workers[0].name, workers[0].connected, workers[0].paused), ("w", true, false));
    drop(c);
    t.drop().await;
}
