//! Forms of ForceSchedulers and what people do with requests, as programs and browsers ask for it.

mod common;

use common::*;
use scraper::{Html, Selector};
use serde_json::{Value, json};
use tidemill_model::Results;

const PROJECT: &str = r#"
factory = util.BuildFactory([steps.ShellCommand(command = "true")])
c = {
    "builders": [util.BuilderConfig(name = n, workernames = ["*"], factory = factory) for n in ["linux", "mac", "other"]],
    "schedulers": [schedulers.ForceScheduler(
        name = "release",
        label = "Make a release",
        buttonName = "Release",
        builderNames = ["linux", "mac"],
        codebases = [util.CodebaseParameter(
            codebase = "",
            branch = util.StringParameter(name = "branch", default = "main"),
            repository = "https://example.org/r.git",
            project = None,
        )],
        properties = [
            util.StringParameter(name = "version", label = "Version:", required = True, regex = "[0-9]"),
            util.ChoiceStringParameter(name = "kind", choices = ["debug", "release"], default = "release"),
            util.BooleanParameter(name = "clean", default = True),
            util.NestedParameter(name = "options", label = "Options", fields = [util.IntParameter(name = "jobs", default = 2)]),
            util.FixedParameter(name = "forced", default = True),
            util.InheritBuildParameter(name = "like"),
        ],
    )],
}
"#;

fn attribute(page: &str, selector: &str, name: &str) -> Vec<String> {
    let (page, selector) = (Html::parse_document(page), Selector::parse(selector).unwrap());
    page.select(&selector).filter_map(|e| e.attr(name).map(str::to_owned)).collect()
}

fn texts(page: &str, selector: &str) -> Vec<String> {
    Html::parse_document(page).select(&Selector::parse(selector).unwrap()).map(|e| e.text().collect()).collect()
}

#[tokio::test]
async fn a_form_is_filled_by_programs_in_our_way_and_in_buildbots() {
    let world = World::new(1).await;
    apply(world.db(), PROJECT).await;
    let m = world.one();
    let all = m.json("forceschedulers").await;
    let form = &all["forceschedulers"][0];
    assert_eq!((form["label"].as_str(), form["button_name"].as_str()), (Some("Make a release"), Some("Release")));
    let fields = form["all_fields"].as_array().unwrap();
    let options = fields.iter().find(|f| f["name"] == "options").unwrap();
    assert_eq!(options["fields"][0]["fullName"], "options_jobs");
    assert_eq!(m.json("builders/linux/forceschedulers").await["meta"]["total"], 1);
    assert_eq!(m.json("builders/other/forceschedulers").await["meta"]["total"], 0);

    let bad = json!({"version": "x", "kind": "fast", "options_jobs": "many", "versoin": 1, "builderNames": ["other"]});
    let (status, problem) = m.post("/api/v2/forceschedulers/release/force", bad.clone()).await;
    assert_eq!(status, 400);
    let wrong = |v: &Value| -> Vec<String> {
        v.as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(wrong(&problem["errors"]), ["builderNames", "version", "kind", "options_jobs", "versoin"]);
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "force", "params": bad});
    let (status, answer) = m.post("/api/v2/forceschedulers/release", call).await;
    assert_eq!((status.as_u16(), &answer["id"], &answer["error"]["code"]), (400, &json!(7), &json!(-32602)));
    assert!(answer["error"]["message"]["version"].as_str().unwrap().contains("must match"), "{answer}");

    let good = json!({"version": "1.2", "clean": false, "builderNames": ["mac", "other"], "priority": 3});
    let (status, made) = m.post("/api/v2/forceschedulers/release/force", good.clone()).await;
    assert_eq!(status, 201, "{made}");
    let set = &m.json("buildsets/1").await["buildsets"][0];
    assert_eq!(set["sourcestamps"][0]["repository"], "https://example.org/r.git");
    assert_eq!(set["sourcestamps"][0]["branch"], "main");
    assert_eq!(set["scheduler"], "release");
    assert_eq!(set["reason"], "A build was forced by 'local': force build");
    let properties = &m.json("buildsets/1/properties").await["properties"][0];
    for (name, value) in [
        ("version", json!("1.2")),
        ("kind", json!("release")),
        ("clean", json!(false)),
        ("options", json!({"jobs": 2})),
        ("forced", json!(true)),
        ("owner", json!("local")),
    ] {
        assert_eq!(properties[name][0], value, "{name}: {properties}");
    }
    let requests = m.json("buildrequests?property=x").await;
    assert_eq!(requests["meta"]["total"], 1, "cut to the scheduler's builders");
    assert_eq!(requests["buildrequests"][0]["buildername"], "mac");
    assert_eq!(requests["buildrequests"][0]["priority"], 3);

    let linux = m.json("builders/linux").await["builders"][0]["builderid"].clone();
    let call = json!({"jsonrpc": "2.0", "id": "a", "method": "force", "params": {"version": "2", "builderid": linux}});
    let (status, answer) = m.post("/api/v2/forceschedulers/release", call).await;
    assert_eq!((status.as_u16(), &answer["result"]), (200, &json!([2, {linux.to_string(): 2}])));
    let (_, answer) = m.post("/api/v2/forceschedulers/release", json!({"jsonrpc": "2.0", "method": "x"})).await;
    assert_eq!(answer["error"]["code"], -32601);

    let key = [("idempotency-key", "once")];
    let (_, first) = m.post_with("/api/v2/forceschedulers/release/force", good.clone(), &key).await;
    let (_, again) = m.post_with("/api/v2/forceschedulers/release/force", good, &key).await;
    assert_eq!(first, again);
    world.end().await;
}

#[tokio::test]
async fn a_form_on_a_page_keeps_what_was_typed_and_shows_each_error_at_its_field() {
    let world = World::new(1).await;
    apply(world.db(), PROJECT).await;
    let m = world.one();
    let (_, page) = m.page("/builders/other").await;
    assert_eq!(attribute(&page, "form[action='/builders/other/force']", "method"), ["post"], "no form of its own");
    let (_, page) = m.page("/builders/linux").await;
    assert!(attribute(&page, "form[action='/builders/linux/force']", "method").is_empty());
    let form = "form[action='/forceschedulers/release/force']";
    let token = attribute(&page, &format!("{form} input[name=token]"), "value").remove(0);
    assert_eq!(attribute(&page, &format!("{form} input[name=builderNames]"), "value"), ["linux"]);
    assert!(attribute(&page, &format!("{form} [name=repository]"), "name").is_empty(), "what is fixed is not shown");
    assert_eq!(attribute(&page, &format!("{form} input[name=branch]"), "value"), ["main"]);
    assert_eq!(texts(&page, &format!("{form} fieldset legend")), ["Options"]);

    let typed = [
        ("token", token.as_str()),
        ("builderNames", "linux"),
        ("version", "<v1>"),
        ("branch", "topic"),
        ("clean", "false"),
        ("options_jobs", "x"),
    ];
    let refused = m.form("/forceschedulers/release/force", &typed).await;
    assert_eq!(refused.status(), 400);
    let page = refused.text().await.unwrap();
    assert_eq!(attribute(&page, "input[name=version]", "value"), ["<v1>"]);
    assert_eq!(attribute(&page, "input[name=branch]", "value"), ["topic"]);
    assert!(attribute(&page, "input[type=checkbox][name=clean]", "checked").is_empty());
    assert_eq!(attribute(&page, "input[name=builderNames][checked]", "value"), ["linux"]);
    let errors = texts(&page, "p.error");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("must match") && errors[1].contains("whole number"));
    assert_eq!(attribute(&page, "[aria-invalid]", "name"), ["version", "options_jobs"]);

    // What only the database knows is told in the same way.
    let typed = [("token", token.as_str()), ("builderNames", "linux"), ("version", "1"), ("like", "linux/99")];
    let refused = m.form("/forceschedulers/release/force", &typed).await;
    assert_eq!(refused.status(), 400);
    let page = refused.text().await.unwrap();
    assert_eq!(attribute(&page, "[aria-invalid]", "name"), ["like"]);
    assert_eq!(attribute(&page, "input[name=version]", "value"), ["1"]);
    assert_eq!(texts(&page, "p.error"), ["there is no build `linux/99`"]);

    let good = [
        ("token", token.as_str()),
        ("builderNames", "linux"),
        ("builderNames", "mac"),
        ("version", "1"),
        ("clean", "false"),
        ("clean", "true"),
    ];
    let made = m.form("/forceschedulers/release/force", &good).await;
    assert_eq!((made.status().as_u16(), made.headers()["location"].to_str().unwrap()), (303, "/builders"));
    let properties = &m.json("buildsets/1/properties").await["properties"][0];
    assert_eq!((&properties["clean"][0], &properties["version"][0]), (&json!(true), &json!("1")));
    assert_eq!(m.json("buildrequests").await["meta"]["total"], 2, "both builders at once");
    let (status, page) = m.page("/forceschedulers/release").await;
    assert_eq!((status.as_u16(), texts(&page, "h1")), (200, vec!["Make a release".into()]));
    world.end().await;
}

#[tokio::test]
async fn people_see_why_a_request_waits_and_change_it() {
    let world = World::new(1).await;
    project(world.db(), &["linux", "mac"]).await;
    let m = world.one();
    for builder in ["linux", "linux", "mac"] {
        submit(world.db(), builder, "why").await;
    }
    let why = m.json("buildrequests/2/waiting").await;
    assert_eq!(why["waiting"][0]["why"], "no-worker");
    m.problem("buildrequests/99/waiting", 404).await;
    let (_, page) = m.page("/buildrequests/2").await;
    assert!(page.contains("It waits for a worker that may build it: none is connected"), "{page}");

    let (status, _) = m.post("/api/v2/buildrequests/2/priority", json!({"priority": 5})).await;
    assert_eq!(status, 200);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "set_priority", "params": {"priority": 6}});
    let (status, answer) = m.post("/api/v2/buildrequests/2", call).await;
    assert_eq!((status.as_u16(), &answer["result"]), (200, &Value::Null), "{answer}");
    assert_eq!(m.json("buildrequests/2").await["buildrequests"][0]["priority"], 6);

    let (_, paused) = m.post("/api/v2/builders/linux/pause", json!({})).await;
    assert_eq!(paused["paused"], true);
    assert_eq!(m.json("buildrequests/1/waiting").await["waiting"][0]["why"], "paused");
    let (_, page) = m.page("/builders/linux").await;
    assert_eq!(texts(&page, "#paused").len(), 1);
    let token = attribute(&page, "input[name=token]", "value").remove(0);
    assert_eq!(m.form("/builders/linux/pause", &[("token", &token)]).await.status(), 303);
    assert_eq!(m.json("builders/linux").await["builders"][0]["paused"], false);
    assert_eq!(m.form("/buildrequests/1/priority", &[("token", &token), ("priority", "2")]).await.status(), 303);
    assert_eq!(m.json("buildrequests/1").await["buildrequests"][0]["priority"], 2);

    let session = worker(world.db(), "w").await;
    let claimed = claim(world.db(), session).await;
    assert_eq!(claimed.request, 2, "the highest priority");
    let running = Running::begin(world.db(), claimed, "s").await;
    let (status, _) = m.post("/api/v2/buildrequests/2/priority", json!({"priority": 1})).await;
    assert_eq!(status, 409);
    let (status, nothing) = m.post("/api/v2/buildrequests/cancel", json!({})).await;
    assert_eq!((status.as_u16(), nothing["errors"][0]["field"].as_str()), (400, Some("all")));
    let (_, done) = m.post("/api/v2/buildrequests/cancel", json!({"builders": ["linux"], "reason": "enough"})).await;
    assert_eq!(done, json!({"cancelled": 1, "stopping": 1, "more": false}));
    let (_, page) = m.page("/buildrequests/1").await;
    assert!(page.contains("It ended because: enough"), "{page}");
    running.end(world.db(), Results::Cancelled).await;
    let (_, done) = m.post("/api/v2/buildrequests/cancel", json!({"branch": "main"})).await;
    assert_eq!(done["cancelled"], 1);

    let (_, again) = m.post("/api/v2/builds/1/rebuild", json!({"latest": true})).await;
    let set = again["buildsetid"].as_i64().unwrap();
    let stamp = &m.json(&format!("buildsets/{set}")).await["buildsets"][0]["sourcestamps"][0];
    assert_eq!((&stamp["revision"], &stamp["branch"]), (&Value::Null, &json!("main")));
    world.end().await;
}

const CHOICE: &str = r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(command = ["true"])])
c["builders"] = [
    util.BuilderConfig(name = "linux", workernames = ["ada", "bob"], factory = f),
    util.BuilderConfig(name = "mac", workernames = ["eve"], factory = f),
]
c["schedulers"] = [schedulers.ForceScheduler(name = "pick", builderNames = ["linux", "mac"],
    properties = [util.WorkerChoiceParameter()])]
"#;

#[tokio::test]
async fn a_form_offers_the_workers_that_may_build_it_and_the_chosen_one_is_waited_for() {
    let world = World::new(1).await;
    apply(world.db(), CHOICE).await;
    for name in ["ada", "bob", "eve", "zoe"] {
        tidemill_schema::workers::worker_enrol(world.db(), name).await.unwrap();
    }
    let m = world.one();
    let choices = async |path: &str| {
        let all = m.json(path).await;
        let fields = all["forceschedulers"][0]["all_fields"].as_array().unwrap().clone();
        fields.into_iter().find(|f| f["type"] == "worker").unwrap()["choices"].clone()
    };
    assert_eq!(choices("forceschedulers").await, json!(["ada", "bob", "eve"]));
    assert_eq!(choices("builders/linux/forceschedulers").await, json!(["ada", "bob"]));
    let (_, page) = m.page("/builders/linux").await;
    assert_eq!(attribute(&page, "select[name=workername] option", "value"), ["", "ada", "bob"]);

    let (status, problem) =
        m.post("/api/v2/forceschedulers/pick/force", json!({"workername": "eve", "builderNames": ["linux"]})).await;
    assert_eq!((status.as_u16(), problem["errors"][0]["field"].as_str()), (400, Some("workername")));
    let told = problem["errors"][0]["detail"].as_str().unwrap();
    assert_eq!(told, "worker `eve` may not build `linux`; choose one of ada, bob");
    let (status, made) =
        m.post("/api/v2/forceschedulers/pick/force", json!({"workername": "bob", "builderNames": ["linux"]})).await;
    assert_eq!(status, 201, "{made}");
    let request = &m.json("buildrequests/1").await["buildrequests"][0];
    assert_eq!(
        (&request["workername"], request["waits_for"].as_str()),
        (&json!("bob"), Some("worker bob, which was chosen for it and is not connected"),)
    );
    let (_, page) = m.page("/buildrequests/1").await;
    assert!(page.contains("It waits for worker bob, which was chosen for it and is not connected."), "{page}");
    assert_eq!(
        m.json("buildsets/1/properties").await["properties"][0]["workername"],
        json!(["bob", "Force Build Form"])
    );
    // Whoever names a worker means it; here one that the builder may not use.
    let (_, made) = m.post("/api/v2/builders/linux/force", json!({"properties": {"workername": "eve"}})).await;
    let id = made["buildrequestids"][0].as_i64().unwrap_or(2);
    let why = m.json(&format!("buildrequests/{id}")).await["buildrequests"][0]["waits_for"].clone();
    assert_eq!(why, "worker eve, which was chosen for it and is none that its builder may use");
    world.end().await;
}
