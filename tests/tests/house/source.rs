//! What source and migrations must look like.

use crate::none;
use crate::repository::{File, files, root};
use crate::rust::{parts, without_tests};

/// Longest source file. A smell to argue about, never a reason to split a subject.
const LINES: usize = 600;

/// Files that may be longer, and why.
const LONG: [(&str, &str); 0] = [];

/// All Rust files of members.
fn rust_files() -> Vec<File> {
    files("", ".rs")
}

#[test]
fn every_source_file_says_what_it_is_for() {
    none(
        "a file below src begins with a module doc (`//!`)",
        rust_files()
            .iter()
            .filter(|f| f.is_src() && !f.path.ends_with("/tests.rs") && !f.text.starts_with("//!"))
            .map(|f| f.path.clone()),
    );
}

#[test]
fn no_source_file_is_longer_than_its_subject_needs() {
    none(
        "files are short, or stand in LONG with a reason",
        rust_files()
            .iter()
            .filter(|f| f.is_src() && !LONG.iter().any(|(path, _)| *path == f.path))
            .map(|f| (f.text.lines().count(), &f.path))
            .filter(|(lines, _)| *lines > LINES)
            .map(|(lines, path)| format!("{path}: {lines} lines")),
    );
}

#[test]
fn nothing_is_left_to_do_or_printed_for_debugging() {
    let words = ["todo!", "unimplemented!", "dbg!"];
    let mut wrong = Vec::new();
    for file in rust_files() {
        let code = parts(&file.text).code;
        for (n, line) in code.lines().enumerate() {
            let found = words.iter().filter(|w| {
                line.match_indices(*w).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            wrong.extend(found.map(|w| format!("{}:{}: {w}", file.path, n + 1)));
        }
    }
    none("code is whole", wrong);
}

#[test]
fn lang_and_model_touch_no_file_no_net_no_process_and_no_clock_of_the_day() {
    let outside = ["std::fs", "std::net", "std::process", "std::env", "SystemTime::now", "now_utc", "tokio::"];
    let mut wrong = Vec::new();
    for file in rust_files().iter().filter(|f| f.is_src() && ["lang", "model"].contains(&f.member())) {
        let code = parts(without_tests(&file.text)).code;
        for (n, line) in code.lines().enumerate() {
            // Facts of the program itself are no look outside.
            let line = line.replace("std::env::consts", "");
            wrong.extend(outside.iter().filter(|w| line.contains(*w)).map(|w| format!("{}:{}: {w}", file.path, n + 1)));
        }
    }
    none("no IO in lang and model", wrong);
}

#[test]
fn a_program_ends_by_returning_from_main() {
    none(
        "process::exit skips the drain and every drop: return from main (service::Lifecycle)",
        rust_files()
            .iter()
            .filter(|f| f.is_src())
            .filter(|f| ["process::exit(", "process::abort("].iter().any(|w| parts(&f.text).code.contains(w)))
            .map(|f| f.path.clone()),
    );
}

/// Puts the views into the database; nothing else of `sql` changes it.
const VIEWS: &str = "sql/src/views.rs";

#[test]
fn sql_stands_in_schema_and_nowhere_else() {
    let mut wrong = Vec::new();
    let elsewhere = |f: &&File| f.is_src() && !["schema", "tests"].contains(&f.member()) && f.path != VIEWS;
    for file in rust_files().iter().filter(elsewhere) {
        let parts = parts(&file.text);
        wrong.extend(
            parts
                .strings
                .iter()
                .filter(|(_, text)| changes_rows(text))
                .map(|(line, text)| format!("{}:{line}: {}", file.path, text.lines().next().unwrap_or_default())),
        );
        // Reports are asked there; what they are is in files.
        if file.member() == "sql" {
            continue;
        }
        let calls = ["sqlx::query", "query_scalar!", "query_as!", "query!", "raw_sql"];
        wrong.extend(calls.iter().filter(|c| parts.code.contains(*c)).map(|c| format!("{}: {c}", file.path)));
    }
    none("SQL lives in schema (tests may look)", wrong);
}

#[test]
fn files_of_sql_only_read() {
    let code = |text: &str| {
        text.lines().map(|l| l.split_once("--").map_or(l, |(code, _)| code)).collect::<Vec<_>>().join("\n")
    };
    let files = files("sql", ".sql");
    assert!(files.len() > 20, "the views are there");
    none(
        "reports and views change no row",
        files.iter().filter(|f| changes_rows(&code(&f.text))).map(|f| f.path.clone()),
    );
}

/// Whether a literal looks like a statement that writes.
fn changes_rows(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().take(4000).map(str::to_lowercase).collect();
    words.windows(3).any(|w| {
        matches!(
            (w[0].as_str(), w[1].as_str(), w[2].as_str()),
            ("insert", "into", _)
                | ("delete", "from", _)
                | ("truncate", "table", _)
                | ("create" | "alter" | "drop", "table" | "index" | "schema", _)
                | ("update", _, "set")
        )
    })
}

#[test]
fn a_statement_that_writes_is_recognized() {
    assert!(changes_rows("with a as (select 1)\n insert into builds (id) values (1)"));
    assert!(changes_rows("update builds set state = 'finished'"));
    assert!(!changes_rows("could not update the page; delete the file and set it up again"));
}

#[test]
fn a_transaction_begins_in_run_tx_only() {
    none(
        "use run_tx!, which names a transaction and tries it again",
        rust_files()
            .iter()
            .filter(|f| f.is_src() && f.path != "schema/src/db.rs")
            .filter(|f| parts(without_tests(&f.text)).code.contains("pool().begin()"))
            .map(|f| f.path.clone()),
    );
}

#[test]
fn migrations_are_numbered_one_after_the_other() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("schema/migrations"))
        .expect("schema/migrations is there")
        .map(|e| e.expect("a folder can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let well_formed = |n: usize, name: &str| {
        let Some((number, rest)) = name.split_once('_') else { return false };
        let Some(words) = rest.strip_suffix(".sql") else { return false };
        number == format!("{:04}", n + 1)
            && !words.is_empty()
            && words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    none(
        "migrations are named NNNN_name.sql, from 0001, without a gap",
        names.iter().enumerate().filter(|(n, name)| !well_formed(*n, name)).map(|(_, name)| name.clone()),
    );
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Put together here, so that this file does not hold what it looks for.
    let strange: Vec<String> = [
        ["/wo", "rk/"],
        ["/ro", "ot/."],
        ["static.cra", "tes.io"],
        ["index.cra", "tes.io"],
        ["registry.npm", "js.org"],
        ["files.python", "hosted.org"],
        ["proxy.go", "lang.org"],
    ]
    .iter()
    .map(|p| p.concat())
    .collect();
    let endings =
        [".rs", ".md", ".toml", ".sql", ".star", ".css", ".js", ".html", "check", "bench", "quickstart", "run"];
    let mut wrong = Vec::new();
    for ending in endings {
        for file in files("", ending) {
            for (n, line) in file.text.lines().enumerate() {
                let found = strange.iter().filter(|s| line.contains(s.as_str()));
                wrong.extend(found.map(|s| format!("{}:{}: {s}", file.path, n + 1)));
            }
        }
    }
    none("no paths of a machine, no hosts of package registries", wrong);
}
