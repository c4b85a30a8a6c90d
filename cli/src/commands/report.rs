//! `tidemill report`: questions to history.

use super::report_grants::{self, Access};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use tidemill_service::settings::Layers;

/// Ask history, and say who sees what of it.
#[derive(Debug, clap::Args)]
pub struct Report {
    #[command(subcommand)]
    pub command: Access,
}

pub async fn run(args: Report, layers: Layers, out: Output) -> Result<Exit> {
    report_grants::run(args.command, layers, out).await
}
