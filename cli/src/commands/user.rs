//! `tidemill user add`

use super::token::NewToken;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
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
    Add(NewToken),
}

pub async fn run(args: User, mut layers: Layers, out: Output) -> Result<Exit> {
    let User::Add(new) = args;
    let db = new.connect(&mut layers).await?;
    let secret = tidemill_schema::tokens::user_token_create(&db, &new.name).await?;
    new.give(&secret, out)
}
