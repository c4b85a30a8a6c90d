//! `tidemill report backfill`, `rebuild`, `drop`, `grant`, `revoke`, `grants`: what they do to a
//! database, what they say, and how they end.

use serde_json::{Value, json};
use std::process::{Command, Stdio};
use tidemill_tests::Cluster;
use tidemill_tests::process::program;

/// A command that ended: exit code, data, talk.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub talk: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.talk))
    }

    /// That it ended so, with this in what it said to a person.
    #[track_caller]
    pub fn refused(&self, code: i32, said: &str) {
        assert_eq!(self.code, Some(code), "{} {}", self.out, self.talk);
        assert!(self.talk.contains(said), "{}", self.talk);
        assert_eq!(self.out, "", "talk goes to stderr");
    }

    #[track_caller]
    pub fn good(self) -> Ended {
        assert_eq!(self.code, Some(0), "{} {}", self.out, self.talk);
        self
    }
}

pub fn report_at(url: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(program("tidemill"));
    command.arg("report").args(args).env("TIDEMILL_DATABASE_URL", url).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), talk: text(output.stderr) }
}

fn report(t: &Cluster, args: &[&str]) -> Ended {
    report_at(t.postgres.url(), args)
}

async fn sql(t: &Cluster, statements: &'static str) {
    sqlx::raw_sql(statements).execute(t.db.pool()).await.unwrap();
}

async fn text(t: &Cluster, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(t.db.pool()).await.unwrap()
}

/// Forty builds of 2026, one a day from the 10th of January on; every fourth failed.
pub async fn history(t: &Cluster) {
    sql(
        t,
        "with s as (insert into builder_settings (hash, properties, default_properties) values ('x', '{}', '{}') returning id)
         insert into builders (name, settings_id) select 'b', id from s;
         insert into workers (name) values ('w');
         insert into buildsets (reason, submitted_at, complete_at, results)
         select 'r', '2026-01-09 12:00Z'::timestamptz + n * interval '1 day', '2026-01-09 13:00Z'::timestamptz + n * interval '1 day', 0
           from generate_series(1, 40) n;
         insert into build_requests (buildset_id, builder_id, submitted_at, complete_at, results)
         select id, 1, submitted_at, complete_at, 0 from buildsets;
         insert into builds (builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id,
                             settings_id, state, started_at, complete_at, results)
         select 1, id, id, 1, 1, 1, 1, '', 1, 1, 'finished', submitted_at + interval '5 minutes',
                submitted_at + interval '15 minutes', case when id % 4 = 0 then 2 else 0 end
           from build_requests",
    )
    .await;
}

const SUMS: &str = "select count(*) || ' days, ' || coalesce(sum(builds), 0) || ' builds, ' || coalesce(sum(failure), 0) || ' failed' from build_days";

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_stores_what_is_missing_once_and_tells_how_much() {
    let t = Cluster::start().await;
    history(&t).await;
    // Where nobody followed yet all is missing.
    let all = report(&t, &["backfill", "--from", "31"]).good();
    assert_eq!(all.out, "40 builds stored\n");
    assert_eq!(report(&t, &["backfill", "--json"]).good().json(), json!({ "builds": 0 }));
    assert_eq!(text(&t, SUMS).await, "40 days, 40 builds, 10 failed");
    sql(&t, "delete from build_facts where build_id > 20").await;
    let later = report(&t, &["backfill", "--from", "31", "--json"]).good();
    assert_eq!(later.json(), json!({ "builds": 10 }));
    assert_eq!(report(&t, &["backfill"]).good().out, "10 builds stored\n");
    assert_eq!(text(&t, "select count(*)::text from build_facts").await, "40");
    report(&t, &["backfill", "--from", "soon"]).refused(2, "--from");
    report(&t, &["backfill", "extra"]).refused(2, "extra");
    let nowhere = report_at("postgres://tidemill@127.0.0.1:1/none", &["backfill"]);
    nowhere.refused(9, "database");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_of_whole_days_are_rebuilt_from_facts_and_no_others_are_touched() {
    let t = Cluster::start().await;
    history(&t).await;
    report(&t, &["backfill"]).good();
    sql(&t, "update build_days set builds = 100; delete from build_hours; delete from worker_hours").await;
    // From the day of `--since` on, up to the day of `--until`.
    let args = ["rebuild", "--since", "2026-01-12 17:30", "--until", "2026-01-14 09:00"];
    assert_eq!(report(&t, &args).good().out, "The sums of these days are as the facts say.\n");
    let right =
        "select string_agg(to_char(day at time zone 'UTC', 'DD'), ' ' order by day) from build_days where builds = 1";
    assert_eq!(text(&t, right).await, "12 13");
    let done = report(&t, &["rebuild", "--since", "2026-01-01", "--until", "2026-03-01", "--json"]).good();
    assert_eq!(done.json(), json!({ "rebuilt": true }));
    assert_eq!(text(&t, SUMS).await, "40 days, 40 builds, 10 failed");
    assert_eq!(text(&t, "select sum(builds)::text from worker_hours").await, "40");

    report(&t, &["rebuild"]).refused(2, "--since");
    report(&t, &["rebuild", "--since", "soon"]).refused(2, "--since: give how far back");
    report(&t, &["rebuild", "--since", "2026-01-01", "--until", "2026-13-01"]).refused(2, "--until");
    // Nothing to do is no mistake.
    report(&t, &["rebuild", "--since", "2026-02-01", "--until", "2026-01-01"]).good();
    // What was dropped cannot be counted again.
    report(&t, &["drop", "--before", "2026-02-01", "--yes"]).good();
    report(&t, &["rebuild", "--since", "2026-01-31"]).refused(2, "rebuild from that day on");
    report(&t, &["rebuild", "--since", "2026-02-01", "--until", "2026-03-01"]).good();
    assert_eq!(text(&t, SUMS).await, "40 days, 40 builds, 10 failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_months_that_are_over_before_the_day_are_dropped_and_only_if_somebody_says_so() {
    let t = Cluster::start().await;
    history(&t).await;
    report(&t, &["backfill"]).good();
    let facts = "select count(*)::text from build_facts";
    report(&t, &["drop", "--yes"]).refused(2, "--before");
    report(&t, &["drop", "--before", "yesterday", "--yes"]).refused(2, "--before: give how far back");
    report(&t, &["drop", "--before", "2026-02-10"]).refused(2, "--yes does it");
    // A month that has begun before that day stays whole.
    let none = report(&t, &["drop", "--before", "2026-01-31", "--yes"]).good();
    assert_eq!(none.out, "Nothing is that old.\n");
    assert_eq!(
        report(&t, &["drop", "--before", "2026-01-31", "--yes", "--json"]).good().json(),
        json!({ "dropped": [] })
    );
    assert_eq!(text(&t, facts).await, "40");
    let gone = report(&t, &["drop", "--before", "2026-02-10", "--yes", "--json"]).good().json();
    let gone: Vec<&str> = gone["dropped"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(gone, ["build_facts_2026_01", "request_facts_2026_01"]);
    assert_eq!(text(&t, facts).await, "18", "those of February");
    assert_eq!(text(&t, SUMS).await, "40 days, 40 builds, 10 failed");
    assert_eq!(report(&t, &["drop", "--before", "2026-02-10", "--yes"]).good().out, "Nothing is that old.\n");
    // And a backfill does not bring them back.
    assert_eq!(report(&t, &["backfill"]).good().out, "0 builds stored\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_given_listed_and_taken_back_and_say_what_is_missing() {
    let t = Cluster::start().await;
    sql(
        &t,
        "insert into projects (name, active, public) values ('secret', true, false), ('more', true, false);
         create role ada login; create role \"od'd \"\"name\"\"\" login",
    )
    .await;
    assert_eq!(report(&t, &["grants", "--json"]).good().json(), json!([]));
    let nothing = report(&t, &["grants"]).good();
    assert_eq!(nothing.out, "");
    assert!(nothing.talk.contains("Nothing is granted"), "{}", nothing.talk);

    report(&t, &["grant", "ada"]).refused(2, "--all");
    report(&t, &["grant", "ada", "secret", "--all"]).refused(2, "cannot be used with");
    report(&t, &["grant", "nobody", "secret"]).refused(7, "create role \"nobody\" login");
    report(&t, &["grant", "ada", "sercet"]).refused(7, "no revision ever defined a project `sercet`");

    let given = report(&t, &["grant", "ada", "secret"]).good();
    assert_eq!(given.out, "ada sees project secret\n");
    assert!(given.talk.contains("grant tidemill_reporter to \"ada\""), "it may not read the views: {}", given.talk);
    assert_eq!(report(&t, &["grant", "ada", "secret"]).good().out, "ada sees project secret, as before\n");
    let migrated = Command::new(program("tidemill"))
        .args(["migrate", "--roles", "--json"])
        .env("TIDEMILL_DATABASE_URL", t.postgres.url())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    sql(&t, "grant tidemill_reporter to ada").await;
    let all = report(&t, &["grant", "ada", "--all", "--json"]).good();
    assert_eq!(all.json(), json!({ "role": "ada", "project": null, "added": true, "reads": true }));
    assert_eq!(all.talk, "");
    report(&t, &["grant", "od'd \"name\"", "more"]).good();

    let told =
        |row: &Value| (row["role"].clone(), row["project"].clone(), row["reads"].clone(), row["role_exists"].clone());
    let listed = report(&t, &["grants", "--json"]).good().json();
    let of = |role: &str| -> Vec<_> {
        listed.as_array().unwrap().iter().filter(|row| row["role"] == role).map(told).collect()
    };
    let row = |role: &str, project: Value, reads: bool| (json!(role), project, json!(reads), json!(true));
    assert_eq!(of("ada"), [row("ada", Value::Null, true), row("ada", json!("secret"), true)]);
    assert_eq!(of("od'd \"name\""), [row("od'd \"name\"", json!("more"), false)]);
    let table = report(&t, &["grants"]).good().out;
    assert!(table.contains("(all projects)") && table.contains("may not read the views"), "{table}");

    let still = report(&t, &["revoke", "ada", "secret"]).good();
    assert_eq!(still.out, "1 grant taken back from ada\n");
    assert!(still.talk.contains("goes on seeing it"), "{}", still.talk);
    report(&t, &["revoke", "ada", "secret"]).refused(7, "take that back with --all");
    report(&t, &["revoke", "ada"]).refused(2, "--all");
    let gone = report(&t, &["revoke", "ada", "--all", "--json"]).good();
    assert_eq!(gone.json(), json!({ "role": "ada", "project": null, "removed": 1 }));
    report(&t, &["revoke", "ada", "--all"]).refused(7, "ada has nothing");
    // Also of a role that is gone.
    sql(&t, "drop role \"od'd \"\"name\"\"\"").await;
    let table = report(&t, &["grants"]).good().out;
    assert!(table.contains("the database has no such role any more"), "{table}");
    report(&t, &["revoke", "od'd \"name\"", "more"]).good();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_is_refused_and_changes_nothing() {
    let t = Cluster::start().await;
    history(&t).await;
    report(&t, &["backfill"]).good();
    let migrated = Command::new(program("tidemill"))
        .args(["migrate", "--roles", "ci"])
        .env("TIDEMILL_DATABASE_URL", t.postgres.url())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    sql(&t, "insert into projects (name, active, public) values ('secret', true, false)").await;
    for role in ["ci_reporter", "ci_reader", "ci_notifier", "ci_master"] {
        let url = t.database_as(role);
        for args in [
            &["backfill"][..],
            &["rebuild", "--since", "2026-01-10"],
            &["drop", "--before", "2026-02-10", "--yes"],
            &["grant", role, "secret"],
            &["revoke", "ci_master", "--all"],
        ] {
            // The master stores facts: only what drops them and who may read them is not for it.
            if role == "ci_master" && matches!(args[0], "backfill" | "rebuild") {
                continue;
            }
            let ended = report_at(&url, args);
            // The reporter's sessions are read-only, as those of a server that others replicate to.
            let said = match ended.code {
                Some(8) => ["permission denied", "run it as the role that migrates"],
                Some(9) if role == "ci_reporter" => ["read-only transaction"; 2],
                code => panic!("{role} {args:?}: {code:?} {} {}", ended.out, ended.talk),
            };
            assert!(said.iter().any(|text| ended.talk.contains(text)), "{role} {args:?}: {}", ended.talk);
            assert_eq!(ended.out, "", "{role} {args:?}");
        }
    }
    assert_eq!(text(&t, "select count(*)::text from build_facts").await, "40");
    assert_eq!(text(&t, "select count(*)::text from report_grants where role = 'ci_reporter'").await, "0");
    // And one that is not there says so, without a password in its words.
    let wrong = t.postgres.url().replacen("tidemill@", "nobody:geheim@", 1);
    let ended = report_at(&wrong, &["grants"]);
    assert!(matches!(ended.code, Some(8 | 9)) && !ended.talk.contains("geheim"), "{:?} {}", ended.code, ended.talk);
}
