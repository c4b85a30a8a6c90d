//! Commands that need neither server nor database.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn tidemill(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEMILL_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", dir).env("XDG_CONFIG_HOME", dir.join("config")).env("TIDEMILL_STATE_HOME", dir.join("state"));
    command.args(arguments).current_dir(dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_init_writes_for_each_kind_of_project_passes_checkconfig() {
    let kinds = [
        "Cargo.toml",
        "go.mod",
        "package.json",
        "pyproject.toml",
        "tox.ini",
        "CMakeLists.txt",
        "Makefile",
        "meson.build",
        "configure.ac",
        "pom.xml",
        "build.gradle",
        "Gemfile",
        "mix.exs",
        "x.sln",
        "README.md",
        "sub/Cargo.toml",
    ];
    for kind in kinds {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(kind);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
        assert!(tidemill(dir.path(), &["init"]).status.success(), "{kind}");
        let checked = tidemill(dir.path(), &["checkconfig"]);
        assert!(checked.status.success(), "{kind}: {}", stderr(&checked));
        let again = tidemill(dir.path(), &["init"]);
        assert_eq!(again.status.code(), Some(2), "it does not replace a file");
        assert!(stderr(&again).contains("--force"));
    }
}

#[test]
fn the_example_of_this_repository_passes_checkconfig() {
    let dir = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tidemill");
    let checked = tidemill(dir.path(), &["checkconfig", example, "--json"]);
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let names: Vec<&str> =
        report["definition"]["builders"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fmt", "test"]);
}

#[test]
fn an_error_in_the_project_has_file_line_and_column_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("master.star"), "load(\"lib.star\", \"x\")\nc = {}\nc[\"builders\"] = x\n").unwrap();
    std::fs::write(dir.path().join("lib.star"), "x = [\n  undefined_name]\n").unwrap();
    let checked = tidemill(dir.path(), &["checkconfig"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(stderr(&checked).contains("lib.star:2:3"), "{}", stderr(&checked));
    let checked = tidemill(dir.path(), &["checkconfig", "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&report["ok"], &report["diagnostics"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn a_project_that_eats_memory_or_time_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("master.star"), "x = \"y\" * 4000000000\nc = {}\n").unwrap();
    let checked = tidemill(dir.path(), &["checkconfig"]);
    assert_eq!(checked.status.code(), Some(1), "{}", stderr(&checked));
}

#[test]
fn settings_show_their_origin_and_never_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config/tidemill/tidemill.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[database]\nurl = \"postgres://u:geheim@h/d\"\n").unwrap();
    let shown = tidemill(dir.path(), &["settings", "--origin"]);
    assert!(stdout(&shown).contains("postgres://u:***@h/d"));
    assert!(!stdout(&shown).contains("geheim"));
    assert!(stdout(&shown).contains("tidemill.toml"));
    std::fs::write(&file, "[databse]\nurl = \"x\"\n").unwrap();
    let wrong = tidemill(dir.path(), &["settings"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("did you mean `database.url`"), "{}", stderr(&wrong));
}

#[test]
fn without_a_master_the_exit_code_is_9_and_the_text_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let output = tidemill(dir.path(), &["builds", "--master", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(9));
    assert!(stderr(&output).contains("tidemill up"));
    assert!(output.stdout.is_empty(), "talk goes to stderr");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{} completion bash | head -n 1 >/dev/null", env!("CARGO_BIN_EXE_tidemill"));
    let output = Command::new("sh").args(["-c", &line]).current_dir(dir.path()).output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_folder_that_is_no_repository_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = tidemill(dir.path(), &["up"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("git init"), "{}", stderr(&output));
}
