//! The roles of `tidemill migrate --roles`: what each may do, and that this
//! stays so.

mod common;

use common::sql;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tidemill_schema::roles::{GRANTS, roles_ensure};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{migrate, tokens, workers};

/// Names that no other test of the server uses.
fn prefix(test: &str) -> String {
    format!("t{}_{test}", std::process::id())
}

/// The test's database as another role.
async fn connect(t: &TestDb, role: &str) -> PgConnection {
    PgConnection::connect(&t.url.replacen("//tidemill@", &format!("//{role}@"), 1)).await.unwrap()
}

/// The SQLSTATE of a statement, empty if it was done.
async fn code(c: &mut PgConnection, statement: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(c).await {
        Ok(_) => String::new(),
        Err(e) => e.as_database_error().and_then(|e| e.code().map(|c| c.into_owned())).unwrap_or(e.to_string()),
    }
}

async fn end(t: TestDb, prefix: &str) {
    for role in ["master", "notifier", "reader", "reporter"] {
        let drop = format!("drop owned by {prefix}_{role}; drop role {prefix}_{role}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(t.db.pool()).await.unwrap();
    }
    t.drop().await;
}

const REFUSED: &str = "42501";

#[tokio::test]
async fn the_reader_reads_history_and_can_neither_write_nor_see_what_proves_something() {
    let t = TestDb::new().await;
    common::project(&t.db, &["b"]).await;
    let session = common::worker(&t.db, "w").await;
    common::submit(&t.db, "b").await;
    let claim = common::claim(&t.db, session, 1, 1, 0).await.remove(0);
    let user = tokens::user_token_create(&t.db, "alice").await.unwrap();
    let prefix = prefix("read");
    let roles = roles_ensure(&t.db, &prefix).await.unwrap();
    assert_eq!(roles.created, ["master", "notifier", "reader", "reporter"].map(|role| format!("{prefix}_{role}")));
    let mut c = connect(&t, &roles.reader).await;

    let seen: (i64, String) = sqlx::query_as(
        "select b.id, u.name from builds b join builders u on u.id = b.builder_id
           join build_requests r on r.id = b.request_id join buildsets s on s.id = r.buildset_id",
    )
    .fetch_one(&mut c)
    .await
    .unwrap();
    assert_eq!(seen, (claim.build, "b".to_owned()));

    for g in GRANTS {
        for column in g.secret {
            assert_eq!(
                code(&mut c, &format!("select {column} from {}", g.table)).await,
                REFUSED,
                "{}.{column}",
                g.table
            );
        }
        if !g.reader {
            assert_eq!(code(&mut c, &format!("select * from {}", g.table)).await, REFUSED, "{}", g.table);
        }
        for statement in [format!("delete from {}", g.table), format!("truncate {}", g.table)] {
            assert_eq!(code(&mut c, &statement).await, REFUSED, "{statement}");
        }
    }
    for statement in [
        "with s as (insert into builder_settings (hash, properties, default_properties) values ('mine', '{}', '{}') returning id) insert into builders (name, settings_id) select 'mine', id from s",
        "update builds set results = 0",
        "select nextval('request_ticket')",
        "select log_chunks_partition(99, 1000000)",
        "create table public.mine (x int)",
    ] {
        assert_eq!(code(&mut c, statement).await, REFUSED, "{statement}");
    }
    // Nothing that it can read is one of the tokens.
    let worker_token = workers::worker_enrol(&t.db, "other").await.unwrap();
    for g in GRANTS.iter().filter(|g| g.reader) {
        let columns: Vec<String> = sqlx::query_scalar(
            "select attname::text from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
                and has_column_privilege(attrelid, attnum, 'select')",
        )
        .bind(g.table)
        .fetch_all(&mut c)
        .await
        .unwrap();
        let query = format!(
            "select coalesce(string_agg(x::text, ' '), '') from (select {} from {}) x",
            columns.join(", "),
            g.table
        );
        let text: String = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut c).await.unwrap();
        for secret in [&claim.token, &user, &worker_token] {
            assert!(!text.contains(secret.as_str()), "{} shows a token", g.table);
            let hash: String = tidemill_service::token::hash(secret).iter().map(|b| format!("{b:02x}")).collect();
            assert!(!text.contains(&hash), "{} shows a token's hash", g.table);
        }
    }
    c.close().await.unwrap();
    end(t, &prefix).await;
}

#[tokio::test]
async fn every_table_is_granted_on_purpose_and_nothing_that_sounds_secret_is_readable() {
    let t = TestDb::new().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
            and not relispartition order by 1",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    let mut granted: Vec<&str> = GRANTS.iter().map(|g| g.table).collect();
    granted.sort_unstable();
    assert_eq!(granted, tables, "a table has a line in GRANTS, and the reverse");
    let suspicious: Vec<(String, String)> = sqlx::query_as(
        "select attrelid::regclass::text, attname::text from pg_attribute
          where attrelid = any($1::regclass[]) and attnum > 0 and not attisdropped and attname ~ 'token|hash|secret|key|password'",
    )
    .bind(&tables)
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    // Hashes of contents and of what may merge, and the name under which a client posted a change.
    let harmless = [
        ("sourcestamps", "hash"),
        ("builder_settings", "hash"),
        ("config_revisions", "hash"),
        ("changes", "idempotency_key"),
        ("build_requests", "collapse_key"),
        ("buildsets", "dedupe_key"),
        ("tries", "idempotency_key"),
        // What comes one after the other.
        ("deliveries", "order_key"),
    ];
    for (table, column) in suspicious {
        let g = GRANTS.iter().find(|g| g.table == table).unwrap();
        let hidden = !g.reader || g.secret.contains(&column.as_str());
        assert!(hidden || harmless.contains(&(&table, &column)), "{table}.{column} would be readable");
    }
    t.drop().await;
}

#[tokio::test]
async fn the_master_role_can_neither_enrol_nor_make_tokens_nor_tables_and_makes_builders_and_partitions() {
    let t = TestDb::new().await;
    let prefix = prefix("make");
    let roles = roles_ensure(&t.db, &prefix).await.unwrap();
    let mut c = connect(&t, &roles.master).await;
    for statement in [
        "insert into user_tokens (name, hash) values ('me', 'x')",
        "update workers set token_hash = 'x'",
        "insert into workers (name) values ('me')",
        "update cluster set epoch = epoch + 1",
        "drop table events",
        "truncate events",
        "update build_facts set turn = 'broke'",
        "delete from request_facts",
        "insert into report_grants (role) values ('me')",
        "update cluster set facts_since = now()",
        "create table public.mine (x int)",
        "alter function builder_sequence() reset search_path",
    ] {
        assert_eq!(code(&mut c, statement).await, REFUSED, "{statement}");
    }
    // A table of its own in the way of a function with the owner's rights changes nothing.
    let statements = "create temp table log_chunks (x int);
         select log_chunks_partition(77, 1000000);
         create temp table build_facts (x int);
         select facts_partition('build_facts', '2001-02-03');
         with s as (insert into builder_settings (hash, properties, default_properties) values ('made', '{}', '{}') returning id) insert into builders (name, settings_id) select 'made', id from s;";
    assert_eq!(code(&mut c, statements).await, "");
    let (made, number): (bool, i64) = sqlx::query_as(
        "select exists (select 1 from pg_inherits where inhrelid = 'public.log_chunks_77'::regclass
                                                    and inhparent = 'public.log_chunks'::regclass)
                and exists (select 1 from pg_inherits where inhrelid = 'public.build_facts_2001_02'::regclass
                                                        and inhparent = 'public.build_facts'::regclass),
                (select build_number_next(id) from builders where name = 'made')",
    )
    .fetch_one(&mut c)
    .await
    .unwrap();
    assert!(made);
    assert_eq!(number, 1, "the sequence of a new builder is granted");
    c.close().await.unwrap();
    end(t, &prefix).await;
}

#[tokio::test]
async fn the_notifier_role_writes_notices_and_nothing_else_and_sees_no_token() {
    let t = TestDb::new().await;
    common::project(&t.db, &["b"]).await;
    common::submit(&t.db, "b").await;
    let prefix = prefix("tell");
    let roles = roles_ensure(&t.db, &prefix).await.unwrap();
    let mut c = connect(&t, &roles.notifier).await;
    for statement in [
        "insert into notifier_leases (network, holder, held_until) values ('libera', 'me', now())",
        "delete from notifier_leases",
        "insert into event_readers (name, xid, id) values ('mine', 0, 0) on conflict do nothing",
        "update deliveries set state = 'due' where false",
        "select files, definition from config_revisions",
        "select link_key from cluster",
        "select version from _sqlx_migrations",
    ] {
        assert_eq!(code(&mut c, statement).await, "", "{statement}");
    }
    for statement in [
        "delete from deliveries",
        "delete from events",
        "insert into events (kind, data) values ('builds.finished', '{}')",
        "update builds set results = 0",
        "update build_requests set priority = 9",
        "insert into notice_optouts (address, reporter) values ('a@b', '')",
        "update cluster set epoch = epoch + 1",
        "update active_revision set revision_id = 1",
        "select form_key from cluster",
        "select token from builds",
        "select token from leases",
        "select token_hash from workers",
        "select * from user_tokens",
        "create table public.mine (x int)",
    ] {
        assert_eq!(code(&mut c, statement).await, REFUSED, "{statement}");
    }
    c.close().await.unwrap();
    end(t, &prefix).await;
}

#[tokio::test]
async fn roles_twice_are_once_and_each_migrate_grants_again_and_another_prefix_takes_all_away() {
    let t = TestDb::new().await;
    let (one, two) = (prefix("one"), prefix("two"));
    roles_ensure(&t.db, &one).await.unwrap();
    let again = roles_ensure(&t.db, &one).await.unwrap();
    assert!(again.created.is_empty());

    // What somebody granted or took by hand is put right.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "grant select on user_tokens to {one}_reader; revoke select on builds from {one}_reader"
    )))
    .execute(t.db.pool())
    .await
    .unwrap();
    migrate::migrate(&t.db).await.unwrap();
    let mut c = connect(&t, &format!("{one}_reader")).await;
    assert_eq!(code(&mut c, "select id from builds").await, "");
    assert_eq!(code(&mut c, "select id from user_tokens").await, REFUSED);

    roles_ensure(&t.db, &two).await.unwrap();
    assert_eq!(code(&mut c, "select id from builds").await, REFUSED, "the former roles keep nothing");
    c.close().await.unwrap();

    // A database restored where the roles are missing is migrated all the same.
    let roles = ["master", "notifier", "reader", "reporter"].map(|role| format!("{two}_{role}")).join(", ");
    let gone = format!("drop owned by {roles}; drop role {roles}");
    sqlx::raw_sql(AssertSqlSafe(gone)).execute(t.db.pool()).await.unwrap();
    migrate::migrate(&t.db).await.unwrap();
    end(t, &one).await;
}

#[tokio::test]
async fn an_owner_that_may_make_no_roles_is_told_what_to_run() {
    let t = TestDb::new().await;
    let prefix = prefix("ask");
    let owner = format!("{prefix}_owner");
    let hand_over = format!(
        "create role {owner} login; create schema own authorization {owner}; alter role {owner} set search_path = own"
    );
    sqlx::raw_sql(AssertSqlSafe(hand_over)).execute(t.db.pool()).await.unwrap();
    let url = t.url.replacen("//tidemill@", &format!("//{owner}@"), 1);
    let db = tidemill_schema::Db::connect(&url, 2).await.unwrap();
    migrate::migrate(&db).await.unwrap();
    let error = roles_ensure(&db, &prefix).await.unwrap_err().to_string();
    let all = ["master", "notifier", "reader", "reporter"].map(|role| {
        let most = if role == "reporter" { " connection limit 20" } else { "" };
        format!("create role \"{prefix}_{role}\" login{most}")
    });
    let all = all.join("; ");
    assert!(error.contains(&all), "{error}");

    // Made by somebody who may, they are used; in another schema than `public` too.
    sqlx::raw_sql(AssertSqlSafe(all)).execute(t.db.pool()).await.unwrap();
    let roles = roles_ensure(&db, &prefix).await.unwrap();
    assert!(roles.created.is_empty() && !roles.sees_others);
    // It may not say either how their sessions begin, and tells who is to.
    let reporter = &roles.reporter;
    assert!(roles.unset.contains(&format!("alter role \"{reporter}\" set statement_timeout = '30s'")), "{roles:?}");
    sqlx::raw_sql(AssertSqlSafe(roles.unset.join("; "))).execute(t.db.pool()).await.unwrap();
    let roles = roles_ensure(&db, &prefix).await.unwrap();
    assert!(roles.unset.is_empty());
    let mut c = connect(&t, &roles.master).await;
    assert_eq!(code(&mut c, "set search_path = own; with s as (insert into builder_settings (hash, properties, default_properties) values ('b', '{}', '{}') returning id) insert into builders (name, settings_id) select 'b', id from s; select build_number_next(id) from builders").await, "");
    c.close().await.unwrap();
    db.pool().close().await;
    sqlx::raw_sql(AssertSqlSafe(format!("drop owned by {owner} cascade; drop role {owner}")))
        .execute(t.db.pool())
        .await
        .unwrap();
    end(t, &prefix).await;
}

#[tokio::test]
async fn a_prefix_that_is_no_plain_name_is_refused() {
    let t = TestDb::new().await;
    assert!(roles_ensure(&t.db, "a\"; drop table builds; --").await.is_err());
    sql(&t, "select 1 from builds").await;
    t.drop().await;
}
