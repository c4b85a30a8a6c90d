//! Reports against the truth: a generated history, the facts that the real code
//! makes of it, and each report compared with what Rust computes of the same history.

use tidemill_schema::testing::TestDb;
use tidemill_tests::history::{Shape, load};

#[tokio::test]
async fn a_generated_history_is_one_that_a_tidemill_could_have_left() {
    let t = TestDb::new().await;
    let loaded = load(&t.db, Shape::small()).await.expect("loaded");
    let builds = loaded.truth.builds.len();
    eprintln!("{builds} builds, {} rows", loaded.rows);
    assert!((18_000..22_000).contains(&builds), "{builds} builds");
    tidemill_tests::invariants::check(&t.db).await;
    for (what, query) in IMPOSSIBLE {
        let n: i64 = sqlx::query_scalar(*query).fetch_one(t.db.pool()).await.expect(what);
        assert_eq!(n, 0, "{what}");
    }
    t.drop().await;
}

/// What no Tidemill leaves behind.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "a worker with more builds than slots",
        "select count(*) from builds b join worker_sessions s on s.id = b.session_id
          where (select count(*) from builds o where o.worker_id = b.worker_id and o.started_at <= b.started_at
                    and o.complete_at > b.started_at and o.started_at > b.started_at - interval '1 day') > s.slots",
    ),
    (
        "a build outside of its session",
        "select count(*) from builds b join worker_sessions s on s.id = b.session_id
          where s.worker_id <> b.worker_id or b.started_at < s.opened_at or b.complete_at > s.seen_at",
    ),
    (
        "numbers that do not rise with ids",
        "select count(*) from (select id, lag(id) over (partition by builder_id order by number) as before from builds) b where before > id",
    ),
    (
        "a step outside of its build or before the one before it",
        "select count(*) from (select s.*, lag(s.complete_at) over (partition by build_id order by number) as before from steps s) s
           join builds b on b.id = s.build_id
          where s.started_at < b.started_at or s.complete_at > b.complete_at or s.started_at < s.before",
    ),
    (
        "a request that ended before its last build, or with another result",
        "select count(*) from build_requests r join lateral (select * from builds b where b.request_id = r.id order by id desc limit 1) b on true
          where r.complete_at < b.complete_at or (b.results <> 5 and b.results <> r.results)",
    ),
    (
        "a build on a worker that its builder does not name",
        "select count(*) from builds b join workers w on w.id = b.worker_id
          where not exists (select from builder_workers x where x.builder_id = b.builder_id and x.worker_name = w.name)",
    ),
    (
        "a success that is missing or of another line",
        "select count(*) from builds b join build_requests r on r.id = b.request_id
          where b.results = 0 and not exists (select from build_successes s where s.build_id = b.id and s.number = b.number
                    and s.builder_id = b.builder_id and s.line = buildset_line(r.buildset_id))",
    ),
    ("a time in the future", "select count(*) from builds where complete_at > '2026-03-01T00:00:00Z'"),
];
