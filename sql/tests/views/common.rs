//! A database with a public and two private projects, and roles that ask.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tidemill_schema::roles::{Roles, roles_ensure};
use tidemill_schema::testing::TestDb;

/// Rows in every table that a view reads, for the builders `open-app` (public),
/// `closed-app` and `vault-app` (each of a private project of its own): everything
/// that belongs to one has its word in it.
const ROWS: &str = "
    select facts_partition(t, now()) from unnest('{build_facts,request_facts,lock_wait_facts,test_results}'::text[]) t;
    insert into builder_settings (hash, properties, default_properties) values ('x', '{}', '{}');
    insert into workers (name, labels) values ('w', '{\"hourly_cost\": \"0.25\", \"os\": \"linux\"}'), ('v', '{\"hourly_cost\": \"much\"}');
    insert into worker_labels values ('v', '{\"os\": \"bsd\"}');
    insert into worker_sessions (worker_id, instance, epoch, release, protocol, vocabulary, slots)
    select id, name, 1, 'test', 1, 1, 4 from workers;
    insert into locks (name, kind, capacity) values ('disk', 'master', 1);
    insert into destinations (kind, name) values ('mail', 'relay:25'), ('http', 'hooks:443');
    insert into projects (name, public) values ('open', true), ('closed', false), ('vault', false);
    do $$
    declare
        v_word text; v_builder bigint; v_shadow bigint; v_set bigint; v_request bigint; v_build bigint; v_stamp bigint; v_change bigint;
        v_test bigint; v_tests bigint; v_line uuid := gen_random_uuid();
    begin
        foreach v_word in array '{open,closed,vault}'::text[] loop
            insert into builders (name, project, settings_id) select v_word || '-app', v_word, id from builder_settings
            returning id into v_builder;
            insert into builders (name, virtual, settings_id) select v_word || '-shadow', true, id from builder_settings
            returning id into v_shadow;
            insert into lanes (builder_id, priority, virtual_id) values (v_builder, 0, v_shadow);
            insert into sourcestamps (hash, codebase, repository, project, branch, revision)
            values (v_word::bytea, '', 'https://me:pw-' || v_word || '@git/' || v_word, '', v_word, v_word) returning id into v_stamp;
            insert into changes (author, comments, files, branch, revision, repository, project, codebase, sourcestamp_id)
            values (v_word, v_word, '{}', v_word, v_word, 'https://me:pw-' || v_word || '@git/' || v_word, '', '', v_stamp) returning id into v_change;
            insert into buildsets (reason) values (v_word) returning id into v_set;
            insert into buildset_changes values (v_set, v_change);
            insert into build_requests (buildset_id, builder_id) values (v_set, v_builder) returning id into v_request;
            insert into builds (builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id,
                                settings_id, state, complete_at, results)
            select v_builder, 1, v_request, w.id, 1, 1, 1, 'tok-' || v_word, 1, 1, 'finished', now(), 2 from workers w where w.name = 'w'
            returning id into v_build;
            insert into steps (build_id, number, name, started_at, complete_at, results)
            values (v_build, 1, v_word || ' step', now() - interval '1 minute', now(), 2);
            insert into step_statistics values (v_build, 1, v_word || ' warnings', 3);
            insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, revision,
                                     buildset_id, request_id, attempt, worker_id, scheduler, reason, submitted_at, waiting_since,
                                     started_at, results, failed_step, steps, log_bytes, changes, first_change_at,
                                     previous_results, turn, bad_build_id, bad_since, blamed)
            values (v_build, now(), v_builder, 1, v_line, '', 'https://me:pw-' || v_word || '@git/' || v_word, v_word, v_word, v_set,
                    v_request, 1, 1, v_word, v_word, now() - interval '3 minutes', now() - interval '2 minutes',
                    now() - interval '1 minute', 2, v_word || ' step', 1, 1000, 1, now() - interval '1 hour', 0, 'broke',
                    v_build, now(), array[v_word]);
            insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, buildset_id,
                                     request_id, attempt, worker_id, scheduler, reason, submitted_at, waiting_since, started_at,
                                     results, steps, log_bytes, changes)
            values (-v_build, now(), v_shadow, 1, v_line, '', '', v_word, v_set, v_request, 1, 1, '', '', now(), now(), now(), 0, 0, 0, 0);
            insert into line_states values (v_builder, v_line, 2, now(), null, v_build, now());
            insert into request_facts (request_id, complete_at, buildset_id, builder_id, priority, scheduler, reason, submitted_at,
                                       claimed_at, results, attempts, worker_wait, lock_wait, back_off, why)
            values (v_request, now(), v_set, v_builder, 0, v_word, v_word, now() - interval '3 minutes', now() - interval '1 minute',
                    2, 1, '2 minutes', '0', '0', 'worker');
            insert into lock_wait_facts (since, lock_id, builder_id, request_id)
            select now() - interval '5 seconds', l.id, v_builder, v_request from locks l;
            insert into build_hours (builder_id, hour, builds, failure, seconds, waited, spans, waits)
            values (v_builder, date_trunc('hour', now()), 1, 1, 60, 60, array[(44 << 24) + 1], array[(44 << 24) + 1]);
            insert into build_days (builder_id, day, builds, failure, seconds, waited, log_bytes, spans, waits)
            values (v_builder, date_trunc('day', now(), 'UTC'), 1, 1, 60, 60, 1000, array[(44 << 24) + 1], array[(44 << 24) + 1]);
            insert into step_days values (v_builder, date_trunc('day', now(), 'UTC'), v_word || ' step', 1, 1, 60, 0, array[(44 << 24) + 1]);
            insert into worker_hours values (1, date_trunc('hour', now()), v_builder, 1, 0, 60);
            insert into build_months select * from build_days where builder_id = v_builder;
            insert into step_months select * from step_days where builder_id = v_builder;
            insert into branch_months values (v_builder, date_trunc('month', now(), 'UTC'), v_word, 1, 0, 1, now(), null, now());
            insert into request_months values (v_builder, date_trunc('month', now(), 'UTC'), 1, 0, 1, 1, 0, 0, 120, 0, 0);
            insert into statistic_days values (v_builder, v_word || ' warnings', date_trunc('day', now(), 'UTC'), v_word || ' step',
                                               1, 3, 3, 3, 3, now(), v_build);
            insert into worker_months values (1, date_trunc('month', now(), 'UTC'), v_word, 1, 0, 60);
            insert into total_hours (hour, builds, failure, project)
            values (date_trunc('hour', now()), 1, 1, case when v_word = 'open' then '' else v_word end);
            insert into total_days (day, builds, failure, project)
            values (date_trunc('day', now(), 'UTC'), 1, 1, case when v_word = 'open' then '' else v_word end);
            insert into test_sets (build_id, step, name, builder_id, line, sources, complete_at)
            values (v_build, 1, v_word, v_builder, v_line, v_line, now()) returning id into v_tests;
            insert into test_names (hash, name) values (v_word::bytea, v_word || '::works') returning id into v_test;
            insert into test_results values (v_tests, 1, v_builder, v_test, now(), 'failed', 1.5, v_word);
            insert into test_states values (v_test, v_builder, v_line, true, now(), v_build, null, now());
            insert into test_flakes values (v_test, v_builder, now(), v_line, v_word, v_build, v_build);
            insert into deliveries (xid, event_id, at, reporter, generator, moment, revision_id, builder_id, build_id, buildset_id,
                                    destination_id, address, expires_at)
            select 1, v_build, now(), v_word, 0, 'end', 1, v_builder, v_build, v_set, d.id, v_word || '-' || d.kind || '@there', now()
              from destinations d
             union all
            select 1, v_build, now(), v_word || ' set', 1, 'buildset', 1, null, null, v_set, d.id, v_word || '-' || d.kind || '@there', now()
              from destinations d;
        end loop;
    end $$;
    insert into deliveries (xid, event_id, at, reporter, generator, moment, revision_id, worker_id, destination_id, address, expires_at)
    select 2, 1, now(), 'open worker', 0, 'worker', 1, 1, d.id, 'ops@there', now() from destinations d where d.kind = 'mail'";

/// A database with [`ROWS`].
pub async fn db() -> TestDb {
    let t = tidemill_sql::testing::db().await;
    run(&t, ROWS).await;
    t
}

/// The four roles, under names that no other test of the server uses.
pub async fn roles(t: &TestDb, test: &str) -> Roles {
    roles_ensure(&t.db, &format!("s{}_{test}", std::process::id())).await.unwrap()
}

/// Makes a role that may log in and is a member of others; of its name. Removed by [`end`].
pub async fn role(t: &TestDb, prefix: &Roles, name: &str, member_of: &[&str]) -> String {
    let role = format!("{}_{name}", prefix.reporter);
    run(t, &format!("create role {role} login")).await;
    for group in member_of {
        run(t, &format!("grant {group} to {role}")).await;
    }
    role
}

/// The test's database as another role.
pub async fn connect(t: &TestDb, role: &str) -> PgConnection {
    PgConnection::connect(&t.url.replacen("//tidemill@", &format!("//{role}@"), 1)).await.unwrap()
}

/// Removes the database and all roles of the test.
pub async fn end(t: TestDb, roles: Roles) {
    let prefix = roles.master.strip_suffix("_master").unwrap().to_owned();
    let names: Vec<String> = sqlx::query_scalar("select rolname::text from pg_roles where rolname ^@ $1")
        .bind(&prefix)
        .fetch_all(t.db.pool())
        .await
        .unwrap();
    for name in names {
        run(&t, &format!("drop owned by {name}; drop role {name}")).await;
    }
    t.drop().await;
}

pub async fn run(t: &TestDb, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(t.db.pool()).await.expect(statements);
}

/// The SQLSTATE of a statement, empty if it was done.
pub async fn code(c: &mut PgConnection, statement: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(c).await {
        Ok(_) => String::new(),
        Err(e) => e.as_database_error().and_then(|e| e.code().map(|c| c.into_owned())).unwrap_or(e.to_string()),
    }
}

/// One number.
pub async fn count(c: &mut PgConnection, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(c).await.expect(query)
}

/// Texts of one column.
pub async fn texts(c: &mut PgConnection, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(c).await.expect(query)
}

/// Every view of `report`.
pub fn views() -> Vec<&'static str> {
    tidemill_sql::views::DEFINITIONS
        .iter()
        .flat_map(tidemill_sql::views::views_of)
        .filter(|v| v.starts_with("report."))
        .collect()
}
