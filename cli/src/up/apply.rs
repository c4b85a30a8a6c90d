//! The project of `up`: its files, completed with a poller for this
//! repository where it has none, checked here and applied to the master.

use crate::client::Client;
use crate::commands::reconfig;
use crate::error::Result;
use crate::project::git::Target;
use crate::project::{checked, files, guess};
use std::path::Path;
use std::time::Duration;
use tidemill_lang::Definition;
use tidemill_lang::definition::{Changes, SchedulerKind};
use tidemill_model::revision::{Files, ROOT_FILE};

/// Seconds between two looks at a repository on this machine.
const POLL_SECONDS: u32 = 2;

pub struct Project {
    target: Target,
    client: Client,
    /// The last guess, and the commit that it was made from.
    guessed: Option<(String, Files, Vec<String>)>,
    /// What the masters have from here.
    last: Option<Definition>,
    /// The files as they were when they were last applied, good or not.
    pub tried: Option<Files>,
    pub source: Source,
}

/// Where the files came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Written(String),
    Guessed(Vec<String>),
}

/// What was applied.
pub struct Applied {
    pub definition: Definition,
    /// For people: how many builders, what was added.
    pub summary: String,
    /// Our poller was added.
    pub poller_added: bool,
    pub revision: i64,
    /// Since the last time; none at first.
    pub changes: Option<Changes>,
}

impl Project {
    pub fn new(target: Target, client: Client) -> Project {
        Project { target, client, guessed: None, last: None, tried: None, source: Source::Guessed(Vec::new()) }
    }

    /// The project's files as they are now, without what we add.
    pub fn files(&mut self) -> Result<Files> {
        // Beside the work tree's own, one that was written after the start.
        let folder = self.target.project.clone().or_else(|| {
            let top = Path::new(&self.target.repository);
            (self.target.upstream.is_none() && top.join(ROOT_FILE).is_file()).then(|| top.to_owned())
        });
        if let Some(folder) = folder {
            self.source = Source::Written(folder.join(ROOT_FILE).display().to_string());
            return files::from_folder(&folder);
        }
        let revision = self.target.head()?.revision;
        if let Some((at, files, found)) = &self.guessed
            && *at == revision
        {
            if !found.is_empty() {
                self.source = Source::Guessed(found.clone());
            }
            return Ok(files.clone());
        }
        if let Some(files) = files::from_commit(&self.target)? {
            self.source = Source::Written(format!("{ROOT_FILE} of {}", self.target.shown));
            self.guessed = Some((revision, files.clone(), Vec::new()));
            return Ok(files);
        }
        let guess = guess::guess(&self.target.name, &self.target.paths()?, &|path| self.target.read(path));
        let files = Files::single(guess.text);
        self.source = Source::Guessed(guess.found.clone());
        self.guessed = Some((revision, files.clone(), guess.found));
        Ok(files)
    }

    /// Checks the files and makes them the master's active revision.
    pub async fn apply(&mut self) -> Result<Applied> {
        let mut files = self.files()?;
        self.tried = Some(files.clone());
        let checked = checked::evaluate(&files).await?;
        for diagnostic in &checked.diagnostics {
            eprintln!("{diagnostic}\n");
        }
        let mut definition = checked.definition;
        let poller_added = definition.change_sources.is_empty();
        if poller_added {
            add_poller(&mut files, &self.target.repository);
            definition = checked::evaluate(&files).await?.definition;
        }
        let comment = format!("tidemill up {}", self.target.shown);
        let answer = reconfig::apply(&self.client, &files, &comment).await?;
        let revision = answer["revision"].as_i64().unwrap_or_default();
        let changes = self.last.replace(definition.clone()).map(|last| definition.diff(&last));
        let names: Vec<String> = definition.builders.iter().map(|b| crate::sanitize::line(&b.name)).collect();
        let summary = format!("({}: {})", plural(names.len(), "builder"), names.join(", "));
        Ok(Applied { definition, summary, poller_added, revision, changes })
    }
}

impl Applied {
    /// Whether anybody is to be told of builds.
    pub fn tells(&self) -> bool {
        !self.definition.reporters.is_empty()
    }
}

pub fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Adds a poller of this repository at the end, so that lines keep their numbers.
fn add_poller(files: &mut Files, repository: &str) {
    let Some(text) = files.0.get_mut(ROOT_FILE) else { return };
    let config = if names_buildmaster_config(text) { "BuildmasterConfig" } else { "c" };
    let url = serde_json::to_string(repository).expect("a text is JSON");
    text.push_str(&format!(
        "\n# Added by `tidemill up`, because no change source is defined above.\n\
         {config}[\"change_source\"] = [changes.GitPoller(repourl = {url}, branches = True, pollInterval = {POLL_SECONDS})]\n"
    ));
}

fn names_buildmaster_config(text: &str) -> bool {
    text.lines().any(|l| l.strip_prefix("BuildmasterConfig").is_some_and(|rest| rest.trim_start().starts_with('=')))
}

/// Names for local workers, so that each builder has one that may build it.
/// Builders that take any worker need no certain name.
pub fn worker_names(definition: &Definition) -> Vec<String> {
    let mut open: Vec<&Vec<String>> = definition
        .builders
        .iter()
        .map(|b| &b.workernames)
        .filter(|names| !names.is_empty() && !names.iter().any(|n| n == "*"))
        .collect();
    let mut chosen = Vec::new();
    while let Some(first) = open.first() {
        // The name that serves most of the builders still without one.
        let count = |name: &String| open.iter().filter(|names| names.contains(name)).count();
        let Some(best) = first.iter().max_by_key(|n| count(n)).cloned() else { break };
        open.retain(|names| !names.contains(&best));
        chosen.push(best);
    }
    if chosen.is_empty() {
        chosen.push("local".to_owned());
    }
    chosen
}

/// Why no commit is built when it comes, if that is so.
pub fn unbuilt(definition: &Definition) -> Option<&'static str> {
    let schedulers = &definition.schedulers;
    let takes = |kind: &SchedulerKind| {
        use SchedulerKind::{AnyBranch, Custom, SingleBranch};
        matches!(kind, SingleBranch { .. } | AnyBranch { .. } | Custom(_))
    };
    match schedulers.iter().any(|s| takes(&s.kind)) {
        true => None,
        false if schedulers.is_empty() => {
            Some("It has no scheduler, so no commit is built by itself: add one to c[\"schedulers\"].")
        }
        false => Some(
            "None of its schedulers builds a commit when it comes: a schedulers.SingleBranchScheduler or \
             AnyBranchScheduler does.",
        ),
    }
}

/// The longest time that a scheduler waits for more commits.
pub fn longest_timer(definition: &Definition) -> Duration {
    let timers = definition.schedulers.iter().filter_map(|s| match &s.kind {
        SchedulerKind::SingleBranch { tree_stable_us, .. } | SchedulerKind::AnyBranch { tree_stable_us, .. } => {
            *tree_stable_us
        }
        _ => None,
    });
    Duration::from_micros(timers.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_lang::definition::BuilderDef;

    fn definition(workers: &[&[&str]]) -> Definition {
        let builder = |names: &&[&str]| BuilderDef {
            workernames: names.iter().map(|n| (*n).to_owned()).collect(),
            ..BuilderDef::default()
        };
        Definition { builders: workers.iter().map(builder).collect(), ..Definition::default() }
    }

    #[test]
    fn local_workers_get_the_fewest_names_that_serve_every_builder() {
        assert_eq!(worker_names(&definition(&[&["*"]])), ["local"]);
        assert_eq!(worker_names(&definition(&[&["a", "b"], &["b"], &["c"]])), ["b", "c"]);
        assert_eq!(worker_names(&definition(&[&["*"], &["x"]])), ["x"]);
    }

    #[test]
    fn a_project_whose_schedulers_take_no_commit_is_told_from_one_without_any() {
        let with = |kinds: Vec<SchedulerKind>| {
            let schedulers = kinds.into_iter().map(|kind| {
                let definition = serde_json::json!({ "name": "s", "kind": kind, "builder_names": [] });
                serde_json::from_value(definition).unwrap()
            });
            unbuilt(&Definition { schedulers: schedulers.collect(), ..Definition::default() })
        };
        assert!(with(vec![]).is_some_and(|why| why.starts_with("It has no scheduler")));
        assert!(with(vec![SchedulerKind::Triggerable]).is_some_and(|why| why.starts_with("None of its")));
        let single = SchedulerKind::SingleBranch { tree_stable_us: None, only_important: false };
        assert_eq!(with(vec![SchedulerKind::Triggerable, single]), None);
    }

    #[test]
    fn the_poller_is_added_below_whatever_the_configuration_is_called() {
        for (text, expected) in [("c = {}\n", "c["), ("c = {}\nBuildmasterConfig = c\n", "BuildmasterConfig[")] {
            let mut files = Files::single(text);
            add_poller(&mut files, "/a \"b\"");
            let text = &files.0[ROOT_FILE];
            let line = text.lines().last().unwrap();
            assert!(line.starts_with(expected) && line.contains(r#"repourl = "/a \"b\"""#), "{line}");
        }
    }
}
