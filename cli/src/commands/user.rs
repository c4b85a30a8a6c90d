//! `tidemill user add`

use super::token::NewToken;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Output;
use tidemill_schema::tokens::{Scope, user_token_create_for};
use tidemill_service::settings::Layers;

/// Tokens of people and programs.
#[derive(Debug, clap::Subcommand)]
pub enum User {
    /// Make a token for a person or program, or replace it; it is shown once
    #[command(after_help = "\
Examples:
  tidemill user add alice
  tidemill user add bob --scope try
  tidemill user add deploy --token-file /etc/deploy/token
The token goes into TIDEMILL_TOKEN of whoever uses it.")]
    Add(Add),
}

#[derive(Debug, clap::Args)]
pub struct Add {
    #[command(flatten)]
    token: NewToken,
    /// What it is good for: everything, or `tidemill try` only
    #[arg(long, value_enum, default_value_t = For::Control)]
    scope: For,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum For {
    Control,
    Try,
}

pub async fn run(args: User, mut layers: Layers, out: Output) -> Result<Exit> {
    let User::Add(Add { token, scope }) = args;
    let db = token.connect(&mut layers).await?;
    let scope = match scope {
        For::Control => Scope::Control,
        For::Try => Scope::Try,
    };
    let secret = user_token_create_for(&db, &token.name, scope).await?;
    token.give(&secret, out)
}
