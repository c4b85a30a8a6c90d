//! The `tidemill` program: every daemon and every command.

mod api;
mod args;
mod client;
mod commands;
mod error;
mod exit;
mod local;
mod locate;
mod lsp;
mod output;
mod pages;
mod project;
mod sanitize;
mod sse;
mod up;
mod working_copy;

use args::{Cli, Command};
use clap::Parser;
use error::{Failure, Result};
use exit::Exit;
use nix::sys::signal::{SigHandler, Signal, signal};
use output::{Output, Style};
use std::process::ExitCode;
use tidemill_service::settings::Layers;
use tidemill_service::telemetry;

fn main() -> ExitCode {
    commands::completion::answer();
    let cli = Cli::parse();
    let out = Output::new(cli.json);
    let exit = match run(cli, out) {
        Ok(exit) => exit,
        Err(failure) => {
            report(&failure, out);
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

fn report(failure: &Failure, out: Output) {
    // A finding in a project file says itself that it is an error.
    let message = failure.message.strip_prefix("error: ").unwrap_or(&failure.message);
    eprintln!("{} {message}", out.err().paint(Style::Red, "error:"));
    if let Some(hint) = &failure.hint {
        eprintln!("{hint}");
    }
}

fn run(cli: Cli, out: Output) -> Result<Exit> {
    if let Command::EvaluateProject = cli.command {
        return tidemill_master::projects::evaluate_main()
            .map(|()| Exit::Success)
            .map_err(|e| Failure::usage(e.to_string()));
    }
    if let Command::ExamineProject = cli.command {
        return project::apart::main().map(|()| Exit::Success);
    }
    tidemill_service::install_tls();
    let mut layers = Layers::from_process();
    if let Some(file) = cli.config {
        layers.file = Some(file);
    }
    match cli.command {
        Command::Master(args) => on_threads(commands::master::run(args, layers)),
        Command::Worker(args) if args.command.is_none() => on_threads(commands::worker::run(args, layers)),
        Command::Notify(args) if args.command.is_none() => on_threads(commands::notify::run(args, layers)),
        Command::Run(args) => {
            // A reader that goes away stops the build in order, see `local`.
            telemetry::init(telemetry::Format::Text, "error");
            on_threads(commands::run::run(args, layers, out))
        }
        Command::Up(args) => {
            telemetry::init(telemetry::Format::Text, "warn");
            on_this_thread(up::up(args, layers, out))
        }
        command => {
            // A reader that closes the pipe (`| head`) ends us quietly, as any filter.
            // SAFETY: no handler is installed, only the default action restored.
            let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
            telemetry::init(telemetry::Format::Text, "error");
            commands::direct::set_layers(layers.clone());
            on_this_thread(async {
                let outcome = simple(command, layers, out).await;
                commands::direct::end().await;
                outcome
            })
        }
    }
}

async fn simple(command: Command, layers: Layers, out: Output) -> Result<Exit> {
    match command {
        Command::Migrate(args) => commands::migrate::run(args, layers, out).await,
        Command::User(args) => commands::user::run(args, layers, out).await,
        Command::Builders(args) => commands::builders::run(args, out).await,
        Command::Builds(args) => commands::builds::run(args, out).await,
        Command::Workers(args) => commands::workers::run(args, out).await,
        Command::Sources(args) => commands::sources::run(args, out).await,
        Command::Locks(args) => commands::locks::run(args, out).await,
        Command::Schedulers(args) => commands::schedulers::run(args, out).await,
        Command::Watch(args) => commands::watch::run(args, out).await,
        Command::Report(args) => commands::report::run(*args, layers, out).await,
        Command::Log(args) => commands::log::run(args, out).await,
        Command::Force(args) => commands::force::run(args, out).await,
        Command::Cancel(args) => commands::cancel::run(args, out).await,
        Command::Requests(args) => commands::requests::run(args, out).await,
        Command::Why(args) => commands::requests::why(args, out).await,
        Command::Priority(args) => commands::requests::priority(args, out).await,
        Command::Pause(args) => commands::pause::run(args, true, out).await,
        Command::Unpause(args) => commands::pause::run(args, false, out).await,
        Command::SendChange(args) => commands::sendchange::run(*args, out).await,
        Command::Try(args) => commands::try_builds::run(*args, out).await,
        Command::Init(args) => commands::init::run(args, out),
        Command::CheckConfig(args) => commands::checkconfig::run(args, out),
        Command::Plan(args) => commands::plan::run(args, out),
        Command::Doc(args) => commands::doc::run(args, out),
        Command::Lsp(args) => commands::lsp::run(args),
        Command::Reconfig(args) => commands::reconfig::run(args, out).await,
        Command::Config(args) => commands::config::run(args, out).await,
        Command::Settings(args) => commands::settings::run(args, &layers, out),
        Command::Completion(args) => commands::completion::run(args),
        Command::Worker(args) => match args.command {
            Some(command) => commands::worker::add(command, layers, out).await,
            None => Err(Failure::internal("a worker is not a simple command")),
        },
        Command::Notify(args) => match args.command {
            Some(command) => commands::notify::ask(command, out).await,
            None => Err(Failure::internal("a notifier is not a simple command")),
        },
        Command::Up(_) | Command::Run(_) | Command::Master(_) | Command::EvaluateProject | Command::ExamineProject => {
            Err(Failure::internal("a daemon is not a simple command"))
        }
    }
}

fn on_threads(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    finish(tokio::runtime::Builder::new_multi_thread().enable_all().build(), work)
}

/// All tasks on the main thread: children must be its children, see `up::supervise`.
fn on_this_thread(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    finish(tokio::runtime::Builder::new_current_thread().enable_all().build(), work)
}

fn finish(runtime: std::io::Result<tokio::runtime::Runtime>, work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = runtime.map_err(|e| Failure::internal(format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(work);
    // A blocking call that hangs (a dead file system) must not keep a daemon that has ended.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}
