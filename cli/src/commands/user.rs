//! `tidemill user add`

use super::migrate::DatabaseUrl;
use super::worker::give;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use std::path::PathBuf;
use tidemill_service::settings::Layers;

/// Tokens of people and programs.
#[derive(Debug, clap::Subcommand)]
pub enum User {
    /// Make a token for a person or program, or replace it; it is shown once
    #[command(after_help = "\
Examples:
  tidemill user add alice
  tidemill user add deploy --token-file /etc/deploy/token
The token goes into TIDEMILL_TOKEN of whoever uses it.")]
    Add {
        name: String,
        /// Write the token there (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        database: DatabaseUrl,
    },
}

pub async fn run(args: User, mut layers: Layers, out: Output) -> Result<Exit> {
    let User::Add { name, token_file, database } = args;
    let db = database.connect(&mut layers).await?;
    let secret = tidemill_schema::tokens::user_token_create(&db, &name).await?;
    give(&name, &secret, token_file.as_deref(), out)
}
