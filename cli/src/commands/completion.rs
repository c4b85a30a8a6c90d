//! `tidemill completion`, and what shells ask of it.
//!
//! The script that it prints calls the program itself at each TAB, with
//! [`VARIABLE`] set: so names of builders and numbers of builds come from the
//! master, and the script fits every later release.

use super::Connection;
use crate::api::{self, Build, Builder};
use crate::args::Cli;
use crate::client::Client;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::project::asked::Asked;
use crate::project::{apart, files};
use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{CompletionCandidate, Shell};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Names the shell that asks for candidates.
const VARIABLE: &str = "TIDEMILL_COMPLETE";
/// Nobody waits longer for a TAB.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Newest builds that are offered.
const BUILDS: u32 = 20;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill completion bash > /etc/bash_completion.d/tidemill
  tidemill completion zsh > ~/.zfunc/_tidemill
  tidemill completion fish > ~/.config/fish/completions/tidemill.fish
Names of builders and builds come from the master that commands would ask.")]
pub struct Completion {
    shell: Shell,
}

pub fn run(args: Completion) -> Result<Exit> {
    let shells = Shells::builtins();
    let shell = shells
        .completer(&args.shell.to_string())
        .ok_or_else(|| Failure::internal(format!("there is no script for {}", args.shell)))?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "tidemill", "tidemill", "tidemill", &mut script)
        .map_err(|e| Failure::internal(e.to_string()))?;
    print!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Success)
}

/// Answers a shell that asks for candidates, and ends the program; returns if none does.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Names of builders.
pub fn builders(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = ask(async |client| builder_names(&client).await);
    candidates(names, current)
}

/// All builders by name: lists come in the order of ids.
async fn builder_names(client: &Client) -> Result<Vec<String>> {
    let builders: Vec<Builder> = api::all(client, "builders", "builders").await?;
    let mut names: Vec<String> = builders.into_iter().map(|b| b.name).collect();
    names.sort();
    Ok(names)
}

/// Names of reports: those of the master, or at least those that come with Tidemill.
pub fn reports(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut names = ask(async |client| {
        let answer: serde_json::Value = client.get("reports").await?;
        let reports = answer["reports"].as_array().into_iter().flatten();
        Ok(reports.filter_map(|r| r["name"].as_str().map(str::to_owned)).collect())
    });
    if names.is_empty() {
        names = tidemill_sql::report::built_in().iter().map(|r| r.name.clone()).collect();
    }
    candidates(names, current)
}

/// Names of the builders of the project in this folder.
pub fn project_builders(current: &OsStr) -> Vec<CompletionCandidate> {
    let report = files::from_folder(Path::new(".")).and_then(|files| apart::plan(&files, &Asked::default()));
    let definition = report.ok().and_then(|answer| answer.report.definition);
    candidates(definition.into_iter().flat_map(|d| d.builders).map(|b| b.name).collect(), current)
}

/// `BUILDER/NUMBER` of the newest builds, of one builder if that is already
/// there, and `BUILDER/latest`.
pub fn builds(current: &OsStr) -> Vec<CompletionCandidate> {
    let of = current.to_str().and_then(|c| c.rsplit_once('/')).map(|(builder, _)| builder.to_owned());
    let names = ask(async |client| {
        let (path, latest) = match &of {
            Some(builder) => (format!("builders/{}/builds", api::segment(builder)), vec![builder.clone()]),
            None => ("builds".to_owned(), builder_names(&client).await?),
        };
        let newest: Vec<Build> = api::list(&client, &format!("{path}?order=-buildid&limit={BUILDS}"), "builds").await?;
        let latest = latest.into_iter().map(|b| format!("{b}/latest"));
        Ok(latest.chain(newest.iter().map(|b| format!("{}/{}", b.buildername, b.number))).collect())
    });
    candidates(names, current)
}

/// Nothing, if no master answers in time: a TAB is no place for errors.
fn ask(question: impl AsyncFnOnce(Client) -> Result<Vec<String>>) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    runtime.block_on(async {
        let connection = Connection { master: std::env::var("TIDEMILL_MASTER").ok(), database: None };
        let answer = async { question(connection.client().await?).await };
        tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or_default()
    })
}

fn candidates(names: Vec<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    names.iter().filter(|n| plain(n) && n.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// A shell puts a candidate into the command line as it is: none may hold
/// anything that a shell reads otherwise.
fn plain(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_alphanumeric() || "-_./+:@%,".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_nothing_to_a_shell_are_offered() {
        let names = ["linux-x86_64/latest", "größe/3", "a b", "$(reboot)", "`x`", "-x", "a;b", "a\nb", "li*"];
        let offered = candidates(names.map(str::to_owned).to_vec(), OsStr::new(""));
        let offered: Vec<&OsStr> = offered.iter().map(CompletionCandidate::get_value).collect();
        assert_eq!(offered, ["linux-x86_64/latest", "größe/3"]);
        assert_eq!(candidates(vec!["ab".into(), "b".into()], OsStr::new("a")).len(), 1);
    }
}
