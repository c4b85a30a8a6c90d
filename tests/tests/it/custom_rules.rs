//! Schedulers and pollers that are functions of the project, on two replicas:
//! what they decide is stored exactly once, what they fail on is not lost, and
//! none of them holds up the others.

use serde_json::{Value, json};
use tidemill_model::NewChange;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::run_tx;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, Pages, Repository, invariants, wait_until};

/// A builder `b` that any worker builds, after the text of a rule, and a configuration `c`.
fn project(functions: &str, rest: &str) -> String {
    format!(
        "{functions}\nc = {{}}\n\
         f = util.BuildFactory([steps.ShellCommand(name = \"run\", command = [\"true\"])])\n\
         c[\"builders\"] = [util.BuilderConfig(name = name, workernames = [\"*\"], factory = f, collapseRequests = False) for name in [\"b\", \"other\"]]\n\
         {rest}\n"
    )
}

async fn announce(t: &Cluster, revision: &str) {
    let change = NewChange { revision: Some(revision.into()), ..NewChange::default() };
    run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(&change), None).await).unwrap();
}

async fn rows<T>(t: &Cluster, sql: &'static str) -> Vec<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_all(t.db.pool()).await.unwrap()
}

/// Waits until a question has this answer.
async fn until<T>(t: &Cluster, sql: &'static str, wanted: T)
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres>
        + sqlx::Type<sqlx::Postgres>
        + Send
        + Unpin
        + PartialEq
        + std::fmt::Debug,
{
    wait_until(sql, || async {
        let found: Option<T> = sqlx::query_scalar(sql).fetch_one(t.db.pool()).await.map_err(|e| e.to_string())?;
        holds(found.as_ref() == Some(&wanted), format!("{found:?}, and not {wanted:?}"))
    })
    .await;
}

const BUILDSETS: &str = "select count(*) from buildsets";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_counts_changes_schedules_each_exactly_once_on_two_replicas_though_masters_are_killed() {
    let mut t = Cluster::start().await;
    let (a, _) = (t.master().await, t.master().await);
    let counting = project(
        r#"
def rule(ctx):
    for c in ctx.changes:
        if c.important:
            ctx.state["seen"] = ctx.state.get("seen", 0) + 1
            ctx.addBuildset(
                changes = [c],
                properties = {"n": ctx.state["seen"], "asked": len(master_builders(ctx))},
                reason = "number %d" % ctx.state["seen"],
                priority = 3,
            )
def master_builders(ctx):
    return ctx.master.builders(limit = 10)
"#,
        r#"
c["schedulers"] = [schedulers.Custom(
    name = "counts", builderNames = ["b"], rule = rule,
    change_filter = util.ChangeFilter(filter_fn = lambda change: change.revision != "no"),
    fileIsImportant = lambda change: change.revision != "unimportant",
)]
"#,
    );
    t.configure(a, &counting).await;
    let many = async |from: usize| {
        for i in from..from + 30 {
            announce(&t, &format!("r{i}")).await;
        }
    };
    announce(&t, "no").await;
    announce(&t, "unimportant").await;
    many(0).await;
    until(&t, BUILDSETS, 30_i64).await;
    // State and cursor are in the row: whoever takes it goes on.
    let address = t.masters[a].address;
    t.masters.iter_mut().for_each(|m| m.process.kill9());
    for i in 30..60 {
        announce(&t, &format!("r{i}")).await;
    }
    t.master_restart(a, address).await;
    until(&t, BUILDSETS, 60_i64).await;
    let numbers: Vec<i64> = rows(&t, "select (properties #>> '{n,0}')::bigint from buildsets order by id").await;
    assert_eq!(numbers, (1..=60).collect::<Vec<i64>>(), "in order, none twice");
    let changes: Vec<String> = rows(
        &t,
        "select c.revision from buildset_changes x join changes c on c.id = x.change_id order by x.buildset_id",
    )
    .await;
    assert_eq!(changes, (0..60).map(|i| format!("r{i}")).collect::<Vec<_>>());
    let asked: Vec<Value> = rows(&t, "select distinct properties -> 'asked' -> 0 from buildsets").await;
    assert_eq!(asked, [json!(2)], "a rule may ask the master");
    let rest: Vec<String> = rows(&t, "select distinct reason || (select min(priority)::text from build_requests) from buildsets where reason = 'number 60'").await;
    assert_eq!(rest, ["number 603"]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_this_release_cannot_read_holds_up_nobody_and_loses_no_change() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let two = r#"
c["schedulers"] = [
    schedulers.SingleBranchScheduler(name = n, builderNames = ["b"], change_filter = util.ChangeFilter(branch = None))
    for n in ["definition", "state", "good"]
]
"#;
    t.configure(m, &project("", two)).await;
    // As another release may have left them.
    sqlx::raw_sql(
        "alter table schedulers add column was jsonb;
         update schedulers set was = definition, definition = '{\"kind\": \"OfTomorrow\"}' where name = 'definition';
         update schedulers set was = state, state = '[\"of tomorrow\"]' where name = 'state'",
    )
    .execute(t.db.pool())
    .await
    .unwrap();
    announce(&t, "r1").await;
    until(&t, "select count(*) from buildsets where scheduler = 'good'", 1_i64).await;
    until(&t, "select count(distinct name) from policy_failures where subject = 'scheduler'", 2_i64).await;
    sqlx::raw_sql(
        "update schedulers set definition = was where name = 'definition';
         update schedulers set state = was where name = 'state';
         update schedulers set retry_at = null, failures = 0",
    )
    .execute(t.db.pool())
    .await
    .unwrap();
    until(&t, BUILDSETS, 3_i64).await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_rule_loses_no_change_holds_up_nobody_and_goes_on_when_it_is_repaired() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let of = |rule: &str, builders: &str| {
        project(
            &format!("def rule(ctx):\n    {rule}\ndef builders(changes):\n    {builders}\n"),
            r#"
c["schedulers"] = [
    schedulers.Custom(name = "broken", builderNames = ["b"], rule = rule),
    schedulers.SingleBranchScheduler(name = "nobody", builderNames = builders, priority = lambda builders, changes: 10 * len(builders)),
    schedulers.SingleBranchScheduler(name = "good", builderNames = ["other"], priority = lambda builders, changes: fail("no priority")),
]
"#,
        )
    };
    t.configure(a, &of("fail(\"not yet\")", "return [b for b in [\"b\"] if fail(\"who\")]")).await;
    for i in 0..10 {
        announce(&t, &format!("r{i}")).await;
    }
    until(&t, "select count(*) from buildsets where scheduler = 'good'", 10_i64).await;
    until(&t, "select max(failures) > 1 from schedulers where name = 'broken'", true).await;
    until(
        &t,
        "select string_agg(name || ' ' || policy, ', ' order by name) from policy_failures",
        "broken rule, good priority, nobody builderNames".to_owned(),
    )
    .await;
    let told: Vec<String> = rows(&t, "select error from policy_failures where policy = 'rule'").await;
    assert!(told[0].contains("not yet") && told[0].contains("master.star:"), "{told:?}");
    assert_eq!(rows::<i64>(&t, BUILDSETS).await, [10]);

    t.configure(b, &of("[ctx.addBuildset(changes = [c]) for c in ctx.changes]", "return [\"b\", \"other\"]")).await;
    until(&t, BUILDSETS, 30_i64).await;
    for name in ["broken", "nobody"] {
        let of: Vec<String> = sqlx::query_scalar(
            "select c.revision from buildsets s join buildset_changes x on x.buildset_id = s.id
               join changes c on c.id = x.change_id where s.scheduler = $1 order by s.id",
        )
        .bind(name)
        .fetch_all(t.db.pool())
        .await
        .unwrap();
        assert_eq!(of, (0..10).map(|i| format!("r{i}")).collect::<Vec<_>>(), "{name}");
    }
    let priorities: Vec<String> = rows(
        &t,
        "select distinct s.scheduler || ' ' || r.priority from build_requests r join buildsets s on s.id = r.buildset_id order by 1",
    )
    .await;
    assert_eq!(priorities, ["broken 0", "good 0", "nobody 20"]);
    assert_eq!(rows::<i64>(&t, "select sum(failures) from schedulers").await, [0]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_hears_of_each_finished_buildset_of_its_upstream_once() {
    let mut t = Cluster::start().await;
    let (a, _) = (t.master().await, t.master().await);
    let text = project(
        r#"
def rule(ctx):
    for f in ctx.finished:
        if f.results == SUCCESS:
            ctx.addBuildset(sourcestamps = f.sourcestamps, properties = {"of": f.buildset, "by": f.properties["scheduler"]})
def tick(ctx):
    # Changes call it too, and do not move the time that it asked for.
    if ctx.timer:
        ctx.state["calls"] = ctx.state.get("calls", 0) + 1
        if ctx.state["calls"] == 1:
            ctx.wakeAt(ctx.now + 0.5)
        else:
            ctx.addBuildset(reason = "call %d" % ctx.state["calls"])
"#,
        r#"
c["schedulers"] = [
    schedulers.SingleBranchScheduler(name = "up", builderNames = ["b"]),
    schedulers.Custom(name = "down", builderNames = ["other"], rule = rule, upstream = ["up"]),
    schedulers.Custom(name = "ticks", builderNames = ["other"], rule = tick, interval = 3600),
]
"#,
    );
    t.configure(a, &text).await;
    t.worker("w", &t.master_url(a), 4).await;
    for i in 0..8 {
        announce(&t, &format!("r{i}")).await;
    }
    until(&t, "select count(*) from buildsets where scheduler = 'down'", 8_i64).await;
    // One that finishes now is told of; what the rule made itself is not its upstream.
    announce(&t, "last").await;
    until(&t, "select count(*) from buildsets where scheduler = 'down'", 9_i64).await;
    let of: Vec<i64> = rows(
        &t,
        "select distinct u.id from buildsets d join buildsets u on u.id = (d.properties #>> '{of,0}')::bigint
          where d.scheduler = 'down' and u.scheduler = 'up' and d.properties #>> '{by,0}' = 'up'
            and buildset_stamps(u.id) = buildset_stamps(d.id)",
    )
    .await;
    assert_eq!(of.len(), 9);
    until(&t, "select string_agg(reason, ' ') from buildsets where scheduler = 'ticks'", "call 2".to_owned()).await;
    until(&t, "select bool_and(complete_at is not null) from buildsets", true).await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_poller_announces_each_thing_once_though_its_master_is_killed() {
    let mut t = Cluster::start().await;
    let server = Pages::default();
    server.say("/tags", json!([{"name": "v1"}]));
    server.say("/away", "redirect http://169.254.169.254/latest/meta-data");
    let url = server.start().await;
    let (a, b) = (t.master().await, t.master().await);
    let text = project(
        r#"
def poll(ctx):
    known = ctx.state.setdefault("known", [])
    for tag in ctx.http(ctx.attrs.url + "/tags", headers = {"x-from": "test"}).data:
        if tag["name"] not in known:
            end = ctx.command(["sh", "-c", "cat; pwd; echo $HOME; env | grep -c TIDEMILL; echo oops >&2; exit 3"], stdin = "in:")
            ctx.addChange(
                author = "poller", revision = tag["name"], comments = end.stdout, files = ["a"],
                properties = {"rc": end.rc, "err": end.stderr, "missing": ctx.http(ctx.attrs.url + "/nothing").status},
            )
            known.append(tag["name"])
def stray(ctx):
    ctx.http(ctx.attrs.url + "/away")
"#,
        &format!(
            r#"
c["change_source"] = [
    changes.PollingChangeSource(name = "tags", poll = poll, pollInterval = 0.1, attrs = {{"url": "{url}"}}, project = "p"),
    changes.PollingChangeSource(name = "stray", poll = stray, pollInterval = 0.1, attrs = {{"url": "{url}"}}),
]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "all", builderNames = ["b"])]
"#
        ),
    );
    t.configure(a, &text).await;
    until(&t, BUILDSETS, 1_i64).await;
    let (mut comments, properties): (String, Value) =
        sqlx::query_as("select comments, properties from changes").fetch_one(t.db.pool()).await.unwrap();
    comments.retain(|c| c != '\n');
    let folder =
        comments.strip_prefix("in:").and_then(|c| c.strip_suffix('0')).expect("stdin first, no TIDEMILL_* variable");
    assert_eq!(folder.split_at(folder.len() / 2).0, folder.split_at(folder.len() / 2).1, "its folder is its home");
    assert!(!std::path::Path::new(&folder[..folder.len() / 2]).exists(), "and is gone");
    let value = |name: &str| properties[name][0].clone();
    assert_eq!((value("rc"), value("err"), value("missing")), (json!(3), json!("oops\n"), json!(404)));

    let errors = "select error from change_sources where name = 'stray' and error is not null";
    let stray = wait_until("the stray poller to be refused", || async {
        let found: Option<String> =
            sqlx::query_scalar(errors).fetch_optional(t.db.pool()).await.map_err(|e| e.to_string())?;
        found.ok_or("not yet".to_owned())
    })
    .await;
    assert!(stray.contains("169.254.169.254 is a link-local or metadata address"), "{stray}");
    until(
        &t,
        "select count(*) from policy_failures where subject = 'change source' and name = 'stray' and policy = 'poll'",
        1_i64,
    )
    .await;

    // Whichever of the two holds no poll dies now; the other one has all that it needs in the row.
    let held: i64 = rows(&t, "select coalesce(max(holder), 0) from change_sources where name = 'tags'").await[0];
    let names: Vec<i64> = rows(&t, "select id from masters order by id").await;
    let (dies, lives) = if names.get(a) == Some(&held) { (b, a) } else { (a, b) };
    t.masters[dies].process.kill9();
    // If it was in the middle of a poll after all, its lease passes.
    sqlx::query("update change_sources set held_until = tidemill_now() where holder = $1")
        .bind(names[dies])
        .execute(t.db.pool())
        .await
        .unwrap();
    server.say("/tags", json!([{"name": "v1"}, {"name": "v2"}]));
    until(&t, BUILDSETS, 2_i64).await;
    let found: Vec<String> = rows(&t, "select revision from changes order by id").await;
    assert_eq!(found, ["v1", "v2"]);
    assert!(t.masters[lives].process.alive());
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_without_an_end_stall_no_poll_and_no_scheduler() {
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    let text = project(
        r#"
def forever(ctx):
    for i in range(1000000000):
        for j in range(1000000000):
            pass
"#,
        &format!(
            r#"
c["change_source"] = [
    changes.PollingChangeSource(name = "endless%d" % i, poll = forever, pollInterval = 0.1) for i in range(6)
] + [
    changes.GitPoller(repourl = {:?}, branches = True, pollInterval = 0.2),
    changes.PollingChangeSource(name = "good", poll = lambda ctx: ctx.addChange(revision = "good"), pollInterval = 3600),
]
c["schedulers"] = [
    schedulers.Custom(name = "endless", builderNames = ["b"], rule = forever, interval = 1),
    schedulers.SingleBranchScheduler(name = "all", builderNames = ["b"]),
]
"#,
            repo.url()
        ),
    );
    t.configure(m, &text).await;
    until(&t, "select count(*) from buildsets where scheduler = 'all'", 1_i64).await;
    until(
        &t,
        "select polled_at is not null from change_sources where name not like 'endless%' and name <> 'good'",
        true,
    )
    .await;
    let revision = repo.commit("README", "one\n", "a commit");
    until(&t, "select count(*) from buildsets where scheduler = 'all'", 2_i64).await;
    let found: Vec<String> = rows(&t, "select revision from changes order by revision = 'good' desc").await;
    assert_eq!(found, ["good".to_owned(), revision]);
    until(&t, "select count(*) > 4 from policy_failures where policy = 'poll'", true).await;
    until(&t, "select count(*) from policy_failures where policy = 'rule'", 1_i64).await;
    let endless: Vec<String> = rows(&t, "select error from change_sources where name = 'endless0'").await;
    assert!(!endless[0].is_empty());
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_change_gets_codebase_and_link_from_the_project_and_is_stored_without_where_that_fails() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let text = project(
        "",
        r#"
c["codebaseGenerator"] = lambda chdict: {"https://h/lib.git": "lib", "https://h/app.git": "app"}[chdict["repository"]]
c["www"] = {"change_hook_dialects": {"base": True}}
c["revlink"] = util.RevlinkMatch(["https://h/(.*)\\.git"], "https://h/\\1/commit/%s")
c["schedulers"] = [schedulers.SingleBranchScheduler(
    name = "lib", builderNames = ["b"], codebases = {"lib": {"repository": "x"}, "app": {"repository": "https://h/app.git", "branch": "main"}},
    change_filter = util.ChangeFilter(codebase = "lib"),
)]
"#,
    );
    t.configure(m, &text).await;
    let post = async |fields: Value| {
        let client = reqwest::Client::new();
        let url = format!("{}/change_hook/base", t.master_url(m));
        let answer = client.post(url).bearer_auth(&t.token).json(&fields).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.unwrap());
    };
    post(json!({"author": "a", "repository": "https://h/lib.git", "revision": "1"})).await;
    post(json!({"author": "a", "repository": "https://h/lib.git", "revision": "2", "codebase": "own", "revlink": "https://own"})).await;
    post(json!({"author": "a", "repository": "https://h/unknown.git", "revision": "3"})).await;
    post(json!({"author": "a", "repository": "https://elsewhere", "codebase": "x", "revision": "4"})).await;
    let stored: Vec<String> =
        rows(&t, "select concat_ws(' ', revision, codebase, coalesce(revlink, '-')) from changes order by id").await;
    assert_eq!(stored, ["1 lib https://h/lib/commit/1", "2 own https://own", "3  https://h/unknown/commit/3", "4 x -"]);
    until(&t, "select count(*) from policy_failures where subject = 'project' and policy = 'codebaseGenerator'", 1_i64)
        .await;
    // The scheduler sees the codebase, and says itself what the other one is.
    until(&t, BUILDSETS, 1_i64).await;
    let stamps: Vec<Value> = rows(&t, "select buildset_stamps(id) from buildsets").await;
    let stamp = |codebase: &str, repository: &str, branch: Value, revision: Value| json!({"codebase": codebase, "repository": repository, "project": "", "branch": branch, "revision": revision, "patch": null});
    let wanted = json!([
        stamp("app", "https://h/app.git", json!("main"), Value::Null),
        stamp("lib", "https://h/lib.git", Value::Null, json!("1")),
    ]);
    assert_eq!(stamps, [wanted]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_ends_gives_back_what_it_was_polling_and_another_polls_at_once() {
    let mut t = Cluster::start().await;
    let server = Pages::default();
    server.say("/news", "nothing");
    let url = server.start().await;
    let a = t.master().await;
    let text = project(
        "def poll(ctx):\n    ctx.addChange(revision = ctx.http(ctx.attrs.url).body)\n",
        &format!(
            "c[\"change_source\"] = changes.PollingChangeSource(name = \"news\", poll = poll, pollInterval = 3600, \
             attrs = {{\"url\": \"{url}/news\"}})"
        ),
    );
    t.configure(a, &text).await;
    until(&t, "select holder is not null from change_sources", true).await;
    assert!(t.masters[a].process.terminate().success());
    let left: Vec<bool> = rows(&t, "select holder is null and error is null from change_sources").await;
    assert_eq!(left, [true]);
    server.say("/news", "r1");
    t.master().await;
    until(&t, "select string_agg(revision, ' ') from changes", "r1".to_owned()).await;
}
