//! Pages as a browser gets them.

mod common;

use common::*;
use scraper::{Html, Selector};
use tidemill_model::log::Channel;
use tidemill_model::{BuildId, Results};
use tidemill_schema::requests::{NewBuildset, buildset_insert, requests_cancel};
use tidemill_schema::run_tx;

const EVIL: &str = "<script>alert('x')</script>\" onload=\"y";

fn all(page: &str, selector: &str) -> Vec<String> {
    Html::parse_document(page).select(&Selector::parse(selector).unwrap()).map(|e| e.text().collect()).collect()
}

fn attribute(page: &str, selector: &str, name: &str) -> Vec<String> {
    let (page, selector) = (Html::parse_document(page), Selector::parse(selector).unwrap());
    page.select(&selector).filter_map(|e| e.attr(name).map(str::to_owned)).collect()
}

/// What our policy would block, and what would be markup out of data.
fn assert_clean(page: &str) {
    let document = Html::parse_document(page);
    let select = |s: &str| document.select(&Selector::parse(s).unwrap()).count();
    assert_eq!(select("script:not([src])") + select("style") + select("[style]") + select("[onload]"), 0);
    assert_eq!((select("main"), select("h1"), select("a.skip")), (1, 1, 1));
    // Addresses within a page, labels and what stays in place at a refresh go by ids.
    let all = |s: &str| document.select(&Selector::parse(s).unwrap()).collect::<Vec<_>>();
    let mut ids: Vec<&str> = all("[id]").iter().filter_map(|e| e.attr("id")).collect();
    ids.sort_unstable();
    let twice: Vec<_> = ids.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty() && ids.iter().all(|id| !id.contains(char::is_whitespace)), "{twice:?} of {ids:?}");
    // Whoever does not see the page hears what each control is for.
    let labelled: Vec<&str> = all("label[for]").iter().filter_map(|e| e.attr("for")).collect();
    for control in all("input:not([type=hidden]), select, textarea") {
        let inside = control.ancestors().filter_map(scraper::ElementRef::wrap).any(|e| e.value().name() == "label");
        let named = control.attr("aria-label").is_some() || control.attr("id").is_some_and(|id| labelled.contains(&id));
        assert!(inside || named, "no label: {}", control.html());
    }
    for control in all("button, a") {
        let text: String = control.text().collect();
        assert!(control.attr("aria-label").is_some() || !text.trim().is_empty(), "no words: {}", control.html());
    }
    for script in document.select(&Selector::parse("script").unwrap()) {
        assert!(script.attr("src").unwrap().starts_with("/assets/"));
    }
}

#[tokio::test]
async fn each_page_is_there_and_text_of_others_never_becomes_markup() {
    let world = World::new(1).await;
    project(world.db(), &[EVIL, "fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), EVIL, EVIL).await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, EVIL).await;
    running.write(world.db(), Channel::Stdout, EVIL.as_bytes()).await;
    running.write(world.db(), Channel::Stderr, b"\x1b[31mred\x1b]0;title\x07\n").await;
    let log = running.log(world.db()).await;
    let m = world.one();
    m.post("/api/v2/changes", serde_json::json!({"author": EVIL, "comments": EVIL, "revlink": "javascript:alert(1)"}))
        .await;
    submit(world.db(), EVIL, EVIL).await;
    let field = |name: &str, kind: serde_json::Value| serde_json::json!({ "name": name, "full_name": name, "label": EVIL, "tooltip": EVIL, "default": EVIL, "kind": kind });
    let choice = serde_json::json!({ "type": "choice", "choices": [EVIL, "b"], "strict": true });
    let form = serde_json::json!({
        "label": EVIL, "button_name": EVIL,
        "reason": field("reason", serde_json::json!({ "type": "text", "cols": 3, "rows": 3 })),
        "username": field("username", serde_json::json!({ "type": "user_name", "need_email": false })),
        "priority": field("priority", serde_json::json!({ "type": "int" })),
        "codebases": [], "properties": [field("choice", choice), field("yes", serde_json::json!({ "type": "boolean" }))],
    });
    sqlx::query(
        "insert into schedulers (name, definition, cursor_xid, cursor_id, summary)
         values ($1, jsonb_build_object('name', $1::text, 'builder_names', jsonb_build_array($1::text),
                                        'kind', jsonb_build_object('force', $2::jsonb)), 0, 0, $1)",
    )
    .bind(EVIL)
    .bind(&form)
    .execute(world.db().pool())
    .await
    .unwrap();
    sqlx::query(
        "insert into change_sources (name, definition, error, errors, next_at) values
             ($1, '{\"kind\": {\"git_poller\": {}}}', $1, 2, tidemill_now() + interval '1 hour'),
             ('declared', '{}', 'nobody polls it', 0, null)",
    )
    .bind(EVIL)
    .execute(world.db().pool())
    .await
    .unwrap();
    let builder = format!("/builders/{}", percent(EVIL));
    for path in [
        "/",
        "/builders",
        "/builders?q=%3Cscript%3E&tag=fast&old=1",
        &builder,
        &format!("{builder}/builds/1"),
        &format!("/logs/{log}"),
        "/buildrequests/2",
        "/workers",
        "/locks",
        "/schedulers",
        &format!("/forceschedulers/{}", percent(EVIL)),
        "/changes",
        "/changesources",
        "/about",
    ] {
        let (status, page) = m.page(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert_clean(&page);
        assert!(!page.contains("javascript:"), "{path}");
    }
    // From a form's name to the form, whatever it is called.
    let (_, page) = m.page("/schedulers").await;
    assert_eq!(attribute(&page, "#schedulers td.name a", "href"), [format!("/forceschedulers/{}", percent(EVIL))]);
    let (_, page) = m.page("/changesources").await;
    assert_eq!(all(&page, "#sources .badge"), ["✗ failing"], "what nobody polls does not fail");
    assert_eq!(all(&page, "#sources button"), ["Poll now"]);
    let (_, page) = m.page(&format!("{builder}/builds/1")).await;
    assert_eq!(all(&page, ".step strong"), [EVIL]);
    assert_eq!(all(&page, ".log .f1"), ["red"]);
    assert_eq!(attribute(&page, ".log", "data-follow").len(), 1);
    running.end(world.db(), Results::Failure).await;
    let (_, page) = m.page(&format!("{builder}/builds/1")).await;
    assert_eq!(all(&page, "h1 .badge")[0].trim(), "✗ failure");
    assert_eq!(attribute(&page, "details.step[open]", "id"), ["step-0"]);
    assert!(attribute(&page, "main", "data-events").is_empty(), "what is over needs no events");
    let (_, home) = m.page("/").await;
    assert_eq!(all(&home, "#recent .badge").len(), 1);
    let by_id = m.get("/builds/1").await;
    assert_eq!(
        (by_id.status().as_u16(), by_id.headers()["location"].to_str().unwrap()),
        (303, &*format!("{builder}/builds/1"))
    );
    world.end().await;
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[tokio::test]
async fn errors_are_pages_for_browsers_and_problems_for_programs() {
    let world = World::new(1).await;
    for path in ["/nothing", "/builders/none", "/builds/7", "/logs/x", "/builders/none/builds/1", "/buildrequests/1"] {
        let (status, page) = world.one().page(path).await;
        assert_eq!(status, 404, "{path}");
        assert_clean(&page);
        let answer = world.one().get(path).await;
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_form_with_its_token_forces_cancels_and_stops_and_without_it_nothing() {
    let world = World::new(1).await;
    let m = world.one();
    project(world.db(), &["a b"]).await;
    let session = worker(world.db(), "w").await;
    let (_, page) = m.page("/builders/a%20b").await;
    let token = attribute(&page, "#force input[name=token]", "value").remove(0);
    assert_eq!(m.form("/builders/a%20b/force", &[("reason", "x")]).await.status(), 403);
    assert_eq!(m.form("/builders/a%20b/force", &[("reason", "x"), ("token", "guess")]).await.status(), 403);
    let fields = [("token", token.as_str()), ("reason", "x"), ("properties", "a=1\nb=2 3"), ("branch", "")];
    let forced = m.form("/builders/a%20b/force", &fields).await;
    assert_eq!(forced.status(), 303);
    assert_eq!(forced.headers()["location"], "/buildrequests/1");
    let (_, waiting) = m.page("/buildrequests/1").await;
    assert!(waiting.contains("It waits for a free worker"));
    let fields = [("token", token.as_str()), ("properties", "nothing"), ("priority", "high")];
    let bad = m.form("/builders/a%20b/force", &fields).await;
    assert_eq!(bad.status(), 400);
    let page = bad.text().await.unwrap();
    assert!(page.contains("<h1>") && page.contains("whole number") && page.contains("name=value"), "{page}");
    let claim = claim(world.db(), session).await;
    assert_eq!(claim.properties.get("b"), Some(&serde_json::json!("2 3")));
    let running = Running::begin(world.db(), claim, "s").await;
    let stopped = m.form("/builds/1/stop", &[("token", &token)]).await;
    assert_eq!((stopped.status().as_u16(), stopped.headers()["location"].to_str().unwrap()), (303, "/builds/1"));
    running.end(world.db(), Results::Cancelled).await;
    assert_eq!(m.form("/builds/1/rebuild", &[("token", &token)]).await.headers()["location"], "/buildrequests/2");
    assert_eq!(m.form("/buildrequests/2/cancel", &[("token", &token)]).await.status(), 303);
    world.end().await;
}

#[tokio::test]
async fn a_huge_log_is_shown_by_windows_with_lasting_addresses() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "fast", "1").await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, "s").await;
    let text: String = (1..=100_000).map(|n| format!("this is line {n}\n")).collect();
    running.write(world.db(), Channel::Stdout, text.as_bytes()).await;
    let log = running.log(world.db()).await;
    running.end(world.db(), Results::Success).await;
    let m = world.one();
    let rows = async |query: &str| {
        let (status, page) = m.page(&format!("/logs/{log}{query}")).await;
        assert_eq!(status, 200);
        (all(&page, ".log .l > span"), attribute(&page, ".log .l", "id"), page)
    };
    let (lines, ids, page) = rows("").await;
    assert_eq!((lines.len(), ids[0].as_str(), lines[0].as_str()), (1000, "L99001", "this is line 99001"));
    let earlier = attribute(&page, "a[rel=prev]", "href").remove(0);
    let (lines, ids, _) = rows(&earlier).await;
    assert_eq!((ids[0].as_str(), lines.len()), ("L98001", 1001));
    let (lines, ids, page) = rows("?line=50000").await;
    assert_eq!((ids[0].as_str(), lines[50].as_str()), ("L49950", "this is line 50000"));
    let later = attribute(&page, "a[rel=next]", "href").remove(0);
    assert_eq!(rows(&later).await.1[0], format!("L{}", 49950 + lines.len()));
    assert_eq!(rows("?line=first").await.1[0], "L1");
    world.end().await;
}

#[tokio::test]
async fn rows_of_a_live_log_come_with_the_unfinished_line_replaced_until_it_ends() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "fast", "1").await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, "s").await;
    running.write(world.db(), Channel::Stdout, b"one\ntw").await;
    let log = running.log(world.db()).await;
    let (_, page) = world.one().page(&format!("/logs/{log}")).await;
    let follow = attribute(&page, ".log", "data-follow").remove(0);
    assert!(follow.ends_with("offset=4"), "{follow}");
    let mut live = world.one().events(&follow, None).await;
    let first = live.event().await;
    assert_eq!((first.json()["html"].as_str(), first.id.as_str()), (Some(""), "4"));
    assert_eq!(all(first.json()["partial"].as_str().unwrap(), "span"), ["tw"]);
    running.write(world.db(), Channel::Stdout, b"o\n<b>\n").await;
    let second = live.event().await.json();
    assert_eq!(all(second["html"].as_str().unwrap(), "span"), ["two", "<b>"]);
    assert_eq!((second["partial"].as_str(), second["next"].as_i64()), (Some(""), Some(12)));
    running.end(world.db(), Results::Success).await;
    assert_eq!(live.event().await.event, "end");
    world.end().await;
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_hash() {
    let world = World::new(1).await;
    let m = world.one();
    let (_, page) = m.page("/about").await;
    let mut paths = attribute(&page, "link", "href");
    paths.extend(attribute(&page, "script", "src"));
    assert_eq!(paths.len(), 3);
    for path in paths {
        let answer = m.get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        assert!(answer.headers().contains_key("etag"));
        if path.ends_with(".js") {
            assert!(answer.headers()["content-type"].to_str().unwrap().contains("javascript"));
        }
    }
    assert_eq!(m.get("/assets/0/none.js").await.status(), 404);
    world.end().await;
}

#[tokio::test]
async fn the_page_of_a_build_hears_of_what_it_triggered_until_that_is_over() {
    let world = World::new(1).await;
    let (m, db) = (world.one(), world.db());
    project(db, &["up", "down"]).await;
    let session = worker(db, "w").await;
    submit(db, "up", "x").await;
    let running = Running::begin(db, claim(db, session).await, "s").await;
    let heard = async || attribute(&m.page("/builders/up/builds/1").await.1, "#main", "data-events");
    assert_eq!(heard().await, ["buildid=1"]);
    let child = NewBuildset {
        builders: vec!["down".into()],
        parent: Some((BuildId(running.claim.build), None)),
        ..NewBuildset::default()
    };
    let child = run_tx!(db, "test", |c| buildset_insert(c, &child).await).unwrap().requests;
    assert_eq!(heard().await, ["buildid=1&buildrequestid=2"]);
    let page = m.page("/builders/up/builds/1").await.1;
    assert_eq!(attribute(&page, "#triggered-builds[data-live] #triggered tbody tr", "id"), ["triggered-2"]);
    running.end(db, Results::Success).await;
    assert_eq!(heard().await, ["buildid=1&buildrequestid=2"], "it is over, and what it triggered is not");
    run_tx!(db, "test", |c| requests_cancel(c, &child, "enough").await).unwrap();
    assert_eq!(heard().await, [""; 0]);
    world.end().await;
}
