//! The reference says only what is true, and docs/reference is what it says.
//! `TIDEMILL_WRITE_REFERENCE=1` writes the pages anew.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use support::evaluate;
use tidemill_lang::reference::{pages, reference};

#[test]
fn the_pages_of_the_reference_are_those_of_the_vocabulary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let wanted: BTreeMap<String, String> = pages().into_iter().collect();
    if std::env::var_os("TIDEMILL_WRITE_REFERENCE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &wanted {
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == *text, "docs/reference/{name} is old: run with TIDEMILL_WRITE_REFERENCE=1");
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, wanted.len(), "docs/reference has a page that nothing makes");
}

#[test]
fn every_example_is_evaluated() {
    let mut seen = 0;
    for item in reference().items.iter().filter(|i| !i.example.is_empty()) {
        let text = format!("c = {{}}\n{}\n", item.example);
        if let Err(found) = evaluate(&text) {
            panic!("{}: {found}", item.name);
        }
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn every_word_has_words_for_people() {
    for item in &reference().items {
        assert!(!item.doc.trim().is_empty(), "{}", item.name);
        assert!(
            item.args.iter().all(|a| !a.doc.is_empty() || a.alias_of.is_some() || a.ignored.is_some()),
            "{}",
            item.name
        );
    }
}

#[test]
fn a_word_is_found_by_its_short_name_and_a_slip_finds_its_neighbour() {
    assert_eq!(reference().find("steps.ShellCommand").unwrap().args[0].name, "command");
    assert_eq!(reference().find("ShellCommand").unwrap().name, "steps.ShellCommand");
    assert_eq!(reference().nearest("ShelCommand"), Some("steps.ShellCommand"));
    assert!(reference().find("util.re.match").unwrap().signature.contains("pattern"));
    assert!(reference().find("step.addURL").is_some() && reference().find("c[\"builders\"]").is_some());
}

#[test]
fn the_reference_says_of_a_word_that_it_does_not_run_just_where_a_project_is_warned() {
    for (name, key) in [
        ("schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"b\"])", "schedulers"),
        ("schedulers.Periodic(name = \"s\", builderNames = [\"b\"], periodicBuildTimer = 60)", "schedulers"),
        ("schedulers.Dependent(name = \"s\", upstream = \"t\", builderNames = [\"b\"])", "schedulers"),
        ("changes.GitPoller(\"https://example.org/r.git\")", "change_source"),
        ("changes.HgPoller(repourl = \"https://example.org/r\")", "change_source"),
        ("worker.Worker(\"w\")", "workers"),
        ("worker.EC2LatentWorker(\"w\")", "workers"),
        (
            "worker.CustomLatentWorker(\"w\", start_instance = lambda ctx: True, stop_instance = lambda ctx, fast: None)",
            "workers",
        ),
        ("reporters.PushjetNotifier()", "services"),
        ("reporters.PushoverNotifier()", "services"),
        ("reporters.TelegramBot()", "services"),
        ("secrets.SecretInAFile()", "secretsProviders"),
        ("steps.ShellCommand(command = \"x\")", ""),
        ("steps.FileUpload(workersrc = \"a\", masterdest = \"b\")", ""),
        ("steps.FileDownload(mastersrc = \"a\", workerdest = \"b\")", ""),
        ("steps.DirectoryUpload(workersrc = \"a\", masterdest = \"b\")", ""),
        ("steps.MultipleFileUpload(workersrcs = [\"a\"], masterdest = \"b\")", ""),
        ("steps.Trigger(schedulerNames = [\"t\"])", ""),
    ] {
        let step = if key.is_empty() { name } else { "" };
        let listed = if key.is_empty() { String::new() } else { format!("c[\"{key}\"] = [{name}]\n") };
        let triggered = "schedulers.Triggerable(name = \"t\", builderNames = [\"b\"])";
        let text = format!(
            "c = {{}}\n{listed}c[\"schedulers\"] = c.get(\"schedulers\", []) + [{triggered}]\n\
             c[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"w\"], factory = util.BuildFactory([{step}]))]\n"
        );
        let word = name.split('(').next().unwrap();
        let project = evaluate(&text).unwrap_or_else(|e| panic!("{e}"));
        let warned =
            project.warnings().iter().any(|w| w.message.starts_with(&format!("{word} is accepted but not run")));
        let item = reference().find(word).unwrap();
        assert_eq!(item.accepted_only, warned, "{word}");
        assert_eq!(item.text().contains("Accepted, not run yet"), warned, "{word}");
    }
}

#[test]
fn a_key_is_found_by_its_bare_name() {
    assert_eq!(reference().find("collapseRequests").unwrap().name, "c[\"collapseRequests\"]");
    assert_eq!(reference().nearest("collapseRequest"), Some("c[\"collapseRequests\"]"));
}
