//! What the documents promise about the schema and about each other.

use crate::none;
use crate::repository::{files, read, root};
use std::collections::{BTreeMap, BTreeSet};

/// All migrations, one after the other, without comments.
fn ddl() -> String {
    let migrations = files("schema/migrations", ".sql");
    let lines = migrations.iter().flat_map(|f| f.text.lines());
    lines.map(|l| l.split_once("--").map_or(l, |(code, _)| code)).collect::<Vec<_>>().join("\n").to_lowercase()
}

/// Names after `create table`; a partition that a function makes (`%I`) has none.
fn tables(ddl: &str) -> BTreeSet<String> {
    after(ddl, "create table ").map(|(_, name)| name).filter(|name| !name.is_empty()).collect()
}

fn after<'t>(text: &'t str, words: &'t str) -> impl Iterator<Item = (usize, String)> + 't {
    text.match_indices(words).map(move |(at, _)| {
        let rest = text[at + words.len()..].trim_start_matches("if not exists ").trim_start_matches("only ");
        (at, rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    })
}

/// What CHECK constraints allow: `table.column` to the literals of its list.
fn states(ddl: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut owners: Vec<(usize, String)> = after(ddl, "create table ").chain(after(ddl, "alter table ")).collect();
    owners.sort();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, _) in ddl.match_indices("check (") {
        let body = balanced(&ddl[at + "check ".len()..]);
        let table = owners.iter().take_while(|(o, _)| *o < at).last().map_or("?", |(_, t)| t);
        for (list, _) in body.match_indices(" in (") {
            let column = body[..list].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let literals = balanced(&body[list + " in ".len()..]);
            let literals: BTreeSet<String> = literals.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
            if !literals.is_empty() {
                found.entry(format!("{table}.{column}")).or_default().extend(literals);
            }
        }
    }
    found
}

/// The text from an opening parenthesis to its end.
fn balanced(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return &text[..=at];
        }
    }
    text
}

#[test]
fn constraints_are_read_from_ddl() {
    let ddl = "create table a ( state text check (state in ('x', 'y')), n int check (n > 0) );
               alter table b add check (why in ('z') or (n in (1, 2)));";
    let states = states(ddl);
    assert_eq!(states["a.state"], BTreeSet::from(["x".to_owned(), "y".to_owned()]));
    assert_eq!(states["b.why"], BTreeSet::from(["z".to_owned()]));
    assert_eq!(states.len(), 2);
}

#[test]
fn every_state_that_a_constraint_allows_is_drawn() {
    let drawn = read("docs/states.md");
    let states = states(&ddl());
    assert!(states.contains_key("builds.state"), "the migrations are not understood: {states:?}");
    let mut missing = Vec::new();
    for (column, literals) in states {
        if !drawn.contains(&format!("`{column}`")) {
            missing.push(format!("`{column}`"));
        }
        let lost = literals.iter().filter(|l| !drawn.contains(&format!("`{l}`")));
        missing.extend(lost.map(|l| format!("`{l}` of {column}")));
    }
    none("docs/states.md lacks", missing);
}

#[test]
fn the_functions_that_change_states_are_where_the_drawing_says() {
    let schema: String =
        files("schema/src", ".rs").into_iter().chain(files("schema/migrations", ".sql")).map(|f| f.text).collect();
    let drawn = read("docs/states.md");
    // A function is written `name` (file) or [name] in a drawing; only whole names with a noun and a verb are looked up.
    let named = drawn.split('`').skip(1).step_by(2).filter_map(|n| n.strip_suffix("()"));
    let unknown: BTreeSet<&str> = named
        .filter(|n| !schema.contains(&format!("fn {n}(")) && !schema.contains(&format!("function {n}(")))
        .collect();
    none("docs/states.md names functions that schema does not have", unknown);
}

#[test]
fn every_table_is_in_the_data_model_and_nothing_is_there_too_early() {
    let document = read("docs/data-model.md");
    let tables = tables(&ddl());
    assert!(tables.contains("builds"), "the migrations are not understood: {tables:?}");
    // Rows of the index: | `table` | today | … or | `table` | later (issue) | …
    let mut listed = BTreeMap::new();
    for line in document.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        if let (Some(name), Some(when)) = (cells.next(), cells.next())
            && let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`'))
            && (when == "today" || when.starts_with("later"))
        {
            listed.insert(name.to_owned(), when == "today");
        }
    }
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(
        tables.iter().filter(|t| listed.get(*t) != Some(&true)).map(|t| format!("`{t}` is not listed as today")),
    );
    let early = listed.iter().filter(|(t, today)| **today && !tables.contains(*t));
    wrong.extend(early.map(|(t, _)| format!("`{t}` is listed as today and is in no migration")));
    none("docs/data-model.md and the migrations differ", wrong);
}

#[test]
fn every_table_has_a_line_about_how_long_its_rows_stay() {
    let document = read("docs/retention.md");
    let missing = tables(&ddl()).into_iter().filter(|t| !document.contains(&format!("`{t}`")));
    none("docs/retention.md lacks", missing);
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut dead = Vec::new();
    for file in files("", ".md") {
        let folder = root().join(&file.path).parent().expect("a file has a folder").to_owned();
        let mut fenced = false;
        for (n, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or_default();
                let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
                if !elsewhere && !folder.join(path).exists() {
                    dead.push(format!("{}:{}: {target}", file.path, n + 1));
                }
            }
        }
    }
    none("dead links", dead);
}

#[test]
fn decisions_are_numbered_and_have_the_parts_of_a_decision() {
    let decisions = files("docs/adr", ".md");
    assert!(decisions.len() >= 10, "docs/adr holds the decisions");
    let mut wrong = Vec::new();
    for (n, file) in decisions.iter().enumerate() {
        if !file.path.starts_with(&format!("docs/adr/{:04}-", n + 1)) {
            wrong.push(format!("{}: number {:04} expected", file.path, n + 1));
        }
        let parts = ["# ", "Status: ", "## Context", "## Decision", "## Consequences"];
        wrong.extend(parts.iter().filter(|p| !file.text.contains(*p)).map(|p| format!("{}: lacks {p:?}", file.path)));
    }
    none("docs/adr", wrong);
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources: String = files("", ".rs").into_iter().map(|f| f.text).collect();
    let mut unknown = Vec::new();
    for file in files("", ".md") {
        let quoted = file.text.split('`').skip(1).step_by(2);
        // Sentences: what has so many words is the name of a test and nothing else.
        let names = quoted.filter(|q| {
            q.matches('_').count() >= 5 && q.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        unknown.extend(names.filter(|n| !sources.contains(&format!("fn {n}("))).map(|n| format!("{}: {n}", file.path)));
    }
    none("documents name tests that are not there", unknown);
}
