//! Change sources as rows, and the graph of commits that their changes are.

mod common;

use common::*;
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_model::Results::{self, Failure, Success};
use tidemill_model::{NewChange, SourceStamp};
use tidemill_schema::change_sources::*;
use tidemill_schema::changes::{changes_get, changes_insert};
use tidemill_schema::config::Wanted;
use tidemill_schema::read::Query;
use tidemill_schema::read::changes::{self, CHANGES};
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Error, beats, run_tx};

const ALL: Room = Room { custom: true, others: true, failing: true };
const SECOND: Duration = Duration::from_secs(1);

fn git(url: &str) -> Value {
    json!({ "name": "s", "kind": { "git_poller": { "repourl": url } } })
}

async fn define(t: &TestDb, definition: Value) {
    let wanted = Wanted { change_sources: vec![("s".into(), definition)], ..Wanted::default() };
    activate(&t.db, &wanted).await;
}

async fn take(t: &TestDb, master: tidemill_model::MasterId) -> Option<Due> {
    let mut c = t.db.pool().acquire().await.unwrap();
    change_source_take(&mut c, master, TERM, ALL).await.unwrap()
}

fn change(revision: &str, parents: &[&str]) -> NewChange {
    NewChange {
        author: "ada".into(),
        comments: revision.into(),
        branch: Some("main".into()),
        revision: Some(revision.into()),
        repository: "r".into(),
        parents: parents.iter().map(|p| (*p).to_owned()).collect(),
        ..NewChange::default()
    }
}

async fn count(t: &TestDb) -> i64 {
    scalar(t, "select count(*) from changes").await
}

#[tokio::test]
async fn what_an_older_poll_finds_is_not_stored_once_another_has_begun() {
    let t = TestDb::new().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = beats::master_insert(&mut c, "m", "").await.unwrap();
    define(&t, git("x")).await;
    let old = take(&t, master).await.unwrap();
    assert!(take(&t, master).await.is_none(), "it is held");
    // Its replica is stopped for longer than the lease, then another poll begins, of the same master even.
    sql(&t, "update change_sources set held_until = tidemill_now() - interval '1 second'").await;
    let new = take(&t, master).await.unwrap();
    assert!(!change_source_hold(&mut c, &old, TERM).await.unwrap());
    assert!(change_source_hold(&mut c, &new, TERM).await.unwrap());
    let found = [change("a", &[])];
    for page in [true, false] {
        let stored = run_tx!(t.db, "test", |c| match page {
            true => change_source_page(c, &old, &found, &json!(1), TERM).await,
            false => change_source_polled(c, &old, &found, &json!(1), SECOND, None).await,
        });
        assert!(matches!(stored, Err(Error::Conflict(_))), "{stored:?}");
    }
    change_source_failed(&mut c, &old, "no", SECOND).await.unwrap();
    assert_eq!(count(&t).await, 0);
    // A page keeps it, the end gives it back.
    run_tx!(t.db, "test", |c| change_source_page(c, &new, &found, &json!({"at": "a\0"}), TERM).await).unwrap();
    assert!(take(&t, master).await.is_none());
    run_tx!(t.db, "test", |c| change_source_polled(c, &new, &[], &json!(2), Duration::ZERO, None).await).unwrap();
    assert_eq!(count(&t).await, 1);
    let next = take(&t, master).await.unwrap();
    assert_eq!((next.cursor, next.errors), (Some(json!(2)), 0));
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_source_is_polled_now_when_somebody_asks_also_while_it_is_polled() {
    let t = TestDb::new().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = beats::master_insert(&mut c, "m", "").await.unwrap();
    define(&t, git("https://ci:pw@host.example/r.git")).await;
    let hour = Duration::from_secs(3600);
    let due = take(&t, master).await.unwrap();
    run_tx!(t.db, "test", |c| change_source_polled(c, &due, &[], &json!({}), hour, None).await).unwrap();
    assert!(take(&t, master).await.is_none());
    for which in [Which::Name("s"), Which::Id(due.id), Which::Repository("https://host.example/r.git")] {
        assert_eq!(change_source_poll_now(&mut c, which).await.unwrap(), ["s"], "{which:?}");
        let due = take(&t, master).await.unwrap();
        // Asked while it runs: once more after it, and then not.
        change_source_poll_now(&mut c, which).await.unwrap();
        run_tx!(t.db, "test", |c| change_source_polled(c, &due, &[], &json!({}), hour, None).await).unwrap();
        let again = take(&t, master).await.unwrap();
        run_tx!(t.db, "test", |c| change_source_polled(c, &again, &[], &json!({}), hour, None).await).unwrap();
        assert!(take(&t, master).await.is_none());
    }
    assert!(change_source_poll_now(&mut c, Which::Name("other")).await.unwrap().is_empty());
    // One that is not polled stays so until it is defined anew.
    change_source_poll_now(&mut c, Which::Name("s")).await.unwrap();
    let due = take(&t, master).await.unwrap();
    change_source_rest(&mut c, &due, Some("not run")).await.unwrap();
    assert!(change_source_poll_now(&mut c, Which::Name("s")).await.unwrap().is_empty());
    assert_eq!(change_sources_wait(&mut c, ALL).await.unwrap(), None);
    define(&t, git("https://host.example/other.git")).await;
    assert!(take(&t, master).await.is_some());
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_source_begins_anew_at_another_place_and_goes_on_at_the_same() {
    let t = TestDb::new().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = beats::master_insert(&mut c, "m", "").await.unwrap();
    let pulls = |owner: &str, token: &str| {
        json!({ "name": "s", "kind": { "declared": { "kind": "GitHubPullrequestPoller",
                "args": { "owner": owner, "repo": "r", "token": token } } } })
    };
    define(&t, pulls("o", "1")).await;
    let poll = async |cursor: &str| {
        let due = take(&t, master).await.unwrap();
        let cursor = json!(cursor);
        run_tx!(t.db, "test", |c| change_source_polled(c, &due, &[], &cursor, SECOND, None).await).unwrap();
        due.cursor
    };
    assert_eq!(poll("first").await, None);
    define(&t, pulls("o", "2")).await;
    assert_eq!(poll("second").await, Some(json!("first")), "only its token changed");
    define(&t, pulls("p", "2")).await;
    assert_eq!(poll("third").await, None, "another repository");
    define(&t, git("x")).await;
    assert_eq!(poll("fourth").await, None, "another kind");
    let kinds: Vec<(Option<String>, bool)> =
        changes::sources(&mut c, 100).await.unwrap().into_iter().map(|s| (s.kind, s.good_at.is_some())).collect();
    assert_eq!(kinds, [(Some("GitPoller".into()), true)]);
    drop(c);
    t.drop().await;
}

/// Stores changes one by one; their ids.
async fn commits(t: &TestDb, all: &[NewChange]) -> Vec<i64> {
    let ids = run_tx!(t.db, "test", |c| changes_insert(c, all, None).await).unwrap();
    ids.into_iter().map(|i| i.0).collect()
}

async fn parents(t: &TestDb, id: i64) -> Vec<i64> {
    sqlx::query_scalar("select parent_ids from changes where id = $1").bind(id).fetch_one(t.db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_change_follows_those_of_its_commits_parents_or_the_one_before_it_on_its_branch() {
    let t = TestDb::new().await;
    let on = |branch: &str, c: NewChange| NewChange { branch: Some(branch.into()), ..c };
    let ids = commits(
        &t,
        &[
            change("a", &["before"]),
            on("side", change("s1", &["a"])),
            on("side", change("s2", &["s1"])),
            change("b", &["a"]),
            change("m", &["b", "s2", "unknown"]),
            // No parents said: the newest of the branch.
            change("n", &[]),
            // The same revision elsewhere is another commit.
            NewChange { repository: "other".into(), ..change("b", &["a"]) },
            NewChange { codebase: "lib".into(), ..change("c", &["n"]) },
        ],
    )
    .await;
    let [a, s1, s2, b, m, n, other, lib] = ids.try_into().unwrap();
    assert_eq!(parents(&t, a).await, Vec::<i64>::new());
    assert_eq!((parents(&t, s1).await, parents(&t, s2).await), (vec![a], vec![s1]));
    assert_eq!((parents(&t, b).await, parents(&t, m).await), (vec![a], vec![b, s2]));
    assert_eq!((parents(&t, n).await, parents(&t, other).await, parents(&t, lib).await), (vec![m], vec![], vec![]));
    let mut c = t.db.pool().acquire().await.unwrap();
    assert_eq!(changes_get(&mut c, &[m]).await.unwrap()[0].new.parents, ["b", "s2", "unknown"]);
    drop(c);
    t.drop().await;
}

/// Builds a revision of the branch and ends it; its build.
async fn built(
    t: &TestDb,
    session: tidemill_model::SessionId,
    poll: u64,
    branch: &str,
    revision: &str,
    results: Results,
) -> i64 {
    let stamp = SourceStamp {
        repository: "r".into(),
        branch: Some(branch.into()),
        revision: Some(revision.into()),
        ..SourceStamp::default()
    };
    submit_set(
        &t.db,
        &NewBuildset { builders: vec!["linux".into()], sourcestamps: vec![stamp], ..NewBuildset::default() },
    )
    .await;
    let newest: i64 = scalar(t, "select coalesce(max(id), 0) from builds").await;
    let claim = claim(&t.db, session, poll, 1, newest).await.remove(0);
    finish(&t.db, &claim, results).await;
    claim.build
}

async fn brought(t: &TestDb, build: i64) -> Vec<String> {
    let mut c = t.db.pool().acquire().await.unwrap();
    let query = Query { limit: 1000, ..Query::newest(&CHANGES) };
    let found = changes::list(&mut c, &[changes::since_success(build)], &query).await.unwrap();
    found.into_iter().map(|c| c.comments).collect()
}

#[tokio::test]
async fn the_changes_of_a_build_go_back_to_the_last_good_one_of_its_sources_through_merges() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let on = |branch: &str, c: NewChange| NewChange { branch: Some(branch.into()), ..c };
    commits(&t, &[change("a", &["x"]), on("side", change("s1", &["a"])), change("b", &["a"])]).await;
    assert_eq!(brought(&t, built(&t, session, 1, "main", "b", Success).await).await, ["b", "a"], "none before it");
    commits(&t, &[change("c", &["b"])]).await;
    assert_eq!(brought(&t, built(&t, session, 2, "main", "c", Failure).await).await, ["c"]);
    // A merge brings what only the other side had, though that came in before the last good build.
    commits(&t, &[on("side", change("s2", &["s1"])), change("m", &["c", "s2"])]).await;
    let merged = built(&t, session, 3, "main", "m", Success).await;
    assert_eq!(brought(&t, merged).await, ["m", "s2", "c", "s1"]);
    // A good build of another branch is another line.
    let side = built(&t, session, 4, "side", "s2", Success).await;
    assert_eq!(brought(&t, side).await, ["s2", "s1", "a"]);
    assert_eq!(
        brought(&t, built(&t, session, 5, "main", "m", Success).await).await,
        Vec::<String>::new(),
        "built before"
    );
    // An unknown revision has no changes.
    assert_eq!(brought(&t, built(&t, session, 6, "main", "forced", Success).await).await, Vec::<String>::new());
    assert_eq!(brought(&t, merged).await, ["m", "s2", "c", "s1"], "as it was when it was built");
    t.drop().await;
}

#[tokio::test]
async fn the_changes_of_a_build_are_read_by_probes_among_a_hundred_thousand() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    commits(&t, &[change("0", &[])]).await;
    // One line of many, each the parent of the next.
    sql(
        &t,
        "insert into changes (author, comments, files, branch, revision, repository, project, codebase, sourcestamp_id, parents, parent_ids)
         select author, i::text, files, branch, i::text, repository, project, codebase, sourcestamp_id, array[(i - 1)::text],
                array[(select max(id) from changes) + i - 1]
           from changes, generate_series(1, 100000) i where revision = '0'",
    )
    .await;
    built(&t, session, 1, "main", "99989", Success).await;
    commits(&t, &[change("tip", &["100000"])]).await;
    built(&t, session, 2, "main", "tip", Success).await;
    commits(&t, &[change("tip2", &["tip"]), change("tip3", &["tip2"])]).await;
    let build = built(&t, session, 3, "main", "tip3", Failure).await;
    for analyzed in [false, true] {
        if analyzed {
            sql(&t, "analyze").await;
        }
        // Counted within this transaction.
        let mut tx = t.db.pool().begin().await.unwrap();
        let found: Vec<i64> = sqlx::query_scalar(
            "select h.id from changes h where h.id = any((select build_changes($1, 1000))::bigint[])",
        )
        .bind(build)
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let (scans, rows): (i64, i64) = sqlx::query_as(
            "select seq_scan, coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where relname = 'changes'",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(scans, 0, "analyzed: {analyzed}");
        assert!(rows < 50, "{rows} rows were read");
    }
    // Finding the parents of a new change, too: the newest row at most up to a place of an index.
    let plans = [
        (
            "changes_commit",
            "explain select p.* from changes p where p.revision is not null
                and (change_commit(p.codebase, p.repository, p.revision), p.id) <= (change_commit('', 'r', '7'), 9223372036854775807)
              order by change_commit(p.codebase, p.repository, p.revision) desc, p.id desc limit 1",
        ),
        (
            "changes_line",
            "explain select p.* from changes p
              where (change_line(p.codebase, p.repository, p.project, p.branch), p.id)
                    <= (change_line('', 'r', '', 'main'), 9223372036854775807)
              order by change_line(p.codebase, p.repository, p.project, p.branch) desc, p.id desc limit 1",
        ),
    ];
    for (index, explain) in plans {
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(t.db.pool()).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(&format!("Index Scan Backward using {index}")) && !plan.contains("Sort"), "{plan}");
    }
    t.drop().await;
}
