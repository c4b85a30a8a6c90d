//! `tidemill completion`

use crate::exit::Exit;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill completion bash > /etc/bash_completion.d/tidemill
  tidemill completion zsh > ~/.zfunc/_tidemill
  tidemill completion fish > ~/.config/fish/completions/tidemill.fish")]
pub struct Completion {
    shell: Shell,
}

pub fn run(args: Completion) -> Exit {
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "tidemill", &mut std::io::stdout());
    Exit::Success
}
