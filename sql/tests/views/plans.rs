//! Filters reach the indexes through the barrier: what a query costs is what it
//! asks for, not what history holds.

use crate::common::{connect, end, roles, run};
use sqlx::{AssertSqlSafe, PgConnection};

/// Sixty builders, a year of builds of a month each, statistics up to date.
const HISTORY: &str = "
    select facts_partition(t, now() - make_interval(months => m))
      from unnest('{build_facts,request_facts,lock_wait_facts,test_results}'::text[]) t, generate_series(0, 6) m;
    insert into builder_settings (hash, properties, default_properties) values ('x', '{}', '{}');
    insert into projects (name, public) values ('p0', true), ('p1', false), ('p2', true);
    insert into builders (name, project, settings_id) select 'b' || g, 'p' || g % 3, s.id from generate_series(1, 60) g, builder_settings s;
    insert into workers (name) values ('w');
    insert into buildsets (reason) select '' from generate_series(1, 30000);
    insert into sourcestamps (hash, codebase, repository, project) values ('x', '', 'r', '');
    insert into changes (author, comments, files, repository, project, codebase, sourcestamp_id)
    select 'a', '', '{}', 'r', '', '', 1 from generate_series(1, 30000);
    insert into buildset_changes select g, g from generate_series(1, 30000) g;
    insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, buildset_id, request_id,
                             attempt, worker_id, scheduler, reason, submitted_at, waiting_since, started_at, results, steps,
                             log_bytes, changes)
    select g, now() - g * interval '8 minutes', 1 + g % 60, g, gen_random_uuid(), '', 'r', 'main', g, g, 1, 1, '', '',
           now() - g * interval '8 minutes', now() - g * interval '8 minutes', now() - g * interval '8 minutes', 0, 3, 1, 1
      from generate_series(1, 30000) g where g * interval '8 minutes' < interval '5 months';
    insert into steps (build_id, number, name, started_at, complete_at, results)
    select b.build_id, n, 'step', b.started_at, b.complete_at, 0 from build_facts b, generate_series(1, 3) n;
    insert into step_statistics select build_id, 1, 'warnings', 1 from build_facts;
    insert into request_facts (request_id, complete_at, buildset_id, builder_id, priority, scheduler, reason, submitted_at, results,
                               attempts, worker_wait, lock_wait, back_off)
    select request_id, complete_at, buildset_id, builder_id, 0, '', '', submitted_at, 0, 1, '0', '0', '0' from build_facts;
    insert into locks (name, kind, capacity) values ('disk', 'master', 1);
    insert into lock_wait_facts (ended_at, since, lock_id, builder_id) select complete_at, started_at, 1, builder_id from build_facts;
    insert into test_names (hash, name) select g::text::bytea, 't' || g from generate_series(1, 100) g;
    insert into test_sets (build_id, step, name, builder_id, line, sources, complete_at)
    select build_id, 1, '', builder_id, line, line, complete_at from build_facts;
    insert into test_results (set_id, ordinal, builder_id, name_id, complete_at, result)
    select s.id, 1, 1 + s.build_id % 60, 1 + s.id % 100, s.complete_at, 'passed' from test_sets s;
    insert into build_days (builder_id, day, builds)
    select builder_id, date_trunc('day', complete_at, 'UTC'), count(*) from build_facts group by 1, 2;
    insert into build_hours (builder_id, hour, builds)
    select builder_id, date_trunc('hour', complete_at, 'UTC'), count(*) from build_facts group by 1, 2;
    insert into step_days
    select builder_id, day, 'step', builds, 0, 1, 0, '{}' from build_days;
    insert into worker_hours select 1, hour, builder_id, builds, 0, 1 from build_hours;
    insert into build_months (builder_id, month, builds)
    select builder_id, date_trunc('month', complete_at, 'UTC'), count(*) from build_facts group by 1, 2;
    insert into step_months select builder_id, month, 'step ' || g, builds, 0, 1, 0, '{}' from build_months, generate_series(1, 40) g;
    insert into branch_months
    select builder_id, month, 'branch ' || g, builds, 0, 0, now() from build_months, generate_series(1, 40) g;
    insert into request_months select builder_id, month, builds, 0, builds, 0, 0, 0, 0, 0, 0 from build_months;
    insert into statistic_days select builder_id, 'size', day, 'step', builds, 1, 1, 1, 1, now(), 1 from build_days;
    insert into worker_months select 1, month, 'p' || builder_id, builds, 0, 1 from build_months;
    insert into destinations (kind, name) values ('mail', 'relay');
    insert into build_requests (buildset_id, builder_id) select buildset_id, builder_id from build_facts;
    insert into deliveries (xid, event_id, at, reporter, generator, moment, revision_id, buildset_id, builder_id, destination_id,
                            address, expires_at, state, ended_at)
    select 1, build_id, now(), 'r', 0, 'end', 1, buildset_id, case when build_id % 2 = 0 then builder_id end, 1, 'a', now(),
           'sent', complete_at from build_facts;
    analyze";

async fn plan(c: &mut PgConnection, query: &str) -> String {
    let lines: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("explain {query}"))).fetch_all(c).await.expect(query);
    lines.join("\n")
}

/// Whether all of a table is read, or of one of its months that is not next to empty.
fn scanned(plan: &str, table: &str) -> bool {
    plan.lines().filter(|l| l.contains(&format!("Seq Scan on {table}"))).any(|l| {
        let cost = l.split("..").nth(1).and_then(|rest| rest.split(' ').next());
        cost.and_then(|c| c.parse::<f64>().ok()).is_none_or(|c| c > 20.0)
    })
}

#[tokio::test]
async fn filters_by_time_and_builder_reach_the_indexes_through_the_barrier() {
    let t = tidemill_sql::testing::db().await;
    run(&t, HISTORY).await;
    let roles = roles(&t, "plans").await;
    let mut c = connect(&t, &roles.reporter).await;
    let since = "now() - interval '6 hours'";
    for (view, time, table) in [
        ("build_facts", "complete_at", "build_facts"),
        ("step_facts", "build_complete_at", "build_facts"),
        ("request_facts", "complete_at", "request_facts"),
        ("change_facts", "complete_at", "build_facts"),
        ("statistics", "complete_at", "build_facts"),
        ("lock_waits", "ended_at", "lock_wait_facts"),
        ("test_facts", "complete_at", "test_results"),
        ("build_hours", "hour", "build_hours"),
        ("build_days", "day", "build_days"),
        ("step_days", "day", "step_days"),
        ("worker_use", "hour", "worker_hours"),
        ("notices", "ended_at", "deliveries"),
    ] {
        for filter in [
            format!("{time} >= {since}"),
            format!("{time} >= {since} and builder = 'b5'"),
            format!("{time} >= now() - interval '60 days' and builder = 'b5'"),
            format!("{time} >= now() - interval '60 days' and builder_id = 5"),
        ] {
            // Tests have an index by time, and one by name and builder; notices by time alone.
            if ["test_facts", "notices"].contains(&view) && filter.contains("days") {
                continue;
            }
            let plan = plan(&mut c, &format!("select * from report.{view} where {filter}")).await;
            // An index of the table, or of one of its months.
            assert!(!scanned(&plan, table), "report.{view} where {filter}:\n{plan}");
            assert!(plan.contains("Index Cond") || plan.contains("Bitmap Index"), "{view} where {filter}:\n{plan}");
            // For a third of all rows a hash of the whole other table may be right.
            for dear in ["steps", "step_statistics", "changes", "buildset_changes", "test_sets", "build_requests"] {
                let all = filter.contains("hours") && scanned(&plan, dear);
                assert!(!all, "report.{view} where {filter}:\n{plan}");
            }
        }
    }
    // Sums over long ranges are put in the place of their call: a builder's are found by it in each arm.
    for (sums, tables) in [
        ("build_sums", &["build_months", "build_days"][..]),
        ("step_sums", &["step_months", "step_days"]),
        ("request_sums", &["request_months", "request_facts"]),
        ("branch_sums", &["branch_months", "build_facts"]),
    ] {
        for filter in ["builder_id = 5", "builder = 'b5'"] {
            let query = format!("select * from report.{sums}(now() - interval '100 days', now()) where {filter}");
            let plan = plan(&mut c, &query).await;
            assert!(!plan.contains("Function Scan"), "{query}:\n{plan}");
            for table in tables {
                assert!(!scanned(&plan, table) && plan.contains(table), "{query}:\n{plan}");
            }
        }
    }
    let query = "select * from report.worker_sums(now() - interval '100 days', now()) where worker_id = 1";
    let worker = plan(&mut c, query).await;
    assert!(!worker.contains("Function Scan") && worker.contains("worker_months"), "{worker}");
    // By what people have in hand.
    for query in [
        "select * from report.build_facts where build_id = 77",
        "select * from report.step_facts where build_id = 77",
        "select * from report.statistics where build_id = 77",
        "select * from report.change_facts where change_id = 77",
        "select * from report.test_facts where test_id = 7 and builder_id = 5 and complete_at >= now() - interval '9 days'",
        "select * from report.builder_health where builder = 'b5'",
    ] {
        let plan = plan(&mut c, query).await;
        for big in
            ["build_facts", "steps", "step_statistics", "changes", "buildset_changes", "test_results", "build_days"]
        {
            assert!(!scanned(&plan, big), "{query}:\n{plan}");
        }
    }
    // A month that is not asked for is not looked at.
    let months = plan(
        &mut c,
        "select * from report.build_facts where complete_at >= '2001-01-01' and complete_at < '2001-02-01'",
    )
    .await;
    assert!(months.contains("One-Time Filter: false") || !months.contains("Scan on build_facts"), "{months}");
    // Who is seen is found out once a query, and not for each row.
    let visible = plan(&mut c, "select * from report.build_facts").await;
    assert!(visible.contains("hashed SubPlan"), "{visible}");
    drop(c);
    end(t, roles).await;
}
