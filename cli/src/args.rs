//! The command line.

use crate::commands::{
    builders, builds, cancel, checkconfig, completion, config, doc, force, init, locks, log, lsp, master, migrate,
    notify, pause, plan, reconfig, report, requests, run, schedulers, sendchange, settings, sources, try_builds, user,
    watch, worker, workers,
};
use crate::project::apart;
use crate::{exit, up};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Continuous integration on PostgreSQL.
#[derive(Debug, Parser)]
#[command(
    name = "tidemill",
    version,
    propagate_version = true,
    after_help = "Begin with `tidemill up` in a git repository.",
    after_long_help = exit::help(),
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Settings file [default: ~/.config/tidemill/tidemill.toml, /etc/tidemill/tidemill.toml]
    #[arg(long, global = true, value_name = "FILE", env = "TIDEMILL_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data as JSON on the standard output
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything for one repository: database, master, worker
    Up(up::Up),
    Master(master::Master),
    Worker(worker::Worker),
    Notify(notify::Notify),
    Migrate(migrate::Migrate),
    #[command(subcommand)]
    User(user::User),
    Builders(builders::Builders),
    Builds(builds::Builds),
    Workers(workers::Workers),
    Sources(sources::Sources),
    Locks(locks::Locks),
    Schedulers(schedulers::Schedulers),
    Watch(watch::Watch),
    Log(log::LogArgs),
    Report(Box<report::ReportArgs>),
    Force(force::Force),
    Cancel(cancel::Cancel),
    Try(Box<try_builds::Try>),
    Requests(requests::Requests),
    Why(requests::Why),
    Priority(requests::Priority),
    /// Start none of the requests of builders; what runs goes on
    Pause(pause::Pause),
    /// Let paused builders go on
    Unpause(pause::Pause),
    #[command(name = "sendchange")]
    SendChange(Box<sendchange::SendChange>),
    Init(init::Init),
    #[command(name = "checkconfig")]
    CheckConfig(checkconfig::CheckConfig),
    Plan(plan::PlanArgs),
    Run(run::Run),
    Doc(doc::Doc),
    Lsp(lsp::Lsp),
    Reconfig(reconfig::Reconfig),
    Config(config::Config),
    Settings(settings::SettingsArgs),
    Completion(completion::Completion),
    /// Evaluates project files from the standard input under limits; masters run it
    #[command(name = tidemill_master::projects::EVALUATE_COMMAND, hide = true)]
    EvaluateProject,
    /// Checks project files from the standard input under limits; checkconfig, plan and lsp run it
    #[command(name = apart::COMMAND, hide = true)]
    ExamineProject,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_a_description_and_shows_examples_of_itself() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        let mut open: Vec<(String, &clap::Command)> = vec![(String::new(), &cli)];
        while let Some((path, parent)) = open.pop() {
            for command in parent.get_subcommands().filter(|c| !c.is_hide_set()) {
                let name = format!("{path} {}", command.get_name());
                assert!(command.get_about().is_some(), "{name} has no description");
                let nested = command.get_subcommands().next().is_some();
                let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(nested || shown.contains("Examples:"), "{name} shows no examples");
                let used = shown.contains(&format!("tidemill{name}"));
                assert!(!shown.contains("Examples:") || used, "the examples of{name} are of another command:\n{shown}");
                open.push((name, command));
            }
        }
    }

    #[test]
    fn the_manual_has_a_section_for_every_command() {
        let manual = include_str!("../../docs/cli.md");
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let heading = format!("### tidemill {}", command.get_name());
            assert!(manual.contains(&heading), "docs/cli.md lacks {heading:?}");
        }
    }
}
