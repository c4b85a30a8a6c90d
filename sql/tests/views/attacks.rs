//! What the reporter is refused (A18), as a real role of a real server.

use crate::common::{code, connect, count, end, role, roles, run, texts, views};
use sqlx::{AssertSqlSafe, PgConnection};
use std::time::Duration;
use tidemill_schema::Db;
use tidemill_schema::report_grants::{report_grant_add, report_grant_remove, report_grants};
use tidemill_schema::roles::roles_ensure;
use tidemill_sql::format::Format;
use tidemill_sql::report::{self, Bounds, Values, built_in};

const REFUSED: &str = "42501";

/// The reporter with all that a session can undo undone.
async fn hostile(c: &mut PgConnection) {
    let undo = "set default_transaction_read_only = off; set statement_timeout = 0; set lock_timeout = 0";
    assert_eq!(code(c, undo).await, "", "no setting of a session is what holds");
}

#[tokio::test]
async fn a_reporter_reads_every_view_and_writes_nothing() {
    let t = crate::common::db().await;
    let roles = roles(&t, "write").await;
    let mut c = connect(&t, &roles.reporter).await;
    for view in views() {
        assert!(count(&mut c, &format!("select count(*) from {view}")).await > 0, "{view} shows something");
    }
    let before = texts(&mut t.db.pool().acquire().await.unwrap(), "select x::text from build_facts x order by 1").await;
    // In a session as it begins nothing is even tried.
    assert_eq!(code(&mut c, "create temp table mine (x int)").await, "25006");
    assert_eq!(code(&mut c, "create table report.mine (x int)").await, "25006");
    hostile(&mut c).await;
    for view in views() {
        for statement in [format!("delete from {view}"), format!("truncate {view}"), format!("drop view {view}")] {
            let code = code(&mut c, &statement).await;
            // Of a view over several tables Postgres says that nothing can be deleted from it.
            assert!([REFUSED, "55000", "42809"].contains(&code.as_str()), "{statement}: {code}");
        }
    }
    for statement in [
        "insert into report.builders (builder) values ('mine')",
        "update report.builders set paused = true",
        "update report.builders set builder = 'mine' where builder = 'closed-app'",
        "create table report.mine (x int)",
        "create table public.mine (x int)",
        "create view report.mine as select 1 as x",
        "create or replace view report.builders as select 1 as x",
        "create function report.mine() returns int language sql as 'select 1'",
        "create function public.mine() returns int language sql as 'select 1'",
        "create schema mine",
        "alter schema report rename to mine",
        "comment on view report.builders is 'mine'",
        "grant select on report.builders to public",
        "alter view report.build_facts set (security_barrier = false)",
        "insert into report_grants (role) values (current_user)",
        "select from report_hidden_projects",
        "select from report_builders",
        "select 1; lock table report.build_facts in access exclusive mode",
        "select 1; lock table public.builds",
        "vacuum full public.builds",
    ] {
        let code = code(&mut c, statement).await;
        // Passed over with a warning where there is nothing that may be done.
        let warned = statement.starts_with("vacuum") || statement.starts_with("grant");
        assert!(code == REFUSED || warned && code.is_empty(), "{statement}: {code}");
    }
    let open = "select count(*) from pg_class, aclexplode(relacl) a where relnamespace = 'report'::regnamespace and a.grantee = 0";
    assert_eq!(count(&mut c, open).await, 0);
    let after = texts(&mut t.db.pool().acquire().await.unwrap(), "select x::text from build_facts x order by 1").await;
    assert_eq!(before, after);
    drop(c);
    end(t, roles).await;
}

#[tokio::test]
async fn a_reporter_reads_no_other_schema_no_file_and_runs_no_program() {
    let t = crate::common::db().await;
    let roles = roles(&t, "read").await;
    let mut c = connect(&t, &roles.reporter).await;
    hostile(&mut c).await;
    let tables = texts(
        &mut t.db.pool().acquire().await.unwrap(),
        "select oid::regclass::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')",
    )
    .await;
    assert!(tables.len() > 60, "{tables:?}");
    for table in tables {
        assert_eq!(code(&mut c, &format!("select from {table}")).await, REFUSED, "{table}");
        assert_eq!(code(&mut c, &format!("select count(*) from {table}")).await, REFUSED, "{table}");
    }
    assert_eq!(code(&mut c, "select nextval('request_ticket')").await, REFUSED);
    let path = format!("{}/tidemill-attack-{}", std::env::temp_dir().display(), std::process::id());
    for statement in [
        // What Postgres keeps from everybody.
        "select from pg_authid",
        "select from pg_shadow",
        "select * from pg_hba_file_rules",
        "select * from pg_file_settings",
        "select subconninfo from pg_subscription",
        "select from pg_statistic",
        "select from pg_largeobject",
        "select * from pg_user_mapping",
        // Files and programs of the server.
        "select pg_read_file('/etc/passwd')",
        "select pg_read_file('postgresql.conf')",
        "select pg_read_binary_file('/etc/passwd')",
        "select pg_ls_dir('.')",
        "select pg_ls_logdir()",
        "select pg_stat_file('postgresql.conf')",
        "select pg_current_logfile()",
        "select lo_import('/etc/passwd')",
        &format!("select lo_export(1, '{path}')"),
        "copy (select 1) to program 'id'",
        &format!("copy (select 1) to '{path}'"),
        "create temp table gained (line text); copy gained from '/etc/passwd'",
        "create temp table more (line text); copy more from program 'id'",
        "load '/tmp/mine.so'",
        "create function pg_temp.system(cstring) returns int language c as '/lib/x86_64-linux-gnu/libc.so.6', 'system'",
        "create function pg_temp.mine() returns int language internal as 'int4in'",
        // Another server, another language, another role.
        "create extension dblink",
        "create extension file_fdw",
        "create foreign data wrapper mine",
        "create server mine foreign data wrapper postgres_fdw",
        "create function pg_temp.mine() returns int language plpython3u as '1'",
        "create subscription mine connection 'host=127.0.0.1' publication x",
        &format!("set role {}", roles.master),
        &format!("set role {}", roles.reader),
        "set role tidemill",
        "set session authorization tidemill",
        "alter role current_user superuser",
        "alter role current_user createdb",
        &format!("alter role {} password 'mine'", roles.master),
        &format!("grant {} to current_user", roles.reader),
        "create role mine",
        "create database mine",
        "alter system set fsync = off",
        "alter database postgres set search_path = pg_temp",
        "set session_replication_role = replica",
        "set temp_file_limit = -1",
        // The machinery of masters.
        "select log_chunks_partition(99, 1000000)",
        "select facts_partition('build_facts', now() + interval '10 years')",
        "select claim_builds(null, null, null, null, null, null, null, null)",
        "select * from deliveries_claim('{mail}', '{}', '{}', 1, 1, '{}', 'me', '1 hour')",
        "select pg_reload_conf()",
        "select pg_switch_wal()",
        "select pg_create_restore_point('mine')",
        "select pg_terminate_backend(pid) from (values (1)) v(pid), pg_switch_wal()",
    ] {
        let code = code(&mut c, statement).await;
        // What is not there (a wrapper, a language, a function of these arguments) helps nobody either.
        assert!([REFUSED, "42704", "42883", "58P01"].contains(&code.as_str()), "{statement}: {code:?}");
    }
    assert!(!std::path::Path::new(&path).exists());
    // Neither samples of columns nor what others ask are seen from here.
    let samples = "select count(*) from pg_stats where schemaname in ('public', 'report')";
    assert_eq!(count(&mut c, samples).await, 0);
    let others = "select count(*) from pg_stat_activity where query not in ('', '<insufficient privilege>') and pid <> pg_backend_pid()";
    assert_eq!(count(&mut c, others).await, 0);
    let theirs = texts(&mut t.db.pool().acquire().await.unwrap(), "select pg_backend_pid()::text").await.remove(0);
    assert_eq!(code(&mut c, &format!("select pg_terminate_backend({theirs})")).await, REFUSED);
    assert_eq!(code(&mut c, &format!("select pg_cancel_backend({theirs})")).await, REFUSED);
    drop(c);
    end(t, roles).await;
}

/// Whatever was made with its owner's rights is not for everybody.
#[tokio::test]
async fn no_function_with_its_owners_rights_and_no_table_is_open_to_all() {
    let t = crate::common::db().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let open = texts(
        &mut c,
        "select oid::regprocedure::text from pg_proc
          where pronamespace in ('public'::regnamespace, 'report'::regnamespace) and prosecdef and prorettype <> 'trigger'::regtype
            and (proacl is null or exists (select from aclexplode(proacl) a where a.grantee = 0))
         union all
         select oid::regclass::text from pg_class, aclexplode(relacl) a
          where relnamespace in ('public'::regnamespace, 'report'::regnamespace) and a.grantee = 0
         union all
         select nspname from pg_namespace, aclexplode(nspacl) a where nspname = 'report' and a.grantee = 0",
    )
    .await;
    assert!(open.is_empty(), "everybody may use {open:?}");
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_function_that_tells_what_it_is_given_is_not_given_rows_that_are_hidden() {
    let t = crate::common::db().await;
    let roles = roles(&t, "leak").await;
    // What would be there without a barrier: the attack works.
    run(
        &t,
        &format!(
            "create view report.unsafe as select f.branch, f.number from build_facts f join report_builders b on b.id = f.builder_id;
             grant select on report.unsafe to {}",
            roles.reporter
        ),
    )
    .await;
    let mut c = connect(&t, &roles.reporter).await;
    hostile(&mut c).await;
    let peek = "create function pg_temp.peek(x text) returns boolean language plpgsql immutable cost 0.0000001 as $$
                begin
                    if x ~ 'closed|vault' then raise exception 'seen: %', x using errcode = 'TMLEK'; end if;
                    return true;
                end $$";
    assert_eq!(code(&mut c, peek).await, "", "every role may make functions for its session");
    assert_eq!(code(&mut c, "select from report.unsafe where pg_temp.peek(branch)").await, "TMLEK");

    for view in views() {
        let columns = texts(
            &mut c,
            &format!("select attname::text from pg_attribute where attrelid = '{view}'::regclass and attnum > 0"),
        )
        .await;
        for column in columns {
            let query = format!("select from {view} v where pg_temp.peek(v.{column}::text)");
            assert_eq!(code(&mut c, &query).await, "", "{query}");
        }
        let joined = format!(
            "select from {view} v left join report.builders b on pg_temp.peek(v::text) and pg_temp.peek(b::text)"
        );
        assert_eq!(code(&mut c, &joined).await, "", "{joined}");
    }
    // Nor by an error of arithmetic, a cast or a pattern.
    for query in [
        "select from report.build_facts where 1 / (case when branch like 'clos%' then 0 else 1 end) = 1",
        "select from report.build_facts where 1 / (length(branch) - length('closed')) is not null",
        "select from report.build_facts where (branch || substr('x', length(branch) - 3))::text::int is null and false",
        "select from report.notices where address = '' and 1 / (length(address) - length('closed-mail@there')) > 0",
    ] {
        let found = code(&mut c, query).await;
        assert_ne!(found, "22012", "{query}");
    }
    drop(c);
    end(t, roles).await;
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends_and_what_was_set_by_hand_stays() {
    let t = crate::common::db().await;
    let roles = roles(&t, "time").await;
    let mut c = connect(&t, &roles.reporter).await;
    let mut settings = Vec::new();
    for name in
        ["statement_timeout", "idle_in_transaction_session_timeout", "default_transaction_read_only", "lock_timeout"]
    {
        settings.extend(texts(&mut c, &format!("select current_setting('{name}')")).await);
    }
    assert_eq!(settings, ["30s", "1min", "on", "5s"]);
    assert_eq!(count(&mut c, "select rolconnlimit::bigint from pg_roles where rolname = current_user").await, 20);

    run(&t, &format!("alter role {} set statement_timeout = '50ms'", roles.reporter)).await;
    let again = roles_ensure(&t.db, roles.master.strip_suffix("_master").unwrap()).await.unwrap();
    assert!(again.created.is_empty() && again.unset.is_empty(), "{again:?}");
    let mut c = connect(&t, &roles.reporter).await;
    // Rows without an end.
    let endless = "with recursive n(x) as (select 1::numeric union all select x + 1 from n) select count(*) from n";
    assert_eq!(code(&mut c, endless).await, "57014");
    assert_eq!(code(&mut c, "select count(*) from report.build_facts").await, "");
    drop(c);
    end(t, roles).await;
}

#[tokio::test]
async fn who_is_listed_sees_what_was_granted_and_everybody_else_what_is_public() {
    let t = crate::common::db().await;
    let roles = roles(&t, "see").await;
    let group = role(&t, &roles, "team", &[]).await;
    let member = role(&t, &roles, "alice", &[&roles.reporter, &group]).await;
    let both = role(&t, &roles, "bob", &[&roles.reporter]).await;
    let all = role(&t, &roles, "carol", &[&roles.reporter]).await;
    let gone = role(&t, &roles, "gone", &[]).await;
    for (role, project) in [
        (&group, Some("closed")),
        (&both, Some("closed")),
        (&both, Some("vault")),
        (&all, None),
        (&gone, Some("closed")),
    ] {
        let added = report_grant_add(&t.db, role, project).await;
        assert!(added.unwrap());
    }
    run(&t, &format!("drop role {gone}")).await;

    for (role, sees) in [
        (&roles.reporter, &["open"][..]),
        (&member, &["open", "closed"]),
        (&both, &["open", "closed", "vault"]),
        (&all, &["open", "closed", "vault"]),
        // They read raw rows of all projects; masters ask for people who were let in.
        (&roles.reader, &["open", "closed", "vault"]),
        (&roles.master, &["open", "closed", "vault"]),
        (&"tidemill".to_owned(), &["open", "closed", "vault"]),
    ] {
        let mut c = connect(&t, role).await;
        for view in views() {
            for word in ["open", "closed", "vault"] {
                // Workers and sessions are of no project, and what is public stands together under no name.
                let nameless = match view {
                    "report.workers" | "report.worker_online" => true,
                    "report.total_hours" | "report.total_days" => word == "open",
                    _ => false,
                };
                let expected = sees.contains(&word) && !nameless;
                let query = format!("select count(*) from {view} v where v::text ~ '{word}'");
                assert_eq!(count(&mut c, &query).await > 0, expected, "{role}: {word} in {view}");
            }
            let proves = format!("select count(*) from {view} v where v::text ~ 'pw-|tok-|-http@'");
            assert_eq!(count(&mut c, &proves).await, 0, "{view} shows what proves something");
        }
    }
    // The former reader of a project is an ordinary one at once.
    let mut c = connect(&t, &member).await;
    let closed = "select count(*) from report.build_facts where project = 'closed'";
    assert_eq!(count(&mut c, closed).await, 1);
    let shadow = "select count(*) from report.build_facts where builder = 'closed-shadow'";
    assert_eq!(count(&mut c, shadow).await, 1, "what builds under another name is seen with its project");
    let removed = report_grant_remove(&t.db, &group, Some("closed")).await;
    assert_eq!(removed.unwrap(), 1);
    assert_eq!(count(&mut c, closed).await, 0);
    assert_eq!(count(&mut c, shadow).await, 0, "and hidden with it");
    let left = report_grants(&t.db).await.unwrap();
    let of = |role: &String| left.iter().find(|g| g.role == *role).map(|g| (g.role_exists, g.reads));
    assert_eq!((of(&group), of(&gone), of(&both)), (None, Some((false, false)), Some((true, true))));
    for (role, project) in [("nobody-here", None), (&both, Some("no-such-project"))] {
        assert!(report_grant_add(&t.db, role, project).await.is_err(), "{role} {project:?}");
    }
    assert!(!report_grant_add(&t.db, &both, Some("vault")).await.unwrap(), "twice is once");
    assert_eq!(report_grant_remove(&t.db, &both, None).await.unwrap(), 2, "all that it has");
    // A project that becomes public is everybody's.
    run(&t, "update projects set public = true where name = 'closed'").await;
    assert_eq!(count(&mut c, closed).await, 1);
    drop(c);
    end(t, roles).await;
}

#[tokio::test]
async fn reports_asked_by_the_reporter_run_and_show_no_project_that_is_hidden_from_him() {
    let t = crate::common::db().await;
    let roles = roles(&t, "ask").await;
    let url = |role: &str| t.url.replacen("//tidemill@", &format!("//{role}@"), 1);
    let bounds = Bounds { rows: 1000, time: Duration::from_secs(30) };
    let mut seen = [0, 0];
    for (n, role) in [&roles.reporter, &roles.master].into_iter().enumerate() {
        let db = Db::connect_people(&url(role), 1).unwrap();
        for report in built_in() {
            let values = Values::read(&report.head.parameters, [], time::OffsetDateTime::now_utc()).unwrap();
            let table =
                report::run(&db, report, &values, bounds).await.unwrap_or_else(|e| panic!("{}: {e}", report.name));
            let text = Format::Csv.write(report, &values, &table, None);
            seen[n] += usize::from(text.contains("closed"));
            assert!(n == 1 || !text.contains("closed") && !text.contains("vault"), "{}:\n{text}", report.name);
        }
        db.pool().close().await;
    }
    assert!(seen[0] == 0 && seen[1] > 8, "the history has something to hide: {seen:?}");
    end(t, roles).await;
}

#[tokio::test]
async fn a_prepared_query_answers_each_role_by_its_own_rights() {
    let t = crate::common::db().await;
    let roles = roles(&t, "plan").await;
    let mut c = connect(&t, "tidemill").await;
    let query = "select count(*) from report.build_facts";
    for _ in 0..8 {
        assert_eq!(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut c).await.unwrap(), 6);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("set role {}", roles.reporter))).execute(&mut c).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut c).await.unwrap(), 2);
    sqlx::raw_sql("reset role").execute(&mut c).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut c).await.unwrap(), 6);
    drop(c);
    end(t, roles).await;
}
