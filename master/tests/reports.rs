//! Reports over REST and as pages.

mod common;

use common::*;
use scraper::{Html, Selector};
use serde_json::Value;
use std::collections::BTreeSet;

const EVIL: &str = "<script>alert('x')</script>\" onload=\"y";

/// Sums of a builder, as the facts loop writes them.
async fn built(world: &World, builder: &str) {
    project(world.db(), &[builder]).await;
    sqlx::query(
        "with days as (
             insert into build_days (builder_id, day, builds, success, failure, seconds, waited, spans, waits)
             select id, date_trunc('day', now(), 'UTC') - n * interval '1 day', 4, 3, 1, 400, 40,
                    array[(46 << 24) + 4], array[(33 << 24) + 4]
               from builders, generate_series(1, 20) n where name = $1
             returning *
         ), months as (
             insert into build_months (builder_id, month, builds, success, failure, seconds, waited, spans, waits)
             select builder_id, date_trunc('month', day, 'UTC'), sum(builds), sum(success), sum(failure), sum(seconds),
                    sum(waited), array[(46 << 24) + sum(builds)::int], array[(33 << 24) + sum(builds)::int]
               from days group by 1, 2
         )
         insert into total_days (project, day, builds, success, failure, seconds, waited, spans, waits)
         select '', day, builds, success, failure, seconds, waited, spans, waits from days",
    )
    .bind(builder)
    .execute(world.db().pool())
    .await
    .unwrap();
}

fn percent(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

fn all(page: &str, selector: &str) -> Vec<String> {
    let text = |e: scraper::ElementRef| e.text().collect::<String>().trim().to_owned();
    Html::parse_document(page).select(&Selector::parse(selector).unwrap()).map(text).collect()
}

#[tokio::test]
async fn a_report_answers_over_rest_in_each_format_and_refuses_what_it_does_not_take() {
    let world = World::new(1).await;
    built(&world, EVIL).await;
    let m = world.one();
    let list = m.json("reports").await;
    let names: Vec<&str> = list["reports"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 20 && names.contains(&"builder-trend"), "{names:?}");
    let answer = m.json("reports/builder-trend?since=60d&every=day").await;
    assert_eq!(answer["rows"].as_array().unwrap().len(), 20);
    assert_eq!((&answer["rows"][0]["builds"], &answer["rows"][0]["success_rate"]), (&4.into(), &75.0.into()));
    assert_eq!((&answer["parameters"]["every"], &answer["parameters"]["builder"]), (&"day".into(), &Value::Null));
    let columns: BTreeSet<&str> =
        answer["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let keys: BTreeSet<&str> = answer["rows"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(columns, keys);
    let none = m.json("reports/builder-trend?builder=nobody's&since=").await;
    assert_eq!(none["rows"], Value::Array(vec![]));
    for (format, media, part) in [
        ("csv", "text/csv", "builder,project,last_results"),
        ("md", "text/markdown", "| builder | project |"),
        ("svg", "image/svg+xml", "<svg xmlns="),
        ("sql", "application/sql", "from report.build_sums"),
        ("table", "text/plain", "BUILDER"),
    ] {
        let answer = m.get(&format!("/api/v2/reports/builder-health?format={format}")).await;
        assert_eq!(answer.status(), 200, "{format}");
        let header =
            |name: &str| answer.headers().get(name).map(|h| h.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(header("content-type").starts_with(media), "{format}");
        assert_eq!(header("content-disposition").contains("builder-health.csv"), format == "csv");
        let policy = header("content-security-policy");
        assert_eq!(policy.starts_with("default-src 'none'"), format == "svg", "{policy}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part), "{format}: {text}");
        assert!(!matches!(format, "svg" | "md") || !text.contains("<script"), "{format}");
    }
    let problem = m.problem("reports/builder-trend?since=soon&every=hour&nonsense=1", 400).await;
    let wrong: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["nonsense", "since", "every"]);
    m.problem("reports/builder-trend?format=xml", 400).await;
    m.problem("reports/none", 404).await;
    world.end().await;
}

#[tokio::test]
async fn own_reports_are_seen_without_a_restart_and_a_broken_one_harms_no_other() {
    let world = World::new(1).await;
    built(&world, "fast").await;
    let m = world.one();
    m.problem("reports/mine", 404).await;
    let head = "-- title: Mine\n-- question: Which <builders>?\n-- parameter: builder text | Only this one.\n";
    world.report("mine", &format!("{head}select builder from builders where :builder is null or builder = :builder"));
    world.report("wrong", &format!("{head}select builder,\n nothing from builders where :builder is null"));
    world.report("broken", "-- titel: x\nselect 1");
    world.report("slow", "-- title: x\n-- question: y?\nselect count(*) as n from generate_series(1, 100000000000) g");
    let mine = m.json("reports/mine?builder=fast").await;
    assert_eq!(mine["rows"], serde_json::json!([{ "builder": "fast" }]));
    let wrong = m.problem("reports/wrong", 422).await;
    assert_eq!(wrong["type"], "report-failed");
    assert!(wrong["detail"].as_str().unwrap().ends_with("wrong.sql:5: column \"nothing\" does not exist"), "{wrong}");
    let broken = |answer: &Value| answer["meta"]["broken"].as_array().map_or(0, Vec::len);
    assert_eq!(broken(&m.json("reports").await), 1);
    let (status, answer) = m.anonymous("/api/v2/reports").await;
    assert_eq!((status.as_u16(), broken(&answer)), (200, 0), "names of files are for who has a token");
    let (status, page) = m.page("/reports").await;
    assert!(status == 200 && page.contains("broken.sql:1: `titel:` is no part of a head"), "{page}");
    assert_eq!(m.page("/reports/mine").await.0, 200);
    let (status, page) = m.page("/reports/wrong").await;
    assert_eq!((status.as_u16(), all(&page, "[role=alert]").len()), (422, 1));
    // It holds one of the connections that reports have, for as long as it may, and no page.
    let slow = m.problem("reports/slow", 422).await;
    assert_eq!(slow["type"], "report-too-slow");
    world.end().await;
}

#[tokio::test]
async fn the_page_of_a_report_has_a_form_a_chart_a_table_and_sql_without_a_script() {
    let world = World::new(1).await;
    built(&world, EVIL).await;
    let m = world.one();
    let (status, page) = m.page("/reports").await;
    assert_eq!(status, 200);
    assert_eq!(all(&page, "nav a[aria-current]"), ["Reports"]);
    let links = all(&page, ".questions a");
    assert!(links.len() >= 20 && links.contains(&"Builder health".to_owned()), "{links:?}");
    let (status, page) = m.page(&format!("/reports/builder-trend?every=day&builder={}&limit=", percent(EVIL))).await;
    assert_eq!(status, 400, "it has no limit");
    assert_eq!(all(&page, "[role=alert]").len(), 1);
    let (status, page) = m.page(&format!("/reports/builder-trend?every=day&builder={}", percent(EVIL))).await;
    assert_eq!(status, 200, "{page}");
    let document = Html::parse_document(&page);
    let select = |s: &str| document.select(&Selector::parse(s).unwrap()).count();
    assert_eq!(select("script:not([src])") + select("style") + select("[style]") + select("[onload]"), 0);
    assert_eq!((select("svg.chart[role=img]"), select("svg.chart circle"), select("#rows tbody tr")), (1, 20, 20));
    assert_eq!(select("form.asked label input, form.asked label select"), 5);
    assert_eq!(select("option[selected]"), 1);
    assert_eq!(all(&page, "option[selected]"), ["day"]);
    let sql = &all(&page, "pre.code")[0];
    assert!(sql.contains("builder = '<script>alert(''x'')</script>\" onload=\"y'::text"), "{sql}");
    // The same in other forms keeps what was asked, and each is there.
    let hrefs: Vec<String> =
        document.select(&Selector::parse(".bar a").unwrap()).map(|a| a.attr("href").unwrap().to_owned()).collect();
    assert_eq!(hrefs.len(), 4);
    for href in hrefs {
        assert!(href.contains("every=day") && m.get(&href).await.status() == 200, "{href}");
    }
    // From a row to its builder.
    let (_, page) = m.page("/reports/builder-health").await;
    let document = Html::parse_document(&page);
    let link = document.select(&Selector::parse("#rows td a").unwrap()).next().unwrap();
    assert_eq!(link.attr("href").unwrap(), format!("/builders/{}", percent(EVIL)));
    let (_, page) = m.page("/reports/breakages").await;
    assert!(page.contains("Nothing fits"));
    assert_eq!(m.page("/reports/none").await.0, 404);
    world.end().await;
}

#[tokio::test]
async fn every_report_has_a_page() {
    let world = World::new(1).await;
    built(&world, "fast").await;
    for report in tidemill_sql::report::built_in() {
        let (status, page) = world.one().page(&format!("/reports/{}", report.name)).await;
        assert_eq!(status, 200, "{}: {page}", report.name);
        assert_eq!(all(&page, "main h1"), [report.head.title.as_str()]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_page_with_a_chart_has_the_style_of_pictures() {
    let world = World::new(1).await;
    let (_, page) = world.one().page("/reports/builder-health").await;
    let link = page.split('"').find(|part| part.ends_with("/chart.css")).expect("the page links it");
    let (status, style) = world.one().page(link).await;
    assert_eq!(status, 200);
    assert_eq!(style, tidemill_sql::format::svg::STYLE);
    world.end().await;
}
