//! Heads of reports, their parameters, and folders of own ones.

use tidemill_sql::report::{ChartKind, Report, Reports, Unit, Values, built_in, parameters};
use time::macros::datetime;

const GOOD: &str = "\
-- title: Builds of a day
-- question: How many?
--   And of which?
-- parameter: since timestamptz = 28 days | How far back.
-- parameter: builder text | Only this one.
-- parameter: every text = week (day, week) | One row for each.
-- parameter: limit bigint = 10 | Most rows.
-- parameter: share double precision = 0.5 | A part.
-- parameter: all boolean = false | Or not.
-- column: day | time | The day.
-- column: builds | count | Its builds | and more.
-- chart: bars x=day y=builds
-- read: First.
-- read: Second.
select date_trunc(:every, complete_at) as day, count(*) as builds -- not :here
from report.build_facts /* nor :there /* :nested */ */
where complete_at >= :since and (:builder is null or builder = :builder)
  and note <> ':text' and note <> E'it\\'s :text' and \"odd:name\" = $tag$ :body $tag$
  and kind::text = 'x' and seconds > :share and :all
group by 1 limit :limit;
";

fn parse(text: &str) -> Result<Report, String> {
    Report::parse("own", "folder/own.sql", text, false).map_err(|e| e.to_string())
}

#[test]
fn a_head_says_what_a_report_asks_takes_and_gives() {
    let report = parse(GOOD).unwrap();
    let head = &report.head;
    assert_eq!((head.title.as_str(), head.group.as_str()), ("Builds of a day", "Own"));
    assert_eq!(head.question, "How many? And of which?");
    assert_eq!(head.read, "First.\nSecond.");
    assert_eq!(head.columns[1].unit, Unit::Count);
    assert_eq!(head.columns[1].doc, "Its builds | and more.");
    let chart = head.chart.as_ref().unwrap();
    assert_eq!(
        (chart.kind, chart.x.join(","), chart.y.join(",")),
        (ChartKind::Bars, "day".to_owned(), "builds".to_owned())
    );
    let names: Vec<_> = head.parameters.iter().map(|p| (p.name.as_str(), p.default.as_deref())).collect();
    assert_eq!(
        names,
        [
            ("since", Some("28 days")),
            ("builder", None),
            ("every", Some("week")),
            ("limit", Some("10")),
            ("share", Some("0.5")),
            ("all", Some("false"))
        ]
    );
    assert_eq!(head.parameters[2].choices, ["day", "week"]);
    assert_eq!(report.first_line, 15);
}

#[test]
fn parameters_are_found_outside_of_texts_comments_and_casts_and_bound_with_their_types() {
    let sql = parse(GOOD).unwrap().bound_sql();
    assert_eq!(
        sql,
        "\
select date_trunc($3::text, complete_at) as day, count(*) as builds -- not :here
from report.build_facts /* nor :there /* :nested */ */
where complete_at >= $1::timestamptz and ($2::text is null or builder = $2::text)
  and note <> ':text' and note <> E'it\\'s :text' and \"odd:name\" = $tag$ :body $tag$
  and kind::text = 'x' and seconds > $5::double precision and $6::boolean
group by 1 limit $4::bigint"
    );
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line() {
    let wrong = |from: &str, to: &str| parse(&GOOD.replacen(from, to, 1)).unwrap_err();
    for (from, to, line, part) in [
        ("-- title: Builds of a day\n", "", 1, "no `-- title: …`"),
        ("-- question: How many?\n--   And of which?\n", "", 1, "no `-- question: …`"),
        ("-- title:", "-- titel:", 1, "`titel:` is no part of a head"),
        ("-- title: Builds of a day", "--   goes on", 1, "goes on with one that is not there"),
        ("-- question: How many?", "-- question How many?", 2, "`-- key: text`"),
        ("-- group: x\n-- read: Second.", "", 14, ""),
        ("timestamptz = 28 days", "timestamptz = soon", 4, "its default: give how far back"),
        ("timestamptz = 28 days", "date = 28 days", 4, "`date` is no type"),
        ("builder text | Only this one.", "builder text", 5, "a parameter is `name type"),
        ("builder text | Only", "Builder text | Only", 5, "no name of a parameter"),
        ("builder text | Only", "format text | Only", 5, "is taken"),
        ("every text = week", "every text = hour", 6, "give one of day, week"),
        ("limit bigint = 10", "since bigint = 10", 7, "`since` stands twice"),
        ("limit bigint = 10", "limit bigint = -1", 7, "whole number"),
        ("| count |", "| counts |", 11, "`counts` is no unit; there are text,"),
        ("builds | count | Its builds | and more.", "builds | count", 11, "name | unit | meaning"),
        ("-- column: builds", "-- column: day", 11, "`day` stands twice"),
        ("bars x=day", "pie x=day", 12, "`pie` is no chart"),
        ("x=day", "x=week", 12, "`week` is no column"),
        ("y=builds", "z=builds", 12, "`z=builds` is not known"),
        (" y=builds", "", 12, "needs x=COLUMN and y=COLUMN"),
        ("bars x=day", "heatmap x=day", 12, "a heatmap has one x, one y and value"),
        (":share", ":part", 19, "`:part` is no parameter"),
        ("(:builder is null or builder = :builder)", "true", 1, "does not use the parameter `builder`"),
    ] {
        if part.is_empty() {
            continue;
        }
        let said = wrong(from, to);
        assert!(said.starts_with(&format!("folder/own.sql:{line}: ")) && said.contains(part), "{from} -> {to}: {said}");
    }
    assert!(parse("-- title: x\n-- question: y\n").unwrap_err().contains("no query below the head"));
}

#[test]
fn values_are_read_by_their_types_and_each_mistake_is_named() {
    let now = datetime!(2026-03-10 12:00 UTC);
    let head = parse(GOOD).unwrap().head;
    let read = |given: &[(&str, &str)]| Values::read(&head.parameters, given.iter().copied(), now);
    let texts = |values: Values| (0..6).map(|n| values.text(n)).collect::<Vec<_>>();
    let some = |text: &str| Some(text.to_owned());
    let defaults = [some("2026-02-10T12:00:00Z"), None, some("week"), some("10"), some("0.5"), some("false")];
    assert_eq!(texts(read(&[]).unwrap()), defaults);
    assert_eq!(texts(read(&[("since", " "), ("builder", ""), ("limit", "")]).unwrap()), defaults, "empty is not given");
    let given = [("since", "2026-01-02"), ("builder", "a'b"), ("every", "day"), ("limit", "3"), ("all", "yes")];
    let given = texts(read(&given).unwrap());
    assert_eq!(given, [some("2026-01-02T00:00:00Z"), some("a'b"), some("day"), some("3"), some("0.5"), some("true")]);
    let wrong = read(&[("since", "soon"), ("every", "hour"), ("limit", "-1"), ("share", "NaN"), ("nonsense", "1")]);
    let names: Vec<String> = wrong.unwrap_err().into_iter().map(|w| w.name).collect();
    assert_eq!(names, ["nonsense", "since", "every", "limit", "share"]);
    assert!(read(&[("builder", "a\0b")]).is_err() && read(&[("builder", &"x".repeat(3000))]).is_err());
}

#[test]
fn a_moment_is_a_span_before_now_a_day_or_a_time() {
    let now = datetime!(2026-03-10 12:00 UTC);
    for (text, at) in [
        ("now", now),
        ("28 days", datetime!(2026-02-10 12:00 UTC)),
        ("28d", datetime!(2026-02-10 12:00 UTC)),
        ("90m", datetime!(2026-03-10 10:30 UTC)),
        ("2 weeks", datetime!(2026-02-24 12:00 UTC)),
        ("1y", datetime!(2025-03-10 12:00 UTC)),
        ("2026-01-31", datetime!(2026-01-31 0:00 UTC)),
        ("2026-01-31 08:15", datetime!(2026-01-31 8:15 UTC)),
        ("2026-01-31T08:15", datetime!(2026-01-31 8:15 UTC)),
        ("2026-01-31 08:15:09", datetime!(2026-01-31 8:15:09 UTC)),
        ("2026-01-31T08:15:00+02:00", datetime!(2026-01-31 6:15 UTC)),
        ("1767225600", datetime!(2026-01-01 0:00 UTC)),
    ] {
        assert_eq!(parameters::time_of(text, now), Ok(at), "{text}");
    }
    for bad in ["", "soon", "d", "28 fortnights", "-3 days", "2026-02-30", "99999999999999999 days", "é"] {
        assert!(parameters::time_of(bad, now).is_err(), "{bad:?}");
    }
}

#[test]
fn sql_to_copy_holds_values_as_literals_that_cannot_break_out() {
    let now = datetime!(2026-03-10 12:00 UTC);
    let report = parse(GOOD).unwrap();
    let given = [("builder", "x'; drop table builds; --"), ("since", "2026-01-01")];
    let text = report.sql_to_copy(&Values::read(&report.head.parameters, given, now).unwrap());
    assert!(text.contains("complete_at >= '2026-01-01T00:00:00Z'::timestamptz"), "{text}");
    assert!(text.contains("builder = 'x''; drop table builds; --'::text)"), "{text}");
    assert!(text.contains("note <> ':text'") && text.ends_with("limit '10'::bigint;\n"), "{text}");
    let text = report.sql_to_copy(&Values::read(&report.head.parameters, [("builder", r"\' or")], now).unwrap());
    assert!(text.contains(r"builder = E'\\'' or'::text"), "{text}");
    let text = report.sql_to_copy(&Values::read(&report.head.parameters, [], now).unwrap());
    assert!(text.contains("(null::text is null or builder = null::text)"), "{text}");
}

#[test]
fn each_report_that_comes_with_tidemill_says_all_that_a_head_can() {
    assert!(built_in().len() >= 20, "{}", built_in().len());
    for report in built_in() {
        let (name, head) = (&report.name, &report.head);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        assert!(head.question.ends_with('?') && head.read.len() > 40 && head.group != "Own", "{name}");
        assert!(head.chart.is_some() && head.columns.len() > 2, "{name}");
        assert!(head.parameters.iter().all(|p| p.doc.ends_with(['.', '?'])), "{name}");
        assert!(head.parameters.iter().any(|p| p.name == "since"), "{name}");
        // What is read is the schema that is documented, and nothing below it.
        let words = report.sql.replace("epoch from", "").replace(['(', ')', ','], " ");
        let mut words = words.split_whitespace();
        while let Some(word) = words.next() {
            if ["from", "join"].contains(&word) {
                let table = words.next().unwrap_or_default();
                let own = !table.contains('.');
                assert!(own || table.starts_with("report."), "{name} reads {table}");
            }
        }
    }
}

#[test]
fn a_broken_file_of_a_folder_is_told_and_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("mine.sql", GOOD);
    write("broken.sql", "-- title: x\n-- question: y\n-- colum: z\nselect 1");
    write("costs.sql", GOOD);
    write("Bad Name.sql", GOOD);
    write("latin1.sql", "x");
    std::fs::write(dir.path().join("latin1.sql"), b"-- title: \xff\nselect 1").unwrap();
    write("notes.txt", "not a report");
    let all = Reports::load(Some(dir.path()));
    assert_eq!(all.reports.len(), built_in().len() + 1);
    let mine = all.find("mine").unwrap();
    assert!(!mine.built_in && all.find("costs").unwrap().built_in);
    let said: Vec<String> = all.broken.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[1].contains("broken.sql:3: `colum:` is no part of a head"), "{}", said[1]);
    assert!(said.iter().any(|s| s.contains("costs.sql:1: a report `costs` comes with Tidemill")));
    let none = Reports::load(Some(&dir.path().join("nowhere")));
    assert_eq!((none.reports.len(), none.broken.len()), (built_in().len(), 1));
    let groups = all.groups();
    assert!(groups.iter().any(|(name, reports)| name == "Own" && reports.len() == 1));
    assert_eq!(groups.iter().map(|(_, r)| r.len()).sum::<usize>(), all.reports.len());
}
