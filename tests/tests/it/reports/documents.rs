//! Queries that documents and dashboards show: each runs against the history, and finds something.

use super::History;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Column, PgConnection, Row};
use std::path::PathBuf;
use tidemill_tests::history::{SECOND, Truth};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// As the reporter is connected, but for the role: the owner sees all projects.
async fn rows(c: &mut PgConnection, query: &str) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(AssertSqlSafe(query.to_owned())).persistent(false).fetch_all(c).await
}

/// Blocks of SQL in a document, with the line on which each begins.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (n, line) in text.lines().enumerate() {
        match &mut open {
            Some((_, sql)) if line != "```" => *sql = format!("{sql}{line}\n"),
            Some(_) => blocks.extend(open.take()),
            None if line == "```sql" => open = Some((n + 2, String::new())),
            None => {}
        }
    }
    blocks
}

#[tokio::test]
async fn each_query_of_the_cookbook_finds_something() {
    let history = History::get().await;
    let db = history.db().await;
    let mut c = db.pool().acquire().await.expect("a connection");
    let text = std::fs::read_to_string(root().join("docs/reporting-cookbook.md")).expect("the cookbook is there");
    let blocks = blocks(&text);
    assert!(blocks.len() >= 15, "{} queries", blocks.len());
    sqlx::raw_sql("set search_path = report, pg_catalog").execute(&mut *c).await.expect("the schema report");
    let mut wrong = Vec::new();
    for (line, sql) in blocks {
        let sql = with_names(&sql, &history.truth);
        match rows(&mut c, sql.trim_end().trim_end_matches(';')).await {
            Err(e) => wrong.push(format!("line {line}: {e}")),
            Ok(rows) if rows.is_empty() => wrong.push(format!("line {line}: finds nothing")),
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "docs/reporting-cookbook.md:\n{}", wrong.join("\n"));
}

/// Names that a reader puts in, such as 'linux', are those of the history.
fn with_names(sql: &str, truth: &Truth) -> String {
    let tested = truth.builds.iter().find(|b| !b.tests.is_empty()).expect("a builder with tests");
    sql.replace("'linux'", &format!("'{}'", truth.world.builders[0].name))
        .replace("'app'", &format!("'{}'", truth.world.projects[0].name))
        .replace("'mac'", &format!("'{}'", truth.builder(tested)))
        .replace("'suite::slow'", &format!("'{}'", tidemill_tests::history::test_name(2)))
}

/// What a panel or variable of a dashboard asks.
struct Asks {
    place: String,
    sql: String,
    /// Grafana draws it over time, and needs a column `time`.
    series: bool,
}

fn dashboards() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = std::fs::read_dir(root().join("examples/grafana"))
        .expect("examples/grafana is there")
        .map(|e| e.expect("a folder can be read").path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .map(|p| {
            let name = p.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&p).expect("a file can be read");
            (name.clone(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}")))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn asks(name: &str, dashboard: &Value) -> Vec<Asks> {
    let mut asks = Vec::new();
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            asks.push(Asks {
                place: format!("{name}, {}", panel["title"].as_str().unwrap_or_default()),
                sql: target["rawSql"].as_str().unwrap_or_default().to_owned(),
                series: target["format"] == "time_series",
            });
        }
    }
    for variable in list(&dashboard["templating"]["list"]).filter(|v| v["type"] == "query") {
        asks.push(Asks {
            place: format!("{name}, variable {}", variable["name"]),
            sql: variable["query"].as_str().unwrap_or_default().to_owned(),
            series: false,
        });
    }
    asks
}

/// What Grafana makes of its macros and of our variables.
fn expand(sql: &str, from: &str, until: &str, truth: &Truth) -> String {
    let mut sql = sql.to_owned();
    while let Some(at) = sql.find("$__timeFilter(") {
        let end = at + sql[at..].find(')').expect("a macro ends");
        let column = sql[at + "$__timeFilter(".len()..end].to_owned();
        sql.replace_range(at..=end, &format!("{column} BETWEEN '{from}' AND '{until}'"));
    }
    sql.replace("$__timeFrom()", &format!("'{from}'"))
        .replace("$__timeTo()", &format!("'{until}'"))
        .replace("$__interval", "1d")
        .replace("${builder:sqlstring}", &format!("'{}'", truth.world.builders[0].name))
        .replace("${project:sqlstring}", &format!("'{}'", truth.world.projects[0].name))
}

#[tokio::test]
async fn each_panel_of_the_dashboards_finds_something() {
    let history = History::get().await;
    let db = history.db().await;
    let mut c = db.pool().acquire().await.expect("a connection");
    let end = history.truth.shape.end / SECOND;
    let at = |seconds: i64| {
        OffsetDateTime::from_unix_timestamp(seconds).expect("a time of ours").format(&Rfc3339).expect("it has a text")
    };
    let (from, until) = (at(end - 30 * 86_400), at(end));
    let mut wrong = Vec::new();
    let dashboards = dashboards();
    assert!(dashboards.len() >= 3, "{} dashboards", dashboards.len());
    for (name, dashboard) in &dashboards {
        for ask in asks(name, dashboard) {
            let sql = expand(&ask.sql, &from, &until, &history.truth);
            if sql.contains('$') {
                wrong.push(format!("{}: an unknown macro or variable in {sql}", ask.place));
                continue;
            }
            match rows(&mut c, &sql).await {
                Err(e) => wrong.push(format!("{}: {e}", ask.place)),
                Ok(rows) if rows.is_empty() => wrong.push(format!("{}: finds nothing", ask.place)),
                Ok(rows) if ask.series && !rows[0].columns().iter().any(|c| c.name() == "time") => {
                    wrong.push(format!("{}: has no column `time`", ask.place));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_dashboard_is_one_that_grafana_imports() {
    let mut uids = Vec::new();
    for (name, dashboard) in dashboards() {
        let source = list(&dashboard["templating"]["list"]).find(|v| v["type"] == "datasource");
        let source = source.unwrap_or_else(|| panic!("{name} has no variable for its data source"));
        assert_eq!(source["query"], "grafana-postgresql-datasource", "{name}");
        let used = format!("${{{}}}", source["name"].as_str().expect("a variable has a name"));
        assert!(dashboard["schemaVersion"].as_i64() >= Some(36), "{name}");
        assert!(dashboard["id"].is_null(), "{name}: Grafana gives the id");
        let uid = dashboard["uid"].as_str().expect("a dashboard has a uid").to_owned();
        assert!(uid.len() <= 40 && !uids.contains(&uid), "{name}: {uid}");
        uids.push(uid);
        let mut ids = Vec::new();
        for panel in list(&dashboard["panels"]) {
            let title = panel["title"].as_str().expect("a panel has a title");
            assert!(!ids.contains(&panel["id"]), "{name}, {title}: two panels of one id");
            ids.push(panel["id"].clone());
            assert!(panel["description"].is_string(), "{name}, {title}: says nothing of itself");
            let place = &panel["gridPos"];
            let (x, w) = (place["x"].as_i64().expect("x"), place["w"].as_i64().expect("w"));
            assert!(x >= 0 && x + w <= 24 && place["h"].as_i64() > Some(0), "{name}, {title}: does not fit");
            for target in list(&panel["targets"]) {
                assert_eq!(target["datasource"]["uid"], used, "{name}, {title}");
                assert!(target["rawQuery"] == true && target["refId"].is_string(), "{name}, {title}");
                assert!(["time_series", "table"].contains(&target["format"].as_str().unwrap_or_default()));
                let sql = target["rawSql"].as_str().expect("a target has SQL");
                assert!(sql.contains("report."), "{name}, {title}: reads something else than the schema report");
                assert!(sql.contains("$__time"), "{name}, {title}: does not go by the time that is chosen");
            }
        }
    }
}
