//! `tidemill lsp`

use crate::error::Result;
use crate::exit::Exit;
use crate::lsp;

/// Serve an editor: errors while typing, completion, hover, definitions.
///
/// Speaks the Language Server Protocol on its standard input and output.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidemill lsp                 an editor starts it for *.star files
  Neovim:  vim.lsp.start({ name = \"tidemill\", cmd = { \"tidemill\", \"lsp\" } })
  Helix:   language-servers = [\"tidemill\"], command = \"tidemill\", args = [\"lsp\"]
It looks at the *.star files of the nearest folder that has a master.star.")]
pub struct Lsp {
    /// Some editors ask for it; it is the only way anyhow
    #[arg(long)]
    stdio: bool,
}

pub fn run(args: Lsp) -> Result<Exit> {
    let Lsp { stdio: _ } = args;
    lsp::serve()
}
