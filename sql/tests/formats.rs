//! Tables in every format, with what strangers wrote in their cells.

use tidemill_sql::format::{Format, from_json, svg};
use tidemill_sql::report::{Cell, Column, Report, Table, Unit, Values};
use time::macros::datetime;

const EVIL: &str = "<script>alert('x')</script>\"|`a`*_[b](c)_\r\n\x1b[31m,=1+1";

fn report(chart: &str) -> Report {
    let text = format!(
        "-- title: A & B\n-- question: How <much>?\n-- parameter: builder text = a_b | Which.\n{chart}\nselect :builder"
    );
    Report::parse("x", "x.sql", &text, false).unwrap()
}

fn column(name: &str, unit: Unit) -> Column {
    Column { name: name.into(), unit, doc: String::new() }
}

fn table() -> Table {
    let day = |n: i64| Cell::Time(datetime!(2026-01-01 0:00 UTC) + time::Duration::days(n));
    Table {
        columns: vec![
            column("day", Unit::Time),
            column("builder", Unit::Text),
            column("builds", Unit::Count),
            column("mean_seconds", Unit::Seconds),
            column("rate", Unit::Percent),
            column("log_bytes", Unit::Bytes),
        ],
        rows: vec![
            vec![
                day(0),
                Cell::Text("linux".into()),
                Cell::Int(3),
                Cell::Float(12.5),
                Cell::Float(99.0),
                Cell::Int(2048),
            ],
            vec![day(1), Cell::Text(EVIL.into()), Cell::Int(1234), Cell::Float(4000.0), Cell::Null, Cell::Int(5 << 30)],
            vec![
                Cell::Time(datetime!(2026-01-03 4:05:06.7 UTC)),
                Cell::Null,
                Cell::Int(0),
                Cell::Float(f64::NAN),
                Cell::Float(0.0),
                Cell::Null,
            ],
        ],
        more: true,
    }
}

fn written(format: Format, chart: &str) -> String {
    let report = report(chart);
    let values = Values::read(&report.head.parameters, [], datetime!(2026-01-05 0:00 UTC)).unwrap();
    format.write(&report, &values, &table(), Some(80))
}

#[test]
fn a_table_for_terminals_fits_and_obeys_nobody() {
    let text = written(Format::Table, "");
    insta::assert_snapshot!(text);
    assert!(!text.contains('\x1b') && text.lines().count() == 5);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
}

#[test]
fn csv_quotes_what_must_be_and_changes_no_cell() {
    let text = written(Format::Csv, "");
    insta::assert_snapshot!(text);
    assert!(text.starts_with("day,builder,builds,") && text.contains("\"<script>alert('x')</script>\"\"|"));
    assert!(text.contains(",=1+1\","), "what looks like a formula is as it was");
}

#[test]
fn json_keeps_the_order_of_columns_and_comes_back_as_it_was() {
    let text = written(Format::Json, "-- chart: line x=day y=builds");
    insta::assert_snapshot!(text);
    let back = from_json(&serde_json::from_str(&text).unwrap()).unwrap();
    let mut wanted = table();
    wanted.rows[2][3] = Cell::Null;
    wanted.rows[1][3] = Cell::Float(4000.0);
    assert_eq!(back, wanted);
}

#[test]
fn markdown_shows_text_as_text() {
    let text = written(Format::Markdown, "");
    insta::assert_snapshot!(text);
    assert!(
        !text.contains("<script") && text.contains("\\|") && text.lines().filter(|l| l.starts_with('|')).count() == 5
    );
}

/// Well-formed XML without an element or attribute out of data, and with words for those who do not see it.
fn picture(chart: &str) -> String {
    let text = written(Format::Svg, chart);
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    assert!(document.descendants().all(|n| !["script", "a", "image"].contains(&n.tag_name().name())));
    assert!(
        document.descendants().flat_map(|n| n.attributes()).all(|a| !a.name().starts_with("on") && a.name() != "href")
    );
    let root = document.root_element();
    assert_eq!(
        (root.attribute("role"), root.attribute("aria-labelledby")),
        (Some("img"), Some("chart-title chart-text"))
    );
    let words = |name: &str| {
        root.children().find(|n| n.has_tag_name(("http://www.w3.org/2000/svg", name))).and_then(|n| n.text())
    };
    assert_eq!(words("title"), Some("A & B"));
    assert!(words("desc").is_some());
    // Colours are in the style, where the dark has its own.
    let body = text.split_once("</style>").unwrap().1;
    assert!(!body.contains('#') || body.contains("&#39;"), "{body}");
    body.to_owned()
}

#[test]
fn a_line_has_gaps_where_values_are_missing() {
    let body = picture("-- chart: line x=day y=rate,builds");
    insta::assert_snapshot!(body);
    assert_eq!(body.matches("<circle").count(), 5);
}

#[test]
fn bars_lie_beside_names_and_stand_over_times() {
    insta::assert_snapshot!("bars", picture("-- chart: bars x=builder y=builds"));
    insta::assert_snapshot!("bars_of_two_names", picture("-- chart: bars x=builder,builds y=builds,rate"));
    insta::assert_snapshot!("bars_over_time", picture("-- chart: bars x=day y=builds,log_bytes"));
}

#[test]
fn stacked_bars_stand_on_each_other() {
    insta::assert_snapshot!("stacked", picture("-- chart: stacked x=builder y=builds,rate"));
    insta::assert_snapshot!("stacked_over_time", picture("-- chart: stacked x=day y=builds,rate"));
}

#[test]
fn a_heatmap_has_a_field_for_each_pair() {
    insta::assert_snapshot!(picture("-- chart: heatmap x=builds y=builder value=mean_seconds"));
}

#[test]
fn a_picture_of_nothing_says_so() {
    let empty = Table { rows: vec![], ..table() };
    let with = report("-- chart: line x=day y=builds");
    assert!(svg::file(&with, &empty).contains("Nothing fits.") && svg::inline(&with, &empty).is_none());
    assert!(svg::file(&report(""), &table()).contains("no picture"));
    let nulls = Table { rows: vec![vec![Cell::Null; 6]; 3], ..table() };
    assert!(svg::file(&with, &nulls).contains("Nothing fits."));
}

#[test]
fn a_long_or_hostile_series_draws_within_the_picture() {
    let huge = |n: i64| if n % 2 == 0 { 1e300 } else { -1e300 };
    let rows = (0..3000).map(|n| {
        let time = Cell::Time(datetime!(2026-01-01 0:00 UTC) + time::Duration::minutes(n));
        vec![
            time,
            Cell::Text(format!("{EVIL}{n}")),
            Cell::Int(n),
            Cell::Float(huge(n)),
            Cell::Null,
            Cell::Int(i64::MAX),
        ]
    });
    let wide = Table { rows: rows.collect(), ..table() };
    for chart in ["line x=day y=mean_seconds", "bars x=builder y=mean_seconds,log_bytes", "stacked x=day y=log_bytes"] {
        let text = svg::file(&report(&format!("-- chart: {chart}")), &wide);
        roxmltree::Document::parse(&text).unwrap();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{chart}");
    }
}
